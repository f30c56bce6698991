"""UF2: an image in blocks that can be copied to a USB drive in any order (https://github.com/microsoft/uf2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from edgelearn.errors import ConfigError

RP2040 = 0xE48B_FF56  # family id
PAGE = 256  # bytes of a block
SECTOR = 4096  # erased at once

_BLOCK = struct.Struct("<8I476sI")
_START, _SECOND, _END = 0x0A32_4655, 0x9E5D_5157, 0x0AB1_6F30
_HAS_FAMILY = 0x2000


def encode(segments: Iterable[tuple[int, bytes]], family: int) -> bytes:
    """Segments of flash, as (address, bytes), in UF2.

    Sectors are filled up with 0xFF: the RP2040's boot ROM erases one for every 16 blocks, whatever their addresses
    (erratum RP2040-E14).

    Raises:
        ConfigError: there is nothing to write, or two segments overlap.
    """
    sectors = _sectors(segments)
    pages = [
        (start + at, bytes(sectors[start][at : at + PAGE]))
        for start in sorted(sectors)
        for at in range(0, SECTOR, PAGE)
    ]
    return b"".join(
        _BLOCK.pack(_START, _SECOND, _HAS_FAMILY, address, PAGE, i, len(pages), family, page, _END)
        for i, (address, page) in enumerate(pages)
    )


def _sectors(segments: Iterable[tuple[int, bytes]]) -> dict[int, bytearray]:
    """The sectors that hold the segments, by address."""
    sectors: dict[int, bytearray] = {}
    end = -1
    for address, data in sorted(segments):
        if address < end:
            raise ConfigError(f"Two parts of the image overlap at {address:#010x}.", "Build it again.")
        end = address + len(data)
        for start in range(address - address % SECTOR, end, SECTOR):
            first, last = max(address, start), min(end, start + SECTOR)
            sector = sectors.setdefault(start, bytearray(b"\xff" * SECTOR))
            sector[first - start : last - start] = data[first - address : last - address]
    if not sectors:
        raise ConfigError("The image is empty.", "Build it again.")
    return sectors
