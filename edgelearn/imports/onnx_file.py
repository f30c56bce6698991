"""ONNX files, by the package ``onnx``: a protocol buffer is parsed, nothing in it is run, and no other file is opened."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgelearn.errors import ConfigError
from edgelearn.imports import graph as g
from edgelearn.imports.extras import extra
from edgelearn.imports.graph import MAX_ELEMENTS, MAX_NODES, MAX_RANK, Array, Graph, Node, Step, pair

OLDEST = 9  # opset: before it, BatchNormalization and Dropout had a training mode of another kind
_REMEDY = "Export the net again, with torch.onnx.export for example."


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
    return Graph(source, nodes, inputs[0].name, shape, constants.get, _step)


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
    """Initializers and the results of Constant nodes, decoded when they are asked for."""

    def __init__(self, onnx: Any, graph: Any, source: str) -> None:
        self.onnx, self.source = onnx, source
        self.found: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.output:
                self.found[node.output[0]] = node

    def has(self, name: str) -> bool:
        return name in self.found

    def get(self, name: str) -> Array | None:
        """Its value, None: it is computed.

        Raises:
            ConfigError: it lies in another file, is too large, or damaged.
        """
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
        raise node.refused("is nothing that a board's net can do")
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
    return g.Convolution(W, b, stride, _pads(node), dilation, int(attrs.get("group", 1)))


def _gemm(graph: Graph, node: Node) -> Step:
    if node.attrs.get("transA", 0):
        raise node.refused("transposes its input")
    W, b = graph.weights(node, node.inputs[1]), _optional(graph, node, 2)
    if W.ndim != 2:
        raise node.refused(f"has weights of shape {W.shape}")
    W = (W if node.attrs.get("transB", 0) else W.T) * np.float32(node.attrs.get("alpha", 1.0))
    return g.Linear(W, None if b is None else _vector(b, len(W)) * np.float32(node.attrs.get("beta", 1.0)))


def _vector(b: Array, size: int) -> Array:
    """A bias that is given as a row, or as one number."""
    return np.broadcast_to(b.reshape(-1), (size,)) if b.size in (1, size) else b


def _matmul(graph: Graph, node: Node) -> Step:
    W = graph.weights(node, node.inputs[1])
    if W.ndim != 2:
        raise node.refused(f"has weights of shape {W.shape}")
    return g.Linear(W.T)


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


READ: dict[str, Callable[[Graph, Node], Step]] = {
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
