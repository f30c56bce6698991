"""Values of an entry on their way into an ONNX graph: which tensors hold them, and in which order of their dimensions.

A value of edgelearn is a vector, a scalar (a vector of one) or a map (H, W, C); in the graph it has the batch in front. ONNX wants maps
as (B, C, H, W). A value is brought to another form when the first op asks for it, and kept in both: a chain of convolutions stays in
planes, and is transposed only where something else reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.core import Op
from edgelearn.ir.types import Type
from edgelearn_export.onnx.graph import Graph

Form = Literal["rows", "maps", "planes"]
TO_PLANES, TO_MAPS = (0, 3, 1, 2), (0, 2, 3, 1)


class Writer:
    """The graph of one entry, with what all its ops share."""

    def __init__(self, name: str, seed: int) -> None:
        self.graph = Graph(name)
        self.seed = seed
        self._kept: dict[tuple[Any, ...], str] = {}

    def node(self, op: str, *inputs: str, **attrs: Any) -> str:
        return self.graph.node(op, *inputs, **attrs)

    def once(self, op: str, *inputs: str, **attrs: Any) -> str:
        """As ``node``; the same op of the same values is written once."""
        key = (op, inputs, tuple(sorted((k, str(v)) for k, v in attrs.items())))
        if key not in self._kept:
            self._kept[key] = self.node(op, *inputs, **attrs)
        return self._kept[key]

    def number(self, value: float) -> str:
        return self.graph.constant(value, np.float32)

    def floats(self, array: NDArray[Any]) -> str:
        return self.graph.constant(np.asarray(array, np.float32))

    def whole(self, numbers: Sequence[int]) -> str:
        return self.graph.constant(np.array(numbers, np.int64))

    def reshape(self, value: str, *shape: int) -> str:
        return self.once("Reshape", value, self.whole((-1, *shape)))

    def positive(self, value: str) -> str:
        """Where it is above 0."""
        return self.once("Greater", value, self.number(0.0))

    def batch(self) -> str:
        """How many samples there are, as an i64 tensor of one: what comes first into the graph is samples."""
        return self.once("Shape", self.graph.inputs[0].name, start=0, end=1)


@dataclass
class Value:
    """``shape`` is that of one sample. What does not depend on the sample is not ``batched``: it has a batch of one, and broadcasts."""

    net: Writer
    shape: tuple[int, ...]
    batched: bool
    native: Form
    forms: dict[Form, str]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def rows(self) -> str:
        """(B, numbers of a sample)."""
        return self.form("rows")

    @property
    def maps(self) -> str:
        """(B, H, W, C)."""
        return self.form("maps")

    @property
    def planes(self) -> str:
        """(B, C, H, W)."""
        return self.form("planes")

    def form(self, form: Form) -> str:
        if form not in self.forms:
            self.forms[form] = self._made(form)
        return self.forms[form]

    def _made(self, form: Form) -> str:
        if form == "planes":
            return self.net.once("Transpose", self.maps, perm=TO_PLANES)
        if form == "maps":
            if "planes" in self.forms:
                return self.net.once("Transpose", self.planes, perm=TO_MAPS)
            return self.net.reshape(self.rows, *self.shape)
        return self.net.reshape(self.maps, self.size)

    def shaped(self, shape: tuple[int, ...]) -> Value:
        """The same numbers as a map, or as a vector."""
        return self if shape == self.shape else Value(self.net, shape, self.batched, "rows", {"rows": self.rows})

    def spread(self) -> Value:
        """The same with one row for each sample, even if they are all equal."""
        if self.batched:
            return self
        batch = self.net.once("Concat", self.net.batch(), self.net.whole((1,)), axis=0)
        return Value(self.net, self.shape, True, "rows", {"rows": self.net.once("Expand", self.rows, batch)})


@dataclass
class Label:
    """Class numbers, (B,) or (1,), of 64 bits. Where an op wants numbers, they are that."""

    net: Writer
    name: str
    batched: bool = True

    def value(self) -> Value:
        column = self.net.reshape(self.net.once("Cast", self.name, to=1), 1)
        return Value(self.net, (1,), self.batched, "rows", {"rows": column})

    def hot(self, classes: int) -> str:
        """One-hot rows (B, classes)."""
        depth, ends = self.net.graph.constant(classes, np.int64), self.net.floats(np.array([0, 1]))
        return self.net.once("OneHot", self.name, depth, ends, axis=-1)


@dataclass
class Weight:
    """A state tensor as an op finds it, after the updates before it. ``array``: its numbers, where they are the graph's own."""

    net: Writer
    type: Type
    title: str
    array: NDArray[Any] | None = None
    given: str = ""
    made: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The tensor as the state has it."""
        return self.given if self.array is None else self.net.graph.constant(self.array, name=self.title)

    @property
    def kernel(self) -> str:
        """A kernel (out, k, k, in) or (k, k, channels) as ONNX wants it: (out, in, k, k), of a depthwise one (channels, 1, k, k)."""
        depthwise = len(self.type.shape) == 3
        if self.array is not None:
            turned = self.array.transpose(2, 0, 1)[:, None] if depthwise else self.array.transpose(0, 3, 1, 2)
            return self.net.graph.constant(np.ascontiguousarray(turned), name=self.title)
        if not depthwise:
            return self.net.once("Transpose", self.name, perm=TO_PLANES)
        k = self.type.shape[0]
        return self.net.reshape(self.net.once("Transpose", self.name, perm=(2, 0, 1)), 1, k, k)

    def value(self) -> Value:
        """The same as a value that is equal for all samples."""
        shape = self.type.shape
        if len(shape) == 3:
            maps = self.net.reshape(self.name, *shape)
            return Value(self.net, shape, False, "maps", {"maps": maps})
        rows = self.net.reshape(self.name, self.type.size)
        return Value(self.net, shape, False, "rows", {"rows": rows})


Operand = Any  # a Value, a Label or a Weight, as the op's row in the table says


@dataclass(frozen=True)
class Site:
    """An op in its place: what its kernel knows besides the operands."""

    net: Writer
    op: Op

    @property
    def shape(self) -> tuple[int, ...]:
        assert self.op.type is not None
        return self.op.type.shape

    def number(self, key: str, default: float | None = None) -> float:
        return self.op.number(key, default)

    def rows(self, name: str, *of: Value) -> Value:
        """A result (B, numbers of a sample) that depends on what ``of`` depends on."""
        return self.result("rows", name, *of)

    def result(self, form: Form, name: str, *of: Value) -> Value:
        return Value(self.net, self.shape, any(v.batched for v in of), form, {form: name})


def as_value(operand: Operand) -> Value:
    return operand if isinstance(operand, Value) else operand.value()


def together(site: Site, *operands: Value) -> tuple[Form, list[str]]:
    """A form for the op's result, and the operands as tensors that broadcast to it.

    Scalars and channels broadcast; a vector with as many numbers as a map takes its shape.
    """
    large = [v.shaped(site.shape) for v in operands if v.size == math.prod(site.shape)]
    channels = any(1 < v.size < math.prod(site.shape) for v in operands)
    native = {v.native for v in large}
    form: Form = "planes" if "planes" in native else "maps" if "maps" in native or channels else "rows"
    whole = iter(large)
    return form, [next(whole).form(form) if v.size == math.prod(site.shape) else _small(v, form) for v in operands]


def _small(v: Value, form: Form) -> str:
    """A scalar, or a number for each channel, so that it broadcasts to a map or a row."""
    if form == "rows" or (v.size == 1 and not v.batched):
        return v.rows
    return v.net.reshape(v.rows, *((1, 1, v.size) if form == "maps" else (v.size, 1, 1)))
