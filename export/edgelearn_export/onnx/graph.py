"""Builds one ONNX graph, node by node. Opset and IR version are pinned to what ONNX Runtime 1.18 and later load."""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgelearn import __version__
from edgelearn.backends import Signature

OPSET, IR = 21, 10
TYPES = {
    "f32": TensorProto.FLOAT, "i8": TensorProto.INT8, "i16": TensorProto.INT16, "i32": TensorProto.INT32, "i64": TensorProto.INT64,
    "u8": TensorProto.UINT8, "bool": TensorProto.BOOL,
}  # fmt: skip
LETTERS = string.ascii_letters
INNER = "%"  # what names begin with that no one sees

# ONNX Runtime 1.18 makes a Split of several of these and calls it after the first: without names, two such are refused.
NAMED = ("Gather", "Slice")


class Graph:
    """A graph that grows. Values are known by their names; equal constants are kept once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Signature] = []
        self.outputs: list[Signature] = []
        self._leaving: list[tuple[str, str]] = []  # (value, name of the output)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[onnx.TensorProto] = []
        self._count = 0

    def input(self, name: str, dtype: str, shape: Sequence[int | str], scale: float | None = None) -> str:
        self.inputs.append(Signature(name, dtype, tuple(shape), scale))
        return name

    def default(self, name: str, array: NDArray[Any]) -> None:
        """What the input ``name`` is where nobody gives it. ONNX Runtime lists such inputs as overridable initializers."""
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))

    def output(self, value: str, name: str, dtype: str, shape: Sequence[int | str], scale: float | None = None) -> None:
        """``value`` leaves the graph as ``name``."""
        self.outputs.append(Signature(name, dtype, tuple(shape), scale))
        self._leaving.append((value, name))

    def constant(self, array: NDArray[Any] | float | int, dtype: Any = None, name: str = "") -> str:
        """An initializer; give ``dtype`` (numpy's) where ``array`` is a plain number."""
        kept = np.asarray(array, dtype)
        key = (str(kept.dtype), kept.shape, kept.tobytes())
        if key not in self._constants:
            self._constants[key] = name or self._new()
            self._initializers.append(numpy_helper.from_array(kept, self._constants[key]))
        return self._constants[key]

    def node(self, op: str, *inputs: str, name: str = "", **attrs: Any) -> str:
        """The result of an op with one; an empty input is one that is left out."""
        result = name or self._new()
        self._nodes.append(helper.make_node(op, list(inputs), [result], **attrs))
        return result

    def model(self) -> bytes:
        """The file.

        Raises:
            onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph is wrong.
        """
        nodes = self._named()
        short = self._shortened(nodes)
        read = {name for node in nodes for name in node.input}
        kept = [
            _called(tensor, short.get(tensor.name, tensor.name)) for tensor in self._initializers if tensor.name in read
        ]
        nodes = [_renamed(node, short) for node in nodes]
        graph = helper.make_graph(
            nodes, self.name, [_value(s) for s in self.inputs], [_value(s) for s in self.outputs], kept
        )
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="edgelearn",
            producer_version=__version__,
        )
        onnx.checker.check_model(made, full_check=True)
        return made.SerializeToString()

    def _named(self) -> list[onnx.NodeProto]:
        """The nodes that lead to an output, whose results have the outputs' names: an Identity would copy a whole tensor."""
        made = {result for node in self._nodes for result in node.output}
        names: dict[str, str] = {}
        copies = []
        for value, name in self._leaving:
            if value == name:
                continue
            if value in made and value not in names:
                names[value] = name
            else:  # an input, an initializer, or what leaves twice
                copies.append(helper.make_node("Identity", [names.get(value, value)], [name]))
        wanted, nodes = {name for _, name in self._leaving}, []
        for node in reversed([*(_renamed(node, names) for node in self._nodes), *copies]):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                nodes.append(node)
        return nodes[::-1]

    def _shortened(self, nodes: Sequence[onnx.NodeProto]) -> dict[str, str]:
        """Short names of the values between the nodes, since names are half of a small file; none that is taken."""
        found = dict.fromkeys(name for node in nodes for name in (*node.input, *node.output) if name.startswith(INNER))
        taken = {name for node in nodes for name in (*node.input, *node.output)} | {s.name for s in self.inputs}
        free = (name for name in map(_short, count()) if name not in taken)
        return {name: next(free) for name in found}

    def _new(self) -> str:
        self._count += 1
        return f"{INNER}{self._count}"


def _short(number: int) -> str:
    """A, B, ... z, AA, AB, ..."""
    number, last = divmod(number, len(LETTERS))
    return (_short(number - 1) if number else "") + LETTERS[last]


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    made = onnx.NodeProto()
    made.CopyFrom(node)
    for values in (made.input, made.output):
        values[:] = [names.get(value, value) for value in values]
    if made.op_type in NAMED:
        made.name = made.output[0]
    return made


def _called(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    made = onnx.TensorProto()
    made.CopyFrom(tensor)
    made.name = name
    return made


def _value(s: Signature) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(s.name, TYPES[s.dtype], list(s.shape))
