"""Exponents that are known or computed, and the shifts that bring integers from one to another, as the interpreter shifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgelearn_export.tflite.integers_values import LARGEST, Ints, binary, constant, maximum, minimum, where
from edgelearn_export.tflite.integers_writer import Writer

POW2 = np.array([1 << k for k in range(31)] + [0], np.int32)  # what is shifted by 31 is 0 or saturates
WORD = 31  # a shift by it leaves the sign


@dataclass(frozen=True)
class Power:
    """An exponent: a number that is known and values that the graph computes, each with how often it is in it."""

    const: int = 0
    terms: tuple[tuple[Ints, int], ...] = ()

    @classmethod
    def of(cls, value: Ints | int) -> Power:
        if isinstance(value, int):
            return cls(value)
        return cls(int(value.known.reshape(-1)[0])) if value.known is not None else cls(0, ((value, 1),))

    def __add__(self, other: Power | int) -> Power:
        other = Power(other) if isinstance(other, int) else other
        counts = dict(self.terms)
        for value, n in other.terms:
            counts[value] = counts.get(value, 0) + n
        return Power(self.const + other.const, tuple((v, n) for v, n in counts.items() if n))

    def __neg__(self) -> Power:
        return Power(-self.const, tuple((v, -n) for v, n in self.terms))

    def __sub__(self, other: Power | int) -> Power:
        return self + -other

    @property
    def number(self) -> int | None:
        """It, if it is known."""
        return None if self.terms else self.const

    def value(self, graph: Writer) -> Ints:
        """It as a scalar of the graph."""
        total = constant(graph, self.const)
        for value, n in self.terms:
            total = value * n if total.known is not None and not total.known.any() else total + value * n
        return total


def larger(a: Power, b: Power, graph: Writer) -> Power:
    gap = (a - b).number
    if gap is not None:
        return a if gap >= 0 else b
    return Power.of(maximum(a.value(graph), b.value(graph)))


# --- shifts ---------------------------------------------------------------------------------------------------------------------------


def shift_round(q: Ints, shift: Power | Ints | int) -> Ints:
    """q * 2**-shift as ``edgelearn.ir.types.shift_round`` has it: to nearest, half away from zero; what grows saturates to 32 bits."""
    if isinstance(shift, Power):
        shift = shift.const if shift.number is not None else shift.value(q.graph)
    if isinstance(shift, int) and shift == 0:
        return q
    if isinstance(shift, int) and 0 < shift <= WORD and q.known is None and (near := _nearest(q, shift)) is not None:
        return near
    size = q.abs()
    if isinstance(shift, int):
        moved = _down(size, min(shift - 1, 31)) if shift > 0 else _up(size, min(-shift, 31))
    else:
        down = _down(size, minimum(maximum(shift - 1, 0), 31))
        moved = where(shift > 0, down, _up(size, minimum(maximum(-shift, 0), 31)))
    return where(q < 0, -moved, moved)


def _nearest(q: Ints, shift: int) -> Ints | None:
    """q / 2^shift in few ops: an exact half less one unit where q is negative; None where that sum could overflow."""
    half = 1 << shift - 1
    if q.graph.whole_floats or q.bound + half + 1 > LARGEST:
        return None
    found = (q + half + (q >> WORD)) >> shift
    found.bound = (q.bound + half) >> shift
    return found


def _down(size: Ints, less: Ints | int) -> Ints:
    """size / 2^(less + 1), half rounded up, without a sum that could overflow."""
    kept = size >> less
    return kept - (kept >> 1)


def _up(size: Ints, left: Ints | int) -> Ints:
    """size * 2^left, or the largest number."""
    if isinstance(left, int) and size.bound << left <= LARGEST:
        return size * (1 << left)
    if isinstance(left, int):
        return where(size > (LARGEST >> left), LARGEST, size * int(POW2[left]))
    return where(size > (constant(size.graph, LARGEST) >> left), LARGEST, size * power_of_two(left))


def power_of_two(k: Ints) -> Ints:
    """2^k for k from 0 to 30."""
    return constant(k.graph, POW2.astype(np.int64)).at(k)


def shifted(q: Ints, left: Ints) -> Ints:
    """q * 2^left where that is no more than 31 bits; what falls off at the right is lost."""
    return (q * power_of_two(minimum(maximum(left, 0), 31))) >> maximum(-left, 0)


def bit_count(q: Ints) -> Ints:
    """How many bits positive integers have."""
    reached = q.reshaped((*q.shape, 1)) > constant(q.graph, POW2[:31].astype(np.int64) - 1)
    return reached.sum(len(q.shape))


def saturated_sum(a: Ints, b: Ints) -> Ints:
    """a + b within 32 bits."""
    if a.known is not None and b.known is not None:
        return constant(a.graph, np.clip(a.known + b.known, -LARGEST, LARGEST))
    if a.bound + b.bound <= LARGEST:
        return a + b
    wide = binary("ADD", np.add, a, b, "i64", "i64")
    limits = constant(a.graph, LARGEST), constant(a.graph, -LARGEST)
    low = binary("MINIMUM", np.minimum, wide, limits[0], "i64", "i64")
    return binary("MAXIMUM", np.maximum, low, limits[1], "i64", "i64")
