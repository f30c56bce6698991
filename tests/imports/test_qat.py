"""Nets that were trained quantised, in Brevitas: their int8 weights arrive as they are, say what Brevitas says, and learn on.

The files in data/ come from make_qat.py, so that most of this needs neither torch nor Brevitas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgelearn as el
from edgelearn import imports, restore, state
from edgelearn import recipe as recipes
from edgelearn.data import datasets
from edgelearn.errors import ConfigError, EdgeLearnError, MissingToolError, UsageError
from edgelearn.host.native import NativeCore
from edgelearn.imports import extras, torch_module
from edgelearn.ir.interp import HALVE_EVERY, Interpreter
from edgelearn.job import Job, prepare
from edgelearn.runs import RunStore
from tests.cli.documents import blocks, run_shell, text, write_files
from tests.imports.make_qat import DATA, NETS, guesses, trained
from tests.imports.reference import Floats, OnnxNet, features, onnx_outputs, samples

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'edgelearn[onnx]'")

DIGITS = datasets.load("digits")
LAYERS = {
    "dense": "input = [64]\nlayers = [32]",
    "conv": "input = [8, 8]\nlayers = [{ conv = 8 }, { pool = 2 }, { conv = 12 }, { pool = 2 }]",
}
NOISE = 0.01  # one point


def recipe(net: str, lr: float = 2**-4, **train: Any) -> recipes.Recipe:
    """The layers of a file of data/, to be learnt by Mono-Forward."""
    lines = "".join(f"{key} = {value}\n" for key, value in train.items())
    model, rule = LAYERS[net.partition("-")[0]], f'name = "mono-forward"\nlr = {lr}'
    text = f'[model]\n{model}\nclasses = 10\n[rule]\n{rule}\n[data]\nname = "digits"\n[train]\n{lines}'
    return recipes.parse(text, Path("qat.toml"))


def job_from(net: str | Path, given: recipes.Recipe | None = None, board: str = "sim", **overrides: Any) -> Job:
    path = net if isinstance(net, Path) else DATA / f"{net}.onnx"
    with RunStore() as store:
        found, start = restore.begin(given or recipe(str(net)), str(path), store, board)
    return prepare(found, board, start, **overrides)


def core(job: Job) -> NativeCore:
    found = NativeCore(job.plan, job.state_bytes, job.arena_bytes, job.recipe.train.seed)
    first = job.state_at(0, None)
    assert first is not None
    found.write_state(first)
    return found


def accuracy(found: NativeCore, job: Job) -> float:
    return float((found.infer(job.x_test) == job.data.y_test).mean())


def integers(net: str) -> list[np.ndarray[Any, Any]]:
    """The int8 tensors of a file, in its order, as another reader of ONNX finds them."""
    model = onnx.load(DATA / f"{net}.onnx")
    arrays = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer]
    for node in model.graph.node:
        arrays += [onnx.numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"]
    return [a for a in arrays if a.dtype == np.int8 and a.ndim > 1]


# --- whole numbers ------------------------------------------------------------------------------------------------------------------


def test_int8_weights_begin_as_those_of_the_file() -> None:
    job = job_from("dense")
    first = job.state_at(0, None)
    assert first is not None
    found = state.decode(job.module, first).tensors
    hidden, scores = integers("dense")
    assert (hidden.shape, scores.shape) == ((32, 64), (10, 32))
    assert (found["@b0.W"] == hidden).all()
    assert (found["@b0.M"] == scores).all()
    assert job.notes[0] == "int8 weights as in the file: b0.W, b0.M"


def test_frozen_features_are_those_of_the_file(tmp_path: Path) -> None:
    text = f'[model]\nfeatures = "{DATA / "dense.onnx"}"\nlayers = [16]\nclasses = 10\n'
    (tmp_path / "own.toml").write_text(text + '[rule]\nname = "mono-forward"\n[data]\nname = "digits"\n')
    job = prepare(tmp_path / "own.toml", steps=HALVE_EVERY + 1)
    found = core(job)
    found.learn(job.x_train, job.data.y_train, job.order(0, job.steps))  # weights at the limit are halved on the way
    assert (state.decode(job.module, found.read_state()).tensors["@b0.W"] == integers("dense")[0]).all()
    assert "; int8 weights as in the file: b0.W" in job.notes[0]


@pytest.mark.parametrize("scale", [2.0**-7, 0.011, 3e-5, 12.5])
@pytest.mark.parametrize("form", ["Gemm", "MatMul", "Conv", "depthwise"])
def test_a_scale_for_a_layer_loses_nothing(scale: float, form: str, tmp_path: Path) -> None:
    """Whatever the scale: what it is more than a power of two is made up for by the next layer."""
    net, q = quantised(form, scale)
    found = read(net, tmp_path)
    stored = found.weights[0].whole
    assert stored is not None
    shown = q.transpose(1, 2, 3, 0)[0] if form == "depthwise" else q.transpose(0, 2, 3, 1) if q.ndim == 4 else q
    assert (stored == shown).all()
    assert (found.values["@b0.W"] == np.ldexp(stored.astype(np.float32), found.weights[0].exponent or 0)).all()
    assert 2**-0.5 <= factor(net, found) <= 2**0.5


@pytest.mark.parametrize("form", ["Gemm", "MatMul", "Conv", "depthwise"])
def test_a_scale_for_each_row_is_rounded_and_that_is_said(form: str, tmp_path: Path) -> None:
    net, _ = quantised(form, np.linspace(0.003, 0.03, 4))
    found = read(net, tmp_path)
    assert found.weights[0].exponent is None
    assert 0.2 < found.weights[0].rounding <= 0.5
    assert f"rounded to int8, by up to {found.weights[0].rounding:.2f} units: b0.W" in found.note
    assert 2**-0.5 <= factor(net, found) <= 2**0.5, "the numbers themselves are not rounded before they are stored"


def test_weights_that_a_board_would_halve_get_one_bit_more(tmp_path: Path) -> None:
    net, _ = quantised("Gemm", 0.01, limit=True)
    assert [layer.bits for layer in read(net, tmp_path).layers] == [8, 0]


def test_zero_points_of_weights_are_taken_off(tmp_path: Path) -> None:
    net = QuantisedNet((1, 6))
    q = net.random.integers(0, 256, (4, 6)).astype(np.uint8)
    net.add("Gemm", extra=[net.dequantised(q, 0.01, zero=np.uint8(130))], transB=1).relu()
    found = read(net, tmp_path)
    assert found.weights[0].exponent is None, "from -130 to 125: more than int8 has"
    assert 2**-0.5 <= factor(net, found) <= 2**0.5


def test_a_quantiser_that_cuts_at_zero_is_a_relu(tmp_path: Path) -> None:
    net = QuantisedNet((1, 6)).rounded(np.uint8).gemm(6, 4, transB=1).rounded(np.uint8, (0, 15)).gemm(4, 3, transB=1)
    found = read(net, tmp_path)
    assert found.activations == ("relu",)
    assert found.note.endswith("values had 16 steps in training, and have 128 on boards")
    signed = QuantisedNet((1, 6)).gemm(6, 4, transB=1).rounded(np.int8).gemm(4, 3, transB=1)
    with pytest.raises(ConfigError, match="has no ReLU after it"):
        read(signed, tmp_path)


class QuantisedNet(OnnxNet):
    """A chain whose weights come out of QuantizeLinear, Clip and DequantizeLinear."""

    def constant(self, value: Any) -> str:
        self.constants[f"c{len(self.constants)}"] = np.asarray(value)
        return f"c{len(self.constants) - 1}"

    def node(self, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, list(inputs), [output], output, **attrs))
        return output

    def dequantised(self, q: Any, scale: Any, axis: int = 0, zero: Any = None, turned: bool = False) -> str:
        """The name of what q is in numbers; ``turned``: of its transpose."""
        scale = np.float32(scale)
        zero = np.broadcast_to(np.asarray(q.dtype.type(0) if zero is None else zero), scale.shape)
        clipped = self.node("Clip", [self.constant(v) for v in (q, *(q.dtype.type(n) for n in LIMITS[q.dtype.kind]))])
        found = self.node("DequantizeLinear", [clipped, self.constant(scale), self.constant(zero)], axis=axis)
        return self.node("Transpose", [found], perm=[1, 0]) if turned else found

    def rounded(self, dtype: Any, limits: tuple[int, int] | None = None, scale: Any = 0.02) -> QuantisedNet:
        scales = [self.constant(np.float32(scale)), self.constant(np.zeros(np.shape(scale), dtype))]
        self.value = self.node("QuantizeLinear", [self.value, *scales])
        if limits:
            self.value = self.node("Clip", [self.value, *(self.constant(dtype(n)) for n in limits)])
        self.value = self.node("DequantizeLinear", [self.value, *scales])
        return self

    def gemm(self, n: int, out: int, **attrs: Any) -> QuantisedNet:
        super().gemm(n, out, **attrs)
        return self


LIMITS = {"i": (-127, 127), "u": (0, 255)}


def quantised(form: str, scale: Any, limit: bool = False) -> tuple[QuantisedNet, np.ndarray[Any, Any]]:
    """Two layers whose first has four rows of whole numbers, then a classifier; ``limit``: many of them at the limit."""
    maps = form in ("Conv", "depthwise")
    net = QuantisedNet((1, 4 if form == "depthwise" else 2, 4, 4) if maps else (1, 6))
    shape = {"Conv": (4, 2, 3, 3), "depthwise": (4, 1, 3, 3)}.get(form, (4, 6))
    q = net.random.integers(-126, 127, shape).astype(np.int8)
    q.reshape(-1)[: 3 if limit else 0] = 127
    bias = net.weights(4, 1)[:, 0] * 60 * np.float32(np.mean(scale))
    if form == "MatMul":
        net.add("MatMul", extra=[net.dequantised(q.T.copy(), scale, axis=1)]).add("Add", bias)
    elif form == "Gemm":
        weights = net.dequantised(q, scale, turned=True)
        net.add("Gemm", extra=[weights, net.constant(bias)])
    else:
        weights = net.dequantised(q, scale)
        groups = 4 if form == "depthwise" else 1
        net.add("Conv", extra=[weights, net.constant(bias)], pads=[1] * 4, group=groups).relu()
        net.add("AveragePool", kernel_shape=[4, 4], strides=[4, 4]).add("Flatten")
    net.relu()
    second = net.random.integers(-126, 127, (5, 4)).astype(np.int8)
    net.add("Gemm", extra=[net.dequantised(second, 0.007), net.constant(net.weights(5, 1)[:, 0])], transB=1).relu()
    return net, q


def read(net: OnnxNet, folder: Path, upto: int | None = None) -> imports.Extractor:
    (folder / "net.onnx").write_bytes(net.bytes())
    return imports.read(folder / "net.onnx", upto)


def factor(net: QuantisedNet, found: imports.Extractor) -> float:
    """What the file's outputs are over ours, which must be one number for all of them."""
    ours, theirs = samples([int(n) for n in net.shape[1:]], n=8)
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgelearn[onnx]'")
    wanted, made = onnx_outputs(net.bytes(), theirs), features(found, ours)
    assert wanted.shape == made.shape
    assert wanted.max() > 0
    ratio = float((wanted * made).sum() / (made * made).sum())
    np.testing.assert_allclose(made * ratio, wanted, rtol=1e-4, atol=1e-4 * float(wanted.max()))
    return ratio


# --- accuracy -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_it_says_what_brevitas_said(net: str, dtype: str) -> None:
    job = job_from(net, recipe(net, dtype=f'"{dtype}"'))
    theirs = np.array(json.loads((DATA / "guesses.json").read_text())[net])
    ours = core(job).infer(job.x_test)
    right = [float((guessed == DIGITS.y_test).mean()) for guessed in (theirs, ours)]
    assert right[0] > 0.94
    assert right[1] > right[0] - NOISE
    assert (ours == theirs).mean() > 0.98


# --- learning on --------------------------------------------------------------------------------------------------------------------


def own_digits(folder: Path, change: Callable[[Floats], Floats]) -> str:
    """300 samples of somebody whose digits look otherwise, and the test set in that look."""
    x = {name: change(values) for name, values in (("x_train", DIGITS.x_train[1100:]), ("x_test", DIGITS.x_test))}
    np.savez(folder / "own.npz", allow_pickle=False, **x, y_train=DIGITS.y_train[1100:], y_test=DIGITS.y_test)
    return str(folder / "own.npz")


def turned(x: Floats) -> Floats:
    return np.rot90(x.reshape(-1, 8, 8), 1, (1, 2)).reshape(x.shape).copy()


@pytest.mark.parametrize(
    ("net", "freeze", "change", "before", "after"),
    [
        ("dense", (), turned, 0.2, 0.85),
        ("conv-norm", (0,), lambda x: 1 - x, 0.3, 0.8),
        ("conv-norm", (), turned, 0.3, 0.75),
    ],
    ids=["dense, turned", "last block of a conv net, inverted", "a whole conv net, turned"],
)
def test_it_learns_on(
    net: str, freeze: tuple[int, ...], change: Callable[[Floats], Floats], before: float, after: float, tmp_path: Path
) -> None:
    job = job_from(net, freeze=freeze, data=own_digits(tmp_path, change), epochs=3)
    found = core(job)
    assert accuracy(found, job) < before
    found.learn(job.x_train, job.data.y_train, job.order(0, job.steps))
    assert accuracy(found, job) > after


def test_what_it_knows_stays_and_gets_better() -> None:
    job = job_from("dense", recipe("dense", lr=2**-6), epochs=1)
    found = core(job)
    imported = accuracy(found, job)
    found.learn(job.x_train, job.data.y_train, job.order(0, job.steps))
    assert accuracy(found, job) > imported - NOISE


@pytest.mark.parametrize(
    ("net", "board", "port", "steps"),
    [
        pytest.param("dense", "sim", "sim", 300, id="dense-sim"),
        pytest.param("conv-norm", "sim", "sim", 60, id="conv-sim"),
        pytest.param("dense", "microbit", "qemu", 60, id="dense-microbit", marks=pytest.mark.qemu),
        pytest.param("conv-norm", "microbit", "qemu", 20, id="conv-microbit", marks=[pytest.mark.qemu, pytest.mark.slow]),
    ],
)  # fmt: skip
def test_a_board_learns_on_as_the_interpreter_does(net: str, board: str, port: str, steps: int, tmp_path: Path) -> None:
    data = own_digits(tmp_path, turned)
    with np.load(data) as found:
        np.savez(data, **{key: found[key][:50] if key.endswith("test") else found[key] for key in found.files})
    job = job_from(net, board=board, data=data, steps=steps)
    twin, first = Interpreter(job.module, job.recipe.train.seed), job.state_at(0, None)
    assert first is not None
    state.restore(twin, first)
    for i in job.order(0, steps):
        twin.learn(job.x_train[i], int(job.data.y_train[i]))
    with el.connect(board, port) as session:
        result = session.train(job)
    assert result.data["state_sha256"] == twin.sha256()


def test_a_run_keeps_what_it_began_with(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes((DATA / "dense.onnx").read_bytes())
    with RunStore() as store, el.connect("sim") as board:
        result = board.train(recipe("dense"), store, start=file, steps=100)
        assert result.data["from"] == "net.onnx (ONNX, opset 17)"
        assert "int8 weights as in the file: b0.W, b0.M" in result.data["notes"]
        file.unlink()
        again = restore.restore_job(store.get(result.run))
        assert again.state_at(0, None) == job_from("dense").state_at(0, None)


# --- what does not fit --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "model", "said", "hint"),
    [
        ("dense", "input = [64]\nlayers = [24]", "Block 0 is 32 on 64 in dense.onnx .*, and 24 on 64 in this net", "32"),
        ("dense", "input = [32]\nlayers = [32]", "Block 0 is 32 on 64 in .*, and 32 on 32 in", "32"),
        ("conv", "input = [8, 8]\nlayers = [{ conv = 8 }]", "has 2 layers before its classifier, the net 1", "c8k3-p2-c12k3-p2"),
        ("conv", "input = [8, 8]\nlayers = [{ conv = 8 }, { pool = 2, mode = 'max' }, { conv = 12 }, { pool = 2 }]",
         "c12k3 pad 1 on 8x8x8, pooled by avg 2 in .*, and .* pooled by max 2 in this net", "c8k3"),
        ("conv", "input = [8, 8]\nlayers = [{ conv = 8, pad = 0 }]", "c8k3 pad 1 on 8x8 in .*, and c8k3 pad 0 on 8x8", "c8k3"),
        ("conv", "input = [8, 8]\nlayers = [{ conv = 8 }, { pool = 2 }, { conv = 12 }]", "its classifier reads 2x2x12", "pools"),
    ],
)  # fmt: skip
def test_other_layers_are_refused(net: str, model: str, said: str, hint: str) -> None:
    text = f'[model]\n{model}\nclasses = 10\n[rule]\nname = "mono-forward"\n[data]\nname = "digits"\n'
    with pytest.raises(ConfigError, match=said) as caught:
        job_from(net, recipes.parse(text, Path("qat.toml")))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("layers", "classes", "said"),
    [("[32]", 7, "10 classes in the file, 7 here"), ("[32, 16]", 10, "the net has more blocks than the file")],
)
def test_heads_that_the_classifier_is_not_start_from_the_seed(layers: str, classes: int, said: str) -> None:
    text = f'[model]\ninput = [64]\nlayers = {layers}\nclasses = {classes}\n[rule]\nname = "mono-forward"\n'
    with RunStore() as store:
        given = recipes.parse(text + '[data]\nname = "digits"\n', Path("qat.toml"))
        start = restore.begin(given, str(DATA / "dense.onnx"), store, "sim")[1]
    assert set(start.tensors) == {"@b0.W", "@b0.b"}
    assert any(said in note for note in start.notes)


def test_features_and_a_start_are_one_too_many(tmp_path: Path) -> None:
    text = f'[model]\nfeatures = "{DATA / "dense.onnx"}"\nlayers = [16]\nclasses = 10\n[rule]\nname = "mono-forward"\n'
    given = recipes.parse(text + '[data]\nname = "digits"\n', tmp_path / "own.toml")
    with pytest.raises(UsageError, match="begins with the features of a file already") as caught:
        job_from("dense", given)
    assert "--freeze" in caught.value.hint


@pytest.mark.parametrize(
    ("make", "said", "hint"),
    [
        (lambda n: n.gemm(6, 4).add("Clip", np.float32(0), np.float32(6)), "Clip .* nothing that a board's net can do", "docs"),
        (lambda n: n.gemm(6, 4).relu().rounded(np.uint8, scale=[0.1] * 4), "a scale for each channel of a value", "one scale"),
        (lambda n: n.gemm(6, 4).relu().rounded(np.uint8, (0, 1)), "rounds a value to 2 steps", "2 bits"),
        (lambda n: n.gemm(6, 4).relu().rounded(np.uint8, scale=0.0), "QuantizeLinear .* zero, negative or no number", "Export"),
        (lambda n: n.gemm(6, 4).relu().rounded(np.uint8, scale=np.nan), "QuantizeLinear .* make no sense", "Export"),
        (lambda n: n.gemm(6, 4).relu().rounded(np.uint8, (9, 3)), "in the wrong order", "Export"),
        (lambda n: n.add("Gemm", extra=[n.dequantised(ONES, -0.1)]), "a scale that is zero, negative", "Export"),
        (lambda n: n.add("Gemm", extra=[n.dequantised(ONES, 0.0)]), "a scale that is zero, negative", "Export"),
        (lambda n: n.add("Gemm", extra=[n.dequantised(ONES, [0.1] * 5)]), "5 scales or zero points for a tensor", "Export"),
        (lambda n: n.add("QLinearMatMul", *[np.float32(1)] * 7), "QLinearMatMul .* nothing that", "export_onnx_qcdq"),
        (lambda n: n.add("Quant", domain="custom"), "custom.Quant .* nothing that", "export_onnx_qcdq"),
        (lambda n: n.add("DequantizeLinear", np.float32(0.1)), "whole numbers that no QuantizeLinear made", "export_onnx_qcdq"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_refused_by_name(make: Callable[[Any], Any], said: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read(make(QuantisedNet((1, 6))).gemm(4, 3), tmp_path)
    assert hint in caught.value.hint


ONES = np.ones((6, 4), np.int8)


@pytest.mark.parametrize("net", ["dense", "conv-norm"])
def test_damaged_files_are_refused_or_harmless(net: str, tmp_path: Path) -> None:
    raw, random, refused = (DATA / f"{net}.onnx").read_bytes(), np.random.default_rng(0), 0
    for length in range(0, len(raw), len(raw) // 40):
        with pytest.raises(EdgeLearnError):
            imports.read(_written(tmp_path, raw[:length]))
    for _ in range(150):
        changed = bytearray(raw)
        for at in random.integers(0, len(raw), 3):
            changed[at] = random.integers(256)
        try:
            imports.start_of(imports.read(_written(tmp_path, bytes(changed))), recipe(net))
        except EdgeLearnError:
            refused += 1
    assert refused > 20


def _written(folder: Path, raw: bytes) -> Path:
    (folder / "net.onnx").write_bytes(raw)
    return folder / "net.onnx"


# --- from Python --------------------------------------------------------------------------------------------------------------------


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Layer:
        def modules(self) -> list[Any]:
            return [self]

    def absent(name: str) -> Any:
        raise ImportError(name)

    Layer.__module__ = "brevitas.nn.quant_linear"
    monkeypatch.setattr(extras.importlib, "import_module", absent)
    with pytest.raises(MissingToolError, match=r"Brevitas is not installed.\n.*pip install 'edgelearn\[qat\]'"):
        imports.from_torch(Layer(), None)


def test_modules_of_other_packages_are_not_brevitas_s() -> None:
    assert not torch_module.is_quantised(object())
    assert not torch_module.is_quantised(QuantisedNet((1, 6)))


@pytest.mark.slow
@pytest.mark.parametrize("net", ["dense", "conv-norm"])
def test_a_net_in_memory_goes_on_learning(net: str, tmp_path: Path) -> None:
    for package in ("torch", "brevitas", "onnxoptimizer"):
        pytest.importorskip(package, reason="needs Brevitas: pip install 'edgelearn[qat]'")
    module, x = trained(net, epochs=8)
    theirs = guesses(module, x)
    found = imports.from_torch(module, x[:1])
    assert [str(layer) for layer in found.layers] == (["32"] if net == "dense" else ["c8k3", "p2", "c12k3", "p2"])
    given = recipe(net, lr=2**-6)
    freeze = (0,) if net == "conv-norm" else ()  # its head of block 0 is not in the file
    job = prepare(given, start=imports.start_of(found, given), epochs=1, freeze=freeze)
    made = core(job)
    assert (made.infer(job.x_test) == theirs).mean() > 0.98
    before = accuracy(made, job)
    made.learn(job.x_train, job.data.y_train, job.order(0, job.steps))
    assert accuracy(made, job) > before - NOISE


# --- docs/qat.md --------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("trains", [False, True], ids=["file of data", "trained here"])
def test_the_page_can_be_typed(trains: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And comes out as it says, within what another PyTorch may do."""
    page = "docs/qat.md"
    write_files(page, tmp_path)
    if trains:
        for package in ("brevitas", "onnxoptimizer"):
            pytest.importorskip(package, reason="needs Brevitas: pip install 'edgelearn[qat]'")
    else:
        (tmp_path / "net.onnx").write_bytes((DATA / "conv-norm.onnx").read_bytes())
    wanted = ("run", "needs brevitas") if trains else ("run",)
    script = "\n".join(block.text for block in blocks(page, "sh") if block.note in wanted)
    done = run_shell(script, tmp_path, timeout_s=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    (found,) = re.findall(r"accuracy +(\d+\.\d) %", done.stdout)
    told = re.search(r"^([\d.]+) % of the inverted digits", text(page), re.MULTILINE)
    assert told is not None
    assert float(found) == pytest.approx(float(told[1]), abs=4)
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "python"):
        if not block.note:
            exec(compile(block.text, str(block), "exec"), {})
