"""What a state says about the health of its run: each finding where it should be, and none where it should not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgelearn import health, state
from edgelearn.health import Finding, Monitor
from edgelearn.ir.core import Module
from edgelearn.ir.interp import EXP_LIMIT, Interpreter
from edgelearn.state import Snapshot
from tests.factory import X, Y, compiled

FULL = 255  # samples in a window that is just about to end


def snapshot(module: Module, step: int = FULL) -> Snapshot:
    """A state in which nothing is wrong: every value has been half as large as it can be."""
    found = state.decode(module, state.encode(Interpreter(module, 1, step)))
    return replace(found, stats={slot.name: (0, 1 << slot.bits >> 1) for slot in module.slots})


@pytest.fixture(scope="module")
def module() -> Module:
    return compiled(seed=1).module


def kinds(found: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.where) for finding in found]


def slots(module: Module, block: int, forward: bool) -> list[str]:
    return [v.slot for v in health._narrowed(module) if v.block == f"block {block}" and v.forward == forward]


def test_nothing_is_wrong_with_a_state_that_is_well(module: Module) -> None:
    assert health.examine(module, snapshot(module)) == ()
    assert health.measure(module, snapshot(module))["saturation"] == 0


def test_activations_and_errors_are_told_apart(module: Module) -> None:
    for block in (0, 1):
        assert slots(module, block, True), "no activation of the block is narrowed"
        assert slots(module, block, False), "no error of the block is narrowed"
    activations = {slot.name for slot in module.slots if slot.kind == "moving" and slot.name.startswith("i8")}
    assert activations == {*slots(module, 0, True), *slots(module, 1, True)}


@pytest.mark.parametrize("block", [0, 1])
def test_a_silent_block(module: Module, block: int) -> None:
    well = snapshot(module)
    dead = replace(well, stats=well.stats | dict.fromkeys(slots(module, block, True), (0, 0)))
    (finding,) = health.examine(module, dead)
    assert finding.message == f"block {block} is silent: all its activations are zero."
    assert "lr" in finding.hint


def test_silent_errors_are_legitimate(module: Module) -> None:
    """A gate closes for samples that are right already."""
    well = snapshot(module)
    errors = [*slots(module, 0, False), *slots(module, 1, False)]
    assert health.examine(module, replace(well, stats=well.stats | dict.fromkeys(errors, (0, 0)))) == ()


@pytest.mark.parametrize(("step", "since"), [(256, 0), (256 + 63, 0), (200, 150)])
def test_a_window_that_has_hardly_begun_says_nothing(module: Module, step: int, since: int) -> None:
    well = snapshot(module, step)
    dead = replace(well, stats=dict.fromkeys(well.stats, (0, 0)))
    assert health.examine(module, dead, since) == ()
    assert "saturation" not in health.measure(module, dead, since)
    assert health.examine(module, replace(dead, step=255)) != ()


@pytest.mark.parametrize(("share", "found"), [(0.04, False), (0.06, True)])
def test_saturation_above_five_per_cent(module: Module, share: float, found: bool) -> None:
    well = snapshot(module)
    slot = slots(module, 1, True)[0]
    sick = replace(well, stats=well.stats | {slot: (int(share * 32 * FULL), 127)})
    assert kinds(health.examine(module, sick)) == [("saturated", "block 1 activations")] * found
    assert health.measure(module, sick)["saturation"] == pytest.approx(share, abs=1e-3)
    error = slots(module, 0, False)[0]
    sick = replace(well, stats=well.stats | {error: (int(share * 32 * FULL), 127)})
    assert kinds(health.examine(module, sick)) == [("saturated", "block 0 errors")] * found


@pytest.mark.parametrize("limit", [EXP_LIMIT, -EXP_LIMIT])
def test_an_exponent_at_its_limit(module: Module, limit: int) -> None:
    well = snapshot(module)
    assert kinds(health.examine(module, replace(well, exps=well.exps | {"b0.W": limit}))) == [("exponent", "b0.W")]
    assert health.examine(module, replace(well, exps=well.exps | {"b0.W": limit - np.sign(limit)})) == ()


@pytest.mark.parametrize(("share", "found"), [(0.15, False), (0.25, True)])
def test_a_weight_at_its_limit(module: Module, share: float, found: bool) -> None:
    well = snapshot(module)
    W = np.zeros(32 * 64, np.int8)
    W[: int(share * W.size)] = -127
    sick = replace(well, tensors=well.tensors | {"@b0.W": W.reshape(32, 64)})
    assert kinds(health.examine(module, sick)) == [("limit", "b0.W")] * found
    assert health.measure(module, sick)["weights_at_limit"] == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers(value: float) -> None:
    module = compiled(dtype="f32").module
    well = state.decode(module, state.encode(Interpreter(module, 1, FULL)))
    assert health.examine(module, well) == ()
    W = well.tensors["@b1.W"].copy()
    W[3, 4] = value
    (finding,) = health.examine(module, replace(well, tensors=well.tensors | {"@b1.W": W}))
    assert (finding.kind, finding.where) == ("diverged", "b1.W")
    assert "1 of 3,776 weights" in finding.message
    assert health.measure(module, replace(well, tensors=well.tensors | {"@b1.W": W})) == {"not_finite": 1}


def test_chance() -> None:
    truth = np.array([0, 1, 1, 2])
    assert health.at_chance(0.75, truth) == ()
    (finding,) = health.at_chance(0.5, truth)
    assert "always saying class 1 would be right in 50.0 %" in finding.message
    assert health.at_chance(1.0, np.zeros(4, np.int64)) == (), "with one class there is no chance to be better"
    assert health.guessing(100, 200, truth) == (), "too few guesses"
    assert health.guessing(151, 300, truth) == ()
    assert kinds(health.guessing(150, 300, truth)) == [("chance", "guesses")]


def test_a_run_that_learns_is_well_at_every_checkpoint() -> None:
    net = compiled(seed=3)
    judge, x, monitor = Interpreter(net.module, 3), net.encode(X), Monitor()
    for step in range(1100):
        judge.learn(x[step], int(Y[step]))
        if (step + 1) % 256 in (100, 255):
            found = state.decode(net.module, state.encode(judge))
            assert health.examine(net.module, found) == ()
            monitor.look((), found)
    assert monitor.report() == []


def test_the_monitor_forgets_what_went_away_at_once(module: Module) -> None:
    monitor, limit, chance = Monitor(), Finding("limit", "b0.W", "m", "h"), Finding("chance", "guesses", "m", "h")
    assert monitor.look([limit, chance], snapshot(module, 255)) == (), "either may pass"
    assert monitor.look([], snapshot(module, 511)) == ()
    assert monitor.report() == []
    assert monitor.look([limit], snapshot(module, 767)) == ()
    assert [row["steps"] for row in monitor.report()] == [[767, 767]], "it is there at the end"
    assert monitor.look([limit, chance], snapshot(module, 1023)) == (limit,)
    assert monitor.look([chance], snapshot(module, 1279)) == (chance,)
    assert [(row["kind"], row["steps"]) for row in monitor.report()] == [
        ("limit", [767, 1023]),
        ("chance", [1023, 1279]),
    ]


def test_a_short_window_at_the_end_does_not_make_well(module: Module) -> None:
    monitor, silent = Monitor(), Finding("silent", "block 0", "m", "h")
    monitor.look([silent], snapshot(module, 511))
    monitor.look([], snapshot(module, 520))
    assert [row["steps"] for row in monitor.report()] == [[511, 511]]
    monitor.look([], snapshot(module, 767))
    assert monitor.report() == []
