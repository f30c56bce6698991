"""Runs that go wrong on a board are noticed while they go wrong, and the result says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgelearn.runs import RunStore
from edgelearn.session import Progress, connect

RULES = """
import edgelearn as el
from edgelearn import L
from edgelearn.rules.mono_forward import MonoForward

@el.rule("delta")
class Delta(MonoForward):
    '''Squared error, without the softmax that would keep errors small.'''
    def step(self, s, x, y):
        a = L.relu(s.W @ x + s.b)
        e = s.M @ a - y
        d = (s.M.T @ e) * (a > 0)
        s.M -= self.lr * L.outer(e, a)
        s.W -= self.lr * L.outer(d, x)
        return a

@el.rule("hebb")
class Hebb(MonoForward):
    '''Hebb's rule, without anything that stops its growth.'''
    def step(self, s, x, y):
        a = L.relu(s.W @ x + s.b)
        s.M -= self.lr * L.outer(L.softmax(s.M @ a) - y, a)
        s.W += self.lr * L.outer(a, x)
        return a
"""


def trained(
    folder: Path, rule: str, lr: float, dtype: str, steps: int = 2000
) -> tuple[dict[str, Any], Any, list[Progress]]:
    """The result of a run, its metrics, and what was shown meanwhile."""
    (folder / "odd.py").write_text(RULES)
    model = "[model]\ninput = [8, 8]\nlayers = [32, 32]\nclasses = 10\n"
    (folder / "odd.toml").write_text(f'{model}[rule]\nname = "{rule}"\nlr = {lr}\n[data]\nname = "digits"\n')
    shown: list[Progress] = []
    with RunStore(folder / "runs.sqlite") as store, connect("sim") as board:
        data = board.train(folder / "odd.toml", store, shown.append, steps=steps, dtype=dtype).data
        return data, store.metrics(data["run"]), shown


def found(data: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["kind"], row["where"]): row for row in data["health"]}


def test_floats_that_overflow(tmp_path: Path) -> None:
    data, metrics, shown = trained(tmp_path, "odd.py:Delta", 8.0, "f32")
    (where,) = [key for key in found(data) if key[0] == "diverged"]
    finding = found(data)[where]
    assert "NaN or infinite" in finding["message"]
    assert finding["hint"] == "Lower lr."
    assert finding["steps"] == [511, 2000]
    assert metrics["not_finite"][0][0] == 511
    assert metrics["not_finite"][0][1] > 100
    first = next(progress for progress in shown if progress.health)
    assert first.step == 511, "it must be said while it happens"
    assert first.health[0].kind == "diverged"
    assert ("chance", "accuracy") in found(data)


def test_floats_that_die(tmp_path: Path) -> None:
    """Mono-Forward stays finite at lr = 8, for its errors are bounded; but no unit is left that answers."""
    data, metrics, shown = trained(tmp_path, "mono-forward", 8.0, "f32")
    assert found(data).keys() == {("chance", "guesses"), ("chance", "accuracy")}
    assert all(value == 0 for _, value in metrics["not_finite"])
    assert next(progress for progress in shown if progress.health).step == 1535  # it guessed twice in a row


def test_integers_that_saturate(tmp_path: Path) -> None:
    data, metrics, shown = trained(tmp_path, "odd.py:Hebb", 0.125, "int8")
    health = found(data)
    assert health["saturated", "block 1 activations"]["steps"][0] == 511
    assert "% of the activations of block 1 are larger" in health["saturated", "block 1 activations"]["message"]
    assert ("limit", "b1.W") in health
    assert max(value for _, value in metrics["saturation"]) > 0.5
    assert max(value for _, value in metrics["weights_at_limit"]) > 0.5
    assert any(finding.kind == "saturated" for progress in shown for finding in progress.health)


def test_integers_that_fall_silent(tmp_path: Path) -> None:
    data, _, _ = trained(tmp_path, "mono-forward", 8.0, "int8")
    assert found(data)["silent", "block 0"]["message"] == "block 0 is silent: all its activations are zero."


@pytest.mark.parametrize("schedule", ["simultaneous", "block-by-block"])
@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_a_run_that_learns_is_well(dtype: str, schedule: str) -> None:
    shown: list[Progress] = []
    with connect("sim") as board:
        data = board.train("digits", None, shown.append, epochs=2, dtype=dtype, schedule=schedule).data
    assert data["health"] == []
    assert not any(progress.health for progress in shown)
