"""Programs of PyTorch that ``torch.export.save`` wrote: an archive with the graph as JSON and the weights as plain bytes.

torch is not needed to read one, and not used: its own loader also unpickles and evaluates parts of the file.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgelearn.errors import ConfigError
from edgelearn.imports import graph as g
from edgelearn.imports.graph import MAX_BYTES, MAX_ELEMENTS, MAX_NODES, MAX_RANK, Array, Graph, Node, Step, pair

MAX_JSON = 1 << 23
DTYPES = {6: "<f2", 7: "<f4", 8: "<f8", 4: "<i4", 5: "<i8"}  # torch's numbers for them
_DAMAGED = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)
_BROKEN = (*_DAMAGED, EOFError, OSError, RuntimeError, struct.error, zipfile.BadZipFile)  # of a zip file
_REMEDY = "Save the program again: torch.export.save(torch.export.export(net.eval(), (x,)), path)."


def read_graph(raw: bytes, name: str) -> Graph:
    """The net in a program.

    Raises:
        ConfigError: it is damaged, a pickle, or uses what is not read.
    """
    archive = _Archive(raw, name)
    model = archive.json("models/model.json")
    try:
        module = model["graph_module"]
        weights = archive.json("data/weights/model_weights_config.json")["config"]
        constants = _constants(archive, weights, module["signature"]["input_specs"])
        inputs = [
            spec["user_input"]["arg"]["as_tensor"]["name"]
            for spec in module["signature"]["input_specs"]
            if "user_input" in spec
        ]
        if len(inputs) != 1:
            raise ConfigError(f"{name} has {len(inputs)} inputs.", "Export a net with one input.")
        shape = tuple(_fixed(n) for n in module["graph"]["tensor_values"][inputs[0]]["sizes"])
        nodes = tuple(_node(at, node) for at, node in enumerate(module["graph"]["nodes"][: MAX_NODES + 1], 1))
        version = str(model.get("torch_version", "?"))[:20]
    except _DAMAGED as error:
        raise archive.damaged(f"{type(error).__name__}: {error}") from error
    if len(nodes) > MAX_NODES:
        raise ConfigError(f"{name} has more than {MAX_NODES} nodes.", "Export a smaller net.")
    return Graph(f"{name} (PyTorch {version})", nodes, inputs[0], shape, constants, _step)


class _Archive:
    """The zip file, with bounds on all that is unpacked."""

    def __init__(self, raw: bytes, name: str) -> None:
        self.name = name
        try:
            self.zip = zipfile.ZipFile(io.BytesIO(raw))
        except _BROKEN as error:
            raise self.damaged("it is no archive") from error
        names = self.zip.namelist()
        roots = [path.removesuffix("archive_format") for path in names if path.endswith("/archive_format")]
        if len(roots) != 1:
            pickled = any(path.endswith(("data.pkl", "serialized_exported_program.json")) for path in names)
            why = "an older format, or no program but pickled weights" if pickled else "no program of PyTorch"
            raise ConfigError(f"{name} is {why}.", "Save it with torch 2.9 or newer: torch.export.save(program, path).")
        self.root = roots[0]
        if self.content("byteorder", 16) != b"little":
            raise ConfigError(f"{name} was written on a big-endian computer.", "Export the net as ONNX.")

    def damaged(self, why: str) -> ConfigError:
        return ConfigError(f"{self.name} is no exported program, or damaged ({why[:120]}).", _REMEDY)

    def content(self, path: str, limit: int) -> bytes:
        """A file of the archive; torch never packs them, and what is packed could unpack to anything."""
        try:
            info = self.zip.getinfo(self.root + path)
            if info.file_size > limit or info.compress_type != zipfile.ZIP_STORED:
                problem = f"{self.name}: {path[: g.SHOWN]} is compressed, or larger than {limit:,} bytes."
                raise ConfigError(problem, _REMEDY)
            with self.zip.open(info) as file:
                return file.read(limit)
        except _BROKEN as error:
            raise self.damaged(f"{path[: g.SHOWN]} cannot be read") from error

    def json(self, path: str) -> Any:
        try:
            return json.loads(self.content(path, MAX_JSON))
        except (ValueError, RecursionError) as error:
            raise self.damaged(f"{path} is no JSON") from error


def _fixed(size: Mapping[str, Any]) -> int:
    """A size, 0: not known when the net was exported."""
    return int(size["as_int"]) if "as_int" in size else 0


def _node(at: int, node: Mapping[str, Any]) -> Node:
    attrs = {str(item["name"]): _value(item["arg"]) for item in node["inputs"]}
    tensors = tuple(str(item["arg"]["as_tensor"]["name"]) for item in node["inputs"] if "as_tensor" in item["arg"])
    listed = (t["name"] for item in node["inputs"] for t in item["arg"].get("as_tensors", ()))
    outputs = [out["as_tensor"]["name"] for out in node["outputs"] if "as_tensor" in out]
    op = str(node["target"]).removeprefix("torch.ops.")
    return Node(
        op,
        str(node.get("name") or (outputs or ["?"])[0]),
        at,
        (*tensors, *map(str, listed)),
        str((outputs or [""])[0]),
        attrs,
    )


def _value(arg: Mapping[str, Any]) -> Any:
    """An argument as Python has it; a tensor is its name, and what is not known before the net runs is None."""
    ((kind, value),) = arg.items()
    match kind:
        case "as_tensor":
            return str(value["name"])
        case "as_int" | "as_ints" | "as_float" | "as_floats" | "as_bool" | "as_string":
            return value
        case _:
            return None


def _constants(
    archive: _Archive, weights: Mapping[str, Any], specs: list[Mapping[str, Any]]
) -> Callable[[str], Array | None]:
    """What gives the value of a parameter or buffer by the name that the graph has for it."""
    known: dict[str, str] = {}
    for spec in specs:
        for kind in ("parameter", "buffer"):
            if kind in spec:
                known[str(spec[kind]["arg"]["name"])] = str(spec[kind][f"{kind}_name"])

    def constant(name: str) -> Array | None:
        if name not in known:
            return None
        try:
            return _tensor(archive, known[name], weights[known[name]])
        except _DAMAGED as error:
            raise archive.damaged(f"the weights {known[name][: g.SHOWN]!r} make no sense") from error

    return constant


def _tensor(archive: _Archive, name: str, entry: Mapping[str, Any]) -> Array:
    meta = entry["tensor_meta"]
    if entry["use_pickle"]:
        problem = f"{archive.name}: the weights {name[: g.SHOWN]!r} are pickled."
        raise ConfigError(problem, "Export the net with plain tensors as weights, or as ONNX.")
    sizes, strides = (tuple(int(n["as_int"]) for n in meta[key]) for key in ("sizes", "strides"))
    offset, dtype = int(meta["storage_offset"]["as_int"]), np.dtype(DTYPES.get(meta["dtype"], "V1"))
    if dtype.kind == "V":
        problem = f"{archive.name}: the weights {name[: g.SHOWN]!r} are of a type that is not read."
        raise ConfigError(problem, "Export the net in float32: net.float().")
    stored = np.frombuffer(archive.content(f"data/weights/{entry['path_name']}", MAX_BYTES), dtype)
    if len(sizes) != len(strides) or len(sizes) > MAX_RANK or min((*sizes, *strides, offset), default=0) < 0:
        raise ValueError("sizes")
    if 0 in sizes:
        return np.zeros(sizes, dtype)
    last = offset + sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True))
    if last >= len(stored) or int(np.prod(sizes, dtype=object)) > MAX_ELEMENTS:
        raise ValueError("bounds")
    steps = tuple(stride * dtype.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(stored[offset:], sizes, steps, writeable=False).copy()


# --- what each node does --------------------------------------------------------------------------------------------------------------


def _step(graph: Graph, node: Node) -> Step:
    if node.op in _DECOMPOSED:
        raise node.refused(
            "is a part that a layer was taken apart into", "Save the program without run_decompositions()."
        )
    if node.op not in READ:
        raise node.refused("is nothing that a board's net can do")
    try:
        return READ[node.op](graph, node)
    except _DAMAGED as error:
        raise node.refused(f"has arguments that are not known, or make no sense ({error})", _REMEDY) from error


def _optional(graph: Graph, node: Node, key: str) -> Array | None:
    name = node.attrs.get(key)
    return None if name is None else graph.weights(node, name)


def _conv(graph: Graph, node: Node) -> Step:
    W, b, attrs = graph.weights(node, node.attrs["weight"]), _optional(graph, node, "bias"), node.attrs
    padding = attrs.get("padding", (0, 0))
    if isinstance(padding, str):
        padding = None if padding == "same" else (0, 0)
    pads = None if padding is None else (*pair(padding, 0), *pair(padding, 0))
    stride, dilation = pair(attrs.get("stride", ())), pair(attrs.get("dilation", ()))
    return g.Convolution(W, b, stride, pads, dilation, int(attrs.get("groups", 1)))


def _linear(graph: Graph, node: Node) -> Step:
    return g.Linear(graph.weights(node, node.attrs["weight"]), _optional(graph, node, "bias"))


def _norm(graph: Graph, node: Node) -> Step:
    if node.attrs["training"]:
        raise node.refused("is in training mode", "Export the net after net.eval().")
    mean, var = (graph.weights(node, node.attrs[key]) for key in ("running_mean", "running_var"))
    gamma, beta = (_optional(graph, node, key) for key in ("weight", "bias"))
    gamma = np.ones_like(mean) if gamma is None else gamma
    return g.Norm(gamma, np.zeros_like(mean) if beta is None else beta, mean, var, float(node.attrs["eps"]))


def _pool(mode: str) -> Callable[[Graph, Node], Step]:
    def step(graph: Graph, node: Node) -> Step:
        attrs = node.attrs
        if attrs.get("divisor_override") is not None:
            raise node.refused("divides by a number of its own", "Use an average pool as it is.")
        size = pair(attrs["kernel_size"])
        pads = (*pair(attrs.get("padding", ()), 0), *pair(attrs.get("padding", ()), 0))
        return g.Pooling(
            mode, size, pair(attrs.get("stride") or attrs["kernel_size"]), pads, pair(attrs.get("dilation", ()))
        )

    return step


def _pooled_to(graph: Graph, node: Node) -> Step:
    return g.PooledTo("avg", pair(node.attrs["output_size"]))


def _mean(graph: Graph, node: Node) -> Step:
    if sorted(dim % 4 for dim in node.attrs["dim"]) != [2, 3]:
        raise node.refused("averages over something else than height and width")
    return g.PooledTo("avg", (1, 1), flat=not node.attrs.get("keepdim", False))


def _flatten(graph: Graph, node: Node) -> Step:
    if node.attrs.get("end_dim", -1) not in (-1, len(graph.shape) - 1):
        raise node.refused("flattens some dimensions, not all", "Use nn.Flatten().")
    return g.Flattened(int(node.attrs.get("start_dim", 0)))


def _reshape(graph: Graph, node: Node) -> Step:
    return g.Reshaped(tuple(int(n) for n in node.attrs["size" if "size" in node.attrs else "shape"]))


def _dropout(graph: Graph, node: Node) -> Step:
    if node.attrs["train"]:
        raise node.refused("is in training mode", "Export the net after net.eval().")
    return g.Same()


_DECOMPOSED = ("aten.convolution.default", "aten.addmm.default", "aten._native_batch_norm_legit_no_training.default")
READ: dict[str, Callable[[Graph, Node], Step]] = {
    "aten.conv2d.default": _conv,
    "aten.conv2d.padding": _conv,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _norm,
    "aten.relu.default": lambda graph, node: g.Relu(),
    "aten.relu_.default": lambda graph, node: g.Relu(),
    "aten.max_pool2d.default": _pool("max"),
    "aten.avg_pool2d.default": _pool("avg"),
    "aten.adaptive_avg_pool2d.default": _pooled_to,
    "aten.mean.dim": _mean,
    "aten.flatten.using_ints": _flatten,
    "aten.view.default": _reshape,
    "aten.reshape.default": _reshape,
    "aten.dropout.default": _dropout,
    "aten.dropout_.default": _dropout,
    "aten.softmax.int": lambda graph, node: g.Softmax(),
    "aten.log_softmax.int": lambda graph, node: g.Softmax(),
}
