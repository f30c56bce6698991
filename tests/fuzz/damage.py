"""Frames of every message, damaged: what firmware/tests/frames_main.c counts, and the decoder in Python beside it."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from edgelearn.link import messages
from edgelearn.link.frame import Decoder, encode
from tests.firmware.host import FIRMWARE, compile_host

DAMAGED, FIRST, SECOND, WRONG = 1, 2, 4, 8  # of frames_main.c
SECONDS = 3600
GOOD = (messages.pack("results", 0x55), messages.pack("init", 0x5A, seed=7))  # after each damaged frame


@dataclass(frozen=True)
class Damage:
    """``wrong``: streams of which something was taken that was never sent; ``lost``: that cost more than one good frame after them."""

    streams: int
    wrong: int
    lost: int
    sample: tuple[tuple[int, bytes], ...]  # (which frames were taken, the damaged bytes)

    def __add__(self, other: Damage) -> Damage:
        return Damage(
            self.streams + other.streams, self.wrong + other.wrong, self.lost + other.lost, self.sample + other.sample
        )


def message(kind: messages.MessageType, data_bytes: int, draw: Random) -> bytes:
    """A frame of this type with likely values; ``data_bytes`` of data where it has some, cut to the longest frame."""
    fields: dict[str, int | bytes] = {}
    for name, letter in kind.fields:
        size = struct.calcsize(letter)
        fields[name] = draw.randbytes(size) if letter.endswith("s") else draw.randrange(1 << (8 * size - 1))
    room = messages.MAX_FRAME - 4 - kind.fixed.size
    data = draw.randbytes(min(data_bytes, room)) if kind.tail == "data" else b""
    return messages.pack(kind.name, draw.randrange(256), data, (), **fields)


def every_message(data_bytes: int, seed: int = 0) -> list[bytes]:
    draw = Random(seed)
    return [message(kind, data_bytes, draw) for kind in messages.MESSAGES]


def build(folder: Path, *flags: str) -> Path:
    sources = [FIRMWARE / "tests/frames_main.c", FIRMWARE / "core/frame.c"]
    return compile_host(folder / "frames", sources, "-O2", *flags)


def damage(program: Path, frames: Sequence[bytes], how: str, number: int, every: int = 997) -> Damage:
    """``how``: "flips" of ``number`` bits, all of them, or "noise" in ``number`` streams. Keeps a sample of every ``every``-th."""
    source, sample = program.with_name("frames.bin"), program.with_name("sample.bin")
    wire = [encode(frame) for frame in (*frames, *GOOD)]
    source.write_bytes(b"".join(struct.pack("<H", len(line)) + line for line in wire))
    command = [program, source, sample, every, how, number]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=SECONDS, check=True)
    streams, wrong, lost = map(int, done.stdout.split())
    return Damage(streams, wrong, lost, tuple(_samples(sample.read_bytes())))


def _samples(raw: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(raw):
        n, taken = struct.unpack_from("<HB", raw, at)
        yield taken, raw[at + 3 : at + 3 + n]
        at += 3 + n


def taken_by_python(line: bytes, frames: Sequence[bytes]) -> int:
    """What our decoder makes of a damaged stream and the two good frames, in the bits of frames_main.c."""
    decoder, taken = Decoder(), 0
    for frame in decoder.feed(line + encode(GOOD[0]) + encode(GOOD[1])):
        taken |= FIRST if frame == GOOD[0] else SECOND if frame == GOOD[1] else DAMAGED if frame in frames else WRONG
    return taken
