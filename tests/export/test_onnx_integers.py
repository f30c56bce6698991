"""ONNX graphs in integers against the interpreter: every op, every rule, moving exponents, and what ONNX Runtime makes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime

from edgelearn import state
from edgelearn.backends import Source
from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.errors import ConfigError
from edgelearn.host.native import NativeCore
from edgelearn.ir.core import Entry, Module
from edgelearn.ir.interp import HALVE_EVERY, RESCALE_EVERY, Interpreter
from edgelearn.ir.ops import OPS, Q
from edgelearn.ir.types import LIMIT
from edgelearn.layers import Layer
from edgelearn.parity import Proof, prove
from edgelearn.passes.memory import plan_memory
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.testing.rule import NETS
from edgelearn_export.onnx import Backend, integers
from edgelearn_export.onnx.integers import Walk, infer_graph, train_graph
from edgelearn_export.onnx.integers_rescale import rescale_graph
from edgelearn_export.onnx.integers_runner import IntegerInference, IntegerTrainer, run, saturates, session
from edgelearn_export.plan import encode
from tests.conformance.maps import Maps
from tests.conformance.one_op import OneOp
from tests.conformance.test_maps import FAMILIES
from tests.conformance.test_open_updates import updates
from tests.conformance.test_words import CASES, label
from tests.factory import DIGITS, X, Y, compiled, native, order

RULES = (
    "mono-forward", "forward-forward", "cascaded-forward", "noprop", "noprop-ct", "noprop-fm", "tpsgd", "drtp", "last-layer", "backprop",
)  # fmt: skip
SMALL = {"noprop-ct": {"moments": 3}, "noprop-fm": {"moments": 3}}
EXPONENTS = ((-24, 4), (-40, 40), (-8, -2))
WIDE = Net(
    (8, 8), (Layer("conv", 6, 3, 1, 1, bits=7), Layer("pool", kernel=2), Layer("depthwise", 1, 3, 2, 1, bits=7)), 10
)


def source(module: Module, raw: bytes, seed: int = 1) -> Source:
    return Source("net", module, raw, "sim", seed)


def rule_net(rule: str, kind: str, drops: tuple[int, ...] = (2, 4)) -> Compiled:
    found, net = find(rule, dict(SMALL.get(rule, {}))), NETS[kind]
    most = getattr(found.instance, "most_blocks", None)
    cut = net if most is None else Net(net.shape, net.stack[:most], net.classes)
    return compile_net(found, cut, Calibration(X, Y, 0), "int8", drops)


# --- ops ------------------------------------------------------------------------------------------------------------------------------


def op_graph(one: OneOp, learns: bool) -> Any:
    """A session that gives the op's result as ``r``, with exponents that it is given, or with those of now as constants."""
    walk = Walk(source(one.module, state.encode(one.twin), one.seed), one.module.entry("infer"), learns)
    if learns:
        walk.parameters()
    else:
        walk.constants()
    walk.run()
    walk.graph.output(walk.n.held(walk.values["%r"], "i64"), "r", "i64", (1, one.type.size))
    if learns:
        walk.results()
    return session(walk.graph.model())


def operands(one: OneOp, step: int) -> dict[str, Any]:
    """What the graph of an op is given, from the interpreter that will be asked the same."""
    one.twin.step = step
    given = {name.removeprefix("@"): q for name, q in one.twin.state.items()}
    given["exps"] = np.array([one.twin.exps[s.name] for s in one.module.slots], np.int64)
    given.update(x=np.zeros((1, 4), np.int8), y=np.array([0]), drops=np.array(0))
    for op in one.module.entry("infer").ops:
        if op.name in ("noise", "sample"):
            given[f"draw{int(op.number('id'))}"] = integers.draws.drawn(op, one.seed, step)
    return given


@pytest.mark.parametrize(("name", "kinds", "shapes", "attrs"), CASES, ids=label)
def test_an_op_gives_what_the_interpreter_and_the_core_give(
    name: str, kinds: str, shapes: tuple[tuple[int, ...], ...], attrs: dict[str, Any]
) -> None:
    one, draw = OneOp(name, kinds, shapes, attrs), np.random.default_rng(len(name))
    graph = op_graph(one, learns=True)
    for trial in range(9 if kinds else 3):
        one.fill(draw, EXPONENTS[trial % 3])
        found = run(graph, operands(one, trial * 97))
        _, expected = one.run(trial * 97)
        assert found["r"].reshape(-1).tolist() == expected.reshape(-1).tolist(), trial
        if "exps.next" in found:
            assert found["exps.next"].tolist() == [one.twin.exps[s.name] for s in one.module.slots]
    one.fill(draw)
    one.twin.step = 5
    fixed = run(op_graph(one, learns=False), operands(one, 5))
    assert fixed["r"].reshape(-1).tolist() == one.run(5)[1].reshape(-1).tolist()


def test_every_integer_op_is_tried() -> None:
    tried = {case[0] for case in CASES} | {"conv_update_open", "depthwise_update_open", "vec_update_open"}
    tried |= {
        op.name
        for make in FAMILIES.values()
        for seed in range(3)
        for op in make(seed, "int8").module().entry("learn").ops
    }
    assert set(OPS) - {"update"} == tried | {"sub", "sub_one_hot"}  # those two: in every rule with a softmax or a loss
    assert set(OPS) - {"update"} == {*integers.EXACT, *integers.UPDATES, *integers.DRAWS}


def observed(module: Module, judge: Interpreter) -> tuple[IntegerTrainer, Any]:
    """A trainer, and a session that does its step and gives every value."""
    here = source(module, state.encode(judge), judge.seed)
    walk = Walk(here, module.entry("learn"), learns=True)
    walk.parameters()
    walk.run()
    for name, value in walk.values.items():
        if name not in ("%x", "%y"):
            walk.graph.output(walk.n.held(value, "i64"), f"value{name}", "i64", (1, int(np.prod(value.shape))))
    walk.results()
    return IntegerTrainer(train_graph(here)[0], here), session(walk.graph.model())


def judged(judge: Interpreter, x: Any, label: int) -> dict[str, Any]:
    """One step of the interpreter, and its values."""
    entry = judge.module.entry("learn")
    types = judge.module.types(entry)
    values: dict[str, Any] = {"%x": x.reshape(types["%x"].shape), "%y": np.array([label], np.int32)}
    for op in entry.ops:
        judge._run_op(op, values, types, count=True)
    judge.step += 1
    judge.rescale()
    return values


MODULES = {
    **FAMILIES,
    "open conv": lambda seed, _: updates(seed, "conv"),
    "open depthwise": lambda seed, _: updates(seed, "depthwise"),
}


@pytest.mark.parametrize("numbers", ["int8", "int16 weights"])
@pytest.mark.parametrize("family", MODULES)
def test_values_and_state_are_equal_on_maps_of_all_shapes(family: str, numbers: str) -> None:
    """Kernels, strides, pads and shapes at random; exponents move and weights are halved on the way."""
    moved = 0
    for seed in range(6):
        m: Maps = MODULES[family](seed, numbers)
        judge = Interpreter(m.module(), seed)
        judge.step = (RESCALE_EVERY, HALVE_EVERY)[seed % 2] - 2
        trainer, step = observed(judge.module, judge)
        for _ in range(4):
            x = m.sample()
            found, values = run(step, trainer.inputs(x, 0)), judged(judge, x, 0)
            for name, value in values.items():
                if name not in ("%x", "%y"):
                    assert found[f"value{name}"].reshape(-1).tolist() == value.reshape(-1).tolist(), (seed, name)
            trainer.keep(found)
            assert trainer.state() == state.encode(judge), seed
        moved += sum(judge.moves.values())
    assert moved > 0


# --- layers that runtimes fuse --------------------------------------------------------------------------------------------------------


def layer(kind: str, shift: int, relu: int, draw: np.random.Generator) -> tuple[Interpreter, Any]:
    """A layer narrowed to int8 by ``shift`` bits, most of whose sums are half way between two results, and its sample."""
    W, x, rows = {
        "affine": ((24, 40), (40,), 24), "conv_affine": ((5, 3, 3, 2), (6, 5, 2), 5), "depthwise_affine": ((3, 3, 4), (7, 5, 4), 4),
    }[kind]  # fmt: skip
    m = Maps("int8", x, draw)
    geometry = {} if kind == "affine" else {"stride": 2, "pad": 1}
    result = m.value(kind, (m.weight("W", W), "%x", m.weight("b", (rows,), 15)), "i8", relu=relu, **geometry)
    made = m.module()
    infer = Entry("infer", (("%x", m.types["%x"]),), tuple(m.ops[:-1]), result)
    judge = Interpreter(plan_memory(made.with_entries(made.entry("learn"), infer)), 1)
    judge.exps.update({"W": -9, "b": -14 + min(shift, 12), made.slots[-1].name: -14 + shift})
    half = 1 << max(shift - 1, 0)  # the weights of odd multiples of it, with samples of -1, 0 and 1, end half way
    most = 127 // half
    judge.state["@W"] = (draw.integers(-most, most + 1, W) * half).astype(np.int8) if most else judge.state["@W"]
    judge.state["@b"] = draw.integers(-40, 41, (rows,)).astype(np.int16)
    sample = draw.integers(-2, 3, x) if most else draw.integers(-127, 128, x)
    return judge, sample.astype(np.int8)


@pytest.mark.parametrize("relu", [0, 1])
@pytest.mark.parametrize("kind", ["affine", "conv_affine", "depthwise_affine"])
def test_fused_layers_round_and_saturate_as_the_device(kind: str, relu: int) -> None:
    draw, ties, ends = np.random.default_rng(3), 0, 0
    for shift in range(18):
        judge, x = layer(kind, shift, relu, draw)
        infer = judge.module.entry("infer")
        walk = Walk(source(judge.module, state.encode(judge)), infer, learns=False)
        walk.constants()
        walk.run()
        value = walk.values[infer.ops[0].result or ""]
        walk.graph.output(walk.n.held(value, "i64"), "r", "i64", (1, int(np.prod(value.shape))))
        raw = walk.graph.model()
        is_fused = 0 < shift <= 15 and relu == 1
        assert ("QuantizeLinear" in {n.op_type for n in onnx.load_from_string(raw).graph.node}) == is_fused
        expected = judge._run(infer, [x], count=False)
        assert expected is not None
        for slow in (False, True):
            found = run(session(raw, slow=slow), {"x": x.reshape(1, -1)})["r"]
            assert found.reshape(-1).tolist() == expected.reshape(-1).tolist(), shift
        op = infer.ops[0]
        operands = [x if a == "%x" else judge.state[a] for a in op.args]
        exps = [-5 if a == "%x" else judge.exps[a[1:]] for a in op.args]
        sums = OPS[op.name].i32(op, *(Q(a.astype(np.int64), e) for a, e in zip(operands, exps, strict=True))).q
        ties += int((sums % (1 << shift) == 1 << shift >> 1).sum()) if shift else 0
        ends += int((np.abs(expected.astype(int)) == 127).sum())
    assert ties > 20
    assert ends > 10


def optimised(raw: bytes, place: Path) -> list[str]:
    """The ops that ONNX Runtime makes of a graph."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(place)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(place).graph.node]


def test_onnx_runtime_fuses_dense_layers(tmp_path: Path) -> None:
    net = compiled("mono-forward", (32, 24, 16))
    ops = optimised(infer_graph(source(net.module, native(net).read_state()))[0], tmp_path / "o.onnx")
    assert ops.count("QGemm") == 3
    assert not {"DequantizeLinear", "QuantizeLinear", "Gemm", "Relu"} & set(ops)


def test_onnx_runtime_fuses_convolutions(tmp_path: Path) -> None:
    net = compile_net(find("mono-forward", {}), WIDE, Calibration(X, Y, 0), "int8")
    judge = Interpreter(net.module, 1)
    ops = optimised(infer_graph(source(net.module, state.encode(judge)))[0], tmp_path / "o.onnx")
    assert ops.count("QLinearConv") == 2
    assert not {"DequantizeLinear", "QuantizeLinear", "Conv"} & set(ops)


# --- rules ----------------------------------------------------------------------------------------------------------------------------


def known(rule: str, kind: str) -> Compiled:
    try:
        return rule_net(rule, kind)
    except ConfigError as error:
        pytest.skip(error.message)


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_infers_and_learns_as_the_interpreter(rule: str, kind: str) -> None:
    net = known(rule, kind)
    x, judge = net.encode(DIGITS.x_train[:16]), Interpreter(net.module, 1)
    here = source(net.module, state.encode(judge))
    classes, scores = IntegerInference(infer_graph(here)[0], here).infer(x)
    assert classes.tolist() == [judge.infer(row) for row in x]
    assert scores is not None
    assert scores.argmax(axis=1).tolist() == classes.tolist()
    judge = Interpreter(net.module, 1)
    trainer = IntegerTrainer(train_graph(here)[0], here)
    for row, y in zip(x[:5], Y[:5], strict=True):
        trainer.learn(row[None], np.array([y]))
        judge.learn(row, int(y))
        assert trainer.state() == state.encode(judge)
    assert trainer.infer(x)[0].tolist() == [judge.infer(row) for row in x]


@pytest.mark.parametrize("start", [RESCALE_EVERY - 2, HALVE_EVERY - 2])
@pytest.mark.parametrize("rule", ["mono-forward", "noprop", "forward-forward"])
def test_exponents_move_and_weights_are_halved_as_on_the_device(rule: str, start: int) -> None:
    """From a state whose weights are at their limits, and whose window has saturated and silent values in it."""
    net = rule_net(rule, "dense", drops=(start,))
    x, judge = net.encode(DIGITS.x_train[:5]), Interpreter(net.module, 3)
    judge.step = start
    for i, s in enumerate(net.module.state):
        limit = judge.limit(s.type)
        judge.state[s.name] = np.clip(
            judge.state[s.name].astype(np.int64) << (6 if i % 2 else 9), -limit, limit
        ).astype(judge.state[s.name].dtype)
    for i, slot in enumerate(s for s in net.module.slots if s.kind == "moving"):
        judge.stats[slot.name] = [[65535, LIMIT["i8"]], [0, 1], [0, 0]][i % 3]
    here = source(net.module, state.encode(judge), 3)
    trainer = IntegerTrainer(train_graph(here)[0], here)
    for row, y in zip(x, Y[:5], strict=True):
        trainer.learn(row[None], np.array([y]))
        judge.learn(row, int(y))
        assert trainer.state() == state.encode(judge)
    kinds = {s.kind for s in net.module.slots if judge.moves[s.name]}
    assert kinds == ({"moving"} if start < HALVE_EVERY - 2 else {"weight"})


@pytest.mark.parametrize("rule", ["mono-forward", "noprop", "tpsgd"])
def test_the_file_of_what_is_done_between_steps(rule: str) -> None:
    net = rule_net(rule, "dense")
    here = source(net.module, state.encode(Interpreter(net.module, 1)))
    (file,) = (a for a in integers.artifacts(here) if a.entry == "rescale")
    made, none = Backend().open(file, here), np.zeros((0, 64), np.int8)
    assert prove(made, file, here, none, none, 0, 40) == Proof(0.0, 0, 40)


def test_a_user_starts_from_what_the_training_file_holds() -> None:
    """Without an interpreter, a board or a manifest: the state is in the file where it is not given."""
    net = rule_net("mono-forward", "dense")
    core = learnt(net, 300)
    here = source(net.module, core.read_state())
    trainer, x = IntegerTrainer(train_graph(here)[0], here), net.encode(DIGITS.x_train[:1])
    given = trainer.inputs(x[0], int(Y[0]))
    alone = {name: a for name, a in given.items() if name not in trainer.tensors and name != "exps"}
    own, told = (run(session(train_graph(here)[0]), g) for g in (alone, given))
    assert own.keys() == told.keys()
    assert all(np.array_equal(own[name], told[name]) for name in told)


def learnt(net: Compiled, steps: int) -> NativeCore:
    core = NativeCore(encode(net.module), net.module.integer("state_bytes"), net.module.integer("arena_bytes"), 1)
    core.learn(net.encode(DIGITS.x_train), Y, order(steps))
    return core


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_what_the_device_learnt_says_the_same_of_every_test_sample(kind: str) -> None:
    net = rule_net("mono-forward", kind, drops=())
    core, x = learnt(net, 700), net.encode(DIGITS.x_test)
    here = source(net.module, core.read_state())
    classes, _ = IntegerInference(infer_graph(here)[0], here).infer(x)
    assert len(classes) == 397
    assert classes.tolist() == core.infer(x).tolist()
    assert (classes == DIGITS.y_test).mean() > 0.4
    trainer = IntegerTrainer(train_graph(here)[0], here)
    trainer.learn(x[:80], DIGITS.y_test[:80])  # over the 768th step
    core.learn(x[:80], DIGITS.y_test[:80], np.arange(80))
    assert trainer.state() == core.read_state()


# --- the files ------------------------------------------------------------------------------------------------------------------------


def test_the_training_step_computes_nothing_in_floats() -> None:
    net = compiled("mono-forward", (12,))
    for raw, _, _ in (
        train_graph(source(net.module, native(net).read_state())),
        rescale_graph(source(net.module, native(net).read_state())),
    ):
        graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(raw)).graph
        used = {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)} | {
            t.data_type for t in graph.initializer
        }
        assert not used & {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}


def test_a_file_is_as_large_as_its_weights() -> None:
    net = compiled("mono-forward", (256, 256))
    raw, inputs, outputs = infer_graph(source(net.module, native(net).read_state()))
    used = {arg for op in net.module.entry("infer").ops for arg in op.args}
    weights = sum(s.type.nbytes for s in net.module.state if s.name in used)
    assert len(raw) <= 1.1 * weights + 10240
    assert [(s.name, s.dtype, s.shape) for s in inputs] == [("x", "i8", ("B", 64))]
    assert [(s.name, s.dtype, s.shape) for s in outputs] == [("class", "i64", ("B",)), ("scores", "i32", ("B", 10))]


def test_products_are_exact_where_those_of_int8_saturate() -> None:
    """A session of a machine without VNNI; a weight that several layers read is turned into uint8 once."""
    net = rule_net("noprop-ct", "dense")
    judge = Interpreter(net.module, 1)
    raw, x = infer_graph(source(net.module, state.encode(judge)))[0], net.encode(DIGITS.x_train[:16])
    for slow in (False, True):
        if slow or not saturates():
            assert run(session(raw, slow=slow), {"x": x})["class"].tolist() == [judge.infer(row) for row in x]


def test_an_op_without_a_counterpart_is_named() -> None:
    net = compiled("mono-forward", (12,))
    learn = net.module.entry("learn")
    odd = replace(learn.ops[1], name="update")
    module = net.module.with_entries(replace(learn, ops=(odd, *learn.ops[1:])), net.module.entry("infer"))
    assert integers.gap(module, "infer") == ""
    assert "update" in integers.gap(module, "train")
    assert [a.file for a in integers.artifacts(source(module, native(net).read_state()))] == ["net-infer-int8.onnx"]
    assert integers.gap(net.module, "all") == ""
