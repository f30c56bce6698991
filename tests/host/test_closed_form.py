"""Heads by least squares: numpy finds the same ones, mse's own steps go towards them, and what has no closed form is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")

from edgelearn.compiler import Net, compile_net
from edgelearn.errors import ConfigError
from edgelearn.host.closed_form import MAX_FEATURES, ClosedForm, closed_form, heads
from edgelearn.host.torch_net import TorchNet
from edgelearn.ir.core import Module
from edgelearn.ir.text import parse
from edgelearn.layers import Layer
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from tests.factory import DIGITS, X, Y, compiled

ROWS = X.astype(np.float32)
Tensors = dict[str, NDArray[Any]]


def dense(**params: Any) -> Module:
    return compiled("cascaded-forward", (40, 30), "f32", loss="closed-form", **params).module


def maps(**attributes: Any) -> Module:
    stack = (Layer("conv", 6, 3, 1, 1), Layer("pool", kernel=2, mode="max"), Layer("conv", 8, 3, 1, 1, **attributes))
    rule = find("cascaded-forward", {"loss": "closed-form"})
    return compile_net(rule, Net((8, 8), stack, 10), Calibration(X, Y, 0), "f32").module


def by_numpy(H: NDArray[Any], y: NDArray[Any], ridge: float) -> NDArray[Any]:
    H, targets = H.astype(np.float64), np.eye(10)[y]
    return np.linalg.solve(H.T @ H / len(H) + ridge * np.eye(H.shape[1]), H.T @ targets / len(H)).T


def activations(W: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """norm(relu(W x)) of rows."""
    a = np.maximum(x.astype(np.float64) @ W.T, 0)
    rms = np.sqrt((a**2).mean(1, keepdims=True))
    return np.divide(a, rms, out=np.zeros_like(a), where=rms > 0)


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_heads_are_those_of_least_squares(ridge: float) -> None:
    module = dense()
    found, first = closed_form(module, ROWS, Y, seed=3, ridge=ridge), TorchNet(module, 3).tensors()
    h = ROWS
    for block in ("@b0", "@b1"):
        assert np.array_equal(found[f"{block}.W"], first[f"{block}.W"]), "blocks stay random"
        h = activations(first[f"{block}.W"], h)
        assert np.abs(found[f"{block}.M"] - by_numpy(h, Y, ridge)).max() < 1e-4


def test_it_classifies_and_goes_on_from_a_given_state() -> None:
    module = dense()
    given = TorchNet(module, seed=8).tensors()
    net = TorchNet(module, seed=1)
    net.load(closed_form(module, ROWS, Y, seed=1, state=given))
    assert np.array_equal(net.tensors()["@b0.W"], given["@b0.W"])
    right = net.infer(DIGITS.x_test.reshape(len(DIGITS.x_test), -1)) == DIGITS.y_test
    assert right.mean() > 0.8


def test_steps_of_mse_go_towards_it() -> None:
    """From far away with ridge 0: the loss of every head only falls to that of the closed form."""
    module, x, y = compiled("cascaded-forward", (12,), "f32", loss="mse", lr=2**-4).module, ROWS[:200], Y[:200]
    best, net = closed_form(module, x, y, ridge=0), TorchNet(module)
    h, targets = activations(best["@b0.W"], x), np.eye(10)[y]

    def loss(M: NDArray[Any]) -> float:
        return float(((h @ M.T - targets) ** 2).sum(1).mean())

    losses = []
    for _ in range(20):
        for _ in range(20):
            net.learn(x, y)
        losses.append(loss(net.tensors()["@b0.M"]))
    assert losses == sorted(losses, reverse=True)
    assert loss(best["@b0.M"]) < losses[-1] < loss(best["@b0.M"]) + 0.01


@pytest.mark.parametrize("attributes", [{}, {"head": 2}])
def test_maps_are_read_as_the_update_reads_them(attributes: dict[str, int]) -> None:
    """A head of means, and one after a max pool: what the solution is checked with is the update itself, which is then the ridge alone."""
    module, ridge = maps(**attributes), 0.01
    found = closed_form(module, ROWS[:300], Y[:300], ridge=ridge)
    net = TorchNet(module)
    net.load(found)
    net.learn(ROWS[:300], Y[:300])
    rates = {op.args[0]: op.number("rate") for op in module.entry("learn").ops if op.name == "outer_update"}
    assert [(head.name, head.features) for head in heads(module)] == [
        ("@b0.M", 96),
        ("@b1.M", 32 if attributes else 128),
    ]
    for name, rate in rates.items():
        gradient = (
            found[name] - net.tensors()[name]
        ) / rate  # (H M - Y)^T H / N, which is -ridge M where M is the solution
        assert np.abs(gradient + ridge * found[name]).max() < 1e-4
        assert np.abs(found[name]).max() > 0.01


def test_batches_and_their_order_do_not_matter() -> None:
    module = dense()
    whole = closed_form(module, ROWS, Y)
    form = ClosedForm(net := TorchNet(module))
    for part in np.array_split(np.random.default_rng(0).permutation(len(Y)), 9):
        form.add(ROWS[part], Y[part])
    form.solve()
    assert net.step == len(Y)
    assert max(float(np.abs(whole[name] - t).max()) for name, t in net.tensors().items()) < 1e-5


def test_frozen_heads_are_left_alone() -> None:
    rule, data = find("cascaded-forward", {"loss": "closed-form"}), Calibration(X, Y, 0)
    module = compile_net(rule, Net(64, (20, 20), 10), data, "f32", freeze=[0]).module
    assert [head.name for head in heads(module)] == ["@b1.M"]
    assert np.abs(closed_form(module, ROWS, Y)["@b0.M"]).max() == 0


# --- what is refused ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "params"),
    [("cascaded-forward", {"loss": "ce"}), ("mono-forward", {}), ("cascaded-forward-dfa", {"loss": "closed-form"})],
)
def test_other_rules_have_none(rule: str, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="has no closed form: it is not learnt by least squares") as caught:
        closed_form(compiled(rule, (12, 12), "f32", **params).module, ROWS[:10], Y[:10])
    assert "cascaded-forward" in caught.value.hint


def test_a_head_with_too_many_features_says_how_to_have_fewer() -> None:
    wide = compiled("cascaded-forward", (MAX_FEATURES + 1,), "f32", loss="closed-form").module
    with pytest.raises(ConfigError, match=r"b0\.M reads 8,193 features; the closed form takes up to 8,192") as caught:
        ClosedForm(TorchNet(wide))
    assert "head = 4" in caught.value.hint


def test_what_the_samples_do_not_say() -> None:
    module = dense()
    with pytest.raises(ConfigError, match="no sample"):
        ClosedForm(TorchNet(module)).solve()
    with pytest.raises(ConfigError, match="5 samples do not say") as caught:
        closed_form(module, ROWS[:5], Y[:5], ridge=0)
    assert "Raise ridge" in caught.value.hint
    with pytest.raises(ConfigError, match="ridge term is -1"):
        closed_form(module, ROWS, Y, ridge=-1)


SHARED = """module shared {classes=3, dtype="f32"}
state @b0.M: f32[3,5] = zeros(std=0.0, stream=0)
entry learn(%x: f32[5], %y: i32[1]*2^(0)) {
  %g = matvec(@b0.M, %x): f32[3]
  %e = sub_one_hot(%g, %y): f32[3]
  outer_update(@b0.M, %e, %x) {id=0, rate=0.05, sign=1}
SECOND}
entry infer(%x: f32[5]) {
  %g = matvec(@b0.M, %x): f32[3]
  %y = argmax(%g): i32[1]*2^(0)
  return %y
}
"""


@pytest.mark.parametrize(
    ("second", "fine"),
    [("", True), ("  outer_update(@b0.M, %e, %x) {id=1, rate=0.05, sign=1}\n", False),
     ("  decay_update(@b0.M) {id=1, rate=0.05, sign=1}\n", False)],
)  # fmt: skip
def test_a_head_has_one_update(second: str, fine: bool) -> None:
    module = parse(SHARED.replace("SECOND", second))
    if fine:
        assert heads(module)[0].name == "@b0.M"
    else:
        with pytest.raises(ConfigError, match=r"b0\.M has no closed form"):
            heads(module)


def test_a_head_that_goes_uphill_is_none() -> None:
    module = parse(SHARED.replace("SECOND", "").replace("sign=1", "sign=-1"))
    with pytest.raises(ConfigError, match="has no closed form"):
        heads(module)
