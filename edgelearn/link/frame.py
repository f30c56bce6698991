"""Frames on the wire: COBS around ``frame | crc32``, ended by one zero byte."""

from __future__ import annotations

import zlib

from cobs import cobs

from edgelearn.link.messages import MAX_FRAME

_HEADER, _CRC = 4, 4
_RESIDUE = 0x2144DF1C  # crc32 over anything followed by its own little-endian crc32
_LONGEST = cobs.max_encoded_length(MAX_FRAME + _CRC)


def encode(frame: bytes) -> bytes:
    """The bytes to send for one frame (``type | seq | length | body``, without CRC)."""
    return cobs.encode(frame + zlib.crc32(frame).to_bytes(4, "little")) + b"\0"


def wire_size(frame_bytes: int) -> int:
    """The most bytes that ``encode`` makes of a frame of ``frame_bytes``."""
    return cobs.max_encoded_length(frame_bytes + _CRC) + 1


class Decoder:
    """Takes the byte stream apart. Damaged frames are dropped and counted in ``bad``; it keeps at most one frame."""

    def __init__(self) -> None:
        self.bad = 0
        self._tail = b""
        self._skipping = False  # inside something longer than any frame: wait for the next zero

    def feed(self, data: bytes) -> list[bytes]:
        """Every whole frame (without CRC) that ``data`` completes, in order."""
        *ended, self._tail = (self._tail + data).split(b"\0")
        if self._skipping and ended:
            del ended[0]
            self._skipping = False
        if len(self._tail) > _LONGEST:
            self.bad += not self._skipping
            self._skipping = True
        if self._skipping:
            self._tail = b""
        return [frame for piece in ended if piece and (frame := self._decode(piece))]

    def _decode(self, piece: bytes) -> bytes | None:
        try:
            whole = cobs.decode(piece)
        except cobs.DecodeError:
            whole = b""
        length = int.from_bytes(whole[2:4], "little")
        if zlib.crc32(whole) != _RESIDUE or len(whole) != _HEADER + length + _CRC or len(piece) > _LONGEST:
            self.bad += 1
            return None
        return whole[:-_CRC]
