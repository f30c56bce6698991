"""A net in torch: at batch one it is the interpreter; at larger ones it steps by the mean, with torch's own optimizers' arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch: Any = pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")

from edgelearn.compiler import Net  # noqa: E402
from edgelearn.errors import ConfigError  # noqa: E402
from edgelearn.host.torch_net import TorchNet  # noqa: E402
from edgelearn.ir.core import Module, Op  # noqa: E402
from edgelearn.ir.interp import Interpreter  # noqa: E402
from edgelearn.ir.text import parse  # noqa: E402
from edgelearn.ir.verify import verify  # noqa: E402
from edgelearn.layers import Layer  # noqa: E402
from edgelearn.passes.fuse import fuse  # noqa: E402
from edgelearn.passes.observe import observe  # noqa: E402
from edgelearn.passes.simplify import cse, dce, fold  # noqa: E402
from edgelearn.rules import find  # noqa: E402
from edgelearn.rules.registry import BUILT_IN  # noqa: E402
from edgelearn.tracing import trace_module  # noqa: E402
from tests.factory import X, Y, compiled  # noqa: E402
from tests.host.runs import difference  # noqa: E402

DIGITS = X.astype(np.float32)
Tensors = dict[str, NDArray[Any]]

# What no rule of ours makes of maps: strides, masks on the way back, depthwise and max pooling, and a constant in an update.
MAPS = verify(
    parse("""module maps {classes=3, drops="10 20", dtype="f32"}
state @b0.W: f32[4,3,3,2] = normal(std=0.3, stream=0)
state @b0.b: f32[4] = normal(std=0.1, stream=1)
state @b1.W: f32[3,3,4] = normal(std=0.3, stream=2)
state @b1.b: f32[4] = zeros(std=0.0, stream=3)
state @b1.M: f32[3,16] = normal(std=0.2, stream=4)
state @b1.v: f32[4] = normal(std=0.2, stream=5)
entry learn(%x: f32[8,8,2], %y: i32[1]*2^(0)) {
  %a = conv_affine(@b0.W, %x, @b0.b) {pad=1, relu=1, stride=1}: f32[8,8,4]
  %p = pool(%a) {size=2}: f32[4,4,4]
  %c = depthwise_affine(@b1.W, %p, @b1.b) {pad=1, relu=0, stride=2}: f32[2,2,4]
  %r = relu(%c): f32[2,2,4]
  %g = matvec(@b1.M, %r): f32[3]
  %guess = argmax(%g): i32[1]*2^(0)
  %s = softmax(%g): f32[3]
  %e = sub_one_hot(%s, %y): f32[3]
  %d = matvec_t_mask(@b1.M, %e, %r) {shape="2x2x4"}: f32[2,2,4]
  %q = depthwise_t(@b1.W, %d) {pad=1, shape="4x4x4", stride=2}: f32[4,4,4]
  %u = unpool(%q) {shape="8x8x4", size=2}: f32[8,8,4]
  %m = mask(%u, %a): f32[8,8,4]
  %n = quant(@b1.v): f32[4]
  vec_update(@b1.v, %n) {id=5, rate=0.25, sign=1}
  outer_update(@b1.M, %e, %r) {id=0, rate=0.125, sign=1}
  depthwise_update(@b1.W, %d, %p) {id=1, pad=1, rate=0.125, sign=1, stride=2}
  vec_update(@b1.b, %d) {id=2, rate=0.125, sign=1}
  vec_update(@b1.b, %n) {id=6, rate=0.0625, sign=-1}
  conv_update(@b0.W, %m, %x) {id=3, pad=1, rate=0.125, sign=1, stride=1}
  decay_update(@b0.W) {id=7, rate=0.01, sign=1}
  vec_update(@b0.b, %m) {id=4, rate=0.125, sign=1}
  return %guess
}
entry infer(%x: f32[8,8,2]) {
  %a = conv_affine(@b0.W, %x, @b0.b) {pad=1, relu=1, stride=1}: f32[8,8,4]
  %p = maxpool(%a) {size=2}: f32[4,4,4]
  %c = depthwise_affine(@b1.W, %p, @b1.b) {pad=1, relu=1, stride=2}: f32[2,2,4]
  %g = matvec(@b1.M, %c): f32[3]
  %y = argmax(%g): i32[1]*2^(0)
  return %y
}
""")
)
# A linear classifier whose weights decay at a fifth of the rate.
DECAY = verify(
    parse("""module decay {classes=3, dtype="f32"}
state @b0.W: f32[3,5] = normal(std=0.5, stream=0)
entry learn(%x: f32[5], %y: i32[1]*2^(0)) {
  %g = matvec(@b0.W, %x): f32[3]
  %s = softmax(%g): f32[3]
  %e = sub_one_hot(%s, %y): f32[3]
  outer_update(@b0.W, %e, %x) {id=0, rate=0.05, sign=1}
  decay_update(@b0.W) {id=1, rate=0.01, sign=1}
}
entry infer(%x: f32[5]) {
  %g = matvec(@b0.W, %x): f32[3]
  %y = argmax(%g): i32[1]*2^(0)
  return %y
}
""")
)


def fused(rule: str, net: Net) -> Module:
    """A rule on a net as f32, without the passes that plan memory: torch needs none."""
    module = trace_module(find(rule), net, "net")
    for step in (fold, cse, observe, dce, fuse):
        module = step(module)
    return verify(module.with_attrs(dtype="f32"))


def digits(rule: str, **params: Any) -> Module:
    layers = (16,) if rule.startswith("noprop-") else (16, 12)
    return compiled(rule, layers, "f32", drops=(15, 30), **params).module


def random_samples(n: int, inputs: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, inputs)).astype(np.float32), rng.integers(0, classes, n)


def check_against_interpreter(module: Module, x: NDArray[np.float32], y: NDArray[Any]) -> None:
    net, judge = TorchNet(module, seed=2), Interpreter(module, seed=2)
    before = net.tensors()
    for row, label in zip(x, y, strict=True):
        guess, expected = net.learn(row[None], [label]), judge.learn(row, int(label))
        assert (None if guess is None else int(guess)) == expected
    assert net.step == judge.step == len(x)
    assert difference(net.tensors(), judge.tensors()) <= 1e-5
    assert difference(net.tensors(), before) > 1e-3  # it did learn
    assert net.infer(x).tolist() == [judge.infer(row) for row in x]


@pytest.mark.parametrize("rule", BUILT_IN)
def test_a_batch_of_one_is_the_interpreter(rule: str) -> None:
    check_against_interpreter(digits(rule), DIGITS[:40], Y[:40])


def test_maps_at_a_batch_of_one_are_the_interpreter() -> None:
    check_against_interpreter(MAPS, *random_samples(40, 128, 3))


@pytest.mark.parametrize("rule", ["mono-forward", "backprop"])
def test_a_convolutional_net_at_a_batch_of_one_is_the_interpreter(rule: str) -> None:
    stack = (
        Layer("conv", 6, 3, pad=1),
        Layer("pool", 0, 2),
        Layer("depthwise", 0, 3, pad=1),
        Layer("conv", 5, 1, 2),
        Layer("dense", 9),
    )
    check_against_interpreter(fused(rule, Net((8, 8, 2), stack, 3)), *random_samples(20, 128, 3))


def test_a_recurrent_net_at_a_batch_of_one_is_the_interpreter() -> None:
    check_against_interpreter(fused("tpsgd", Net((4, 6), (Layer("recurrent", 7),), 3)), *random_samples(20, 24, 3))


@pytest.mark.parametrize("kind", ["dense", "maps"])
def test_equal_samples_are_one_sample(kind: str) -> None:
    module = MAPS if kind == "maps" else digits("mono-forward")
    x, y = random_samples(1, 128 if kind == "maps" else 64, 3)
    one, four, total = TorchNet(module), TorchNet(module), TorchNet(module, scale=4.0)
    start = one.tensors()
    one.learn(x, y)
    four.learn(x.repeat(4, axis=0), y.repeat(4))
    total.learn(x.repeat(4, axis=0), y.repeat(4))
    assert difference(one.tensors(), four.tensors()) <= 1e-6
    if kind == "dense":  # the other reads a state again that it has changed
        fourfold = {name: start[name] + 4 * (t - start[name]) for name, t in one.tensors().items()}
        assert difference(total.tensors(), fourfold) <= 1e-5


@pytest.mark.parametrize("rule", ["mono-forward", "backprop", "noprop"])
def test_a_batch_steps_by_the_mean(rule: str) -> None:
    module, n = digits(rule), 5
    net = TorchNet(module)
    start = net.tensors()
    net.learn(DIGITS[:n], Y[:n])
    mean = {name: t.copy() for name, t in start.items()}
    for i in range(n):
        judge = Interpreter(module, step=i)  # sample i draws what step i draws
        judge.learn(DIGITS[i], int(Y[i]))
        for name, t in judge.tensors().items():
            mean[name] += (t - start[name]) / n
    assert difference(net.tensors(), mean) <= 1e-6


def test_rates_halve_after_as_many_samples() -> None:
    x, y = random_samples(1, 128, 3)
    steps: list[float] = []
    for at in (9, 10, 25):
        net = TorchNet(MAPS)
        net.step, before = at, net.tensors()
        net.learn(x, y)
        steps.append(difference(net.tensors(), before))
    assert steps[0] == pytest.approx(2 * steps[1], rel=1e-5)
    assert steps[0] == pytest.approx(4 * steps[2], rel=1e-5)


# --- optimizers -----------------------------------------------------------------------------------------------------------------------


def torch_optimizer(name: str, parameters: Any, lr: float, decay: float = 0.0) -> Any:
    if name == "adam":
        return torch.optim.Adam(parameters, lr, weight_decay=decay)
    return torch.optim.SGD(parameters, lr, momentum=0.9 if name == "momentum" else 0.0, weight_decay=decay)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_backprop_is_autograd_with_torchs_own_optimizer(name: str) -> None:
    lr = 2.0**-6
    module = compiled("backprop", (16, 12), "f32", lr=lr).module
    net = TorchNet(module, optimizer=name)
    own = {n: torch.nn.Parameter(torch.from_numpy(t)) for n, t in net.tensors().items()}
    optimizer = torch_optimizer(name, own.values(), lr)
    for first in range(0, 160, 16):
        x, y = DIGITS[first : first + 16], Y[first : first + 16]
        a = torch.from_numpy(x)
        for block in ("@b0", "@b1"):
            a = torch.relu(torch.nn.functional.linear(a, own[f"{block}.W"], own[f"{block}.b"]))
        loss = torch.nn.functional.cross_entropy(a @ own["@b1.M"].T, torch.from_numpy(y.astype(np.int64)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        net.learn(x, y)
    assert difference(net.tensors(), {n: p.detach().numpy() for n, p in own.items()}) <= 1e-5


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_updates_of_one_state_are_summed_in_units_of_the_largest_rate(name: str) -> None:
    x, y = random_samples(30, 5, 3)
    net = TorchNet(DECAY, optimizer=name)
    W = torch.nn.Parameter(torch.from_numpy(net.tensors()["@b0.W"]))
    optimizer = torch_optimizer(name, [W], lr=0.05, decay=0.2)
    for first in range(0, 30, 6):
        part = slice(first, first + 6)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(torch.from_numpy(x[part]) @ W.T, torch.from_numpy(y[part])).backward()
        optimizer.step()
        net.learn(x[part], y[part])
    assert np.abs(net.tensors()["@b0.W"] - W.detach().numpy()).max() <= 1e-5


# --- state ----------------------------------------------------------------------------------------------------------------------------


def test_a_state_can_be_taken_over_and_is_a_copy() -> None:
    module = digits("mono-forward")
    judge, net = Interpreter(module, seed=9), TorchNet(module, seed=1)
    judge.learn(DIGITS[0], int(Y[0]))
    net.load(judge.tensors())
    assert difference(net.tensors(), judge.tensors()) == 0
    kept = net.tensors()
    net.learn(DIGITS[:2], Y[:2])
    assert difference(kept, judge.tensors()) == 0
    with pytest.raises(ConfigError, match="no state of digits"):
        net.load({**kept, "@b0.W": kept["@b0.W"].T})


def test_seeds_give_the_first_state_and_the_same_run_every_time() -> None:
    module = digits("noprop")
    runs = []
    for seed in (1, 1, 2):
        net = TorchNet(module, seed)
        assert difference(net.tensors(), Interpreter(module, seed).tensors()) == 0
        for first in range(0, 30, 10):
            net.learn(DIGITS[first : first + 10], Y[first : first + 10])
        runs.append(net.tensors())
    assert difference(runs[0], runs[1]) == 0
    assert difference(runs[0], runs[2]) > 0.1


def test_infer_works_in_parts_and_changes_nothing() -> None:
    net = TorchNet(digits("mono-forward"))
    before = net.tensors()
    assert net.infer(DIGITS[:50], batch=7).tolist() == net.infer(DIGITS[:50]).tolist()
    assert net.infer(DIGITS[:0]).shape == (0,)
    assert difference(net.tensors(), before) == 0
    assert net.step == 0


def test_samples_may_be_read_only_or_of_another_kind_or_order() -> None:
    net = TorchNet(digits("mono-forward"))
    expected = net.infer(DIGITS[:20]).tolist()
    frozen = DIGITS[:20].copy()
    frozen.flags.writeable = False
    for x in (frozen, torch.from_numpy(DIGITS[:20]), DIGITS[:20].astype(np.float64), DIGITS[:20].tolist()):
        assert net.infer(x).tolist() == expected
    assert net.infer(DIGITS[:20][::-1]).tolist() == expected[::-1]
    assert net.infer(DIGITS[:20].reshape(20, 8, 8)).tolist() == expected


def test_the_callers_samples_are_left_alone() -> None:
    """A first op that could work in place must not."""
    learn = MAPS.entry("learn")
    relu = Op("relu", ("%x",), (), "%x0", dict(learn.params)["%x"])
    ops = (relu, *(replace(op, args=tuple("%x0" if a == "%x" else a for a in op.args)) for op in learn.ops))
    x, y = random_samples(4, 128, 3)
    before = x.copy()
    TorchNet(MAPS.with_entries(replace(learn, ops=ops), MAPS.entry("infer"))).learn(x, y)
    assert (x == before).all()


# --- what is refused ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"optimizer": "adamw"}, "sgd, momentum, adam"),
        ({"device": "tpu"}, "cpu or cuda"),
        ({"device": "cuda:99"}, "GPU"),
    ],
)
def test_arguments_that_do_not_exist(arguments: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=said):
        TorchNet(MAPS, **arguments)


def test_integers_and_unfused_modules_are_refused() -> None:
    with pytest.raises(ConfigError, match="torch runs floats"):
        TorchNet(compiled().module)
    traced = trace_module(find("mono-forward"), Net(8, (4,), 3), "net")
    with pytest.raises(ConfigError, match="after the pass fuse"):
        TorchNet(traced)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [(np.zeros((2, 5)), [0, 1], "does not fit 128 inputs"), (np.zeros((2, 128)), [0], "2 samples and 1 classes"),
     (np.zeros((0, 128)), [], "at least one sample")],
)  # fmt: skip
def test_samples_that_do_not_fit(x: NDArray[Any], y: list[int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TorchNet(MAPS).learn(x, y)


def test_a_kept_state_of_another_net_is_refused() -> None:
    kept = TorchNet(MAPS, seed=1, optimizer="adam").state_dict()
    for other in (
        TorchNet(MAPS, seed=2, optimizer="adam"),
        TorchNet(MAPS, seed=1),
        TorchNet(DECAY, seed=1, optimizer="adam"),
    ):
        with pytest.raises(ConfigError, match="no kept state"):
            other.load_state_dict(kept)
