"""The words of L: each in a tiny rule, in int8 close to what it is in floats; draws; and what words refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgelearn.compiler import Net, compile_net
from edgelearn.errors import ConfigError
from edgelearn.ir import rng
from edgelearn.ir.core import Module, Op
from edgelearn.ir.interp import Interpreter
from edgelearn.ir.ops import OPS, Q, draws, functions
from edgelearn.ir.text import parse, print_module
from edgelearn.ir.types import Type
from edgelearn.lang import L
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find

INPUTS, CLASSES = 24, 3
Value = Callable[[Any, Any], Any]  # of a block and its input

DRAW = np.random.default_rng(3)
X = np.round(DRAW.uniform(-1, 1, (300, INPUTS)) * 127).astype(np.float32) / np.float32(128)
CALIBRATION = Calibration(X, DRAW.integers(0, CLASSES, len(X)))


class Tiny:
    """A rule whose prediction has ``value(s, x)`` in it."""

    def __init__(self, value: Value) -> None:
        self.value = value

    def init(self, s: Any, key: Any) -> None:
        s.v = L.normal(key, (s.inp,), std=0.5)

    def step(self, s: Any, x: Any, y: Any) -> Any:
        s.b -= 2.0**-7 * L.max(self.value(s, x)) * y
        return L.relu(s.W @ x + s.b)

    def predict(self, blocks: Any, x: Any) -> Any:
        return blocks[0].W @ x + L.max(self.value(blocks[0], x))


def compiled(value: Value, dtype: str) -> Module:
    rule = replace(find("mono-forward"), name="tiny", instance=Tiny(value))
    return compile_net(rule, Net(INPUTS, (CLASSES,), CLASSES), CALIBRATION, dtype).module


class Watched:
    """The real numbers that ``value`` has, sample by sample."""

    def __init__(self, module: Module, seed: int = 0) -> None:
        self.net = Interpreter(module, seed)
        self.entry = module.entry("infer")
        last = next(op for op in reversed(self.entry.ops) if op.name == "max")
        self.op = next(op for op in self.entry.ops if op.result == last.args[0])

    def __call__(self, x: np.ndarray[Any, Any], step: int = 0) -> np.ndarray[Any, Any]:
        self.net.step = step
        raw = self.net.module.dtype != "f32"
        sample = np.round(x * 128).astype(np.int8) if raw else x
        found = self.net._run(replace(self.entry, result=self.op.result), [sample], count=False)
        assert found is not None and self.op.type is not None
        return found * 2.0 ** self.net.exponent(self.op.type.exp) if raw else found


def both(value: Value) -> tuple[Watched, Watched]:
    return Watched(compiled(value, "int8")), Watched(compiled(value, "f32"))


# Each with the largest error that int8 may have, as a share of the largest result, or of 1/16 where that is less. HALF is half a unit of
# an int8 operand: numbers are brought to its unit before they are compared or added.
HALF = 0.0045
WORDS: list[tuple[str, Value, float]] = [
    ("tanh", lambda s, x: L.tanh(x * 4), 1e-4),
    ("sigmoid", lambda s, x: L.sigmoid(x * 8), 1e-4),
    ("exp", lambda s, x: L.exp(x * 4), 3e-4),
    ("log", lambda s, x: L.log(x * x), 1e-4),
    ("sqrt", lambda s, x: L.sqrt(L.abs(x)), 1e-4),
    ("rsqrt", lambda s, x: L.rsqrt(x * x + 0.01), 1e-3),
    ("a / b", lambda s, x: x / (x * x + 0.25), 1e-3),
    ("1 / b", lambda s, x: 1 / (2 + x), 1e-4),
    ("a / scalar", lambda s, x: x / L.max(x), 1e-4),
    ("rms_norm", lambda s, x: L.rms_norm(x), 2e-4),
    ("rms_norm of few", lambda s, x: L.rms_norm(L.relu(x - 0.75)), 1e-3),  # 32 units at most
    ("sum", lambda s, x: L.sum(x), 1e-6),
    ("mean", lambda s, x: L.mean(x), 1e-3),
    ("max", lambda s, x: L.max(x), 1e-6),
    ("dot", lambda s, x: L.dot(x, x), 1e-6),
    ("sum of squares", lambda s, x: L.sum(x * x), 1e-6),
    ("minimum, number", lambda s, x: L.minimum(x, 0.3), HALF),
    ("minimum", lambda s, x: L.minimum(x, s.v), HALF),
    ("maximum, number", lambda s, x: L.maximum(-0.3, x), HALF),
    ("where", lambda s, x: L.where(x > 0, x, x * 0.25), 2 * HALF),
    ("where, numbers", lambda s, x: L.where(x, 1, 0.25), 1e-6),
    ("clip", lambda s, x: L.clip(x, -0.25, 0.5), 1e-6),
    ("clip, wide", lambda s, x: L.clip(x * 3, -1, 0.7), 1e-3),
    ("leaky_relu", lambda s, x: L.leaky_relu(x, 2**-3), 2 * HALF),
    ("sign", lambda s, x: L.sign(x), 1e-6),
    ("sign, dead", lambda s, x: L.sign(x, dead=0.25), 1e-6),
    ("overlay", lambda s, x: L.overlay(x, L.softmax(s.W @ x)), 2 * HALF),
    ("x + number", lambda s, x: x + 0.3, HALF),
    ("number - x", lambda s, x: 1 - x, 1e-6),
    ("x - number", lambda s, x: x - 0.5, 1e-6),
    ("x > number", lambda s, x: x > 0.25, 1e-6),
    ("x < number", lambda s, x: x < -0.25, 1e-6),
    ("number > x", lambda s, x: 0.25 > x, 1e-6),  # noqa: SIM300
    ("x > y", lambda s, x: x * 2 > x * x + 0.25, 1e-6),
    ("normal", lambda s, x: L.normal(s.key, (9,)), 3e-4),
    ("uniform", lambda s, x: L.uniform(s.key, (3, 3, 1)), 1e-4),
    ("normal, std", lambda s, x: L.normal(s.key, 9, std=0.5), 3e-4),
]


@pytest.mark.parametrize(("value", "error"), [row[1:] for row in WORDS], ids=[row[0] for row in WORDS])
def test_int8_is_close_to_floats(value: Value, error: float) -> None:
    ints, floats = both(value)
    for step, x in enumerate(X[:60]):
        found, expected = ints(x, step), floats(x, step)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= error * max(float(np.abs(expected).max()), 1 / 16)


def test_sampled_classes_are_the_same_in_int8_and_floats_but_for_rounding() -> None:
    ints, floats = both(lambda s, x: L.sample(L.softmax(s.W @ x)))
    pairs = [(ints(x, step), floats(x, step)) for step, x in enumerate(X)]
    assert all(i.sum() == f.sum() == 1 for i, f in pairs)
    assert sum((i != f).any() for i, f in pairs) <= len(X) * 0.05


def test_every_word_of_the_list_learns_in_both_dtypes() -> None:
    for _, value, _ in WORDS:
        for dtype in ("int8", "f32"):
            net = Interpreter(compiled(value, dtype))
            for x in X[:3]:
                net.learn(np.round(x * 128).astype(np.int8) if dtype == "int8" else x, 1)
            assert all(np.isfinite(v).all() for v in net.state.values())


def test_modules_with_words_survive_their_text() -> None:
    for _, value, _ in WORDS:
        for dtype in ("int8", "f32"):
            module = compiled(value, dtype)
            assert parse(print_module(module)) == module


# --- what words mean ------------------------------------------------------------------------------------------------------------------


def exact(name: str, q: list[int], e: int, **attrs: Any) -> np.ndarray[Any, Any]:
    v = np.array(q, np.int64)
    result = OPS[name].i32(Op(name, (), tuple(attrs.items()), None, Type("f32", v.shape)), Q(v, e))
    return result.q * 2.0**result.e


Numbers = st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=20)
Exponents = st.integers(-60, 30)


@settings(deadline=None)
@given(st.integers(-(2**31) + 1, 2**31 - 1), Exponents)
def test_tanh_and_sigmoid_are_right_to_four_units(q: int, e: int) -> None:
    v = q * 2.0**e
    assert abs(exact("tanh", [q], e)[0] - np.tanh(v)) <= 4 * 2**-15
    assert abs(exact("sigmoid", [q], e)[0] - (0.5 + 0.5 * np.tanh(v / 2))) <= 4 * 2**-15
    assert exact("tanh", [q], e)[0] == -exact("tanh", [-q], e)[0]


@settings(deadline=None)
@given(Numbers, Exponents)
def test_exp_is_right_to_its_block(q: list[int], e: int) -> None:
    expected = np.exp(np.clip(np.array(q) * 2.0**e, -1e3, functions.EXP_MAX))
    error = np.abs(exact("exp", q, e) - np.maximum(expected, np.exp(-32)))  # as small as it gets
    assert (error <= 3e-4 * expected + 2.0**-15 * expected.max() + 1e-17).all()


@settings(deadline=None)
@given(Numbers, Exponents)
def test_log_is_right_within_its_limits(q: list[int], e: int) -> None:
    v = np.array(q) * 2.0**e
    expected = np.clip(np.log(np.maximum(v, 1e-30)), -functions.LOG_MAX, functions.LOG_MAX)
    assert np.abs(exact("log", q, e) - expected).max() <= 2 * 2.0**functions.LOG_EXP


@settings(deadline=None)
@given(Numbers, Exponents)
@example([0, 2**31 - 1], 0)  # beside the largest number, 0 is still the farther one
def test_roots_and_reciprocals_are_right_to_their_block(q: list[int], e: int) -> None:
    v = np.array(q) * 2.0**e
    positive = np.maximum(v, 0)
    wanted = {
        "sqrt": np.sqrt(positive),
        "rsqrt": 1 / np.sqrt(np.maximum(v, 2.0**functions.RSQRT_MIN)),
        "recip": np.divide(1, v, out=np.zeros(len(v)), where=v != 0),
    }
    for name, expected in wanted.items():
        error = np.abs(exact(name, q, e) - expected)
        assert (error <= 2.0**-13 * np.abs(expected) + 2.0**-15 * np.abs(expected).max()).all(), name


@settings(deadline=None)
@given(st.lists(st.integers(-127, 127), min_size=1, max_size=400), st.integers(-12, 0), st.integers(0, 4000))
def test_rms_norm_is_right_for_few_and_for_small_numbers(q: list[int], e: int, zeros: int) -> None:
    """To two units of 2^-13 of the largest result that this many numbers can have."""
    v = np.array(q + [0] * zeros) * 2.0**e
    expected = v / np.sqrt(np.mean(v * v) + 2.0**functions.RMS_EPS)
    error = np.abs(exact("rms_norm", q + [0] * zeros, e) - expected).max()
    assert error <= 2.0**-12 * np.abs(expected).max() + 2.0**-14 * np.sqrt(2 * len(v))


def test_nothing_is_divided_by_zero() -> None:
    zeros = [0, 0, 0]
    assert exact("rms_norm", zeros, -7).tolist() == [0, 0, 0]
    assert exact("recip", zeros, -7).tolist() == [0, 0, 0]
    assert exact("recip", [0, 2], -1).tolist() == [0, 1]
    assert exact("sqrt", [-5, 0, 16], 0).tolist() == [0, 0, 4]
    assert exact("log", [0, -3], 0).tolist() == [-functions.LOG_MAX] * 2
    assert exact("rsqrt", [0, -1], 0).tolist() == [256, 256]
    for name in ("recip", "sqrt", "log", "rsqrt", "rms_norm", "exp", "tanh", "sigmoid"):
        v = np.array([0, -1, 3e38, -3e38, 1e-38], np.float32)
        v = v * 0 if name == "rms_norm" else v
        assert np.isfinite(OPS[name].f32(Op(name, ()), v)).all(), name


# --- draws ----------------------------------------------------------------------------------------------------------------------------


def noise(kind: str, step: int, number: int, n: int = 2000, seed: int = 1) -> np.ndarray[Any, Any]:
    op = Op("noise", (), (("id", number), ("kind", kind), ("shape", str(n))))
    return OPS["noise"].f32(op, draws.Draw(seed, step, 0))


def test_noise_has_the_distribution_it_says() -> None:
    normal, uniform = noise("normal", 5, 1, 100_000), noise("uniform", 5, 1, 100_000)
    assert abs(normal.mean()) < 0.01 and abs(normal.std() - 1) < 0.01
    assert np.abs(normal).max() <= draws.NORMAL_BOUND
    assert abs(uniform.mean() - 0.5) < 0.005 and abs(uniform.std() - 12**-0.5) < 0.005
    assert uniform.min() >= 0 and uniform.max() < 1
    ints = OPS["noise"].i32(Op("noise", (), (("id", 1), ("kind", "normal"), ("shape", "100000"))), draws.Draw(1, 5, 0))
    assert np.abs(ints.q * 2.0**ints.e - normal).max() < 2.0**-11


def test_draws_of_other_steps_ids_and_seeds_have_nothing_in_common() -> None:
    keys = [(step, number, seed) for step in range(6) for number in range(6) for seed in range(3)]
    drawn = np.stack([noise("normal", step, number, seed=seed) for step, number, seed in keys])
    correlations = np.corrcoef(drawn) - np.eye(len(keys))
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)
    assert (noise("normal", 3, 2) == noise("normal", 3, 2)).all()


def test_a_draw_is_not_the_dither_of_the_update_of_its_number() -> None:
    step, number, n = 4, 2, 4096
    dither = rng.dither(1, step, number, 1, n)[0]
    assert abs(np.corrcoef(dither, noise("uniform", step, number, n))[0, 1]) < 5 / np.sqrt(n)


def test_classes_are_drawn_as_often_as_their_weights_say() -> None:
    weights = np.array([3, 0, -5, 1, 12], np.int64)
    expected = np.array([3, 0, 0, 1, 12]) / 16
    for kind in ("i32", "f32"):
        counts = np.zeros(5)
        for step in range(4000):
            op, draw = Op("sample", (), (("id", 0),)), draws.Draw(7, step, 0)
            row = OPS["sample"]
            found = row.i32(op, Q(weights, -4), draw).q if kind == "i32" else row.f32(op, weights.astype("f4"), draw)
            counts[int(found[0])] += 1
        assert np.abs(counts / 4000 - expected).max() < 0.03
        assert counts[1] == counts[2] == 0


def test_without_any_weight_it_is_class_0() -> None:
    op, draw = Op("sample", (), (("id", 0),)), draws.Draw(7, 1, 0)
    assert OPS["sample"].i32(op, Q(np.array([0, -3]), 0), draw).q.tolist() == [0]
    assert OPS["sample"].f32(op, np.zeros(3, np.float32), draw).tolist() == [0]


def test_signs_are_even_and_one_matrix_for_good() -> None:
    matrix = rng.signs(3, 40, 200, 70)
    assert set(np.unique(matrix)) == {-1, 1}
    assert np.abs(matrix.mean(axis=0)).max() < 5 / np.sqrt(200)
    assert np.abs(np.corrcoef(matrix) - np.eye(200)).max() < 6 / np.sqrt(70)
    v = np.arange(70) - 30
    op = Op("signs", (), (("rows", 200), ("stream", 40)))
    for step in (0, 9):
        assert OPS["signs"].i32(op, Q(v, -3), draws.Draw(3, step, 0)).q.tolist() == (matrix @ v).tolist()


# --- refusals -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said", "hint"),
    [
        (lambda s, x: L.leaky_relu(x, 0.3), "slope 0.3", "say 0.25"),
        (lambda s, x: L.leaky_relu(x, 3), "slope 3", "say 1"),
        (lambda s, x: L.leaky_relu(x, 0), "slope 0", "say 0.25"),
        (lambda s, x: L.softsign(x), "no word softsign", "softmax, sqrt"),
        (lambda s, x: L.tanh(0.5), "needs a traced tensor, not float", "from x, y or s"),
        (lambda s, x: L.minimum(1, 2), "needs a traced tensor", "from x, y or s"),
        (lambda s, x: L.clip(x, 1, -1), "limits 1 and -1", "lower one first"),
        (lambda s, x: L.overlay(x[:1], x), "single element", "whole tensors"),
        (lambda s, x: L.overlay(s.b, x), "24 values laid over 3", "shapes"),
        (lambda s, x: L.dot(x, s.b), "differ", "shapes"),
        (lambda s, x: L.where(0.5, x, x), "needs a traced tensor", "from x, y or s"),
        (lambda s, x: L.uniform(None, (3,)), "L.uniform in init", "L.normal"),
        (lambda s, x: L.normal(s.key, ()), "shape ()", "sizes"),
        (lambda s, x: x + float("inf"), "the constant inf", "within"),
    ],
)
def test_a_word_that_cannot_be_is_refused(value: Value, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled(value, "int8")
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_a_number_is_no_change_of_a_state() -> None:
    class Wrong(Tiny):
        def step(self, s: Any, x: Any, y: Any) -> Any:
            s.W -= 0.1
            return x

    rule = replace(find("mono-forward"), name="wrong", instance=Wrong(lambda s, x: x))
    with pytest.raises(ConfigError, match="updated by a traced tensor"):
        compile_net(rule, Net(INPUTS, (CLASSES,), CLASSES), CALIBRATION, "int8")
