"""Rules: what is written is what is lowered, and what cannot be lowered is refused at the user's own line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgelearn.compiler import Net, compile_net, trace_module
from edgelearn.errors import ConfigError
from edgelearn.ir.interp import Interpreter
from edgelearn.passes.quantize import Calibration, nearest_power_of_two
from edgelearn.rules import find
from edgelearn.state import decode
from tests.factory import DIGITS, X, Y, compiled, native, order

RULE = """
import edgelearn as el
from edgelearn import L


@el.rule("mine")
class Mine:
    lr: float = 2**-5

    def init(self, s, key):
        s.M = L.normal(key, (s.classes, s.out), std=0.1)

    def step(self, s, x, y):
        a = L.relu(s.W @ x + s.b)
        e = L.softmax(s.M @ a) - y
        d = (s.M.T @ e) * (a > 0)
        {line}
        s.W -= self.lr * L.outer(d, x)
        return a

    def predict(self, blocks, x):
        for s in blocks:
            x = L.relu(s.W @ x + s.b)
        return blocks[-1].M @ x
"""


def user_rule(folder: Path, line: str = "s.M -= self.lr * L.outer(e, a)") -> str:
    file = folder / "my_rule.py"
    file.write_text(RULE.format(line=line))
    return f"{file}:Mine"


def compile_user(folder: Path, line: str, dtype: str = "int8") -> object:
    return compile_net(find(user_rule(folder, line)), Net(64, (8,), 10), Calibration(X, Y), dtype)


def test_mono_forward_is_its_paper_s_gradient() -> None:
    """One float step against the equations written out with numpy."""
    net = Interpreter(compiled(layers=(16,), dtype="f32", lr=0.1, gate=0.0).module, 3)
    W, b, M = (net.state[f"@b0.{n}"].copy() for n in "WbM")
    x, label = X[5], int(Y[5])
    a = np.maximum(W @ x + b, 0)
    g = np.exp(M @ a - (M @ a).max())
    e = g / g.sum() - np.eye(10)[label]
    d = (M.T @ e) * (a > 0)
    net.learn(x, label)
    np.testing.assert_allclose(net.state["@b0.M"], M - 0.1 * np.outer(e, a), atol=1e-6)
    np.testing.assert_allclose(net.state["@b0.W"], W - 0.1 * np.outer(d, x), atol=1e-6)
    np.testing.assert_allclose(net.state["@b0.b"], b - 0.1 * d, atol=1e-6)


def test_one_hidden_layer_makes_mono_forward_backpropagation() -> None:
    forward = compiled("mono-forward", (16,), "f32", lr=0.05, gate=0.0)
    nets = [Interpreter(net.module, 1) for net in (forward, compiled("backprop", (16,), "f32", lr=0.05))]
    for i in order(50):
        for net in nets:
            net.learn(X[i], int(Y[i]))
    for name in nets[0].state:
        np.testing.assert_allclose(nets[0].state[name], nets[1].state[name], atol=1e-6)


def test_backpropagation_is_the_numeric_gradient() -> None:
    module = compiled("backprop", (12, 9), "f32", lr=1.0).module
    net = Interpreter(module, 2)
    x, label = X[3], int(Y[3])
    before = {k: v.astype(np.float64) for k, v in net.state.items()}

    def loss(state: dict[str, np.ndarray]) -> float:
        a = x.astype(np.float64)
        for block in range(2):
            a = np.maximum(state[f"@b{block}.W"] @ a + state[f"@b{block}.b"], 0)
        g = state["@b1.M"] @ a
        return float(np.log(np.exp(g - g.max()).sum()) + g.max() - g[label])

    net.learn(x, label)
    draw = np.random.default_rng(0)
    for name, value in before.items():
        for _ in range(5):
            at = tuple(draw.integers(0, n) for n in value.shape)
            up, down = ({k: v.copy() for k, v in before.items()} for _ in range(2))
            up[name][at] += 1e-5
            down[name][at] -= 1e-5
            gradient = (loss(up) - loss(down)) / 2e-5
            assert before[name][at] - net.state[name][at] == pytest.approx(gradient, abs=2e-4)


@pytest.mark.parametrize("heads", ["last", "sum"])
def test_int8_learns_the_digits(heads: str) -> None:
    steps = 4200
    net = compiled(lr=2**-4, heads=heads, drops=(2100, 2940, 3360, 3780, 3990))
    core = native(net)
    core.learn(net.encode(X), Y, order(steps))
    guesses = core.infer(net.encode(DIGITS.x_test))
    assert (guesses == DIGITS.y_test).mean() > 0.94


def test_a_user_s_file_is_a_rule_like_any_other(tmp_path: Path) -> None:
    net = compile_user(tmp_path, "s.M -= self.lr * L.outer(e, a)")
    core = native(net)  # type: ignore[arg-type]
    core.learn(net.encode(X), Y, order(2800))  # type: ignore[attr-defined]
    assert (core.infer(net.encode(DIGITS.x_test)) == DIGITS.y_test).mean() > 0.7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("if e > 0: pass", "cannot branch on a traced tensor", "multiply by a comparison"),
        ("s.Q -= self.lr * L.outer(e, a)", "no state Q", "add others in init"),
        ("s.M -= self.lr * L.outer(a, e)", "shape", "right-hand side"),
        ("s.M = s.M", "assigned in step", "s.M -="),
        ("s.M -= self.lr * L.outr(e, a)", "no word outr", "softmax"),
        ("e = e / 'a'", "a traced tensor and str", "with numbers"),
        ("float(e)", "no value yet", "plain numbers"),
        ("z = e @ a", "needs a weight", "s.W @ x"),
        ("z = undefined + 1", "NameError", "docs/rules.md"),
        ("z = [1][2]", "IndexError", "docs/rules.md"),
        ("z = a >= 0", "includes equality", "a > 0"),
        ("z = a + 1e30", "the constant 1e+30", "within"),
        ("z = None - a", "a traced tensor and NoneType", "with numbers"),
        ("z = a < float('nan')", "the constant nan", "within"),
        ("z = a**3", "power 3", "squares"),
        ("z = a[0]", "single element", "whole tensors"),
        ("z = a * L.argmax(a)", "class number", "index"),
        ("z = a == 0", "equality", "a > 0"),
        ("z = a != 0", "equality", "a > 0"),
        ("M = s.M; M -= L.outer(e, a)", "never stored", "s.M -="),
    ],
)
def test_mistakes_show_the_user_s_own_line(tmp_path: Path, line: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_user(tmp_path, line)
    assert "my_rule.py:17" in caught.value.message
    assert line.split(":")[0] in caught.value.message
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("        return a\n", "", 13, "step returned None"),
        ("return blocks[-1].M @ x", "return x", 21, r"predict returned a tensor of shape \(8,\)"),
    ],
)
def test_a_method_that_returns_the_wrong_thing_is_shown(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    user_rule(tmp_path)
    file = tmp_path / "my_rule.py"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=rf"my_rule.py:{line}: {said}"):
        compile_net(find(f"{file}:Mine"), Net(64, (8,), 10), Calibration(X, Y))


@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_a_rate_of_zero_freezes(dtype: str) -> None:
    net = compiled(dtype=dtype, lr=0.0)
    core = native(net)
    before = core.read_state()
    core.learn(net.encode(X), Y, order(50))
    first, last = (decode(net.module, raw).tensors for raw in (before, core.read_state()))
    assert all((first[name] == last[name]).all() for name in first)


def test_rates_beyond_all_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="rate of 1e-30 is beyond"):
        compiled(lr=1e-30)


def test_matrix_updates_must_be_outer_products(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"my_rule.py:17.*no outer product"):
        compile_user(tmp_path, "s.M -= self.lr * L.abs(s.M)")


@pytest.mark.parametrize(
    ("params", "said"),
    [({"lrr": 1.0}, "no parameter 'lrr'"), ({"lr": "fast"}, "not float"), ({"heads": "both"}, "heads")],
)
def test_wrong_parameters_are_named(params: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        find("mono-forward", params)


def test_unknown_rules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no rule 'mono-foward'") as caught:
        find("mono-foward")
    assert "mono-forward" in caught.value.hint
    with pytest.raises(ConfigError, match="no rule file"):
        find("absent.py:Rule", base=tmp_path)
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(ConfigError, match="cannot be read"):
        find("broken.py:Rule", base=tmp_path)


def test_rates_become_powers_of_two_and_that_is_said() -> None:
    assert [nearest_power_of_two(r) for r in (0.05, 0.0625, 0.1, 2**-6)] == [-4, -4, -3, -6]
    assert any("rate 0.05 becomes 2^-4" in note for note in compiled(lr=0.05).notes)
    assert compiled(lr=2**-5).notes == ()


def test_locality_holds_by_signature() -> None:
    """Nothing of a block's update depends on another block's state."""
    module = trace_module(find("mono-forward"), Net(64, (8, 8), 10), "net")
    learn = module.entry("learn")
    made = {op.result: op for op in learn.ops if op.result}

    def states(name: str) -> set[str]:
        if name.startswith("@"):
            return {name}
        return set().union(*(states(a) for a in made[name].args)) if name in made else set()

    for op in learn.ops:
        if op.name == "update" and op.args[0].startswith("@b0"):
            assert all(s.startswith("@b0") for s in states(op.args[1]))
