"""The key file: what signs plans, what is shared with the board, and the counter that plans are signed with."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgelearn import secretfile
from edgelearn.errors import ConfigError, MissingToolError, StorageFullError, UsageError

KEY_BYTES = 32
ID_BYTES = 8
DIGEST_BYTES = 32
COUNTER_MAX = 0xFFFFFFFF
PLAN_PURPOSE = b"edgelearn plan 1"  # firmware/pairing/plan_sign.c has the same words
_MOST = 4096  # bytes of a key file
_MAKE = "Make one: edgelearn pair FILE --new"
_INSTALL = "pip install 'edgelearn[pairing]'"
_HEAD = "# A pairing key of edgelearn. Secret: who has this file may write to the boards that are built with it.\n"


@dataclass(frozen=True)
class Key:
    """A pairing key. Its secrets are in no text that is made of it."""

    signing: bytes = field(repr=False)  # private, Ed25519
    secret: bytes = field(repr=False)  # shared with the board
    counter: int  # that plans are signed with: a board refuses lower ones than it has seen

    @property
    def public(self) -> bytes:
        """What checks its signatures."""
        return _private(self.signing).public_key().public_bytes_raw()

    @property
    def id(self) -> str:
        """What a board says of itself, and people compare: 16 hexadecimal digits that are no secret."""
        return key_id(self.public)


def key_id(public: bytes) -> str:
    return hashlib.blake2b(public, digest_size=ID_BYTES).hexdigest()


def _private(seed: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise MissingToolError("Pairing needs the package cryptography, which is not installed.", _INSTALL) from error
    return Ed25519PrivateKey.from_private_bytes(seed)


def manifest(key: Key, plan: bytes) -> bytes:
    """What is signed of a plan: counter, size and hash."""
    sizes = key.counter.to_bytes(4, "little") + len(plan).to_bytes(4, "little")
    return sizes + hashlib.blake2b(plan, digest_size=DIGEST_BYTES).digest()


def sign(key: Key, plan: bytes) -> bytes:
    """The signature of a plan, 64 bytes: Ed25519 as in RFC 8032."""
    return bytes(_private(key.signing).sign(PLAN_PURPOSE + manifest(key, plan)))


# --- files ------------------------------------------------------------------------------------------------------------------------


def new(file: Path) -> Key:
    """Makes a key and its file.

    Raises:
        UsageError: there is such a file. StorageFullError: it cannot be written.
    """
    key = Key(secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES), 1)
    try:
        target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(target, "w") as opened:
            opened.write(_text(key))
            os.fsync(opened.fileno())
    except FileExistsError:
        raise UsageError(
            f"There is a file {file} already.", "Name another: a key that is lost cannot be had again."
        ) from None
    except OSError as error:
        raise StorageFullError(f"Cannot write {file}: {error.strerror}.", "Name a file that you may write.") from error
    return key


def read(file: Path) -> Key:
    """The key in a file.

    Raises:
        ConfigError: it cannot be read, others can read it too, or it is none.
    """
    raw = secretfile.read(file, "the key file", _MAKE, _MOST)
    try:
        table = tomllib.loads(raw[:_MOST].decode())
        found = Key(bytes.fromhex(table["signing"]), bytes.fromhex(table["secret"]), table["counter"])
        sound = len(found.signing) == len(found.secret) == KEY_BYTES and type(found.counter) is int
    except (ValueError, KeyError, TypeError):  # whose messages may quote the file
        found, sound = None, False
    if found is None or not sound or not 0 < found.counter <= COUNTER_MAX:
        raise ConfigError(f"{file} is no pairing key.", _MAKE)
    return found


def raise_counter(file: Path) -> Key:
    """Makes all plans signed so far worthless, on each board from the next plan on that it takes; returns the key as it is now.

    Raises:
        as ``read``; StorageFullError: it cannot be written, and the old file is still there.
    """
    key = read(file)
    if key.counter == COUNTER_MAX:
        raise ConfigError(f"The counter of {file} is at its end.", "Make a new key, and write new images.")
    key = replace(key, counter=key.counter + 1)
    try:
        with tempfile.NamedTemporaryFile("w", dir=file.resolve().parent, prefix=".key-", delete=False) as opened:
            opened.write(_text(key))  # such files are made with mode 0600
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(opened.name, file.resolve())
    except OSError as error:
        raise StorageFullError(
            f"Cannot write {file}: {error.strerror}.", "Make room, or the folder writable."
        ) from error
    return key


def _text(key: Key) -> str:
    return f'{_HEAD}signing = "{key.signing.hex()}"\nsecret = "{key.secret.hex()}"\ncounter = {key.counter}\n'
