"""ONNX files: what our interpreter makes of a sample is what onnxruntime makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgelearn import imports
from edgelearn.errors import ConfigError
from edgelearn.imports.extractor import Extractor
from tests.imports.reference import OnnxNet, channels_last, features, onnx_outputs, samples

pytest.importorskip("onnx", reason="needs onnx: pip install 'edgelearn[onnx]'")


def read(net: OnnxNet, folder: Path, upto: int | None = None) -> Extractor:
    (folder / "net.onnx").write_bytes(net.bytes())
    return imports.read(folder / "net.onnx", upto)


def check(net: OnnxNet, shape: tuple[int, ...], folder: Path) -> Extractor:
    """All of a net that ends in a ReLU or a pool is kept, and computes what it did."""
    pytest.importorskip("onnxruntime", reason="needs onnxruntime, to compare with")
    found = read(net, folder)
    ours, theirs = samples(shape)
    wanted = channels_last(onnx_outputs(net.bytes(), theirs))
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(features(found, ours), wanted, atol=1e-4, rtol=1e-4)
    return found


def lenet() -> OnnxNet:
    net = (
        OnnxNet(("n", 3, 8, 4))
        .conv(3, 4, pads=[1, 1, 1, 1])
        .norm(4)
        .relu()
        .add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    )
    net.conv(4, 6, bias=False, strides=[2, 2], pads=[1, 1, 1, 1]).relu().add("Flatten")
    return net.gemm(12, 9, transB=1).relu()


def mobile() -> OnnxNet:
    net = OnnxNet((1, 3, 6, 6)).conv(3, 4, bias=False, auto_pad="SAME_UPPER").norm(4).relu()
    net.conv(4, 4, group=4, strides=[2, 2], pads=[1, 1, 1, 1]).norm(4).relu().conv(4, 8, 1).add("Dropout").relu()
    return net.add("GlobalAveragePool").add("Identity").add("Flatten", axis=1)


def matrices() -> OnnxNet:
    net = OnnxNet((1, 3, 4, 2)).add("Reshape", np.array([1, -1])).add("MatMul", OnnxNet((1,)).weights(24, 7))
    net.add("Add", OnnxNet((1,)).weights(1, 7)).relu().gemm(7, 5, alpha=0.5, beta=2.0)
    return net.norm(5).relu()


def biased() -> OnnxNet:
    net = OnnxNet((1, 2, 4, 4)).add("AveragePool", kernel_shape=[2, 2], strides=[2, 2]).conv(2, 3, 1, bias=False)
    return net.add("Add", net.weights(1, 3, 1, 1)).add("MaxPool", kernel_shape=[2, 2], strides=[2, 2]).relu()


def mean_by_attribute() -> OnnxNet:
    net = OnnxNet((1, 2, 4, 4), opset=13).conv(2, 3).relu()
    return net.add("ReduceMean", axes=[2, 3], keepdims=0)


def mean_by_input() -> OnnxNet:
    return OnnxNet((1, 2, 4, 4), opset=18).conv(2, 3).relu().add("ReduceMean", np.array([-1, -2]), keepdims=1)


def constants() -> OnnxNet:
    """Weights that are nodes."""
    net = OnnxNet((1, 2, 4, 4)).conv(2, 3).relu()
    helper = net.onnx.helper
    for name, value in net.constants.items():
        tensor = net.onnx.numpy_helper.from_array(value, name)
        net.nodes.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    net.constants.clear()
    return net


NETS: dict[str, tuple[Callable[[], OnnxNet], tuple[int, ...], list[str]]] = {
    "lenet": (lenet, (3, 8, 4), ["c4k3", "max2", "c6k3s2", "9"]),
    "mobile": (mobile, (3, 6, 6), ["c4k3", "d3s2", "c8k1", "p3"]),
    "matrices": (matrices, (3, 4, 2), ["7", "5"]),
    "biased": (biased, (2, 4, 4), ["p2", "c3k1", "max2"]),
    "mean_by_attribute": (mean_by_attribute, (2, 4, 4), ["c3k3", "p2"]),
    "mean_by_input": (mean_by_input, (2, 4, 4), ["c3k3", "p2"]),
    "constants": (constants, (2, 4, 4), ["c3k3"]),
}


@pytest.mark.parametrize("name", NETS)
def test_features_are_those_of_onnxruntime(name: str, tmp_path: Path) -> None:
    make, shape, layers = NETS[name]
    assert [str(layer) for layer in check(make(), shape, tmp_path).layers] == layers


@settings(max_examples=40, derandomize=True)
@given(
    st.integers(1, 5), st.integers(1, 6), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(3, 9), st.integers(3, 9),
    st.booleans(), st.booleans(), st.sampled_from([None, "MaxPool", "AveragePool"]), st.integers(0, 99),
)  # fmt: skip
def test_any_convolution(
    tmp_path_factory: pytest.TempPathFactory, cin: int, out: int, k: int, stride: int, pad: int, h: int, w: int,
    depthwise: bool, norm: bool, pool: str | None, seed: int,
) -> None:  # fmt: skip
    out = cin if depthwise else out
    rows, columns = ((n + 2 * pad - k) // stride + 1 for n in (h, w))
    assume(pad < k and min(h, w) + 2 * pad >= k and not (pool and (rows % 2 or columns % 2)))
    net = OnnxNet((1, cin, h, w), seed=seed)
    net.conv(cin, out, k, strides=[stride] * 2, pads=[pad] * 4, group=cin if depthwise else 1)
    net = (net.norm(out) if norm else net).relu()
    if pool:
        net.add(pool, kernel_shape=[2, 2], strides=[2, 2])
    net.add("Flatten").gemm(out * rows * columns // (4 if pool else 1), 6).relu()
    folder = tmp_path_factory.mktemp("net")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime, to compare with")
    ours, theirs = samples((cin, h, w), seed=seed)
    wanted = onnx_outputs(net.bytes(), theirs)
    np.testing.assert_allclose(features(read(net, folder), ours), wanted, atol=1e-4, rtol=1e-4)


def test_the_classifier_is_dropped(tmp_path: Path) -> None:
    net = lenet().gemm(9, 3).add("Softmax", axis=1)
    found = read(net, tmp_path)
    assert found.blocks == 3
    assert found.text.splitlines()[0] == "net.onnx (ONNX, opset 17)"
    assert found.text.splitlines()[-1] == "Gemm 'Gemm_9' (node 10): dropped"
    assert set(found.values) == {f"@b{i}.{name}" for i in range(3) for name in "Wb"}
    kept = read(net, tmp_path, upto=4)
    assert kept.activations == ("relu", "relu", "relu", "none")


def test_the_same_file_is_known_again(tmp_path: Path) -> None:
    import hashlib

    assert read(lenet(), tmp_path).sha256 == hashlib.sha256(lenet().bytes()).hexdigest()


def branch() -> OnnxNet:
    net = OnnxNet((1, 2, 4, 4)).conv(2, 2, pads=[1] * 4).relu()
    skipped = net.value
    return net.conv(2, 2, pads=[1] * 4).add("Add", extra=[skipped])


def conv(**attrs: Any) -> OnnxNet:
    return OnnxNet((1, 2, 8, 8)).conv(2, 4, **attrs).relu()


def after(op: str, *constants: Any, **attrs: Any) -> OnnxNet:
    """A net with one node that is not read."""
    return conv().add(op, *constants, **attrs).conv(4, 2).relu()


def _computed() -> OnnxNet:
    net = OnnxNet((1, 4))
    net.add("Relu")
    net.nodes[-1].input[0] = "other"
    net.value = "x"
    return net.add("MatMul", extra=["v0"]).relu()


FOUR = np.ones(4, np.float32)
REFUSED: dict[str, tuple[Callable[[], OnnxNet], str]] = {
    **{
        op: (lambda op=op, attrs=attrs: after(op, **attrs), f"{op} '{op}_2' (node 3) is nothing that")
        for op, attrs in {
            "Sigmoid": {}, "Tanh": {}, "LeakyRelu": {}, "Elu": {}, "HardSigmoid": {}, "Selu": {}, "Softplus": {}, "Abs": {},
            "Transpose": {"perm": [0, 1, 3, 2]}, "Squeeze": {}, "LRN": {"size": 3}, "DepthToSpace": {"blocksize": 2},
            "LpPool": {"kernel_shape": [2, 2]}, "Shape": {}, "Cast": {"to": 1}, "HardSwish": {}, "Exp": {}, "Gather": {},
        }.items()
    },
    "Mul": (lambda: after("Mul", FOUR.reshape(4, 1, 1)), "Mul 'Mul_2' (node 3) is nothing that"),
    "PRelu": (lambda: after("PRelu", FOUR.reshape(4, 1, 1)), "PRelu 'PRelu_2' (node 3) is nothing that"),
    "Clip": (lambda: after("Clip", np.float32(0), np.float32(6)), "Clip 'Clip_2' (node 3) is nothing that"),
    "Pad": (lambda: after("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1])), "Pad 'Pad_2' (node 3) is nothing that"),
    "Concat": (lambda: after("Concat", FOUR.reshape(1, 4, 1, 1), axis=1), "Concat 'Concat_2' (node 3) is nothing that"),
    "Resize": (lambda: after("Resize", FOUR, FOUR), "Resize 'Resize_2' (node 3) is nothing that"),
    "InstanceNormalization": (lambda: after("InstanceNormalization", FOUR, FOUR), "(node 3) is nothing that"),
    "ConvTranspose": (lambda: after("ConvTranspose", np.ones((4, 4, 2, 2), np.float32)), "(node 3) is nothing that"),
    "LSTM": (lambda: after("LSTM", FOUR.reshape(1, 4, 1), FOUR.reshape(1, 4, 1), hidden_size=1), "(node 3) is nothing that"),
    "QLinearConv": (lambda: after("QLinearConv", *[FOUR] * 7), "(node 3) is nothing that"),
    "custom": (lambda: after("Relu", domain="custom"), "custom.Relu 'Relu_2' (node 3) is nothing that"),
    "branch": (branch, "the net branches"),
    "groups": (lambda: conv(group=2), "2 groups for 2 channels in and 4 out"),
    "dilation": (lambda: conv(dilations=[2, 2]), "dilation 2, 2"),
    "stride": (lambda: conv(strides=[1, 2]), "moves by 1 and 2"),
    "pads": (lambda: conv(pads=[0, 0, 1, 1]), "pads by 0, 1"),
    "wide pads": (lambda: conv(pads=[3, 3, 3, 3]), "pads by 3"),
    "two pads": (lambda: conv(pads=[1, 1]), "make no sense"),
    "same": (lambda: conv(auto_pad="SAME_UPPER", strides=[2, 2]), "pads by 0, 1"),
    "too large": (lambda: conv(k=9), "makes a map of"),
    "kernel": (lambda: conv(k=16, pads=[8] * 4), "kernel of 16 by 16"),
    "one dimension": (lambda: OnnxNet((1, 2, 8)).add("Conv", np.ones((2, 2, 3), np.float32)).relu(), "not a map"),
    "channels": (lambda: OnnxNet((1, 3, 8, 8)).conv(2, 4).relu(), "for a map of 3 channels"),
    "bias": (lambda: OnnxNet((1, 2, 8, 8)).add("Conv", np.ones((2, 2, 3, 3), np.float32), FOUR).relu(), "bias of shape (4,)"),
    "integers": (lambda: OnnxNet((1, 4)).add("MatMul", np.ones((4, 2), np.int64)).relu(), "weights of type int64"),
    "computed": (_computed, "'v0', which is no constant"),
    "overlap": (lambda: after("MaxPool", kernel_shape=[3, 3], strides=[2, 2]), "windows of 3 that move by 2"),
    "padded pool": (lambda: after("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[1] * 4), "pads its map"),
    "dilated pool": (lambda: after("MaxPool", kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 2]), "dilation 2"),
    "rest": (lambda: after("AveragePool", kernel_shape=[4, 4], strides=[4, 4]), "without a rest"),
    "oblong": (lambda: OnnxNet((1, 2, 4, 8)).conv(2, 2).relu().add("GlobalAveragePool"), "windows of 2 by 6"),
    "mean": (lambda: after("ReduceMean", axes=[1]), "something else than height and width"),
    "norm": (lambda: after("BatchNormalization", *[FOUR] * 4), "does not directly follow"),
    "norm in training": (lambda: conv().add("BatchNormalization", *[FOUR] * 4, training_mode=1), "training mode"),
    "norm of others": (lambda: OnnxNet((1, 2, 8, 8)).conv(2, 3).add("BatchNormalization", *[FOUR] * 4), "4 channels of 3"),
    "dropout": (lambda: after("Dropout", np.float32(0.5), np.array(True)), "training mode"),
    "no relu": (lambda: OnnxNet((1, 2, 8, 8)).conv(2, 3).conv(3, 4).relu(), "Conv 'Conv_0' (node 1) has no ReLU after it"),
    "relu first": (lambda: OnnxNet((1, 2, 8, 8)).relu().conv(2, 3).relu(), "before any layer"),
    "average": (lambda: OnnxNet((1, 2, 8, 8)).conv(2, 3).add("GlobalAveragePool").relu(), "a pool that averages"),
    "flat conv": (lambda: conv().add("Flatten").conv(4, 2), "reads 144 numbers, not a map"),
    "flat pool": (lambda: conv().add("Flatten").add("GlobalMaxPool"), "reads 144 numbers, not a map"),
    "no flatten": (lambda: conv().gemm(144, 5), "reads a value of shape (4, 6, 6)"),
    "reshape": (lambda: conv().add("Reshape", np.array([1, 4, 36])), "something else than (batch, numbers)"),
    "flatten": (lambda: conv().add("Flatten", axis=2), "something else than (batch, numbers)"),
    "transposed": (lambda: OnnxNet((1, 4)).gemm(4, 2, transA=1), "transposes its input"),
    "sizes": (lambda: OnnxNet((1, 4)).gemm(5, 2).relu(), "weights of shape (2, 5) for 4 numbers"),
    "adds a map": (lambda: conv().add("Add", FOUR.reshape(1, 4, 1, 1)), "does not directly follow"),
    "adds a row": (lambda: OnnxNet((1, 2, 4, 4)).conv(2, 2).add("Add", np.ones(2, np.float32)), "constant of shape (2,)"),
    "softmax": (lambda: conv().add("Softmax").conv(4, 2), "not the end of the net"),
    "NaN": (lambda: OnnxNet((1, 4)).add("MatMul", np.full((4, 2), np.nan, np.float32)).relu(), "NaN or infinite"),
    "NaN bias": (
        lambda: OnnxNet((1, 4)).add("Gemm", np.ones((4, 1), np.float32), np.full(1, np.nan, np.float32)).relu(),
        "NaN or infinite",
    ),
    "infinite": (lambda: OnnxNet((1, 4)).add("MatMul", np.full((4, 2), 1e300)).relu(), "NaN or infinite"),
    "huge": (lambda: OnnxNet((1, 4)).add("MatMul", np.full((4, 2), 1e20, np.float32)).relu(), "too large"),
    "height": (lambda: OnnxNet((1, 2, "h", 8)).conv(2, 2).relu(), "input has shape (1, 2, ?, 8)"),
    "five": (lambda: OnnxNet((1, 2, 4, 4, 4)).relu(), "input has shape (1, 2, 4, 4, 4)"),
    "classifier": (lambda: OnnxNet((1, 4)).gemm(4, 2), "one layer with weights"),
    "nothing": (lambda: OnnxNet((1, 2, 4, 4)).add("GlobalMaxPool"), "no layer with weights"),
    "old": (lambda: OnnxNet((1, 4), opset=6).gemm(4, 2), "opset 6"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_is_refused_by_name(name: str, tmp_path: Path) -> None:
    make, said = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        read(make(), tmp_path)
    assert caught.value.message.startswith("net.onnx")
    assert said in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("upto", "said"), [(0, "keeps no layer"), (-1, "keeps no layer"), (4, "has 3 layers with weights, not 4")]
)
def test_upto_must_be_a_number_of_layers(upto: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read(lenet(), tmp_path, upto)
