"""Learning from features that are worked out once: the same steps as without, and, levelled, the same heads by a faster way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")

from edgelearn.compiler import Net, compile_net
from edgelearn.errors import ConfigError
from edgelearn.host import batches, frozen
from edgelearn.host.frozen import FrozenNet
from edgelearn.host.levelling import level
from edgelearn.host.torch_lib import torch
from edgelearn.host.torch_net import TorchNet
from edgelearn.ir.core import Module
from edgelearn.layers import Layer
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from tests.factory import X, Y, compiled

ROWS, STEPS = X[:300].astype(np.float32), 450
LABELS = Y[:300]


def maps(rule: str = "cascaded-forward", **params: Any) -> Module:
    stack = (Layer("conv", 6, 3, 1, 1), Layer("pool", kernel=2, mode="max"), Layer("conv", 8, 3, 1, 1))
    return compile_net(find(rule, params), Net((8, 8), stack, 10), Calibration(X, Y, 0), "f32", [300]).module


def dense(rule: str, **params: Any) -> Module:
    return compiled(rule, (40, 30), "f32", **params).module


def learn(net: TorchNet, x: NDArray[Any], steps: int = STEPS) -> TorchNet:
    batches.train(net, x, LABELS, steps, batch=32, seed=5)
    return net


def learnt(module: Module, **how: Any) -> FrozenNet:
    net = FrozenNet(module, 3, **how)
    learn(net, net.features(ROWS))
    return net


MODULES = [
    pytest.param(maps(lr=2**-6), id="maps"),
    pytest.param(dense("cascaded-forward", loss="mse", lr=2**-8), id="mse"),
    pytest.param(dense("last-layer", lr=2**-4), id="last-layer"),
]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("module", MODULES)
def test_steps_are_those_of_the_whole_net(module: Module, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "KEPT", np.dtype(np.float32))
    whole = learn(TorchNet(module, 3, optimizer=optimizer), ROWS)
    found = learnt(module, optimizer=optimizer)
    moved = 0.0
    first = TorchNet(module, 3).tensors()
    for name, tensor in whole.tensors().items():
        np.testing.assert_allclose(found.tensors()[name], tensor, rtol=1e-3, atol=2e-5, err_msg=name)
        moved = max(moved, float(np.abs(tensor - first[name]).max()))
    assert moved > 0.01  # they have learnt
    assert np.array_equal(found.infer(ROWS), whole.infer(ROWS))


def test_half_precision_is_near() -> None:
    module = maps(lr=2**-6)
    whole, found = learn(TorchNet(module, 3), ROWS), learnt(module)
    for name, tensor in whole.tensors().items():
        np.testing.assert_allclose(found.tensors()[name], tensor, atol=1e-3, err_msg=name)


def test_frozen_blocks_run_once_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    half = frozen._Halves.freeze

    def count(self: Any, run: Any, x: Any) -> Any:
        seen.append(run.batch)
        return half(self, run, x)

    monkeypatch.setattr(frozen._Halves, "freeze", count)
    learnt(maps())
    assert sum(seen) == len(ROWS) < STEPS


# --- levelled ---------------------------------------------------------------------------------------------------------


def test_levelled_heads_read_what_the_plain_ones_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first state is the rule's own, a kept one comes back, and guesses are those of the folded heads."""
    monkeypatch.setattr(frozen, "KEPT", np.dtype(np.float32))
    net = learnt(maps(lr=2**-6), level=8)
    plain = TorchNet(net.module, 3)
    plain.load(net.tensors())
    assert np.mean(plain.infer(ROWS) == net.infer(ROWS)) == 1
    kept, again = net.state_dict(), FrozenNet(net.module, 3, level=8)
    features = again.features(ROWS)
    again.load_state_dict(kept)
    for one in (net, again):
        learn(one, features, 2 * STEPS)
    for name, tensor in net.tensors().items():
        np.testing.assert_allclose(again.tensors()[name], tensor, atol=1e-4, err_msg=name)


def test_a_levelled_step_is_the_rule_s_own_with_a_preconditioner(monkeypatch: pytest.MonkeyPatch) -> None:
    """On M the step is e h^T P^2: by numpy, from the first state, where all heads are zero and every class as likely."""
    monkeypatch.setattr(frozen, "KEPT", np.dtype(np.float32))
    module = dense("cascaded-forward", lr=2**-6)
    plain, net = FrozenNet(module, 3), FrozenNet(module, 3, level=4)
    h, levelled = plain.features(ROWS), net.features(ROWS)
    batch = slice(0, 50)
    net.learn(net.tensor(levelled[batch]), LABELS[batch])
    e = np.full((50, 10), 0.1) - np.eye(10)[LABELS[batch]]
    columns = slice(0, 40)
    P = np.linalg.lstsq(h[:, columns].astype(float), levelled[:, columns].astype(float), rcond=None)[0]
    want = -(2**-6) * e.T @ h[batch, columns] @ P @ P / 50
    np.testing.assert_allclose(net.tensors()["@b0.M"], want, atol=1e-5)


def test_levelling_lets_descent_go_faster() -> None:
    """Rows with one direction a hundred times as long as all others: the map makes it no longer than the next."""
    noise = np.random.default_rng(0).normal(size=(2000, 20)).astype(np.float32)
    h = torch.from_numpy(noise + 100)
    found, flat = level(h, 2, seed=1), h.clone()
    found.flatten(flat)
    before, after = torch.linalg.svdvals(h), torch.linalg.svdvals(flat)
    assert before[0] > 50 * before[1]
    assert after[0] < 1.01 * after[1]
    M = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found.unfold(found.fold(M)), M, atol=1e-3)
    assert torch.allclose(flat @ M.t(), h @ found.fold(M).t(), rtol=1e-3, atol=1e-2)


# --- what cannot be -----------------------------------------------------------------------------------------------------


def test_what_learns_from_samples_is_refused() -> None:
    with pytest.raises(ConfigError, match="first weights are not frozen"):
        FrozenNet(dense("mono-forward"))


def test_too_many_features_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = FrozenNet(maps())
    monkeypatch.setattr(frozen, "MOST", len(ROWS) * net.width * 2 - 1)
    with pytest.raises(ConfigError, match=f"{net.width:,} features of 300 samples"):
        net.features(ROWS)


def test_too_high_a_level_is_refused() -> None:
    net = FrozenNet(dense("cascaded-forward"), level=41)
    with pytest.raises(ConfigError, match="no 41 leading directions"):
        net.features(ROWS)
    with pytest.raises(ConfigError, match="span fewer than 5"):
        level(torch.ones(100, 8), 5, seed=0)
