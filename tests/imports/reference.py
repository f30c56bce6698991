"""What the tests of imports share: features as our interpreter computes them, and small ONNX models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.imports import Extractor
from edgelearn.ir.interp import Interpreter
from edgelearn.layers import Layer, dense
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.start import first_state, of_values

Floats = NDArray[np.float32]


def compiled(
    extractor: Extractor, x: Floats, dtype: str = "f32", rule: str = "mono-forward", width: int = 4
) -> Compiled:
    """A net with one block that learns on top of the extractor."""
    layers: tuple[Layer, ...] = (*extractor.layers, dense(width))
    net = Net(extractor.input, layers, 3, extractor.activations)
    flat = x.reshape(len(x), -1).astype(np.float32)
    return compile_net(find(rule), net, Calibration(flat, np.zeros(len(x), np.int64), values=extractor.values), dtype)


def interpreter(found: Compiled, extractor: Extractor) -> Interpreter:
    net = Interpreter(found.module)
    state.restore(net, first_state(found.module, 0, [of_values("file", extractor.values)]))
    return net


def features(extractor: Extractor, x: Floats) -> Floats:
    """What the extractor makes of samples (N, height, width, channels) or (N, n): a row for each, maps in our order."""
    net = interpreter(compiled(extractor, x), extractor)
    seen: list[Floats] = []
    rows: list[Floats] = []

    def observe(op: Any, result: Floats) -> None:
        if op.args[0] == f"@b{extractor.blocks}.W":
            rows.append(seen[-1].reshape(-1))
        seen.append(result)

    net.observe = observe
    for sample in x:
        net.infer(sample)
    return np.stack(rows)


def channels_last(maps: Floats) -> Floats:
    """(N, C, H, W) or (N, n) as rows in our order."""
    return (maps.transpose(0, 2, 3, 1) if maps.ndim == 4 else maps).reshape(len(maps), -1)


def samples(shape: Sequence[int], n: int = 4, seed: int = 0) -> tuple[Floats, Floats]:
    """The same random samples for us and for the file: (N, H, W, C) and (N, C, H, W), or twice (N, n)."""
    draw = np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)
    return (draw.transpose(0, 2, 3, 1).copy(), draw) if len(shape) == 3 else (draw.reshape(n, -1), draw)


# --- ONNX ---------------------------------------------------------------------------------------------------------------------------


class OnnxNet:
    """A chain of nodes under construction: each reads what the one before it computed."""

    def __init__(self, shape: Sequence[int | str], opset: int = 17, seed: int = 0) -> None:
        import onnx

        self.onnx, self.opset, self.shape = onnx, opset, list(shape)
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.value = "x"

    def weights(self, *shape: int) -> Floats:
        return (self.random.normal(size=shape) / max(np.prod(shape[1:]), 1) ** 0.5).astype(np.float32)

    def add(
        self, op: str, *constants: NDArray[Any], domain: str = "", extra: Sequence[str] = (), **attrs: Any
    ) -> OnnxNet:
        """A node that reads the value so far, constants, and values named in ``extra``."""
        names: list[str] = []
        for constant in constants:
            names.append(f"c{len(self.constants)}")
            self.constants[names[-1]] = constant
        inputs, output = [self.value, *names, *extra], f"v{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(op, inputs, [output], f"{op}_{len(self.nodes)}", domain=domain, **attrs)
        )
        self.value = output
        return self

    def conv(self, cin: int, out: int, k: int = 3, bias: bool = True, **attrs: Any) -> OnnxNet:
        W = self.weights(out, cin // attrs.get("group", 1), k, k)
        return self.add("Conv", W, *([self.weights(out, 1)[:, 0]] if bias else []), **attrs)

    def norm(self, channels: int) -> OnnxNet:
        draw = self.random.uniform
        parts = [draw(0.5, 2, channels), draw(-1, 1, channels), draw(-1, 1, channels), draw(0.5, 2, channels)]
        return self.add("BatchNormalization", *(part.astype(np.float32) for part in parts), epsilon=1e-3)

    def relu(self) -> OnnxNet:
        return self.add("Relu")

    def gemm(self, n: int, out: int, **attrs: Any) -> OnnxNet:
        W = self.weights(out, n)
        return self.add("Gemm", W if attrs.get("transB") else W.T.copy(), self.weights(out, 1)[:, 0], **attrs)

    def model(self) -> Any:
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes, "net", [helper.make_tensor_value_info("x", kind, self.shape)],
            [helper.make_tensor_value_info(self.value, kind, None)],
            [self.onnx.numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("custom", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def bytes(self) -> bytes:
        return self.model().SerializeToString()


def onnx_outputs(raw: bytes, x: Floats) -> Floats:
    """What onnxruntime computes, sample by sample."""
    import onnxruntime

    run = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(run.run(None, {"x": sample[None]})[0]) for sample in x])
