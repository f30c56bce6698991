"""A line that damages what passes over it."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, log1p
from random import Random

from edgelearn.link.transport import Transport

KINDS = ("flip", "drop", "dup", "swap", "junk", "split", "merge")
_LATE_S = 0.01  # that a chunk waits for the next one which it is merged with


class FaultyPipe:
    """Wraps a transport and damages bytes both ways, as ``seed`` says.

    Args:
        rate: chance of each byte to be hit, 0..1.
        kinds: what can happen to it: one bit flips, it is lost, it comes twice, it changes places with the next one of
            the same write or read, any byte comes before it, what follows it comes later (split), or all of its chunk
            comes later, together with the next one (merge).

    ``faults`` counts the bytes hit. The two directions have generators of their own, so that how the reads are cut does
    not change what happens to the writes. ``cut`` set: nothing passes any more, either way.
    """

    def __init__(self, transport: Transport, rate: float, kinds: Sequence[str] = KINDS, seed: int = 0) -> None:
        if not 0 <= rate <= 1 or not kinds or not set(kinds) <= set(KINDS):
            raise ValueError(f"rate must be within 0..1 and kinds some of {KINDS}")
        self.faults = 0
        self.cut = False
        self._inner = transport
        self._in = _Direction(rate, tuple(kinds), Random(f"in {seed}"))
        self._out = _Direction(rate, tuple(kinds), Random(f"out {seed}"))

    @property
    def name(self) -> str:
        return self._inner.name

    def read(self, timeout: float) -> bytes:
        self._write(self._out.late())
        if late := self._in.late():
            return late
        data = self._damaged(self._in, self._inner.read(timeout))
        if not data and self._in.merges:
            data = self._in.late() + self._damaged(self._in, self._inner.read(_LATE_S))
        return b"" if self.cut else data

    def write(self, data: bytes) -> None:
        late = self._out.late()
        self._write(late + self._damaged(self._out, data))

    def reset_input(self) -> None:
        self._in.late()
        self._inner.reset_input()

    def close(self) -> None:
        self._inner.close()

    def _write(self, data: bytes) -> None:
        if data and not self.cut:
            self._inner.write(data)

    def _damaged(self, way: _Direction, data: bytes) -> bytes:
        faults = way.faults
        data = way.damage(data)
        self.faults += way.faults - faults
        return data


class _Direction:
    """What happens to bytes that go one way. ``merges``: all of the last chunk waits for the next."""

    def __init__(self, rate: float, kinds: Sequence[str], random: Random) -> None:
        self.faults = 0
        self.merges = False
        self._rate, self._kinds, self._random = rate, kinds, random
        self._late = b""
        self._good = self._gap()  # bytes that pass unharmed before the next that is hit

    def late(self) -> bytes:
        """What was held back until now."""
        late, self._late = self._late, b""
        self.merges = False
        return late

    def damage(self, data: bytes) -> bytes:
        """What of ``data`` passes now."""
        out, at, split = bytearray(), 0, 0
        while at + self._good < len(data):
            hit = at + int(self._good)
            kind = self._random.choice(self._kinds)
            changed, taken = self._hit(kind, data[hit : hit + 2])
            out += data[at:hit] + changed
            at = hit + taken
            self.faults += 1
            self.merges |= kind == "merge"
            if kind == "split" and not split:
                split = len(out)
            self._good = self._gap()
        self._good -= len(data) - at
        out += data[at:]
        now = 0 if self.merges else split or len(out)
        self._late += bytes(out[now:])
        return bytes(out[:now])

    def _gap(self) -> float:
        """Drawn at once, since a number for each byte would cost more than all else on the line."""
        if self._rate in (0.0, 1.0):
            return 0 if self._rate else inf
        return int(log(1 - self._random.random()) / log1p(-self._rate))

    def _hit(self, kind: str, ahead: bytes) -> tuple[bytes, int]:
        """What becomes of the first of these bytes, or of both; and of how many."""
        byte = ahead[:1]
        if kind == "flip":
            return bytes((ahead[0] ^ 1 << self._random.randrange(8),)), 1
        if kind == "drop":
            return b"", 1
        if kind == "dup":
            return byte + byte, 1
        if kind == "junk":
            return self._random.randbytes(1) + byte, 1
        return (ahead[::-1], len(ahead)) if kind == "swap" else (byte, 1)
