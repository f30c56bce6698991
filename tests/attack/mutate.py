"""Files that are nearly right: what a byte mutator makes of good ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

ODD = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
WORDS = (
    b"nan", b"inf", b"-1", b"0", b"1e400", b"99999999999999999999", b"2147483648", b"4294967295", b"-9223372036854775809", b"true",
    b"null", b"[]", b"{}", b'""', b"[[[[", b"{{{{", b"\"", b"\n", b",", b"=", b"../../etc/passwd", b"/dev/zero", b"\xff\xfe", b"\x00",
    b"__import__('os')", b"%s%n", "\u202e\U0001f600".encode(),
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
Mutation = Callable[[bytearray, Random, Sequence[bytes]], None]


def mutated(seeds: Sequence[bytes], random: Random) -> bytes:
    """One of the good files with a few things wrong."""
    raw = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        random.choice(_MUTATIONS)(raw, random, seeds)
    return bytes(raw)


def _at(raw: bytearray, random: Random) -> int:
    """A place, more often near the beginning, where the headers are."""
    return random.randrange(min(len(raw), 200 if random.random() < 0.4 else len(raw)) or 1)


def _flip(raw: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    if raw:
        raw[_at(raw, random)] ^= 1 << random.randrange(8)


def _odd(raw: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    if raw:
        at, width = _at(raw, random), random.choice((1, 2, 4, 8))
        raw[at : at + width] = bytes([random.choice(ODD)]) * min(width, len(raw) - at)


def _cut(raw: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    at = _at(raw, random)
    del raw[at : at + random.choice((1, 4, 64, len(raw)))]


def _again(raw: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    at = _at(raw, random)
    part = bytes(raw[at : at + random.choice((1, 8, 64))])
    raw[at:at] = part * random.choice((1, 2, 500))


def _spliced(raw: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    other = random.choice(seeds)
    if other:
        at, start = _at(raw, random), random.randrange(len(other))
        raw[at : at + random.choice((0, 16))] = other[start : start + random.choice((16, 200))]


def _word(raw: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    at = _at(raw, random)
    raw[at:at] = random.choice(WORDS)


def _number(raw: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    found = list(_NUMBER.finditer(bytes(raw[: 1 << 16])))
    if found:
        hit = random.choice(found)
        raw[hit.start() : hit.end()] = random.choice(WORDS[:9])


def _deep(raw: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    at = _at(raw, random)
    raw[at:at] = random.choice((b"[", b'{"a":', b"(", b"a.")) * 5000


_MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _flip,
    _odd,
    _odd,
    _cut,
    _again,
    _spliced,
    _word,
    _word,
    _number,
    _number,
    _deep,
)
