"""What goes to flash is what objcopy says, at the addresses where the chip looks for it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn import boards, elffile, images
from edgelearn.elffile import Segment
from edgelearn.errors import ConfigError


def make_elf(path: Path, parts: list[tuple[int, int, bytes]], machine: int = 40) -> Path:
    """An ELF file of sections (address at run time, load address, bytes), each with a program header of its own."""
    head, programs, sections, body = 52, b"", b"", b""
    start = head + 32 * len(parts)
    for address, load, data in parts:
        at = start + len(body)
        programs += struct.pack("<8I", 1, at, address, load, len(data), len(data), 5, 4)
        sections += struct.pack("<10I", 0, 1, 2, address, at, len(data), 0, 0, 4, 0)
        body += data
    bss = struct.pack("<10I", 0, 8, 3, 0x2000_1000, start, 64, 0, 0, 4, 0)
    comment = struct.pack("<10I", 0, 1, 0, 0, start, 4, 0, 0, 1, 0)
    counts = (32, len(parts), 40, len(parts) + 2, 0)
    table = start + len(body)
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, machine, 1, 0, head, table, 0, head, *counts)
    path.write_bytes(header + programs + body + sections + bss + comment)
    return path


def read_hex(text: str) -> dict[int, int]:
    """The bytes of an Intel HEX file by address, its checksums verified."""
    found: dict[int, int] = {}
    upper, lines = 0, text.splitlines()
    assert lines[-1] == ":00000001FF"
    for line in lines[:-1]:
        raw = bytes.fromhex(line.removeprefix(":"))
        count, at, kind, data = raw[0], int.from_bytes(raw[1:3]), raw[3], raw[4:-1]
        assert sum(raw) & 0xFF == 0, line
        assert count == len(data)
        if kind in (2, 4):  # segments of 16 bytes, as objcopy writes for an AVR, or the upper half of the address
            upper = int.from_bytes(data) << (4 if kind == 2 else 16)
            continue
        assert kind == 0
        assert at + count <= 0x1_0000, "no line goes over a border of 64 KB"
        found |= {upper + at + i: byte for i, byte in enumerate(data)}
    return found


def test_data_lies_where_it_is_loaded_from(tmp_path: Path) -> None:
    elf = make_elf(tmp_path / "a.elf", [(0x2000_0000, 0x0800_0008, b"data"), (0x0800_0000, 0x0800_0000, b"codecode")])
    assert elffile.segments(elf) == [Segment(0x0800_0000, b"codecodedata")]


def test_an_avr_s_eeprom_and_fuses_stay_out(tmp_path: Path) -> None:
    parts = [
        (0, 0, b"code"),
        (0x80_0100, 4, b"data"),
        (0x81_0000, 0x81_0000, b"eeprom"),
        (0x82_0000, 0x82_0000, b"fuse"),
    ]
    assert elffile.segments(make_elf(tmp_path / "a.elf", parts, machine=83)) == [Segment(0, b"codedata")]


@pytest.mark.parametrize(
    "raw", [b"", b"\x7fELF", b"#!/bin/sh\n" * 20, b"\x7fELF\x02\x01" + bytes(60), b"\x7fELF\x01\x01\x01" + bytes(60)]
)
def test_what_is_no_image_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.elf"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="is no firmware image"):
        elffile.segments(path)


@given(st.lists(st.tuples(st.integers(0, 0x5_0000), st.binary(min_size=1, max_size=70)), min_size=1, max_size=5))
def test_hex_keeps_every_byte_at_its_address(parts: list[tuple[int, bytes]]) -> None:
    wanted, segments, end = {}, [], 0
    for gap, data in parts:
        segments.append(Segment(end + gap, data))
        wanted |= {end + gap + i: byte for i, byte in enumerate(data)}
        end += gap + len(data)
    assert read_hex(elffile.intel_hex(segments)) == wanted


# One of each architecture: objcopy is the witness where it is installed.
@pytest.mark.qemu
@pytest.mark.parametrize("board_id", ["microbit", "mps2-an386", "hifive1", "mega2560"])
def test_objcopy_says_the_same(board_id: str, tmp_path: Path) -> None:
    board = boards.load(board_id)
    if shutil.which(f"{board.prefix}objcopy") is None:
        pytest.skip(f"needs {board.prefix}objcopy")
    elf, theirs = images.build(board).path, tmp_path / "theirs.hex"
    subprocess.run([f"{board.prefix}objcopy", "-O", "ihex", str(elf), str(theirs)], check=True)
    lines = theirs.read_text().splitlines()
    theirs_data = "\n".join(line for line in lines if line[7:9] not in ("03", "05"))  # where it starts: no flash
    assert read_hex(elffile.intel_hex(elffile.segments(elf))) == read_hex(theirs_data)
