"""What an ELF image puts into flash, and the text that programmers take it as: Intel HEX.

Python reads it, not objcopy: who has a packaged image need not have a cross compiler.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgelearn.errors import ConfigError

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_PROGRAM = struct.Struct("<8I")  # type, offset, vaddr, paddr, filesz, memsz, flags, align
_SECTION = struct.Struct("<10I")  # name, type, flags, addr, offset, size, link, info, addralign, entsize
_MAGIC = b"\x7fELF\x01\x01"  # 32 bits, little-endian
_NOBITS, _ALLOC, _LOAD = 8, 2, 1
_AVR, _AVR_RAM = 83, 0x80_0000  # the linker's addresses of an AVR's RAM, EEPROM and fuses begin there
_RECORD = 16  # data bytes in a line, as everybody writes them
_DATA, _END, _UPPER = 0, 1, 4  # kinds of a line


@dataclass(frozen=True)
class Segment:
    """Bytes and where they lie when the board is switched on."""

    address: int
    data: bytes


def segments(elf: Path) -> list[Segment]:
    """What ``elf`` puts into flash, by load address, neighbours joined.

    Raises:
        ConfigError: it is no 32-bit little-endian ELF file.
    """
    try:
        raw = elf.read_bytes()
        found = sorted(_loaded(raw), key=lambda segment: segment.address)
    except (OSError, struct.error) as error:
        raise ConfigError(f"{elf} is no firmware image: {error}.", "Build it again: edgelearn flash BOARD") from error
    if not found:
        raise ConfigError(f"{elf} is no firmware image of a microcontroller.", "Build it again: edgelearn flash BOARD")
    return _joined(found)


def _loaded(raw: bytes) -> Iterator[Segment]:
    """The sections with contents, at their load address: a section's own address is that at run time."""
    ident, _, machine, _, _, programs, sections, _, _, size, count, wide, many, _ = _HEADER.unpack_from(raw)
    if not ident.startswith(_MAGIC) or (size, wide) != (_PROGRAM.size, _SECTION.size):
        return
    loads = [_PROGRAM.unpack_from(raw, programs + i * size) for i in range(count)]
    for i in range(many):
        _, kind, flags, _, offset, nbytes, *_ = _SECTION.unpack_from(raw, sections + i * wide)
        if kind == _NOBITS or not flags & _ALLOC or not nbytes:
            continue
        for form, start, _, address, length, *_ in loads:
            at = address + offset - start
            if form == _LOAD and start <= offset < start + length and not (machine == _AVR and at >= _AVR_RAM):
                yield Segment(at, raw[offset : offset + nbytes])


def _joined(found: Sequence[Segment]) -> list[Segment]:
    joined: list[Segment] = []
    for segment in found:
        last = joined[-1] if joined else None
        if last is not None and last.address + len(last.data) == segment.address:
            joined[-1] = Segment(last.address, last.data + segment.data)
        else:
            joined.append(segment)
    return joined


def intel_hex(found: Sequence[Segment]) -> str:
    """The segments as Intel HEX, with 32-bit addresses."""
    lines: list[str] = []
    upper = 0
    for segment in found:
        at, end = segment.address, segment.address + len(segment.data)
        while at < end:
            if at >> 16 != upper:
                upper = at >> 16
                lines.append(_record(0, _UPPER, upper.to_bytes(2)))
            stop = min(end, at + _RECORD, (upper + 1) << 16)  # a line does not go over a border of 64 KB
            part = segment.data[at - segment.address : stop - segment.address]
            lines.append(_record(at & 0xFFFF, _DATA, part))
            at = stop
    return "\n".join([*lines, _record(0, _END, b""), ""])


def _record(address: int, kind: int, data: bytes) -> str:
    body = bytes([len(data), address >> 8, address & 0xFF, kind]) + data
    return f":{body.hex().upper()}{-sum(body) & 0xFF:02X}"
