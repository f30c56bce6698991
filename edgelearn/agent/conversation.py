"""What one client says and hears: frames, and whether it may say anything at all."""

from __future__ import annotations

import secrets
import struct

from edgelearn.agent.device import ERR_SIZE, ERR_UNKNOWN, ERR_VERSION, KEEP_PART, Device
from edgelearn.link.frame import Decoder, encode
from edgelearn.link.messages import BY_CODE, TLV_CHALLENGE, TLV_PROOF, TLV_REQUIRED, Message, pack, unpack
from edgelearn.link.refusals import ERR_BUSY, ERR_TOKEN
from edgelearn.link.token import CHALLENGE_BYTES, is_proof

_HEADER = struct.Struct("<BBH")


class Conversation:
    """Bytes in, bytes out.

    Args:
        secret: what a client must prove to have before it hears more than which board this is; None: nothing.

    Attributes:
        over: it gave a wrong proof: hang up.
    """

    def __init__(self, device: Device, secret: bytes | None = None) -> None:
        self._device, self._secret = device, secret
        self._challenge = secrets.token_bytes(CHALLENGE_BYTES)
        self._welcome = secret is None
        self._decoder = Decoder()
        self.over = False

    def feed(self, data: bytes) -> bytes:
        """Handles what has arrived; returns what to send."""
        bad = self._decoder.bad
        frames = self._decoder.feed(data)
        self._device.bad_frames += self._decoder.bad - bad
        out = bytearray()
        for frame in frames:
            reply = None if self.over else self._answer(frame)
            if reply is not None:
                out += encode(reply)
        return bytes(out)

    def _answer(self, frame: bytes) -> bytes | None:
        message = _read(frame)
        if message is None:
            return None
        if isinstance(message, int):
            if not _keeps_part(frame):
                self._device.forget_part()
            return _status(frame[1], message)
        return self._device.answer(message) if self._welcome else self._let_in(message)

    def _let_in(self, m: Message) -> bytes:
        """Only a hello with the right proof opens the door; one without hears how to get in."""
        if m.name != "hello":
            return _status(m.seq, ERR_TOKEN)
        proof = dict(m.tlvs).get(TLV_PROOF)
        if proof is None:
            return self._device.hello(m.seq, ((TLV_CHALLENGE, self._challenge),))
        if self._secret is not None and is_proof(self._secret, self._challenge, proof):
            self._welcome = True
            return self._device.answer(m) or b""
        self.over = True
        return _status(m.seq, ERR_TOKEN)


class Busy:
    """A conversation with a client that came too late: one answer, then it is over."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self.over = False

    def feed(self, data: bytes) -> bytes:
        frames = self._decoder.feed(data)
        if not frames or self.over:
            return b""
        self.over = True
        return encode(_status(frames[0][1], ERR_BUSY))


def _status(seq: int, code: int) -> bytes:
    return pack("status", seq, code=code, detail=0)


def _keeps_part(frame: bytes) -> bool:
    kind = BY_CODE.get(frame[0])
    return kind is not None and kind.name in KEEP_PART


def _read(frame: bytes) -> Message | int | None:
    """The request in a frame, the code that it is refused with, or None for our own answer, echoed by the line."""
    code, _, length = _HEADER.unpack_from(frame)
    kind = BY_CODE.get(code)
    if kind is None or kind.sender != "host":
        return None if kind is not None and kind.name == "status" else ERR_UNKNOWN
    if length < kind.fixed.size:
        return ERR_SIZE
    if kind.tail == "tlv" and (refused := _check_tlvs(frame[_HEADER.size + kind.fixed.size :])):
        return refused
    return unpack(frame)


def _check_tlvs(rest: bytes) -> int:
    """0, or why not: unknown ones are skipped, but not where they say that they must be known."""
    while rest:
        if len(rest) < 2 or rest[1] > len(rest) - 2:
            return ERR_SIZE
        if rest[0] & TLV_REQUIRED:
            return ERR_VERSION
        rest = rest[2 + rest[1] :]
    return 0
