"""The rules that come with the package keep the promises of ``check_rule``, are local, and refuse what they do not go with.

The rates are for batch 1, two or three passes and the tiny nets of ``check_rule``: they show that a rule learns, not how well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelearn.cli import main
from edgelearn.compiler import compile_net
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module
from edgelearn.ir.ops import OPS
from edgelearn.layers import from_item
from edgelearn.nets import Net
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.rules.registry import BUILT_IN
from edgelearn.testing import check_rule
from edgelearn.tracing import trace_module
from tests.factory import X, Y, compiled

ONE_BLOCK = ("noprop-ct", "noprop-fm")
WHOLE_NET = ("backprop", "cascaded-forward-dfa")

# (rule, parameters, {kind of net: least accuracy}, passes). Random blocks of 24 and 16 units say little of a digit.
CASES: list[tuple[str, dict[str, Any], dict[str, float], int]] = [
    ("mono-forward", {"lr": 2**-4}, {"dense": 0.9, "conv": 0.9}, 2),
    ("mono-forward", {"lr": 2**-4, "heads": "sum", "head": 0.5}, {"dense": 0.9}, 2),
    ("forward-forward", {"lr": 2**-7, "temp": 2**-3}, {"dense": 0.85}, 6),
    ("cascaded-forward", {"lr": 2**-6}, {"dense": 0.55, "conv": 0.85, "recurrent": 0.2}, 3),
    ("cascaded-forward-dfa", {"lr": 2**-6}, {"dense": 0.82, "conv": 0.8}, 2),
    ("noprop", {"lr": 2**-5}, {"dense": 0.88, "conv": 0.78}, 2),
    ("noprop-ct", {"lr": 2**-5, "moments": 5}, {"dense": 0.8, "conv": 0.7}, 2),
    ("noprop-fm", {"lr": 2**-7, "moments": 5}, {"dense": 0.65, "conv": 0.6}, 2),
    ("tpsgd", {}, {"dense": 0.88, "conv": 0.85}, 2),
    ("tpsgd", {"lr": 2**-6, "loss": "l2", "when": "last"}, {"dense": 0.88, "recurrent": 0.65}, 2),
    ("drtp", {"lr": 2**-6}, {"dense": 0.68, "conv": 0.82}, 2),
    ("last-layer", {"lr": 2**-4}, {"dense": 0.35, "conv": 0.8, "recurrent": 0.15}, 2),
    ("backprop", {"lr": 2**-4}, {"dense": 0.9, "conv": 0.9}, 2),
]
CHECKS = [
    pytest.param(
        rule, params, kind, least, passes, id=f"{rule}-{params.get('loss', '')}{params.get('heads', '')}-{kind}"
    )
    for rule, params, kinds, passes in CASES
    for kind, least in kinds.items()
]


# --- promises ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "params", "kind", "least", "passes"), CHECKS)
def test_check_rule(rule: str, params: dict[str, Any], kind: str, least: float, passes: int) -> None:
    report = check_rule(rule, params, kinds=(kind,), least=least, passes=passes)
    assert set(report.accuracy) == {(kind, "int8"), (kind, "f32")}


def test_every_rule_is_checked() -> None:
    assert {case[0] for case in CASES} == set(BUILT_IN)


def test_drtp_is_not_for_sequences() -> None:
    with pytest.raises(ConfigError, match="does not go with recurrent layers") as caught:
        check_rule("drtp", kinds=("recurrent",))
    assert "Use dense" in caught.value.hint


# --- locality ---------------------------------------------------------------------------------------------------------


def read_by_updates(module: Module) -> Iterator[tuple[int, set[int]]]:
    """For each update of ``learn``: the block that it changes, and the blocks whose states its operands depend on."""
    blocks: dict[str, set[int]] = {}
    for op in module.entry("learn").ops:
        depends = set().union(*(blocks.get(arg, set()) for arg in op.args))
        own = {int(arg[2:].partition(".")[0]) for arg in op.args if arg.startswith("@")}
        if OPS[op.name].update:
            yield own.pop(), depends
        elif op.result is not None:
            blocks[op.result] = depends | own


@pytest.mark.parametrize("rule", BUILT_IN)
def test_no_update_depends_on_a_later_block(rule: str) -> None:
    """But for those of the two rules that see the whole net: there the test finds it."""
    layers = (12,) if rule in ONE_BLOCK else (12, 11, 9)
    later = {
        max(read | {own}) > own for own, read in read_by_updates(trace_module(find(rule), Net(64, layers, 10), "net"))
    }
    assert later == ({False, True} if rule in WHOLE_NET else {False})


@pytest.mark.parametrize("rule", ["noprop"])
def test_blocks_of_noprop_do_not_depend_on_each_other(rule: str) -> None:
    updates = list(read_by_updates(trace_module(find(rule), Net(64, (12, 11, 9), 10), "net")))
    assert {own for own, _ in updates} == {0, 1, 2}
    assert all(read <= {own} for own, read in updates)


STEP = """
import edgelearn as el
from edgelearn import L


@el.rule("peeping")
class Peeping:
    lr: float = 2**-5
    {hook}

    def init(self, s, key):
        s.M = L.zeros((s.classes, s.out))

    def step(self, s, x, y):
        {line}
        a = L.relu(s.W @ x + s.b)
        s.M -= self.lr * L.outer(L.softmax(s.M @ a) - y, a)
        return {returned}

    def predict(self, blocks, x):
        for s in blocks:
            x = s.keep(L.relu(s.W @ x + s.b))
        return blocks[-1].M @ x
"""


def peeping(folder: Path, line: str = "pass", hook: str = "", returned: str = "a") -> None:
    """Traces a rule on two dense blocks."""
    (folder / "peeping.py").write_text(STEP.format(line=line, hook=hook, returned=returned))
    trace_module(find("peeping.py:Peeping", base=folder), Net(64, (12, 9), 10), "net")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("s.b1.M @ x", "this block has no state b1"),
        ("s.next.W @ x", "this block has no state next"),
        ("s.blocks[0].W @ x", "'int' object is not subscriptable"),
        ("blocks[0].W @ x", "name 'blocks' is not defined"),
        ("self.before = s", "cannot assign to field 'before'"),
        ("s.before = x", "s.before is assigned in step"),
    ],
)
def test_a_step_sees_its_own_block_only(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"peeping.py:15: ") as caught:
        peeping(tmp_path, line)
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("use", ["seen[0].W @ x", "weights[0] @ x", "weights[0].T @ L.relu(s.W @ x)"])
def test_a_block_that_was_kept_is_out_of_scope(tmp_path: Path, use: str) -> None:
    """Whoever carries a block out of its step, in Python's own ways, cannot use it in the next."""
    line = f"seen.append(s); weights.append(s.W); len(seen) < 2 or {use}"
    line = line.replace("seen", "type(self).seen").replace("weights", "type(self).weights")
    with pytest.raises(ConfigError, match=r"peeping.py:15: the state of another block"):
        peeping(tmp_path, line, "seen = []; weights = []")


def test_predict_must_not_learn(tmp_path: Path) -> None:
    text = STEP.format(line="pass", hook="", returned="a").replace(
        "return blocks", "blocks[-1].b -= 0.5 * x\n        return blocks"
    )
    (tmp_path / "peeping.py").write_text(text)
    with pytest.raises(ConfigError, match=r"peeping.py:\d+: predict changes state") as caught:
        trace_module(find("peeping.py:Peeping", base=tmp_path), Net(64, (12, 9), 10), "net")
    assert "in step only" in caught.value.hint


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(rule: str, shape: tuple[int, ...], layers: list[Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        trace_module(find(rule), Net(shape, [from_item(item) for item in layers], 10), "net")
    assert caught.value.hint
    return caught.value


CONV, MAX, ROWS = {"conv": 4}, {"pool": 2, "mode": "max"}, {"recurrent": 8}
PIXELS = "the label pixels get lost in convolutions and pools."


@pytest.mark.parametrize(
    ("rule", "layers", "said"),
    [
        ("forward-forward", [CONV], f"The rule forward-forward does not go with conv layers (c4k3): {PIXELS}"),
        ("forward-forward", [{"depthwise": 3}], f"does not go with depthwise layers (d3): {PIXELS}"),
        ("forward-forward", [{"pool": 2}, 16], f"does not go with pool layers (p2): {PIXELS}"),
        ("noprop", [ROWS], "does not go with recurrent layers (r8): a block reads the whole sample at once."),
        ("noprop-fm", [ROWS], "does not go with recurrent layers (r8): its block reads the whole sample at once."),
        ("backprop", [ROWS], "The rule backprop does not go with recurrent layers: it would have to go back in time."),
        ("cascaded-forward-dfa", [ROWS], "does not go with recurrent layers: it would have to go back in time."),
        ("mono-forward", [ROWS], "predict does not say what a recurrent block remembers"),
        ("mono-forward", [CONV, MAX, CONV], "an error cannot go back through a max pool"),
        ("noprop", [CONV, MAX], "an error cannot go back through a max pool"),
        ("backprop", [CONV, MAX, CONV], "an error cannot go back through a max pool"),
        ("noprop-ct", [16, 16], "NoProp in continuous time has one block, not 2."),
        ("noprop-fm", [CONV, 16], "NoProp in continuous time has one block, not 2."),
    ],
)
def test_what_a_rule_does_not_go_with(rule: str, layers: list[Any], said: str) -> None:
    assert said in refusal(rule, (8, 8), layers).message


def test_refused_when_the_recipe_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By every verb that takes one, with exit code 3."""
    recipe = tmp_path / "ff.toml"
    recipe.write_text(
        "[model]\ninput = [8, 8]\nlayers = [{ conv = 4 }]\nclasses = 10\n"
        '[rule]\nname = "forward-forward"\n[data]\nname = "digits"\n'
    )
    for verb in ("show", "train", "export"):
        assert main([verb, str(recipe)]) == 3
        told = " ".join(capsys.readouterr().err.split())
        assert f"The rule forward-forward does not go with conv layers (c4k3): {PIXELS}" in told
        assert "Use dense layers, or another rule." in told


TWO = "def views(self, x, y, key): return x, 0.5 * x"


@pytest.mark.parametrize(
    ("line", "returned", "place", "said"),
    [
        ("x, z = x", "a", 14, "step returned 1 views of the sample"),
        ("x, z = x", "a, a, a", 14, "step returned 3 views of the sample"),
        ("x, z, more = x", "a, a, a", 15, "not enough values to unpack (expected 3, got 2)"),
    ],
)
def test_views_of_a_wrong_count(tmp_path: Path, line: str, returned: str, place: int, said: str) -> None:
    """Found where the first block takes them apart, or when a step has returned."""
    peeping(tmp_path, "x, z = x", TWO, "a, L.relu(s.W @ z)")
    with pytest.raises(ConfigError, match=rf"peeping.py:{place}: ") as caught:
        peeping(tmp_path, line, TWO, returned)
    assert said in caught.value.message


def test_a_view_of_a_wrong_size(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"step returned a tensor of shape \(64,\)") as caught:
        peeping(tmp_path, "x, z = x", TWO, "a, z")
    assert caught.value.hint == "It must return what the next block sees: 12 numbers."


# --- what reports say -------------------------------------------------------------------------------------------------


def test_a_rate_is_told_once_for_each_state() -> None:
    """Though a recurrent block is updated at every moment."""
    net = Net((8, 8), [from_item(ROWS)], 10)
    (note,) = compile_net(find("tpsgd", {"lr": 0.01}), net, Calibration(X, Y)).notes
    assert note == "b0.W, b0.U, b0.b, b0.M: rate 0.01 becomes 2^-7 = 0.0078125"


def test_a_note_on_ranges_has_its_line() -> None:
    (note,) = compiled("noprop-fm", (16,), moments=3).notes
    assert "noprop_continuous.py:" in note
    assert "step never computes" in note


def test_what_a_broken_promise_says() -> None:
    with pytest.raises(ConfigError) as caught:
        check_rule("mono-forward", {"lr": 2**-14}, passes=1)
    assert caught.value.message.startswith("The rule mono-forward, on a dense net: int8: ")
    assert caught.value.message.endswith(" % after 1 passes.")
    with pytest.raises(ConfigError, match="no net of kind 'dens'"):
        check_rule("mono-forward", kinds=("dens",))
    with pytest.raises(ConfigError, match="it learns nothing"):
        check_rule("last-layer", {"lr": 0.0})
    assert np.isfinite(list(check_rule("mono-forward", {"lr": 2**-4}, passes=1).saturation.values())).all()
