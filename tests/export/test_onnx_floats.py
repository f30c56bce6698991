"""ONNX graphs of floats in ONNX Runtime: each op alone, batches beside torch, the trainer's state, and what the runtime fuses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx: Any = pytest.importorskip("onnx", reason="ONNX is an extra: pip install 'edgelearn[onnx]'")
ort: Any = pytest.importorskip("onnxruntime", reason="ONNX Runtime is an extra: pip install 'edgelearn[onnx]'")

from edgelearn import state  # noqa: E402
from edgelearn.backends import Artifact, Source, backend  # noqa: E402
from edgelearn.compiler import Net, compile_net  # noqa: E402
from edgelearn.errors import ConfigError, EdgeLearnError, MissingToolError  # noqa: E402
from edgelearn.ir.core import Entry, Module, Op  # noqa: E402
from edgelearn.ir.interp import Interpreter  # noqa: E402
from edgelearn.ir.ops import OPS  # noqa: E402
from edgelearn.ir.text import parse  # noqa: E402
from edgelearn.ir.types import Exp, Type  # noqa: E402
from edgelearn.ir.verify import verify  # noqa: E402
from edgelearn.layers import Layer  # noqa: E402
from edgelearn.parity import difference, prove  # noqa: E402
from edgelearn.passes.quantize import Calibration  # noqa: E402
from edgelearn.rules import find  # noqa: E402
from edgelearn.rules.registry import BUILT_IN  # noqa: E402
from edgelearn.testing.rule import NETS  # noqa: E402
from edgelearn_export.onnx import draws, floats  # noqa: E402
from edgelearn_export.onnx.runner import OnnxTrainer, session  # noqa: E402
from tests.cli.documents import blocks, run_shell  # noqa: E402
from tests.factory import X, Y, compiled  # noqa: E402

DIGITS = X.astype(np.float32)
SEED = 3
CONV = (
    Layer("conv", 4, 3, 1, 1), Layer("pool", kernel=2), Layer("depthwise", kernel=3, pad=1), Layer("conv", 6, 3, 2, 1, head=1), 8,
)  # fmt: skip
Tensors = dict[str, NDArray[Any]]


def dense(rule: str, **params: Any) -> Module:
    layers = (16,) if rule.startswith("noprop-") else (16, 12)
    return compiled(rule, layers, "f32", drops=(2, 4), **params).module


def on(rule: str, net: Net) -> Module:
    return compile_net(find(rule), net, Calibration(X, Y), "f32", (2, 4)).module


def source(module: Module) -> Source:
    return Source("net", module, state.encode(Interpreter(module, SEED)), "sim", SEED)


def artifact(module: Module, entry: str) -> Artifact:
    return next(a for a in backend("onnx").artifacts(source(module)) if a.entry == entry)


def worst(a: Tensors, b: Tensors) -> float:
    assert a.keys() == b.keys()
    return max(difference(a[name], b[name]) for name in a)


# --- every op -------------------------------------------------------------------------------------------------------------------------


def _cases() -> list[Any]:
    try:
        from tests.export.float_ops import CASES
    except ImportError:  # TFLite's extra is not installed, and the table of cases is beside its writer
        return []
    return CASES


def _with_scores(case: Any) -> Module:
    """The op's result, read by an argmax."""
    ops, result = [case.op], case.op.result
    if case.name not in ("argmax", "sample"):
        ops, result = [case.op, Op("argmax", (result,), (), "%class", Type("i32", (1,), Exp()))], "%class"
    params = (("%x", Type("f32", (1,))), *case.module.entry("learn").params)
    return replace(case.module, entries=(Entry("infer", params, tuple(ops), result),))


def _given(case: Any) -> Tensors:
    """Two equal samples; a draw's step is the case's."""
    found: Tensors = {"x": np.zeros((2, 1), np.float32), "rate": np.array(0.25, np.float32)}
    for key, v in case.operands.items():
        rows = v.reshape(1, -1).repeat(2, axis=0) if v.dtype == np.float32 else v.repeat(2).astype(np.int64)
        found[floats.title(key)] = v if key.startswith("@") else rows
    if OPS[case.name].draws and case.name != "signs":
        found[f"draw{case.op.attr('id')}"] = draws.floats(case.op, SEED, np.array([5, 5]))
    return found


@pytest.mark.parametrize("name", sorted({case.name for case in _cases()}))
def test_an_op_is_the_interpreters(name: str) -> None:
    """Of two equal samples each has the op's result, and the mean of their updates is one's."""
    for case in (case for case in _cases() if case.name == name):
        update = OPS[name].update
        module = case.module if update else _with_scores(case)
        raw, inputs, _ = floats.train_graph(module, SEED) if update else floats.infer_graph(module, None, SEED)
        given = _given(case)
        found = session(raw).run(None, {s.name: given[s.name] for s in inputs})
        meant = case.expected().astype(np.float64)
        size = max(1.0, np.abs(meant).max())  # sums of large terms of both signs lose as much as the terms have
        rows = found if update else found[0 if name in ("argmax", "sample") else 1]
        assert len(rows) == (1 if update else 2)
        for row in rows:
            assert difference(row.reshape(-1) / size, meant.reshape(-1) / size) <= 1e-5, str(case)


# --- whole nets -----------------------------------------------------------------------------------------------------------------------


def check_files(module: Module, x: NDArray[np.float32], y: NDArray[Any]) -> None:
    """Both files: 16 samples inferred, and 5 steps at a batch of one, across two halvings of the rate."""
    given = source(module)
    made = backend("onnx").artifacts(given)
    assert {a.entry for a in made} == {"infer", "train"}
    for file in made:
        assert prove(backend("onnx").open(file, given), file, given, x, y, 16, 5).worst <= 1e-5


def check_batches(module: Module, x: NDArray[np.float32], y: NDArray[Any]) -> None:
    """Batches of 8, and a short one, beside torch."""
    pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")
    from edgelearn.host.torch_net import TorchNet

    net, twin = OnnxTrainer(module, seed=SEED, scale=0.5), TorchNet(module, SEED, scale=0.5)
    for part in (slice(0, 8), slice(8, 16), slice(16, 19), slice(19, 27)):
        said, meant = net.learn_batch(x[part], y[part]), twin.learn(x[part], y[part])
        assert (said is None) == (meant is None)
        if said is not None and meant is not None:
            assert said.tolist() == meant.tolist()
    assert net.step == twin.step == 27
    assert worst(net.tensors(), twin.tensors()) <= 1e-5
    assert net.infer(x[:40]).tolist() == twin.infer(x[:40]).tolist()


@pytest.mark.parametrize("rule", BUILT_IN)
def test_a_dense_net_learns_the_same(rule: str) -> None:
    module = dense(rule)
    check_files(module, DIGITS, Y)
    check_batches(module, DIGITS, Y)


@pytest.mark.parametrize(
    "rule", ["mono-forward", "cascaded-forward-dfa", "noprop", "tpsgd", "drtp", "last-layer", "backprop"]
)
def test_a_net_of_maps_learns_the_same(rule: str) -> None:
    module = on(rule, Net((8, 8, 1), CONV, 10))
    check_files(module, DIGITS, Y)
    check_batches(module, DIGITS, Y)


@pytest.mark.parametrize("rule", ["tpsgd", "cascaded-forward", "last-layer"])
def test_a_recurrent_net_learns_the_same(rule: str) -> None:
    module = on(rule, NETS["recurrent"])
    check_files(module, DIGITS, Y)
    check_batches(module, DIGITS, Y)


# An update of a state that the step reads again, as a weight and as a value; a constant in an update; decay; errors that one rate and
# that two rates read.
ORDER = verify(
    parse("""module order {classes=3, drops="2 4", dtype="f32"}
state @b0.W: f32[3,5] = normal(std=0.5, stream=0)
state @b0.b: f32[3] = normal(std=0.5, stream=1)
entry learn(%x: f32[5], %y: i32[1]*2^(0)) {
  %g = affine(@b0.W, %x, @b0.b) {relu=0}: f32[3]
  %s = softmax(%g): f32[3]
  %e = sub_one_hot(%s, %y): f32[3]
  outer_update(@b0.W, %e, %x) {id=0, rate=0.5, sign=1}
  vec_update(@b0.b, %e) {id=1, rate=0.25, sign=-1}
  %v = scale(@b0.b) {k=0.5}: f32[3]
  %h = affine(@b0.W, %x, @b0.b) {relu=0}: f32[3]
  %m = mul(%h, %v): f32[3]
  decay_update(@b0.W) {id=2, rate=0.125, sign=1}
  outer_update(@b0.W, %m, %x) {id=3, rate=0.0625, sign=1}
  vec_update(@b0.b, %v) {id=4, rate=0.125, sign=1}
  %guess = argmax(%h): i32[1]*2^(0)
  return %guess
}
entry infer(%x: f32[5]) {
  %g = affine(@b0.W, %x, @b0.b) {relu=0}: f32[3]
  %y = argmax(%g): i32[1]*2^(0)
  return %y
}
""")
)


def test_an_op_reads_the_state_as_the_updates_before_it_left_it() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 5)).astype(np.float32), rng.integers(0, 3, 40)
    check_batches(ORDER, x, y)
    net, judge = OnnxTrainer(ORDER, seed=SEED), Interpreter(ORDER, SEED)
    for row, label in zip(x[:8], y[:8], strict=True):
        said = net.learn_batch(row[None], np.array([label]))
        assert said is not None and said.tolist() == [judge.learn(row, int(label))]
    assert worst(net.tensors(), judge.tensors()) <= 1e-5


def test_a_rate_is_multiplied_into_the_smallest_tensor_that_leads_to_the_update() -> None:
    """Two products, for two blocks whose errors come from the head's: not four, and not of the wide errors."""
    model = onnx.load_from_string(artifact(dense("mono-forward"), "train").raw)
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in known}
    scaled = [shapes[node.output[0]] for node in model.graph.node if node.op_type == "Mul"]
    assert [shape[1:] for shape in scaled] == [[], [10], [10]]  # the rate itself, and both errors


# --- the trainer ----------------------------------------------------------------------------------------------------------------------


def test_training_goes_on_from_a_kept_state() -> None:
    module = dense("noprop")
    one = OnnxTrainer(module, seed=SEED)
    one.learn_batch(DIGITS[:8], Y[:8])
    two = OnnxTrainer(module, one.state())
    three = OnnxTrainer(module, seed=SEED)
    three.load(one.tensors(), step=one.step)
    for net in (one, two, three):
        net.learn_batch(DIGITS[8:20], Y[8:20])
        assert (net.step, net.seed) == (20, SEED)
    assert one.state() == two.state() == three.state()


def test_a_user_with_only_the_file_can_learn() -> None:
    """The state that a step begins with is in the file; what it gives goes in again."""
    module = dense("mono-forward")
    made, judge = artifact(module, "train"), Interpreter(module, SEED)
    step = ort.InferenceSession(made.raw, providers=["CPUExecutionProvider"])
    names, weights = [output.name for output in step.get_outputs()], {}
    for x, label in zip(DIGITS[:2], Y[:2], strict=True):  # before the first drop of the rate
        given = {"x": x[None], "y": np.array([label]), "rate": np.array(1, np.float32), **weights}
        found = dict(zip(names, step.run(None, given), strict=True))
        assert found.pop("class").tolist() == [judge.learn(x, int(label))]
        weights = {name.removesuffix(".next"): t for name, t in found.items()}
    assert worst({f"@{name}": t for name, t in weights.items()}, judge.tensors()) <= 1e-5


def test_what_is_told_of_the_state_is_a_copy() -> None:
    net = OnnxTrainer(dense("mono-forward"), seed=SEED)
    before = net.tensors()
    kept = {name: t.copy() for name, t in before.items()}
    for i in range(3):
        net.learn_batch(DIGITS[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8])
    assert worst(before, kept) == 0
    assert worst(net.tensors(), kept) > 1e-3


def test_a_state_that_a_step_leaves_alone_does_not_leave_the_graph() -> None:
    made = artifact(dense("last-layer"), "train")
    assert [s.name for s in made.outputs] == ["class", "b1.M.next"]
    assert {"b0.W", "b1.W", "b1.M"} <= {s.name for s in made.inputs}
    net = OnnxTrainer(dense("last-layer"), seed=SEED)
    before = net.tensors()
    net.learn_batch(DIGITS[:8], Y[:8])
    changed = [name for name, t in net.tensors().items() if (t != before[name]).any()]
    assert changed == ["@b1.M"]


def test_many_sizes_of_batches_take_turns() -> None:
    net, judge = OnnxTrainer(dense("mono-forward"), seed=SEED), OnnxTrainer(dense("mono-forward"), seed=SEED)
    sizes, at = [1, 2, 3, 4, 5, 6, 1, 2], 0
    for size in sizes:
        net.learn_batch(DIGITS[at : at + size], Y[at : at + size])
        judge._batches.clear()
        judge.learn_batch(DIGITS[at : at + size], Y[at : at + size])
        at += size
    assert net.state() == judge.state()


@pytest.mark.parametrize("rule", ["noprop", "forward-forward"])
def test_draws_are_the_boards(rule: str) -> None:
    """Each sample of a batch gets what its own step draws."""
    for op in draws.drawing(dense(rule), "learn"):
        steps = np.array([0, 7, 1000])
        one_by_one = [draws.floats(op, SEED, np.array([step])) for step in steps]
        np.testing.assert_array_equal(draws.floats(op, SEED, steps), np.concatenate(one_by_one))
        assert len(np.unique(draws.floats(op, SEED, steps))) > 2


# --- the files ------------------------------------------------------------------------------------------------------------------------


def optimised(raw: bytes, tmp_path: Path) -> Counter[str]:
    """How often each op is in what ONNX Runtime makes of a file; without layouts that only this processor has."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def test_the_runtime_fuses_what_it_can(tmp_path: Path) -> None:
    infer = optimised(artifact(dense("mono-forward"), "infer").raw, tmp_path)
    assert infer == {"FusedGemm": 2, "Gemm": 1, "ArgMax": 1}
    train = optimised(artifact(dense("mono-forward"), "train").raw, tmp_path)
    assert train["FusedGemm"] == 2
    assert train["Relu"] == train["Identity"] == train["Transpose"] == 0
    conv = optimised(artifact(on("mono-forward", Net((8, 8, 1), CONV, 10)), "infer").raw, tmp_path)
    assert (conv["FusedConv"], conv["Relu"]) == (3, 0)
    assert conv["Transpose"] <= 2  # at both ends of the chain


def test_an_outer_update_is_one_gemm() -> None:
    graph = onnx.load_from_string(artifact(dense("mono-forward"), "train").raw).graph
    made = {name: node for node in graph.node for name in node.output}
    for name in ("b0.W.next", "b0.M.next", "b1.W.next", "b1.M.next"):
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in made[name].attribute}
        assert (made[name].op_type, attrs) == ("Gemm", {"transA": 1, "alpha": -1.0, "beta": 1.0})


def test_old_and_new_runtimes_load_them() -> None:
    """Opset 21 and IR 10 came with ONNX 1.16: ONNX Runtime 1.18 and later."""
    for entry in ("infer", "train"):
        model = onnx.load_from_string(artifact(dense("mono-forward"), entry).raw)
        assert model.ir_version == 10
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 21)]
        assert {node.domain for node in model.graph.node} == {""}


def test_a_file_is_little_larger_than_its_weights() -> None:
    module = on("mono-forward", Net((64,), (256, 128), 10))
    weights = sum(s.type.nbytes for s in module.state if s.name != "@b0.M")  # prediction does without the first head
    assert weights <= len(artifact(module, "infer").raw) <= 1.1 * weights + 10_000
    state_bytes = sum(s.type.nbytes for s in module.state)
    assert state_bytes <= len(artifact(module, "train").raw) <= 1.1 * state_bytes + 10_000


def test_the_same_module_gives_the_same_bytes() -> None:
    module = dense("noprop")
    assert artifact(module, "train").raw == artifact(module, "train").raw


def test_the_page_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, typed = "docs/onnx.md", {}
    (shell,) = (b for b in blocks(page, "sh") if b.note == "run")
    run_shell(shell.text, tmp_path)
    monkeypatch.chdir(tmp_path)
    for block in (b for b in blocks(page, "python") if b.note == "run"):
        exec(block.text, typed)
    assert typed["accuracy"] > 0.8
    module = typed["digits"].module
    learnt = {f"@{name}": t for name, t in typed["weights"].items()}
    net = OnnxTrainer(module)
    net.load({**net.tensors(), **learnt})
    assert (net.infer(typed["digits"].x_test) == typed["digits"].data.y_test).mean() > 0.9


# --- bad input ------------------------------------------------------------------------------------------------------------------------


def refused(call: Any, words: str, kind: type[EdgeLearnError] = ConfigError) -> None:
    with pytest.raises(kind, match=words) as caught:
        call()
    assert caught.value.hint


def test_bad_samples_are_refused() -> None:
    net = OnnxTrainer(dense("mono-forward"))
    refused(lambda: net.learn_batch(DIGITS[:2, :60], Y[:2]), r"Samples of shape \(2, 60\) do not fit the 64 inputs")
    refused(lambda: net.learn_batch(DIGITS[0], Y[:1]), r"shape \(64,\)")
    refused(lambda: net.learn_batch(DIGITS[:2], Y[:3]), "There are 2 samples and 3 classes")
    refused(lambda: net.learn_batch(DIGITS[:0], Y[:0]), "There are 0 samples")
    refused(lambda: net.learn_batch(DIGITS[:2], np.array([1, 10])), "Classes go from 1 to 10, but the net has 10")
    refused(lambda: net.learn_batch(DIGITS[:2], np.array([-1, 3])), "Classes go from -1 to 3")
    assert net.step == 0
    assert net.infer(DIGITS[:0]).shape == (0,)


def test_another_nets_state_is_refused() -> None:
    net = OnnxTrainer(dense("mono-forward"))
    refused(lambda: net.load({"@b0.W": np.zeros((2, 2))}), "no state of digits")
    refused(lambda: OnnxTrainer(compiled("mono-forward").module), "is lowered to int8")


def test_a_provider_that_is_not_there_is_named() -> None:
    module = dense("mono-forward")
    refused(lambda: OnnxTrainer(module, providers=["tensorrt"]), "no TensorrtExecutionProvider", MissingToolError)
    assert OnnxTrainer(module, providers=["cpu"]).providers == ["CPUExecutionProvider"]


@pytest.mark.parametrize("entry", ["infer", "train"])
def test_a_damaged_or_edited_file_is_refused(entry: str) -> None:
    module = dense("mono-forward")
    made, given = artifact(module, entry), source(module)

    def reopened(raw: bytes) -> Any:
        return lambda: backend("onnx").open(replace(made, raw=raw), given)

    for raw in (made.raw[: len(made.raw) // 2], b"", b"not a model"):
        refused(reopened(raw), "cannot load the model")
    model = onnx.load_from_string(made.raw)
    model.graph.input[0].name = "renamed"
    for node in model.graph.node:
        node.input[:] = ["renamed" if name == "x" else name for name in node.input]
    refused(reopened(model.SerializeToString()), "other inputs or outputs")
    other = artifact(compiled("mono-forward", (8, 8), "f32").module, "train")
    refused(reopened(other.raw), "other inputs or outputs")


def test_a_file_of_inference_does_not_learn() -> None:
    module = dense("mono-forward")
    runner = backend("onnx").open(artifact(module, "infer"), source(module))
    refused(lambda: runner.learn(DIGITS[:1], Y[:1]), "infers only")
    assert runner.state() == source(module).state


def test_an_op_without_counterpart_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    module = dense("tpsgd")
    monkeypatch.delitem(floats.KERNELS, "tanh")
    assert "tanh" in backend("onnx").gap(module, "train")
    assert backend("onnx").artifacts(source(module)) == ()
    refused(lambda: floats.train_graph(module, SEED), "tanh")


def test_what_may_change_in_place() -> None:
    """Only what nothing else still wants to read: M's old value also makes the error that goes to W."""
    assert floats.in_place(dense("mono-forward")) == {"@b0.W", "@b0.b", "@b1.W", "@b1.b"}
    twice = floats.in_place(dense("forward-forward"))
    assert not {"@b0.W", "@b0.b"} & twice, "two views of a sample change them, one after the other"
