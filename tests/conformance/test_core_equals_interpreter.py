"""The C core against the definition: the numpy interpreter. Integers bit for bit, floats to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgelearn import state
from edgelearn.host.native import verify_plan
from edgelearn.ir.interp import EXP_LIMIT, HALVE_EVERY, Interpreter
from edgelearn.ir.types import LIMIT
from edgelearn.passes.pipeline import Stages
from edgelearn_export.plan import encode
from tests.factory import DIGITS, X, Y, compiled, native, order

CASES = [
    ("mono-forward", (32, 32), {"heads": "last"}),
    ("mono-forward", (32, 32), {"heads": "sum"}),
    ("mono-forward", (7, 5, 3), {"heads": "sum", "lr": 2**-3}),
    ("mono-forward", (1,), {}),
    ("mono-forward", (33,), {"gate": 0.0}),
    ("backprop", (32, 32), {"lr": 2**-3}),
    ("mono-forward", (32,), {"lr": -(2**-8), "gate": 0.0}),  # uphill: updates of the other sign, of odd and even k
]


@pytest.mark.parametrize(("rule", "layers", "params"), CASES)
def test_int8_is_equal_byte_for_byte(rule: str, layers: tuple[int, ...], params: dict[str, Any]) -> None:
    net = compiled(rule, layers, drops=(300, 600, 900), seed=3, **params)
    core, twin = native(net, 3), Interpreter(net.module, 3)
    assert core.read_state() == state.encode(twin)
    x, indices = net.encode(X), order(1100, 3)
    said = core.learn(x, Y, indices)
    assert said.tolist() == [twin.learn(x[i], int(Y[i])) for i in indices]
    assert core.read_state() == state.encode(twin)
    assert state.decode(net.module, core.read_state()).sha256(net.module) == twin.sha256()
    test = net.encode(DIGITS.x_test[:50])
    assert core.infer(test).tolist() == [twin.infer(v) for v in test]


@pytest.mark.parametrize(("rule", "layers", "params"), CASES)
def test_f32_is_equal_to_rounding(rule: str, layers: tuple[int, ...], params: dict[str, Any]) -> None:
    net = compiled(rule, layers, "f32", drops=(100, 200), **{**params, "lr": 2**-6})
    core, twin = native(net), Interpreter(net.module, 0)
    x, indices = net.encode(X), order(300)
    core.learn(x, Y, indices)
    for i in indices:
        twin.learn(x[i], int(Y[i]))
    found = state.decode(net.module, core.read_state())
    for name, value in twin.tensors().items():
        np.testing.assert_allclose(found.tensors[name], value, atol=1e-5)


def test_exponents_and_halvings_happen_and_agree() -> None:
    """A rate that is far too high makes everything saturate: the rescue must be the same on both sides."""
    net = compiled(layers=(16,), lr=2.0, gate=0.0)
    core, twin = native(net), Interpreter(net.module, 0)
    x, indices = net.encode(X), order(2100)
    core.learn(x, Y, indices)
    for i in indices:
        twin.learn(x[i], int(Y[i]))
    assert core.read_state() == state.encode(twin)
    kinds = {s.name: s.kind for s in net.module.slots}
    moved = {kinds[name] for name, count in twin.moves.items() if count}
    assert moved == {"weight", "moving"}


def test_a_weight_at_the_last_exponent_is_not_halved_any_more() -> None:
    net = compiled(layers=(8,), gate=0.0)
    core, twin = native(net), Interpreter(net.module, 0)
    twin.step = HALVE_EVERY - 1
    for s in net.module.state:
        assert s.type.exp is not None
        twin.exps[s.type.exp.slots[0]] = EXP_LIMIT
        twin.state[s.name][...] = LIMIT[s.type.dtype]
    core.write_state(state.encode(twin))
    x = net.encode(X)
    core.learn(x, Y, np.array([0]))
    twin.learn(x[0], int(Y[0]))
    assert core.read_state() == state.encode(twin)
    assert max(twin.exps.values()) == EXP_LIMIT


def stages_of(dtype: str) -> Stages:
    return compiled("mono-forward", (16, 8), dtype, heads="sum").stages


def test_every_float_pass_keeps_the_meaning() -> None:
    results = {}
    for name, module in stages_of("f32"):
        net = Interpreter(module.with_attrs(dtype="f32"), 1)
        for i in order(40):
            net.learn(X[i], int(Y[i]))
        results[name] = net.tensors()
    for name, tensors in results.items():
        for key, value in tensors.items():
            np.testing.assert_allclose(value, results["trace"][key], atol=2e-6, err_msg=f"{name} {key}")


def test_passes_after_quantization_change_nothing_at_all() -> None:
    stages = dict(stages_of("int8"))
    hashes = set()
    for name in ("quantize", "narrow", "memory"):
        net = Interpreter(stages[name], 1)
        for i in order(600):
            net.learn(np.minimum(np.round(X[i] * 128), 127), int(Y[i]))
        hashes.add(net.sha256())
    assert len(hashes) == 1


def test_a_rule_of_unfused_ops_is_equal_too() -> None:
    """Element-wise kernels: abs, sign, sub, mul, scale by a number that is no power of two, gt0, relu, gate on moving values."""
    from dataclasses import replace

    from edgelearn.compiler import Net, compile_net
    from edgelearn.lang import L
    from edgelearn.passes.quantize import Calibration
    from edgelearn.rules import find

    class Odd:
        def init(self, s, key):  # type: ignore[no-untyped-def]
            s.M = L.normal(key, (s.classes, s.out), std=0.2)
            s.c = L.zeros((s.out,))

        def step(self, s, x, y):  # type: ignore[no-untyped-def]
            z = s.W @ x
            a = L.relu(z) - 0.3 * L.abs(z)
            e = L.softmax(s.M @ a) - y
            d = s.M.T @ e
            u = L.gate(d * L.sign(a), 0.01) + 0.7 * (d * (z > 0))
            s.M -= 0.03 * L.outer(e, a)
            s.W -= 0.02 * L.outer(u, x) + 0.005 * L.outer(d, x)
            s.c += 0.1 * (u - d)
            s.b -= 0.01 * L.relu(d)
            return a

        def predict(self, blocks, x):  # type: ignore[no-untyped-def]
            for s in blocks:
                z = s.W @ x
                x = L.relu(z) - 0.3 * L.abs(z)
            return blocks[-1].M @ x

    rule = replace(find("mono-forward"), name="odd", instance=Odd())
    for dtype in ("int8", "f32"):
        net = compile_net(rule, Net(64, (12, 10), 10), Calibration(X, Y), dtype)
        assert verify_plan(encode(net.module)) == 0
        core, twin = native(net), Interpreter(net.module, 0)
        x, indices = net.encode(X), order(1100 if dtype == "int8" else 60)
        core.learn(x, Y, indices)
        for i in indices:
            twin.learn(x[i], int(Y[i]))
        if dtype == "int8":
            assert core.read_state() == state.encode(twin)
        else:
            found = state.decode(net.module, core.read_state())
            for name, value in twin.tensors().items():
                np.testing.assert_allclose(found.tensors[name], value, atol=1e-4)
