"""Exact integers in a graph: values with the power of two that a unit is worth, rounding shifts, alignment and narrowing.

A value has shape (batch, size) whatever shape a sample has; ops that need a map reshape it. Everything is int64 unless it is known to fit
less. A power of two may be known when the graph is written, as in inference, or only when it runs, as in the training step: shifts by
amounts that cancel then vanish from the graph either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgelearn.ir.types import LIMIT
from edgelearn_export.onnx.graph import TYPES, Graph

I32 = LIMIT["i32"]
HELD = {"u8": np.uint8, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
POWERS = np.array([1 << n for n in range(62)], np.int64)
MAX_LEFT, MAX_RIGHT = 31, 40  # ``shift_round`` shifts no further
MANY = 1 << 62
OFFSET = 128  # what 0 becomes where int8 is moved to uint8


@dataclass(frozen=True)
class Power:
    """An exponent: ``const`` plus multiples of int64 tensors of the graph, scalars or one number per sample (batch, 1)."""

    const: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: Power) -> Power:
        return self._plus(other, 1)

    def __sub__(self, other: Power) -> Power:
        return self._plus(other, -1)

    def _plus(self, other: Power, sign: int) -> Power:
        factors = dict(self.terms)
        for name, factor in other.terms:
            factors[name] = factors.get(name, 0) + sign * factor
        return Power(self.const + sign * other.const, tuple(sorted((n, f) for n, f in factors.items() if f)))

    def shifted(self, k: int) -> Power:
        return Power(self.const + k, self.terms)

    @property
    def known(self) -> int | None:
        """Its value, if it is a constant of the graph."""
        return None if self.terms else self.const


@dataclass(frozen=True)
class Value:
    """A tensor (batch, size) of exact integers, held as ``held``, whose magnitudes are at most ``most``; ``shape`` is one sample's.

    What is held as ``u8`` is not negative and has seven bits: sums of two products with int8 then fit 16 bits.
    """

    name: str
    power: Power
    most: int
    held: str = "i64"
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tensor(Value):
    """A state tensor: ``name`` is a tensor of its own shape, and ``array`` its content where that is known."""

    array: NDArray[Any] | None = None


class Integers:
    """Writes integer arithmetic into a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._made: dict[tuple[Any, ...], str] = {}
        self._used: set[str] = set()

    # --- nodes ------------------------------------------------------------------------------------------------------------------------

    def constant(self, value: ArrayLike, held: str = "i64") -> str:
        return self.graph.constant(np.asarray(value, HELD[held]))

    def node(self, op: str, *inputs: str | int, held: str = "i64", **attrs: Any) -> str:
        """The result of an op; plain integers become constants of type ``held``."""
        names = [i if isinstance(i, str) else self.constant(i, held) for i in inputs]
        return self.graph.node(op, *names, **attrs)

    def cast(self, name: str, held: str) -> str:
        return self.once("Cast", name, to=TYPES[held])

    def once(self, op: str, *inputs: str, **attrs: Any) -> str:
        """As ``node``, but the same node is written once."""
        key = (op, inputs, str(sorted(attrs.items())))
        if key not in self._made:
            self._made[key] = self.graph.node(op, *inputs, **attrs)
        return self._made[key]

    def first_use(self, weights: str) -> bool:
        """Is it the first time that this is asked of a tensor?"""
        fresh = weights not in self._used
        self._used.add(weights)
        return fresh

    def reshape(self, name: str, *shape: int) -> str:
        return self.once("Reshape", name, self.constant(shape))

    def sum(self, name: str, *axes: int, keep: int = 1) -> str:
        return self.node("ReduceSum", name, self.constant(axes), keepdims=keep)

    def max(self, name: str, *axes: int) -> str:
        return self.node("ReduceMax", name, self.constant(axes), keepdims=1)

    def gather(self, table: NDArray[Any], index: str) -> str:
        """The entries of a table, for indices of any shape."""
        return self.node("Gather", self.constant(table), index)

    def clip(self, name: str, low: int, high: int, held: str = "i64", most: int = I32) -> str:
        """Within two limits; ``most`` is the largest magnitude that there can be.

        ONNX Runtime's Min, Max, Clip and Sign of int64 are wrong (1.31.1, x86) for numbers whose upper halves are equal and of whose lower
        halves one has its highest bit set: beyond 31 bits only comparisons and Where are used.
        """
        if most <= I32:
            return self.node("Clip", name, low, high, held=held)
        return self.at_least(self.at_most(name, high), low)

    def at_most(self, name: str, limit: int) -> str:
        """The smaller of the two, of any size: see ``clip``."""
        return self.where(self.node("Less", name, limit), name, limit)

    def at_least(self, name: str, limit: int) -> str:
        return self.where(self.node("Greater", name, limit), name, limit)

    def where(self, condition: str, a: str | int, b: str | int) -> str:
        return self.node("Where", condition, a, b)

    # --- values -----------------------------------------------------------------------------------------------------------------------

    def held(self, v: Value, held: str) -> str:
        """The tensor (batch, size) of ``v`` as another integer type, which its magnitudes must fit."""
        name = self.reshape(v.name, 1, -1) if isinstance(v, Tensor) else v.name
        return name if v.held == held else self.cast(name, held)

    def q(self, v: Value) -> str:
        return self.held(v, "i64")

    def bytes(self, v: Value) -> tuple[str, int]:
        """A value of at most seven bits as uint8, and which number means 0: products of uint8 and int8 are what processors are fast at."""
        if v.held == "u8":
            return v.name, 0
        return self.cast(self.once("Add", self.held(v, "i32"), self.constant(OFFSET, "i32")), "u8"), OFFSET

    def raw(self, v: Tensor, held: str) -> str:
        """A state tensor in its own shape."""
        return v.name if v.held == held else self.cast(v.name, held)

    def power(self, p: Power) -> str:
        """An exponent as a tensor."""
        total = self.constant(p.const)
        for name, factor in p.terms:
            times = name if factor == 1 else self.once("Mul", name, self.constant(factor))
            total = times if total == self.constant(0) else self.once("Add", total, times)
        return total

    def coarser(self, a: Power, b: Power) -> Power:
        """The larger of two exponents."""
        known = (a - b).known
        if known is not None:
            return a if known >= 0 else b
        return Power(0, ((self.once("Max", self.power(a), self.power(b)), 1),))

    def pow2(self, exponent: str) -> str:
        """2**exponent of a tensor from 0 to 61."""
        return self.gather(POWERS, exponent)

    # --- shifts -----------------------------------------------------------------------------------------------------------------------

    def shift_round(self, name: str, shift: Power, most: int = MANY) -> str:
        """name * 2**-shift as ``edgelearn.ir.types.shift_round`` does it: to nearest, half away from zero.

        Magnitudes of 2^31 and more must be clipped by what follows: right shifts saturate here as left shifts do.
        """
        if shift.known is None:
            return self._shift_by(name, self.power(shift))
        if shift.known <= 0:
            left = min(-shift.known, MAX_LEFT)
            scaled = self.node("Mul", name, 1 << left) if left else name
            return self.saturate(scaled, most << left, I32)
        right = min(shift.known, MAX_RIGHT)
        half = self.signed(self.constant(1 << right >> 1), name)
        return self.node("Div", self.node("Add", name, half), 1 << right)

    def _shift_by(self, name: str, shift: str) -> str:
        left = self.pow2(self.clip(self.node("Neg", shift), 0, MAX_LEFT))
        right = self.pow2(self.clip(shift, 0, MAX_RIGHT))
        half = self.signed(self.node("Div", right, 2), name)
        rounded = self.node("Div", self.node("Add", self.node("Mul", name, left), half), right)
        return self.clip(rounded, -I32, I32, most=MANY)

    def floor_shift(self, name: str, shift: int) -> str:
        """name >> shift, for magnitudes below 2^45: integer division rounds towards zero, so it is made of positive numbers."""
        return self.node("Sub", self.node("Div", self.node("Add", name, 1 << 46), 1 << shift), 1 << 46 - shift)

    def saturate(self, name: str, most: int, limit: int) -> str:
        return self.clip(name, -limit, limit, most=most) if most > limit else name

    def aligned(self, a: Value, b: Value) -> tuple[str, str, Power]:
        """Both at the coarser of their exponents."""
        p = self.coarser(a.power, b.power)
        return self.shift_round(self.q(a), p - a.power, a.most), self.shift_round(self.q(b), p - b.power, b.most), p

    def signed(self, size: str, like: str) -> str:
        """``size`` with the sign of ``like``; 0 counts as positive."""
        return self.where(self.node("Less", like, 0), self.node("Neg", size), size)


def shifted_most(most: int, shift: Power) -> int:
    """A bound on what ``shift_round`` gives."""
    if shift.known is None:
        return I32
    return (
        min(most << min(-shift.known, MAX_LEFT), I32) if shift.known <= 0 else (most >> min(shift.known, MAX_RIGHT)) + 1
    )
