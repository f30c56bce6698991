"""Integers in TFLite against the definition, the numpy interpreter: every op, every rule, whole runs. No difference is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")

from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType

from edgelearn import state
from edgelearn.backends import Artifact, Runner, Signature, Source
from edgelearn.compiler import Compiled, compile_net
from edgelearn.ir.core import Module, Op
from edgelearn.ir.interp import HALVE_EVERY, RESCALE_EVERY, Interpreter
from edgelearn.ir.ops import OPS, Draw
from edgelearn.ir.types import NUMPY, Exp, Type, shift_round
from edgelearn.layers import Layer
from edgelearn.nets import Net
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.testing.rule import NETS, _net
from edgelearn_export.tflite import integers
from edgelearn_export.tflite.builder import Model
from edgelearn_export.tflite.integers_basis import Q
from edgelearn_export.tflite.integers_layers import Layers
from edgelearn_export.tflite.integers_program import MEANINGS, KnownChance, Program
from edgelearn_export.tflite.integers_runner import IntegerRunner
from edgelearn_export.tflite.integers_shifts import Power
from edgelearn_export.tflite.integers_values import Ints, constant, of
from edgelearn_export.tflite.integers_writer import Writer
from tests.conformance.maps import spread_out
from tests.conformance.one_op import OneOp
from tests.conformance.test_maps import FAMILIES
from tests.conformance.test_words import CASES as WORDS
from tests.conformance.test_words import label
from tests.factory import DIGITS, X, Y, native, order
from tests.unit.test_rulebook import CASES as RULES

Array = np.ndarray[Any, Any]
RESOLVERS = {
    "xnnpack": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
SEED = 3


def called(raw: bytes, inputs: dict[str, Array], resolver: str = "xnnpack") -> dict[str, Array]:
    net = LiteRT(model_content=raw, num_threads=1, experimental_op_resolver_type=RESOLVERS[resolver])
    return net.get_signature_runner("f")(**inputs)


# --- one op ---------------------------------------------------------------------------------------------------------------------------


class OpModel:
    """The op of a ``OneOp`` whose operands and exponents are inputs."""

    def __init__(self, one: OneOp, step: int = 0) -> None:
        self.one, self.module = one, one.module
        model = Model("one")
        graph = self.graph = Writer(model.graph("f"))
        states = {s.name: self._state(s.name, s.type) for s in self.module.state}
        slots = of(graph, graph.graph.input("exps", "i32", (len(self.module.slots),)), "i32", (len(self.module.slots),))
        exps = {s.name: Power.of(slots.part([i], [1])) for i, s in enumerate(self.module.slots)}
        program = Program(graph, self.module, KnownChance(graph, Draw(one.seed, step, 0)), states, exps, one.seed)
        entry = self.module.entry("infer")
        program.run(
            replace(entry, ops=tuple(op for op in entry.ops if op.result != "%out")), [constant(graph, 0)], False
        )
        self._output("r", program.values["%r"])
        for name, e in program.exps.items():
            self._output(f"exp.{name}", e.value(graph))
        model.signature("f", graph.graph)
        self.net = LiteRT(model_content=model.bytes(), num_threads=1)
        self.call = self.net.get_signature_runner("f")

    def _state(self, name: str, type: Type) -> Ints:
        return of(
            self.graph,
            self.graph.graph.input(name, type.dtype, type.shape),
            type.dtype,
            type.shape,
            NUMPY_LIMIT[type.dtype],
        )

    def _output(self, name: str, value: Ints) -> None:
        """As a tensor of its own: inputs and constants cannot be outputs of a signature."""
        self.graph.graph.output((value + of(self.graph, constant(self.graph, 0).tensor(), "i32", (1,))).tensor(), name)

    def compare(self, step: int = 0) -> None:
        twin = self.one.twin
        twin.step = step
        exps = np.array([twin.exps[s.name] for s in self.module.slots], np.int32)
        found = self.call(exps=exps, **{s.name: twin.state[s.name] for s in self.module.state})
        expected = twin._run(replace(self.module.entry("infer"), result="%r"), [np.zeros(4, np.int8)], count=False)
        np.testing.assert_array_equal(found["r"].reshape(-1), np.asarray(expected).reshape(-1))
        assert {name: int(found[f"exp.{name}"][0]) for name in twin.exps} == twin.exps


NUMPY_LIMIT = {"i8": 127, "i16": 32767, "i32": 2**31 - 1}


@pytest.mark.parametrize(("name", "kinds", "shapes", "attrs"), WORDS, ids=label)
def test_an_op_with_exponents_that_move(
    name: str, kinds: str, shapes: tuple[tuple[int, ...], ...], attrs: dict[str, Any]
) -> None:
    one = OneOp(name, kinds, shapes, attrs)
    model, draw = OpModel(one), np.random.default_rng(len(WORDS))
    for trial in range(30 if kinds else 1):
        one.fill(draw, (-40, 40) if trial % 5 == 4 else (-24, 4))
        model.compare()


@pytest.mark.parametrize("narrow", ["i8", "i16"])
@pytest.mark.parametrize("name", ["sum", "mean", "dot", "signs"])
def test_an_op_whose_result_is_narrowed(name: str, narrow: str) -> None:
    kinds = "bb" if name == "dot" else "b"
    one = OneOp(name, kinds, ((37,),) * len(kinds), {"rows": 9, "stream": 1} if name == "signs" else {}, narrow=narrow)
    model, draw = OpModel(one), np.random.default_rng(2)
    for _ in range(20):
        one.fill(draw, (-8, -2))
        model.compare()


def test_every_op_has_a_meaning() -> None:
    assert set(OPS) - set(MEANINGS) == {"update"}, "an op of the IR has no form in TFLite's integers"


# --- whole modules --------------------------------------------------------------------------------------------------------------------


def source(module: Module, twin: Interpreter) -> Source:
    return Source("t", module, state.encode(twin), "sim", twin.seed)


def trainer(module: Module, twin: Interpreter, resolver: str = "xnnpack") -> IntegerRunner:
    given = source(module, twin)
    raw, inputs, outputs = integers.train_model(given)
    return IntegerRunner(Artifact("t-train-int8.tflite", raw, "all", "int8", inputs, outputs), given, resolver)


def predictor(module: Module, twin: Interpreter, resolver: str = "xnnpack") -> IntegerRunner:
    given = source(module, twin)
    raw, inputs, outputs = integers.infer_model(given)
    return IntegerRunner(Artifact("t-infer-int8.tflite", raw, "infer", "int8", inputs, outputs), given, resolver)


@pytest.mark.parametrize("numbers", ["int8", "int16 weights"])
@pytest.mark.parametrize("family", FAMILIES)
def test_random_modules_learn_the_same(family: str, numbers: str) -> None:
    """Both directions and every update of each layer. Every narrowed value is fed to a state: a difference in one shows there."""
    for seed in range(6):
        grown = FAMILIES[family](seed, numbers)
        grown.feed()
        module = spread_out(grown.module())
        if integers.gap(module, "train"):
            continue
        twin = Interpreter(module, seed, step=(RESCALE_EVERY, HALVE_EVERY)[seed % 2] - 2)
        runner = trainer(module, twin, ("xnnpack", "builtin", "reference")[seed % 3])
        for _ in range(4):
            x = grown.sample()
            runner.learn(x.reshape(1, -1), np.array([0]))
            twin.learn(x.reshape(-1), 0)
            assert runner.state() == state.encode(twin), (family, numbers, seed)


# --- rules ----------------------------------------------------------------------------------------------------------------------------

KINDS = {
    **dict.fromkeys(NETS),
    "depthwise": Net(
        (8, 8),
        (Layer("conv", 6, 3, 1, 1), Layer("depthwise", 0, 3, 2, 1), Layer("pool", kernel=2), Layer("conv", 8, 3, 1, 1)),
        10,
    ),
}


def digits_net(rule: str, params: dict[str, Any], kind: str, drops: tuple[int, ...] = (2, 4)) -> Compiled:
    found = find(rule, params)
    net = KINDS[kind] or _net(found, kind)
    return compile_net(found, net, Calibration(X, Y, 0), "int8", drops, name="t")


def cells() -> Iterator[Any]:
    for rule, params, kinds, _ in RULES:
        for kind in kinds:
            yield pytest.param(
                rule, params, kind, id=f"{rule}-{params.get('loss', '')}{params.get('heads', '')}-{kind}"
            )
    yield pytest.param("mono-forward", {}, "depthwise", id="mono-forward-depthwise")


OTHER_KERNELS = ("mono-forward--dense", "mono-forward--conv", "noprop--dense", "backprop--conv")


def cells_and_resolvers() -> Iterator[Any]:
    """All cells with LiteRT's own choice of kernels, and some with each other."""
    for cell in cells():
        yield pytest.param(*cell.values, "xnnpack", id=f"{cell.id}-xnnpack")
        if cell.id in OTHER_KERNELS:
            for resolver in ("builtin", "reference"):
                yield pytest.param(*cell.values, resolver, id=f"{cell.id}-{resolver}")


@pytest.mark.parametrize(("rule", "params", "kind", "resolver"), list(cells_and_resolvers()))
def test_a_rule_infers_and_learns_the_same(rule: str, params: dict[str, Any], kind: str, resolver: str) -> None:
    net = digits_net(rule, params, kind)
    twin, x = Interpreter(net.module, SEED), net.encode(X)[:16]
    runner = trainer(net.module, twin, resolver)
    if resolver == "xnnpack" or (resolver == "reference" and kind in ("dense", "recurrent")):  # see ROUND_TWICE
        check_inference(predictor(net.module, twin, resolver), net.module, x)
    twin = Interpreter(net.module, SEED)
    for one, label_ in zip(x[:5], Y[:5], strict=True):
        runner.learn(one[None], np.array([label_]))
        twin.learn(one, int(label_))
        assert runner.state() == state.encode(twin)
    assert runner.infer(x)[0].tolist() == [twin.infer(one) for one in x]
    assert runner.state() == state.encode(twin)


def check_inference(runner: Runner, module: Module, x: Array, snapshot: bytes | None = None) -> None:
    """Class and scores, to the unit."""
    twin = Interpreter(module, SEED)
    if snapshot is not None:
        state.restore(twin, snapshot)
    entry = module.entry("infer")
    (read,) = next(op for op in entry.ops if op.result == entry.result).args
    classes, scores = runner.infer(x)
    assert scores is not None
    for one, said, shown in zip(x, classes, scores, strict=True):
        assert twin.infer(one) == said
        expected = twin._run(replace(entry, result=read), [one], count=False)
        assert shown.tolist() == np.asarray(expected).reshape(-1).tolist()


@pytest.mark.parametrize("step", [RESCALE_EVERY, HALVE_EVERY])
def test_exponents_and_weights_move_on_time(step: int) -> None:
    """A rate that is far too high lets everything saturate."""
    net = digits_net("mono-forward", {"lr": 2.0, "gate": 0.0}, "dense", (step,))
    core, x = native(net, SEED), net.encode(X)
    core.learn(x, Y, order(step - 2))
    twin = Interpreter(net.module, SEED)
    state.restore(twin, core.read_state())
    runner, before = trainer(net.module, twin), dict(twin.exps)
    for one, label_ in zip(x[:4], Y[:4], strict=True):
        runner.learn(one[None], np.array([label_]))
        twin.learn(one, int(label_))
        assert runner.state() == state.encode(twin)
    moved = {s.kind for s in net.module.slots if twin.exps[s.name] != before[s.name] and s.kind != "computed"}
    assert ("weight" if step == HALVE_EVERY else "moving") in moved


@pytest.mark.parametrize(("rule", "kind"), [("mono-forward", "dense"), ("mono-forward", "conv"), ("backprop", "conv")])
def test_every_test_sample_has_the_class_of_the_trained_net(rule: str, kind: str) -> None:
    net = digits_net(rule, {}, kind, (500, 700))
    core = native(net, SEED)
    core.learn(net.encode(X), Y, order(800))
    learnt = core.read_state()
    given = Source("t", net.module, learnt, "sim", SEED)
    raw, inputs, outputs = integers.infer_model(given)
    runner = IntegerRunner(Artifact("t.tflite", raw, "infer", "int8", inputs, outputs), given)
    x = net.encode(DIGITS.x_test)
    assert runner.infer(x)[0].tolist() == core.infer(x).tolist()
    check_inference(runner, net.module, x[:40], learnt)


# --- files ----------------------------------------------------------------------------------------------------------------------------


def test_a_saved_state_goes_on_elsewhere() -> None:
    net = digits_net("mono-forward", {}, "dense")
    twin = Interpreter(net.module, SEED)
    one, other = (trainer(net.module, Interpreter(net.module, seed)) for seed in (SEED, SEED + 1))
    x = net.encode(X)
    one.learn(x[:3], Y[:3])
    other._call["restore"](**one._call["save"]())
    other.seed, other.step = one.seed, one.step
    for runner in (one, other):
        runner.learn(x[3:6], Y[3:6])
    for sample, label_ in zip(x[:6], Y[:6], strict=True):
        twin.learn(sample, int(label_))
    assert one.state() == other.state() == state.encode(twin)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_an_inference_file_is_little_larger_than_its_weights(kind: str) -> None:
    net = digits_net("mono-forward", {}, kind)
    raw, _, _ = integers.infer_model(source(net.module, Interpreter(net.module, SEED)))
    read = {a for op in net.module.entry("infer").ops for a in op.args if a.startswith("@")}
    weights = sum(s.type.nbytes for s in net.module.state if s.name in read)
    assert len(raw) <= 1.1 * weights + 10_000


def test_the_input_is_what_the_file_says() -> None:
    net = digits_net("mono-forward", {}, "dense")
    _, inputs, outputs = integers.infer_model(source(net.module, Interpreter(net.module, SEED)))
    assert [(s.name, s.dtype, s.shape) for s in inputs] == [("x", "i8", (1, 64))]
    assert [(s.name, s.dtype, s.shape) for s in outputs] == [("class", "i32", (1,)), ("scores", "i32", (1, 10))]
    scale = inputs[0].scale
    assert scale is not None
    np.testing.assert_allclose(net.encode(X[:5]) * scale, X[:5], atol=scale)


# --- rounding -------------------------------------------------------------------------------------------------------------------------

LAYERS = ("affine", "conv_affine", "depthwise_affine")
# Kernels that halve and round a sum before they shift and round it: one below a half goes up. With a scale of their own they are right,
# but the builtin ones only above zero: below, they take a half upwards.
ROUND_TWICE = {("conv_affine", "reference"), ("depthwise_affine", "reference"), *((name, "builtin") for name in LAYERS)}


def near_halves(shift: int, draw: np.random.Generator) -> Array:
    """Sums about every half that a result can be rounded from, some anywhere, and some beyond all."""
    halves = (np.arange(-130, 131) << shift) + (1 << shift >> 1)
    near = [halves + k for k in (-3, -2, -1, 0, 1, 2, 3)]
    return np.concatenate([*near, draw.integers(-130 << shift, 131 << shift, 300), draw.integers(-(2**30), 2**30, 50)])


def layer_model(name: str, sums: Array, shift: int, relu: int, twice: bool = False) -> bytes:
    """A layer without an input to speak of: its bias is the sums."""
    n, model = len(sums), Model("t")
    graph = Writer(model.graph("f"))
    channels = n if name == "depthwise_affine" else 1
    W = {"affine": (n, 1), "conv_affine": (n, 1, 1, 1), "depthwise_affine": (1, 1, n)}[name]
    given = (1,) if name == "affine" else (1, 1, channels)
    x = of(graph, graph.graph.input("x", "i8", (1, channels), 2.0**-7), "i8", (1, channels), 127).reshaped(given)
    x.scale = 2.0**-7
    result = Type("i8", (n,) if name == "affine" else (1, 1, n), Exp())
    op = Op(name, ("@W", "%x", "@b"), (("pad", 0), ("relu", relu), ("stride", 1)), "%r", result)
    args = [Q(constant(graph, np.ones(W, np.int64)), Power(-9)), Q(x, Power(-7)), Q(constant(graph, sums), Power(-16))]
    made = Layers(graph, twice)(op, args, Power(shift - 16))
    assert made is not None
    graph.graph.output(made.tensor("i8"), "y")
    model.signature("f", graph.graph)
    return model.bytes()


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("relu", [0, 1])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_round_half_away_from_zero(name: str, relu: int, resolver: str) -> None:
    draw = np.random.default_rng(1)
    for shift in range(14):
        sums = np.clip(near_halves(shift, draw), -(1 << 30), 1 << 30)
        x = np.zeros((1, len(sums) if name == "depthwise_affine" else 1), np.int8)
        found = called(layer_model(name, sums, shift, relu), {"x": x}, resolver)["y"].reshape(-1).astype(np.int64)
        expected = np.clip(shift_round(np.maximum(sums, 0) if relu else sums, shift), -127, 127)
        wrong = found != expected
        if (name, resolver) in ROUND_TWICE:
            wrong = np.abs(found - expected) > 1
        assert not wrong.any(), (shift, sums[wrong][:5])


@pytest.mark.parametrize(("name", "resolver"), sorted(ROUND_TWICE))
def test_kernels_that_round_twice_have_a_scale_of_their_own(name: str, resolver: str) -> None:
    for shift in range(16):
        sums = np.clip(near_halves(shift, np.random.default_rng(2)), -(1 << 30), 1 << 30)
        x, relu = np.zeros((1, len(sums) if name == "depthwise_affine" else 1), np.int8), int(resolver == "builtin")
        found = called(layer_model(name, sums, shift, relu, twice=True), {"x": x}, resolver)["y"].reshape(-1)
        expected = shift_round(np.maximum(sums, 0) if relu else sums, shift)
        np.testing.assert_array_equal(found, np.clip(expected, -127, 127), str(shift))


# --- TFLite Micro ---------------------------------------------------------------------------------------------------------------------


def test_micro_layers_round_half_away_from_zero() -> None:
    pytest.importorskip("tflite_micro", reason="needs TFLite Micro's interpreter")
    from edgelearn_export.tflm.runner import Micro

    for name, shift in [(name, shift) for name in LAYERS for shift in (2, 11)]:
        sums = np.clip(near_halves(shift, np.random.default_rng(3)), -(1 << 30), 1 << 30)
        x, shape = np.zeros((1, len(sums) if name == "depthwise_affine" else 1), np.int8), (1, len(sums))
        raw = layer_model(name, sums, shift, 0, twice=True)
        ends = [Signature("x", "i8", x.shape)], [Signature("y", "i8", shape if name == "affine" else (1, 1, *shape))]
        found = Micro(Artifact("t", raw, "infer", "int8", *ends)).run({"x": x})["y"].reshape(-1)
        np.testing.assert_array_equal(found, np.clip(shift_round(sums, shift), -127, 127), f"{name} {shift}")


@pytest.mark.parametrize(
    ("rule", "kind"),
    [("mono-forward", "dense"), ("mono-forward", "conv"), ("tpsgd", "dense"), ("last-layer", "recurrent")],
)
def test_micro_says_of_every_test_sample_what_the_device_says(rule: str, kind: str) -> None:
    pytest.importorskip("tflite_micro", reason="needs TFLite Micro's interpreter")
    from edgelearn_export.tflm.runner import MicroRunner

    net = digits_net(rule, {}, kind)
    core = native(net, SEED)
    core.learn(net.encode(X), Y, order(300))
    learnt, x = core.read_state(), net.encode(DIGITS.x_test)
    given = Source("t", net.module, learnt, "sim", SEED)
    raw, inputs, outputs = integers.micro_infer_model(given)
    runner = MicroRunner(Artifact("t-infer-int8-micro.tflite", raw, "infer", "int8", inputs, outputs), given)
    assert runner.infer(x)[0].tolist() == core.infer(x).tolist()
    check_inference(runner, net.module, x[:20], learnt)


def test_what_micro_lacks_is_named() -> None:
    assert "rms_norm, softmax" in integers.micro_gap(digits_net("cascaded-forward", {}, "dense").module)
    assert integers.micro_gap(digits_net("mono-forward", {}, "dense").module) == ""


def test_a_shift_that_no_scale_fits_is_left_to_integers() -> None:
    with pytest.raises(AssertionError):
        layer_model("affine", np.array([1]), 14, 0)


def test_numpy_types_are_those_of_the_interpreter() -> None:
    assert {name: np.iinfo(NUMPY[name]).max for name in ("i8", "i16", "i32")} == NUMPY_LIMIT
