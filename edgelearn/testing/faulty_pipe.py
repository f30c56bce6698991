"""A line that damages what passes over it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from edgelearn.link.transport import Transport

KINDS = ("flip", "drop", "dup", "swap")


class FaultyPipe:
    """Wraps a transport and damages bytes both ways, as ``seed`` says.

    Args:
        rate: chance of each byte to be hit, 0..1.
        kinds: what can happen to it: one bit flips, it is lost, it comes twice, it changes places with the next one of
            the same write or read.

    ``faults`` counts the bytes hit. The two directions have generators of their own, so that how the reads are cut does
    not change what happens to the writes.
    """

    def __init__(self, transport: Transport, rate: float, kinds: Sequence[str] = KINDS, seed: int = 0) -> None:
        if not 0 <= rate <= 1 or not kinds or not set(kinds) <= set(KINDS):
            raise ValueError(f"rate must be within 0..1 and kinds some of {KINDS}")
        self.faults = 0
        self._inner = transport
        self._rate = rate
        self._kinds = tuple(kinds)
        self._in, self._out = Random(f"in {seed}"), Random(f"out {seed}")

    @property
    def name(self) -> str:
        return self._inner.name

    def read(self, timeout: float) -> bytes:
        return self._damage(self._inner.read(timeout), self._in)

    def write(self, data: bytes) -> None:
        self._inner.write(self._damage(data, self._out))

    def reset_input(self) -> None:
        self._inner.reset_input()

    def close(self) -> None:
        self._inner.close()

    def _damage(self, data: bytes, random: Random) -> bytes:
        out = bytearray()
        rest = iter(data)
        for byte in rest:
            if random.random() >= self._rate:
                out.append(byte)
                continue
            self.faults += 1
            kind = random.choice(self._kinds)
            if kind == "flip":
                out.append(byte ^ 1 << random.randrange(8))
            elif kind == "dup":
                out += bytes((byte, byte))
            elif kind == "swap":
                out += bytes((*([second] if (second := next(rest, None)) is not None else []), byte))
        return bytes(out)
