"""Arithmetic on the float tensors of a subgraph: the built-in ops that every backend op is made of, with their shapes worked out.

A tensor has the batch in front. All ops here are in TFLite Micro too, so what is made of them runs in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgelearn_export.tflite.builder import Graph

INT32 = 2  # in the schema's list of types


class Calc:
    """Writes ops into a subgraph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def shape(self, a: int) -> tuple[int, ...]:
        return self.graph.shape(a)

    def number(self, value: float) -> int:
        return self.graph.constant([value], np.float32)

    # --- shapes -----------------------------------------------------------------------------------------------------------------------

    def reshape(self, a: int, shape: Sequence[int]) -> int:
        """The first size is free where ``a`` is no constant: it is the batch's."""
        shape = tuple(shape)
        if self.shape(a) == shape:
            return a
        known = self.graph.known(a)
        if known is not None:
            return self.graph.constant(known.reshape(shape))
        sizes = np.array([-1, *shape[1:]], np.int32)
        return self.graph.op("RESHAPE", [a], self.graph.dtype(a), shape, newShape=sizes)

    def rows(self, a: int) -> int:
        """(B, numbers of one sample)."""
        return self.reshape(a, (1, math.prod(self.shape(a)[1:])))

    def transpose(self, a: int, order: Sequence[int]) -> int:
        shape = [self.shape(a)[i] for i in order]
        return self.graph.op("TRANSPOSE", [a, self.graph.constant(order, np.int32)], self.graph.dtype(a), shape)

    def pad(self, a: int, pads: Sequence[tuple[int, int]]) -> int:
        """Zeros around; sizes below 0 cut off."""
        a = self._cut(a, pads)
        grown = [(max(before, 0), max(after, 0)) for before, after in pads]
        if not any(map(any, grown)):
            return a
        shape = [n + before + after for n, (before, after) in zip(self.shape(a), grown, strict=True)]
        return self.graph.op("PAD", [a, self.graph.constant(grown, np.int32)], self.graph.dtype(a), shape)

    def _cut(self, a: int, pads: Sequence[tuple[int, int]]) -> int:
        begin = [max(-before, 0) for before, _ in pads]
        sizes = [n + min(before, 0) + min(after, 0) for n, (before, after) in zip(self.shape(a), pads, strict=True)]
        return self.slice(a, begin, sizes)

    def slice(self, a: int, begin: Sequence[int], sizes: Sequence[int]) -> int:
        """All of an axis that keeps its size, even if the runtime gives it another. SLICE does not bear that."""
        if tuple(sizes) == self.shape(a):
            return a
        whole = sum(1 << i for i, n in enumerate(sizes) if n == self.shape(a)[i])
        end, steps = np.add(begin, sizes), np.ones(len(sizes))
        operands = [a, *(self.graph.constant(v, np.int32) for v in (begin, end, steps))]
        return self.graph.op("STRIDED_SLICE", operands, self.graph.dtype(a), sizes, beginMask=whole, endMask=whole)

    # --- element by element -----------------------------------------------------------------------------------------------------------

    def unary(self, name: str, a: int) -> int:
        return self.graph.op(name, [a], "f32", self.shape(a))

    def binary(self, name: str, a: int, b: int, dtype: str = "f32") -> int:
        """Of the larger of two operands' shapes; the other is repeated."""
        return self.graph.op(name, [a, b], dtype, np.broadcast_shapes(self.shape(a), self.shape(b)))

    def add(self, a: int, b: int) -> int:
        return self.binary("ADD", a, b)

    def sub(self, a: int, b: int) -> int:
        return self.binary("SUB", a, b)

    def mul(self, a: int, b: int) -> int:
        return self.binary("MUL", a, b)

    def scale(self, a: int, factor: float) -> int:
        return a if factor == 1 else self.mul(a, self.number(factor))

    def at_least(self, a: int, value: float) -> int:
        """``value`` where ``a`` is below it."""
        return self.binary("MAXIMUM", a, self.number(value))

    def at_most(self, a: int, value: float) -> int:
        return self.binary("MINIMUM", a, self.number(value))

    def above(self, a: int, value: float = 0.0) -> int:
        return self.binary("GREATER", a, self.number(value), "bool")

    def cast(self, a: int, dtype: str) -> int:
        return a if self.graph.dtype(a) == dtype else self.graph.op("CAST", [a], dtype, self.shape(a))

    def select(self, condition: int, a: int, b: int) -> int:
        shape = np.broadcast_shapes(self.shape(condition), self.shape(a), self.shape(b))
        return self.graph.op("SELECT_V2", [condition, a, b], "f32", shape)

    def masked(self, a: int, mask: int) -> int:
        """``a`` where the mask is positive, else 0."""
        return self.mul(a, self.cast(self.above(mask), "f32"))

    # --- sums -------------------------------------------------------------------------------------------------------------------------

    def reduce(self, name: str, a: int, axes: Sequence[int], keep: bool = True) -> int:
        shape = [1 if i in axes else n for i, n in enumerate(self.shape(a)) if keep or i not in axes]
        return self.graph.op(name, [a, self.graph.constant(axes, np.int32)], "f32", shape, keepDims=keep)

    def total(self, name: str, a: int) -> int:
        """(B, 1): SUM, MEAN or REDUCE_MAX of all numbers of a sample."""
        return self.reduce(name, self.rows(a), (1,))

    def matmul(self, a: int, b: int, transposed: bool = False) -> int:
        """a @ b of matrices, or a.T @ b."""
        rows, inner = self.shape(a)
        return self.graph.op(
            "BATCH_MATMUL", [a, b], "f32", [inner if transposed else rows, self.shape(b)[1]], adjX=transposed
        )
