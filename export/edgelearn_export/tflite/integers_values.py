"""Integers in a TFLite graph: expressions of 32 bits that are written like numpy's.

LiteRT's int32 kernels are exact: ADD, SUB, MUL, FLOOR_DIV, FLOOR_MOD, RIGHT_SHIFT (arithmetic), comparisons, SELECT_V2, SUM, REDUCE_MAX,
ARG_MAX, CUMSUM and GATHER gave no difference from numpy with any resolver. Of its matrix products only BATCH_MATMUL of int8 by int8 to
int32 is: int16 requantises its result (``integers_products``).

TFLite Micro has few of these kernels. For it the same expressions are written in floats that are whole numbers (``Writer.number``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.types import LIMIT, NUMPY
from edgelearn_export.tflite.integers_writer import Writer

Shape = tuple[int, ...]
Array = NDArray[np.int64]

LARGEST = LIMIT["i32"]
_REACH: dict[str, Callable[[int, int], int]] = {  # how large the result of two magnitudes may be
    "ADD": int.__add__, "SUB": int.__add__, "MUL": int.__mul__, "MINIMUM": max, "MAXIMUM": max, "FLOOR_DIV": lambda a, b: a,
    "FLOOR_MOD": lambda a, b: b, "RIGHT_SHIFT": lambda a, b: a,
}  # fmt: skip
_DTYPES: dict[str, Any] = {**NUMPY, "bool": np.bool_, "i64": np.int64}


@dataclass(eq=False)
class Ints:
    """Integers that a graph computes, or knows. ``parts`` are the tensors that hold them so far, in some type and shape each.

    Arithmetic is that of 32 bits. A comparison gives ``bool``; elsewhere a truth counts as 0 or 1.
    """

    graph: Writer
    shape: Shape
    parts: dict[tuple[str, Shape], int] = field(default_factory=dict)
    known: Array | None = None
    scale: float | None = None  # what a unit is worth, where it is fixed: quantized ops read it
    bound: int = LARGEST  # no magnitude is larger

    def tensor(self, dtype: str | None = None, shape: Shape | None = None) -> int:
        """The tensor that holds them in this type and shape."""
        key = dtype or self.graph.number, self.shape if shape is None else shape
        if key not in self.parts:
            self.parts[key] = self._constant(*key) if self.known is not None else self._converted(*key)
        return self.parts[key]

    def reshaped(self, shape: Shape) -> Ints:
        """The same tensors, known by another shape."""
        if shape == self.shape:
            return self
        known = None if self.known is None else self.known.reshape(shape)
        return Ints(self.graph, shape, self.parts, known, self.scale, self.bound)

    def flat(self) -> Ints:
        return self.reshaped((self.size,))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def _constant(self, dtype: str, shape: Shape) -> int:
        assert self.known is not None
        return self.graph.constant(self.known.reshape(shape), _DTYPES[dtype], self._quant(dtype))

    def _converted(self, dtype: str, shape: Shape) -> int:
        """Reshaped in the type that is asked for, if it is there; else converted in a shape that is there."""
        same = next((t for (d, _), t in self.parts.items() if d == dtype), None)
        if same is not None:
            return reshape(self.graph, same, shape, self._quant(dtype))
        (_, found), source = next(iter(self.parts.items()))
        made = self.graph.op("CAST", [source], dtype, found, self._quant(dtype))
        self.parts[dtype, found] = made
        return made if found == shape else reshape(self.graph, made, shape, self._quant(dtype))

    def _quant(self, dtype: str) -> float | None:
        return self.scale if dtype == "i8" else None

    # --- arithmetic -------------------------------------------------------------------------------------------------------------------

    def __add__(self, other: Ints | int) -> Ints:
        return binary("ADD", np.add, self, other)

    def __radd__(self, other: int) -> Ints:
        return self + other

    def __sub__(self, other: Ints | int) -> Ints:
        return binary("SUB", np.subtract, self, other)

    def __rsub__(self, other: int) -> Ints:
        return binary("SUB", np.subtract, self.like(other), self)

    def __mul__(self, other: Ints | int) -> Ints:
        return self if isinstance(other, int) and other == 1 else binary("MUL", np.multiply, self, other)

    def __neg__(self) -> Ints:
        found = 0 - self
        found.bound = self.bound
        return found

    def __floordiv__(self, other: Ints | int) -> Ints:
        return binary("FLOOR_DIV", np.floor_divide, self, other)

    def __mod__(self, other: int) -> Ints:
        """The rest of a power of two."""
        floats = self.graph.whole_floats and self.known is None
        found = self - (self >> other.bit_length() - 1) * other if floats else binary("FLOOR_MOD", np.mod, self, other)
        found.bound = other - 1
        return found

    def __rshift__(self, other: Ints | int) -> Ints:
        """To minus infinity."""
        if not isinstance(other, int):
            return binary("RIGHT_SHIFT", np.right_shift, self, other)
        if other == 0:
            return self
        found = self._floored(other) if self.graph.whole_floats and self.known is None else None
        found = found or binary("RIGHT_SHIFT", np.right_shift, self, other)
        found.bound = min(found.bound, (self.bound >> other) + 1)
        return found

    def _floored(self, shift: int) -> Ints:
        part = self.graph.op("MUL", [self.tensor(), self.graph.constant([2.0**-shift], np.float32)], "f32", self.shape)
        return of(self.graph, self.graph.op("FLOOR", [part], "f32", self.shape), "f32", self.shape)

    def __gt__(self, other: Ints | int) -> Ints:
        return binary("GREATER", np.greater, self, other, "bool")

    def __lt__(self, other: Ints | int) -> Ints:
        return binary("LESS", np.less, self, other, "bool")

    def equals(self, other: Ints | int) -> Ints:
        return binary("EQUAL", np.equal, self, other, "bool")

    def both(self, other: Ints) -> Ints:
        """Of two truths: are both true?"""
        return binary("LOGICAL_AND", np.logical_and, self, other, "bool", "bool")

    def abs(self) -> Ints:
        return unary("ABS", np.abs, self)

    def like(self, value: int | Array) -> Ints:
        return constant(self.graph, value)

    # --- many become one --------------------------------------------------------------------------------------------------------------

    def sum(self, *axes: int) -> Ints:
        return _reduced("SUM", np.sum, self, axes)

    def max(self, *axes: int) -> Ints:
        return _reduced("REDUCE_MAX", np.max, self, axes)

    def argmax(self) -> Ints:
        return _extreme("ARG_MAX", np.argmax, self)

    def argmin(self) -> Ints:
        return _extreme("ARG_MIN", np.argmin, self)

    def cumsum(self) -> Ints:
        """Of a vector."""
        (n,) = self.shape
        made = self.graph.op("CUMSUM", [self.tensor("i32"), self.graph.constant(0, np.int32)], "i32", (n,))
        return of(self.graph, made, "i32", (n,))

    # --- parts ------------------------------------------------------------------------------------------------------------------------

    def at(self, index: Ints) -> Ints:
        """Elements of a vector."""
        assert len(self.shape) == 1
        number = self.graph.number
        made = self.graph.op("GATHER", [self.tensor(), index.tensor("i32")], number, index.shape, axis=0)
        return of(self.graph, made, number, index.shape, self.bound)

    def part(
        self, start: Sequence[int], size: Sequence[int], step: Sequence[int] | None = None, dtype: str = ""
    ) -> Ints:
        """A box of them: where it starts, its shape, and every how manyth element is taken."""
        dtype = dtype or self.graph.number
        stride = step or [1] * len(start)
        ends = [a + (n - 1) * s + 1 for a, n, s in zip(start, size, stride, strict=True)]
        if self.known is not None:
            return constant(
                self.graph, self.known[tuple(slice(a, e, s) for a, e, s in zip(start, ends, stride, strict=True))]
            )
        numbers = [self.graph.constant(list(v), np.int32) for v in (start, ends, stride)]
        made = self.graph.op("STRIDED_SLICE", [self.tensor(dtype), *numbers], dtype, tuple(size))
        return of(self.graph, made, dtype, tuple(size), self.bound)

    def padded(self, widths: Sequence[tuple[int, int]], dtype: str = "") -> Ints:
        """With zeros around."""
        dtype = dtype or self.graph.number
        if not any(a or b for a, b in widths):
            return self
        shape = tuple(a + n + b for n, (a, b) in zip(self.shape, widths, strict=True))
        made = self.graph.op("PAD", [self.tensor(dtype), self.graph.constant(list(widths), np.int32)], dtype, shape)
        return of(self.graph, made, dtype, shape, self.bound)

    def transposed(self, axes: Sequence[int], dtype: str = "") -> Ints:
        dtype = dtype or self.graph.number
        if self.known is not None:
            return constant(self.graph, self.known.transpose(*axes))
        shape = tuple(self.shape[a] for a in axes)
        made = self.graph.op("TRANSPOSE", [self.tensor(dtype), self.graph.constant(list(axes), np.int32)], dtype, shape)
        return of(self.graph, made, dtype, shape, self.bound)

    def repeated(self, times: Sequence[int]) -> Ints:
        shape = tuple(n * k for n, k in zip(self.shape, times, strict=True))
        made = self.graph.op(
            "TILE", [self.tensor(), self.graph.constant(list(times), np.int32)], self.graph.number, shape
        )
        return of(self.graph, made, self.graph.number, shape, self.bound)


# --- making them ----------------------------------------------------------------------------------------------------------------------


def of(graph: Writer, tensor: int, dtype: str, shape: Shape, bound: int = LARGEST) -> Ints:
    """What a tensor holds."""
    return Ints(graph, shape, {(dtype, shape): tensor}, bound=bound)


def constant(graph: Writer, value: int | Array) -> Ints:
    known = np.atleast_1d(np.asarray(value, np.int64))
    return Ints(graph, known.shape, known=known, bound=int(np.abs(known).max(initial=0)))


def reshape(graph: Writer, tensor: int, shape: Shape, quant: float | None = None) -> int:
    return graph.op("RESHAPE", [tensor], graph.dtype(tensor), shape, quant, newShape=np.array(shape, np.int32))


def concatenated(parts: Sequence[Ints], axis: int, dtype: str = "") -> Ints:
    graph, first = parts[0].graph, parts[0].shape
    dtype = dtype or graph.number
    axis %= len(first)
    shape = (*first[:axis], sum(p.shape[axis] for p in parts), *first[axis + 1 :])
    if len(parts) == 1:
        return parts[0]
    made = graph.op("CONCATENATION", [p.tensor(dtype) for p in parts], dtype, shape, axis=axis)
    return of(graph, made, dtype, shape, max(p.bound for p in parts))


def binary(
    name: str, of_known: Callable[..., Any], a: Ints, b: Ints | int, result: str = "", dtype: str = ""
) -> Ints:  # fmt: skip
    b = constant(a.graph, b) if isinstance(b, int) else b
    if a.known is not None and b.known is not None:
        return constant(a.graph, of_known(a.known, b.known))
    shape, number = np.broadcast_shapes(a.shape, b.shape), a.graph.number
    made = a.graph.op(name, [a.tensor(dtype or number), b.tensor(dtype or number)], result or number, shape)
    reach = min(_REACH[name](a.bound, b.bound), LARGEST) if name in _REACH else 1
    return of(a.graph, made, result or number, shape, a.graph.check(reach))


def unary(name: str, of_known: Callable[..., Any], a: Ints) -> Ints:
    if a.known is not None:
        return constant(a.graph, of_known(a.known))
    return of(a.graph, a.graph.op(name, [a.tensor()], a.graph.number, a.shape), a.graph.number, a.shape, a.bound)


def where(truth: Ints, a: Ints | int, b: Ints | int) -> Ints:
    graph, number = truth.graph, truth.graph.number
    a, b = (constant(graph, v) if isinstance(v, int) else v for v in (a, b))
    if truth.known is not None and a.known is not None and b.known is not None:
        return constant(graph, np.where(truth.known, a.known, b.known))
    shape = np.broadcast_shapes(truth.shape, a.shape, b.shape)
    made = graph.op("SELECT_V2", [truth.tensor("bool"), a.tensor(), b.tensor()], number, shape)
    return of(graph, made, number, shape, graph.check(max(a.bound, b.bound)))


def minimum(a: Ints, b: Ints | int) -> Ints:
    return binary("MINIMUM", np.minimum, a, b)


def capped(size: Ints, most: int) -> Ints:
    """Magnitudes, none larger than ``most``."""
    found = minimum(size, most)
    found.bound = min(found.bound, most)
    return found


def maximum(a: Ints, b: Ints | int) -> Ints:
    return binary("MAXIMUM", np.maximum, a, b)


def clipped(a: Ints, limit: int) -> Ints:
    """Within +-limit."""
    if a.bound <= limit:
        return a
    found = maximum(minimum(a, limit), -limit)
    found.bound = limit
    return found


def _reduced(name: str, of_known: Callable[..., Any], a: Ints, axes: Sequence[int]) -> Ints:
    """Over ``axes``, which are gone afterwards; over all if none is named."""
    over = tuple(axes) or tuple(range(len(a.shape)))
    shape = tuple(n for i, n in enumerate(a.shape) if i not in over) or (1,)
    if a.known is not None:
        return constant(a.graph, of_known(a.known, axis=over).reshape(shape))
    kept = tuple(1 if i in over else n for i, n in enumerate(a.shape))
    made = a.graph.op(name, [a.tensor(), a.graph.constant(list(over), np.int32)], a.graph.number, kept, keepDims=True)
    reach = a.bound * (a.size // math.prod(kept)) if name == "SUM" else a.bound
    return of(a.graph, made, a.graph.number, kept, a.graph.check(min(reach, LARGEST))).reshaped(shape)


def _extreme(name: str, of_known: Callable[..., Any], a: Ints) -> Ints:
    """Where the first of the largest or smallest is."""
    if a.known is not None:
        return constant(a.graph, int(of_known(a.known)))
    ints = 2  # of the schema's TensorType: the type of the result
    made = a.graph.op(name, [a.tensor(None, (1, a.size)), a.graph.constant(1, np.int32)], "i32", (1,), outputType=ints)
    return of(a.graph, made, "i32", (1,))
