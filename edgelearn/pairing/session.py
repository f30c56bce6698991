"""A session with a paired board: its key, and the tag on each frame that asks for more than telemetry."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from edgelearn.errors import NotAuthorisedError
from edgelearn.pairing import keys

NONCE_BYTES = TAG_BYTES = 16
OVERHEAD = 4 + 4 + TAG_BYTES  # bytes that a seal adds to a frame: header, counter, tag
_SESSION = b"edgelearn pair 1"  # firmware/pairing/pairing.c has the same words
_FROM_HOST, _FROM_BOARD = b"H", b"B"
_TLV = struct.Struct("<8sIB")


@dataclass(frozen=True)
class Paired:
    """What a paired board says of itself: key id, lowest counter that it takes, and whether it remembers that without power."""

    key: str
    counter: int
    kept: bool


def read_tlv(value: bytes | None) -> Paired | None:
    """What TLV_PAIRING says; None: it is not there, the board is open."""
    if value is None or len(value) < _TLV.size:
        return None
    key, counter, kept = _TLV.unpack_from(value)
    return Paired(key.hex(), counter, bool(kept))


def demand(paired: Paired | None, key: keys.Key | None, name: str) -> None:
    """Key and board must belong together, before anything is told to the board.

    Raises:
        NotAuthorisedError: they do not.
    """
    if key is not None and paired is None:
        hint = "Write an image with this key to it: edgelearn flash BOARD --key FILE; or leave --key out."
        raise NotAuthorisedError(f"The board at {name} is open: its image is not paired with anybody.", hint)
    if key is not None and paired is not None and paired.key != key.id:
        hint = "Use the key file that its image was built with."
        raise NotAuthorisedError(f"The board at {name} is paired with key {paired.key}, not {key.id}.", hint)


def locked(name: str, paired: Paired | None) -> NotAuthorisedError:
    """The error to raise when a paired board refuses somebody without the key."""
    which = f" {paired.key}" if paired else ""
    return NotAuthorisedError(
        f"The board at {name} takes orders only with the key{which}.", "Name its file: --key FILE"
    )


@dataclass
class Session:
    """A key that both sides have made of their nonces; the counter only grows."""

    key: bytes = field(repr=False)
    counter: int = 0

    def seal(self, pack: Callable[..., bytes], frame: bytes) -> bytes:
        """``frame`` within a sealed one of the same number; ``pack`` is the link's."""
        self.counter += 1
        counter = self.counter.to_bytes(4, "little")
        return pack("sealed", frame[1], frame, counter=self.counter, tag=_tag(self.key, _FROM_HOST + counter + frame))


def nonce() -> bytes:
    return secrets.token_bytes(NONCE_BYTES)


def agree(key: keys.Key, ours: bytes, theirs: bytes, tag: bytes, board: bytes, chip: bytes, name: str) -> Session:
    """The session that both nonces make, once the board has shown that it has the secret too.

    Raises:
        NotAuthorisedError: it has not.
    """
    made = hashlib.blake2b(_SESSION + ours + theirs + board + chip, key=key.secret, digest_size=keys.KEY_BYTES).digest()
    if not hmac.compare_digest(tag, _tag(made, _FROM_BOARD + bytes(4))):
        hint = "It may be another board that says it is this one. If you built its image anew, use the new key file."
        raise NotAuthorisedError(f"The board at {name} does not have the secret of the key {key.id}.", hint)
    return Session(made)


def _tag(key: bytes, covered: bytes) -> bytes:
    return hashlib.blake2b(covered, key=key, digest_size=TAG_BYTES).digest()
