"""Readings of a run, packed: many of one name in one row, so that a step may have some without the store growing large.

A part holds up to PART readings of a name, in order of steps. Where a run has more than LIMIT bytes of them, older parts are halved:
each two neighbouring readings become their mean. ``width`` says how many readings one of a part stands for.
"""

from __future__ import annotations

import sqlite3
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

SCHEMA = (
    "CREATE TABLE readings (run TEXT, name TEXT, part INTEGER, width INTEGER, data BLOB, PRIMARY KEY (run, name, part))"
)
PART = 1024
LIMIT = 16_000_000  # bytes of the packed readings of a run: with what the file has around them under 20 MB
_ROW = 100  # bytes of a row beside its data
_HEAD = struct.Struct(
    "<BBIqq"
)  # type of steps, of values; count; first step, distance of all that follow (0: they are listed)
_TYPES = "bfd"
_BYTES = frozenset(map(float, range(-128, 128)))
_LIST, _EVEN = ord("l"), ord("e")

Reading = tuple[int, float]


# --- bytes ------------------------------------------------------------------------------------------------------------------------


def pack(readings: Sequence[Reading]) -> bytes:
    """``readings``, whose steps grow, as bytes: steps at even distances cost nothing, small whole numbers a byte."""
    steps, values = [step for step, _ in readings], [value for _, value in readings]
    gaps = [b - a for a, b in pairwise(steps)]
    even = len(set(gaps)) <= 1
    kind = _smallest(values)
    body = b"" if even else _raw(array("q", gaps))
    head = _HEAD.pack(_EVEN if even else _LIST, ord(kind), len(steps), steps[0], gaps[0] if even and gaps else 0)
    return head + zlib.compress(body + _raw(array(kind, map(int, values) if kind == "b" else values)), 6)


def unpack(raw: bytes) -> list[Reading]:
    """What ``pack`` was given.

    Raises:
        ValueError: the bytes are damaged.
    """
    try:
        how, kind, count, first, gap = _HEAD.unpack_from(raw)
        steps_bytes = 0 if how == _EVEN else 8 * (count - 1)
        values = array(chr(kind) if chr(kind) in _TYPES else "d")
        size = steps_bytes + count * values.itemsize
        if how not in (_EVEN, _LIST) or chr(kind) not in _TYPES or not 1 <= count <= PART:
            raise ValueError(f"{count} readings in a part")
        body = zlib.decompressobj().decompress(raw[_HEAD.size :], size)
        if len(body) != size:
            raise ValueError(f"{len(body)} bytes instead of {size}")
    except (struct.error, zlib.error) as error:
        raise ValueError(f"readings cannot be unpacked: {error}") from error
    gaps = array("q", _native(body[:steps_bytes], 8)) if steps_bytes else [gap] * (count - 1)
    values.frombytes(_native(body[steps_bytes:], values.itemsize))
    return list(zip(accumulate(gaps, initial=first), map(float, values), strict=True))


def _smallest(values: Sequence[float]) -> str:
    """The type in which no value loses anything."""
    if all(value in _BYTES for value in values):
        return "b"
    return "f" if all(a == b or b != b for a, b in zip(array("f", values), values, strict=True)) else "d"


def _raw(numbers: array[int] | array[float]) -> bytes:
    return _native(numbers.tobytes(), numbers.itemsize)


def _native(raw: bytes, size: int) -> bytes:
    """Little-endian bytes as this computer has them, and back."""
    if sys.byteorder == "little" or size == 1:
        return raw
    swapped = array({4: "I", 8: "Q"}[size], raw)
    swapped.byteswap()
    return swapped.tobytes()


def merged(*parts: Iterable[Reading]) -> list[Reading]:
    """All readings in order of steps; of one step the latest, for it was learnt again."""
    flat = [reading for part in parts for reading in part]
    if all(a < b for (a, _), (b, _) in pairwise(flat)):
        return flat
    return sorted(dict(flat).items())


def halved(readings: Sequence[Reading]) -> list[Reading]:
    """Each two neighbours as their mean, at the step of the second."""
    pairs = (readings[i : i + 2] for i in range(0, len(readings), 2))
    return [(pair[-1][0], sum(value for _, value in pair) / len(pair)) for pair in pairs]


# --- the table --------------------------------------------------------------------------------------------------------------------


class Readings:
    """The table of readings in an open store, and those that wait to be written. Whoever calls ``write`` has begun a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._waiting: dict[tuple[str, str], list[Reading]] = {}
        self.count = 0  # of those that wait

    def add(self, run: str, name: str, readings: Sequence[Reading]) -> None:
        self._waiting.setdefault((run, name), []).extend(readings)
        self.count += len(readings)

    def write(self) -> None:
        """Writes what waits; it waits on until ``written``, in case the transaction fails."""
        grown = {run for (run, name), readings in self._waiting.items() if self._append(run, name, readings)}
        for run in grown:
            self._shrink(run)

    def written(self) -> None:
        self._waiting.clear()
        self.count = 0

    def curves(self, run: str) -> Iterator[tuple[str, list[Reading], int]]:
        """Names, their readings in order, and how many logged ones the widest of them stands for.

        Raises:
            ValueError: a row holds something else.
        """
        rows = self._db.execute("SELECT name, width, data FROM readings WHERE run = ? ORDER BY name, part", (run,))
        named: dict[str, list[tuple[int, bytes]]] = {}
        for name, width, data in rows:
            if not isinstance(name, str) or not isinstance(width, int) or not isinstance(data, bytes):
                raise ValueError("readings of another type")
            named.setdefault(name, []).append((width, data))
        for name, parts in named.items():
            yield name, merged(*(unpack(data) for _, data in parts)), max(width for width, _ in parts)

    def newest(self, run: str) -> dict[str, Reading]:
        """The last reading of each name.

        Raises:
            ValueError: a row holds something else.
        """
        query = "SELECT name, data, max(part) FROM readings WHERE run = ? GROUP BY name"
        found = self._db.execute(query, (run,)).fetchall()
        if not all(isinstance(name, str) and isinstance(data, bytes) for name, data, _ in found):
            raise ValueError("readings of another type")
        return {name: unpack(data)[-1] for name, data, _ in found}

    def _append(self, run: str, name: str, readings: Sequence[Reading]) -> bool:
        """Fills the newest part of the name, then new ones; True if there are new ones."""
        query = "SELECT part, width, data FROM readings WHERE run = ? AND name = ? ORDER BY part DESC LIMIT 1"
        newest = self._db.execute(query, (run, name)).fetchone()
        part, fresh = (newest[0] + 1, merged(readings)) if newest else (0, merged(readings))
        if newest and newest[1] == 1 and len(kept := unpack(newest[2])) < PART:
            part, fresh = newest[0], merged(kept, fresh)
        for i in range(0, len(fresh), PART):
            self._put(run, name, part, 1, fresh[i : i + PART])
            part += 1
        return newest is None or part - 1 > newest[0]

    def _put(self, run: str, name: str, part: int, width: int, readings: Sequence[Reading]) -> None:
        row = (run, name, part, width, pack(readings))
        self._db.execute("INSERT OR REPLACE INTO readings VALUES (?,?,?,?,?)", row)

    def _shrink(self, run: str) -> None:
        """Halves older parts until there is room again, the finest first; the newest part of a name stays as it is."""
        while self._size(run) > LIMIT:
            query = "SELECT name, part, width FROM readings WHERE run = ? ORDER BY name, part"
            rows = [
                (name, part, width, then)
                for (name, part, width), (other, then, same) in pairwise(self._db.execute(query, (run,)).fetchall())
                if name == other and width == same
            ]
            newest = {name: then for name, _, _, then in rows}
            rows = sorted((row for row in rows if row[3] != newest[row[0]]), key=lambda row: (row[1], row[0]))
            if not rows:
                return
            finest = min(width for _, _, width, _ in rows)
            self._halve(run, [row for row in rows if row[2] == finest])

    def _size(self, run: str) -> int:
        query = f"SELECT coalesce(sum(length(data) + {_ROW}), 0) FROM readings WHERE run = ?"  # noqa: S608 (a number)
        return int(self._db.execute(query, (run,)).fetchone()[0])

    def _halve(self, run: str, neighbours: Sequence[tuple[str, int, int, int]]) -> None:
        """Two parts become one, of the older half of all that may."""
        gone: set[tuple[str, int]] = set()
        for name, part, width, then in neighbours[: (len(neighbours) + 1) // 2]:
            if (name, part) in gone:
                continue
            query = "SELECT data FROM readings WHERE run = ? AND name = ? AND part IN (?, ?) ORDER BY part"
            both = merged(*(unpack(data) for (data,) in self._db.execute(query, (run, name, part, then))))
            self._put(run, name, part, 2 * width, halved(both))
            self._db.execute("DELETE FROM readings WHERE run = ? AND name = ? AND part = ?", (run, name, then))
            gone.add((name, then))
