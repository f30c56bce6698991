"""ONNX files, by the package ``onnx``: a protocol buffer is parsed, nothing in it is run, and no other file is opened.

Nets that were trained quantised, as ``brevitas.export.export_onnx_qcdq`` writes them, have QuantizeLinear, Clip and DequantizeLinear around
weights and values: weights are what comes out of those, and the quantisers of values are steps of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgelearn.errors import ConfigError
from edgelearn.imports import graph as g
from edgelearn.imports import quantiser
from edgelearn.imports.extras import extra
from edgelearn.imports.graph import MAX_ELEMENTS, MAX_NODES, MAX_RANK, Array, Graph, Node, Step, pair

OLDEST = 9  # opset: before it, BatchNormalization and Dropout had a training mode of another kind
FOLDED = (
    "QuantizeLinear",
    "Clip",
    "DequantizeLinear",
    "Transpose",
    "Identity",
)  # done to constants when a file is read
MAX_FOLDED = 8  # of them, one after the other
_REMEDY = "Export the net again, with torch.onnx.export for example."
_QCDQ = "Export it with brevitas.export.export_onnx_qcdq."


def read_graph(raw: bytes, name: str) -> Graph:
    """The net in an ONNX file.

    Raises:
        ConfigError: it is damaged, or uses what is not read. MissingToolError: the package onnx is not installed.
    """
    onnx = extra("onnx", "The package onnx", "onnx")
    damaged = extra("google.protobuf.message", "The package protobuf", "onnx").Error
    try:
        model = onnx.load_model_from_string(raw)
    except (damaged, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is no ONNX file, or damaged.", _REMEDY) from error
    opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)
    if not model.graph.node or not opset:
        raise ConfigError(f"{name} is no ONNX file, or has no nodes.", _REMEDY)
    if opset < OLDEST or len(model.graph.node) > MAX_NODES:
        problem = f"{name} has opset {opset} and {len(model.graph.node)} nodes."
        raise ConfigError(problem, f"Export it with an opset of at least {OLDEST}, and at most {MAX_NODES} nodes.")
    constants = _Constants(onnx, model.graph, name)
    inputs = [value for value in model.graph.input if not constants.has(value.name)]
    if len(inputs) != 1:
        raise ConfigError(f"{name} has {len(inputs)} inputs.", "Export a net with one input.")
    shape = tuple(int(dim.dim_value) for dim in inputs[0].type.tensor_type.shape.dim)
    nodes = tuple(_node(onnx, at, node) for at, node in enumerate(model.graph.node, 1))
    source = f"{name} (ONNX, opset {opset})"
    return Graph(source, nodes, inputs[0].name, shape, constants.get, _step, constants.unit)


def _node(onnx: Any, at: int, node: Any) -> Node:
    op = f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else str(node.op_type)
    attrs = {}
    for attribute in node.attribute:
        try:
            attrs[attribute.name] = onnx.helper.get_attribute_value(attribute)
        except ValueError:
            continue  # of a type that no node has that is read
    inputs = tuple(node.input)
    while inputs and not inputs[-1]:
        inputs = inputs[:-1]
    return Node(op, node.name, at, inputs, node.output[0] if node.output else "", attrs)


class _Constants:
    """Initializers and the results of Constant nodes, decoded when they are asked for, and what quantisers make of them."""

    def __init__(self, onnx: Any, graph: Any, source: str) -> None:
        self.onnx, self.source = onnx, source
        self.found: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        self.folded: dict[str, Node] = {}
        for at, node in enumerate(graph.node, 1):
            if node.op_type == "Constant" and node.output:
                self.found[node.output[0]] = node
            elif node.op_type in FOLDED and node.domain in ("", "ai.onnx") and node.output:
                self.folded[node.output[0]] = _node(onnx, at, node)

    def has(self, name: str) -> bool:
        return name in self.found

    def get(self, name: str, depth: int = MAX_FOLDED) -> Array | None:
        """Its value, None: it is computed of something else than constants.

        Raises:
            ConfigError: it lies in another file, is too large, or damaged. UnsupportedError: a quantiser of it makes no sense.
        """
        if name not in self.folded:
            return self._given(name)
        node = self.folded[name]
        first = self.get(node.inputs[0], depth - 1) if depth and node.inputs else None
        rest = [self._given(other) if other else None for other in node.inputs[1:]]
        if first is None or any(value is None and other for value, other in zip(rest, node.inputs[1:], strict=True)):
            return None
        try:
            return quantiser.apply(node, first, rest)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise node.refused(f"has arguments that make no sense ({error})", _REMEDY) from error

    def unit(self, name: str, axis: int, depth: int = MAX_FOLDED) -> Array | None:
        """What one unit of a dequantised constant is worth: one number, or one for each index of ``axis``. None: it has none."""
        node = self.folded.get(name)
        if node is None or not depth or not node.inputs:
            return None
        if node.op == "DequantizeLinear":
            scale = self._given(node.inputs[1]) if len(node.inputs) > 1 else None
            along = int(node.attrs.get("axis", 1))
            return scale if scale is not None and (scale.size == 1 or along == axis) else None
        if node.op == "Transpose":
            order = node.attrs.get("perm", (1, 0))
            return self.unit(node.inputs[0], order[axis], depth - 1) if axis < len(order) else None
        return self.unit(node.inputs[0], axis, depth - 1) if node.op == "Identity" else None

    def _given(self, name: str) -> Array | None:
        found = self.found.get(name)
        if found is None or isinstance(found, self.onnx.TensorProto):
            return None if found is None else self._decoded(name, found)
        values = _node(self.onnx, 0, found).attrs
        if isinstance(tensor := values.get("value"), self.onnx.TensorProto):
            return self._decoded(name, tensor)
        plain = [values[key] for key in ("value_int", "value_ints", "value_float", "value_floats") if key in values]
        return np.asarray(plain[0]) if plain else None

    def _decoded(self, name: str, tensor: Any) -> Array:
        what = f"{self.source}: the tensor {name[: g.SHOWN]!r}"
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL or len(tensor.external_data):
            remedy = "Save the net as one file: torch.onnx.export(..., external_data=False), or onnx.save(model, path)."
            raise ConfigError(f"{what} lies in another file.", remedy)
        if len(tensor.dims) > MAX_RANK or min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > MAX_ELEMENTS:
            problem = f"{what} has shape {list(tensor.dims)[:MAX_RANK]}."
            raise ConfigError(problem, f"At most {MAX_ELEMENTS:,} numbers are read.")
        try:
            return np.asarray(self.onnx.numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ConfigError(f"{what} is damaged.", _REMEDY) from error


# --- what each node does --------------------------------------------------------------------------------------------------------------


def _step(graph: Graph, node: Node) -> Step:
    if node.op not in READ:
        quantised = node.op.startswith(("QLinear", "MatMulInteger", "ConvInteger", "DynamicQuantize")) or "." in node.op
        raise node.refused("is nothing that a board's net can do", _QCDQ if quantised else "")
    try:
        return READ[node.op](graph, node)
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise node.refused(f"has attributes that make no sense ({error})", _REMEDY) from error


def _optional(graph: Graph, node: Node, at: int) -> Array | None:
    return graph.weights(node, node.inputs[at]) if len(node.inputs) > at and node.inputs[at] else None


def _integers(graph: Graph, node: Node, at: int, key: str) -> tuple[int, ...] | None:
    """A list that was an attribute in older opsets and is an input in newer ones."""
    if key in node.attrs:
        return tuple(int(n) for n in node.attrs[key])
    if len(node.inputs) <= at or not node.inputs[at]:
        return None
    found = graph.constant(node.inputs[at])
    if found is None:
        raise node.refused(f"has {key} that are computed", "Export the net with fixed sizes, and flatten by Flatten.")
    return tuple(int(n) for n in found.reshape(-1)[: MAX_RANK + 1])


def _pads(node: Node) -> tuple[int, ...] | None:
    auto = _text(node.attrs.get("auto_pad", "NOTSET"))
    if auto.startswith("SAME"):
        return None
    pads = tuple(int(n) for n in node.attrs.get("pads", ())) if auto == "NOTSET" else ()
    if len(pads) not in (0, 4):
        raise ValueError(f"pads {pads}")
    return pads or (0, 0, 0, 0)


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _conv(graph: Graph, node: Node) -> Step:
    W, b = graph.weights(node, node.inputs[1]), _optional(graph, node, 2)
    attrs: Mapping[str, Any] = node.attrs
    stride, dilation = pair(attrs.get("strides", ())), pair(attrs.get("dilations", ()))
    units = graph.units(node, node.inputs[1], 0, len(W)) if W.ndim else None
    return g.Convolution(W, b, stride, _pads(node), dilation, int(attrs.get("group", 1)), units)


def _gemm(graph: Graph, node: Node) -> Step:
    if node.attrs.get("transA", 0):
        raise node.refused("transposes its input")
    W, b = graph.weights(node, node.inputs[1]), _optional(graph, node, 2)
    if W.ndim != 2:
        raise node.refused(f"has weights of shape {W.shape}")
    W, units = _rows(graph, node, W, 0 if node.attrs.get("transB", 0) else 1)
    alpha = np.float32(node.attrs.get("alpha", 1.0))
    units = None if units is None or not alpha else units * abs(float(alpha))
    b = None if b is None else _vector(b, len(W)) * np.float32(node.attrs.get("beta", 1.0))
    return g.Linear(W * alpha, b, units)


def _rows(graph: Graph, node: Node, W: Array, axis: int) -> tuple[Array, Array | None]:
    """A matrix whose outputs lie along ``axis``, as one with a row for each output, and the rows' units."""
    units = graph.units(node, node.inputs[1], axis, W.shape[axis])
    return (W.T if axis else W), units


def _vector(b: Array, size: int) -> Array:
    """A bias that is given as a row, or as one number."""
    return np.broadcast_to(b.reshape(-1), (size,)) if b.size in (1, size) else b


def _matmul(graph: Graph, node: Node) -> Step:
    W = graph.weights(node, node.inputs[1])
    if W.ndim != 2:
        raise node.refused(f"has weights of shape {W.shape}")
    W, units = _rows(graph, node, W, 1)
    return g.Linear(W, None, units)


def _add(graph: Graph, node: Node) -> Step:
    constant = next((name for name in node.inputs if graph.constant(name) is not None), None)
    if constant is None:
        raise node.refused("adds two values that are computed")
    return g.Bias(graph.weights(node, constant))


def _norm(graph: Graph, node: Node) -> Step:
    if node.attrs.get("training_mode", 0):
        raise node.refused("is in training mode", "Export the net after net.eval().")
    gamma, beta, mean, var = (graph.weights(node, name) for name in node.inputs[1:5])
    return g.Norm(gamma, beta, mean, var, float(node.attrs.get("epsilon", 1e-5)))


def _pool(mode: str) -> Callable[[Graph, Node], Step]:
    def step(graph: Graph, node: Node) -> Step:
        size = pair(node.attrs.get("kernel_shape", ()))
        stride, dilation = pair(node.attrs.get("strides", ())), pair(node.attrs.get("dilations", ()))
        return g.Pooling(
            mode, size, stride, _pads(node) or (0, 0, 0, 0), dilation
        )  # windows that fill the map need no pads

    return step


def _mean(graph: Graph, node: Node) -> Step:
    axes = _integers(graph, node, 1, "axes")
    if axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
        raise node.refused("averages over something else than height and width")
    return g.PooledTo("avg", (1, 1), flat=not node.attrs.get("keepdims", 1))


def _reshape(graph: Graph, node: Node) -> Step:
    shape = _integers(graph, node, 1, "shape")
    if shape is None:
        raise node.refused("has no shape")
    return g.Reshaped(shape)


def _dropout(graph: Graph, node: Node) -> Step:
    training = graph.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.array(False)
    if training is None or training.any():
        raise node.refused("is in training mode", "Export the net after net.eval().")
    return g.Same()


def _quantize(graph: Graph, node: Node) -> Step:
    """The quantiser of a value: what clips its whole numbers stands directly after it, and what makes numbers of them again."""
    zero = graph.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros((), np.uint8)
    scale = graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if zero is None or scale is None:
        raise node.refused("has a scale that is computed", "Fix the scales: export the net after net.eval().")
    if scale.size != 1 or zero.size != 1:
        raise node.refused("has a scale for each channel of a value", "Use one scale for all channels of a value.")
    clip = next((other for other in graph.nodes if other.op == "Clip" and other.inputs[:1] == (node.output,)), None)
    limits = [] if clip is None else [graph.constant(name) for name in clip.inputs[1:] if name]
    return quantiser.of_value(node, scale, zero, limits)


def _clip(graph: Graph, node: Node) -> Step:
    before = graph.source_of(node.inputs[0])
    if before is None or before.op != "QuantizeLinear":
        raise node.refused("is nothing that a board's net can do")
    return g.Same()


def _dequantize(graph: Graph, node: Node) -> Step:
    before = graph.source_of(node.inputs[0])
    if before is None or before.op not in ("QuantizeLinear", "Clip"):
        raise node.refused("reads whole numbers that no QuantizeLinear made", _QCDQ)
    return g.Same()


READ: dict[str, Callable[[Graph, Node], Step]] = {
    "QuantizeLinear": _quantize,
    "Clip": _clip,
    "DequantizeLinear": _dequantize,
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "BatchNormalization": _norm,
    "Relu": lambda graph, node: g.Relu(),
    "MaxPool": _pool("max"),
    "AveragePool": _pool("avg"),
    "GlobalAveragePool": lambda graph, node: g.PooledTo("avg", (1, 1)),
    "GlobalMaxPool": lambda graph, node: g.PooledTo("max", (1, 1)),
    "ReduceMean": _mean,
    "Flatten": lambda graph, node: g.Flattened(int(node.attrs.get("axis", 1))),
    "Reshape": _reshape,
    "Identity": lambda graph, node: g.Same(),
    "Dropout": _dropout,
    "Softmax": lambda graph, node: g.Softmax(),
    "LogSoftmax": lambda graph, node: g.Softmax(),
}
