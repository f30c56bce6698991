"""Backpropagation by torch's autograd is the rule ``backprop`` where both go, torch.nn.RNN through time, and NoProp's net end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")

from edgelearn.compiler import Net, compile_net  # noqa: E402
from edgelearn.errors import ConfigError  # noqa: E402
from edgelearn.host import batches  # noqa: E402
from edgelearn.host.autograd import AutogradNet  # noqa: E402
from edgelearn.host.torch_net import TorchNet  # noqa: E402
from edgelearn.ir.core import Module  # noqa: E402
from edgelearn.layers import from_item  # noqa: E402
from edgelearn.passes.quantize import Calibration  # noqa: E402
from edgelearn.rules import find  # noqa: E402
from tests.factory import X, Y  # noqa: E402
from tests.host.runs import difference  # noqa: E402

DIGITS = X.astype(np.float32)
MAPS = [{"conv": 4, "head": 4}, {"pool": 2}, {"depthwise": 3, "stride": 2}, {"conv": 6, "kernel": 1}, 16]


def module(rule: str, layers: list[Any], drops: tuple[int, ...] = (), **params: Any) -> Module:
    net = Net((8, 8), [from_item(item) for item in layers], 10)
    return compile_net(find(rule, params), net, Calibration(X, Y, 0), "f32", drops).module


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_it_is_the_rule_backprop(optimizer: str) -> None:
    made = module("backprop", MAPS, (64, 128), lr=0.1)
    rule, auto = TorchNet(made, 3, optimizer=optimizer), AutogradNet(made, 0.1, 3, optimizer=optimizer)
    start = rule.tensors()
    for i in range(0, 256, 32):
        for net in (rule, auto):
            net.learn(DIGITS[i : i + 32], Y[i : i + 32])
    assert difference(rule.tensors(), auto.tensors()) < (
        1e-3 if optimizer == "adam" else 1e-5
    )  # Adam divides by small roots
    assert difference(rule.tensors(), start) > 0.01
    assert rule.infer(DIGITS[:50]).tolist() == auto.infer(DIGITS[:50]).tolist()


def test_through_time_it_is_torchs_own_rnn() -> None:
    net = AutogradNet(module("tpsgd", [{"recurrent": 12}]), 0.5, 1)
    first = net.tensors()
    net.load({**first, "@b0.M": np.random.default_rng(0).normal(size=(10, 12)).astype(np.float32)})
    first = net.tensors()
    rnn = torch.nn.RNN(8, 12, batch_first=True)
    M = torch.tensor(first["@b0.M"], requires_grad=True)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(torch.tensor(first["@b0.W"]))
        rnn.weight_hh_l0.copy_(torch.tensor(first["@b0.U"]))
        rnn.bias_ih_l0.copy_(torch.tensor(first["@b0.b"]))
        rnn.bias_hh_l0.zero_()
    last = rnn(torch.tensor(DIGITS[:20]).reshape(20, 8, 8))[1][0]
    torch.nn.functional.cross_entropy(last @ M.t(), torch.tensor(Y[:20])).backward()
    net.learn(DIGITS[:20], Y[:20])
    gradients = {"W": rnn.weight_ih_l0.grad, "U": rnn.weight_hh_l0.grad, "b": rnn.bias_ih_l0.grad, "M": M.grad}
    for name, gradient in gradients.items():
        assert float(gradient.abs().max()) > 1e-3
        assert net.tensors()[f"@b0.{name}"] == pytest.approx(first[f"@b0.{name}"] - 0.5 * gradient.numpy(), abs=1e-6)


def test_noprops_blocks_end_to_end() -> None:
    """Two blocks, written down: the first guess goes into the second block, whose own guess is judged."""
    net = AutogradNet(module("noprop", [6, 5], hidden=7), 0.5, 2)
    first = net.tensors()
    w = {name: torch.tensor(t, requires_grad=True) for name, t in first.items()}
    x = torch.tensor(DIGITS[:20])

    def scores(b: str, z: Any) -> Any:
        a = torch.relu(x @ w[f"@{b}.W"].t() + w[f"@{b}.b"])
        h = a @ w[f"@{b}.V"].t() + w[f"@{b}.c"]
        return torch.relu(h if z is None else h + z @ w[f"@{b}.U"].t()) @ w[f"@{b}.M"].t()

    abar = [0.0, 0.5, 0.99]  # sin^2(pi/2 t/2), at most 0.99
    z = abar[1] ** 0.5 * (1 - abar[0] / abar[1]) / (1 - abar[0]) * scores("b0", None).softmax(1)
    torch.nn.functional.cross_entropy(scores("b1", z), torch.tensor(Y[:20])).backward()
    net.learn(DIGITS[:20], Y[:20])
    for name, start in first.items():
        gradient = w[name].grad
        assert (gradient is None) == (name == "@b0.U")  # nothing is noisy before the first block
        expected = start if gradient is None else start - 0.5 * gradient.numpy()
        assert net.tensors()[name] == pytest.approx(expected, abs=1e-6)
    assert float(w["@b0.W"].grad.abs().max()) > 1e-4  # the first block learns from the last one's guess


def test_it_says_what_it_learns_to_say() -> None:
    """NoProp's own last word mixes the last block's guess with the ones before it, which no loss asks anything of here."""
    made = module("noprop", [8] * 4, hidden=8)
    net, rule = AutogradNet(made, 0.1, 1), TorchNet(made, 1)
    assert net.infer(DIGITS[:0]).tolist() == []
    guesses = net.infer(DIGITS, batch=100)
    assert guesses.tolist() == net.learn(DIGITS, Y).tolist()
    assert (guesses != rule.infer(DIGITS)).any()


def test_what_a_step_must_remember() -> None:
    """64-16-10: the sample, 16 activations, 10 scores' logarithms, and a word or two of the loss."""
    made = module("backprop", [16])
    weights = 4 * (64 * 16 + 16 + 16 * 10)
    kept = AutogradNet(made, 0.1).bytes_of_a_step() - weights
    assert 4 * (64 + 16 + 10) <= kept <= 4 * (64 + 16 + 10 + 8)
    short, long = (AutogradNet(module("tpsgd", [{"recurrent": n}]), 0.1).bytes_of_a_step() for n in (16, 32))
    assert long - short > 4 * (8 * 16 + 32 * 32 - 16 * 16 + 8 * 16)  # weights, and 16 units more in 8 moments


def test_it_learns_and_goes_on_from_a_kept_state() -> None:
    made = module("tpsgd", [{"recurrent": 32}])

    def net() -> AutogradNet:
        return AutogradNet(made, 0.03, 1, optimizer="momentum")

    whole, begun, gone_on = net(), net(), net()
    batches.train(whole, DIGITS, Y, 3 * 1400, 32, 1)
    batches.train(begun, DIGITS, Y, 1592, 32, 1)  # at the end of a batch
    gone_on.load_state_dict(begun.state_dict())
    batches.train(gone_on, DIGITS, Y, 3 * 1400, 32, 1)
    assert difference(whole.tensors(), gone_on.tensors()) == 0
    assert (whole.infer(DIGITS) == Y).mean() > 0.8


def test_samples_and_classes_must_fit() -> None:
    net = AutogradNet(module("backprop", [8]), 0.1)
    with pytest.raises(ConfigError, match="3 samples and 2 classes"):
        net.learn(DIGITS[:3], Y[:2])
