"""UF2: what goes in comes out, block by block, as the RP2040's boot ROM reads it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn import uf2
from edgelearn.errors import ConfigError

FLASH = 0x1000_0000


def written(raw: bytes) -> dict[int, int]:
    """Plays the boot ROM of the RP2040: the bytes that are in flash after the file was copied, by address.

    It erases a sector at every sixteenth block, and nothing else: erratum RP2040-E14.
    """
    flash: dict[int, int] = {}
    blocks = [struct.unpack("<8I476sI", raw[i : i + 512]) for i in range(0, len(raw), 512)]
    for i, (first, second, flags, address, size, number, count, family, data, last) in enumerate(blocks):
        assert (first, second, last) == (0x0A324655, 0x9E5D5157, 0x0AB16F30)
        assert (flags, size, number, count, family) == (0x2000, 256, i, len(blocks), 0xE48BFF56)
        assert address % 256 == 0
        assert data[256:] == bytes(220)
        if number % 16 == 0:
            sector = address - address % 4096
            flash.update(dict.fromkeys(range(sector, sector + 4096), 0xFF))
        for at, byte in enumerate(data[:256], address):
            assert flash[at] == 0xFF, "programmed without being erased"
            flash[at] = byte
    return flash


@given(st.lists(st.tuples(st.integers(0, 30_000), st.binary(min_size=1, max_size=9_000)), min_size=1, max_size=3))
def test_round_trip(parts: list[tuple[int, bytes]]) -> None:
    segments, at = [], FLASH
    for gap, data in parts:
        segments.append((at + gap, data))
        at += gap + len(data)
    flash = written(uf2.encode(reversed(segments), uf2.RP2040))
    for address, data in segments:
        assert bytes(flash.pop(address + i) for i in range(len(data))) == data
    assert set(flash.values()) <= {0xFF}


def test_an_image_of_one_byte_is_one_sector() -> None:
    raw = uf2.encode([(FLASH, b"\1")], uf2.RP2040)
    assert len(raw) == 16 * 512
    assert raw[32:36] == b"\1\xff\xff\xff"


def test_overlapping_parts_and_no_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="overlap at 0x10000003"):
        uf2.encode([(FLASH, b"1234"), (FLASH + 3, b"5")], uf2.RP2040)
    with pytest.raises(ConfigError, match="empty"):
        uf2.encode([], uf2.RP2040)
