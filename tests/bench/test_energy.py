"""``edgelearn bench energy``: both protocols on the digits, memory by torch's allocator, what is kept, what the table says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from edgelearn.bench import energy, energy_page
from edgelearn.bench.energy import CONVERGED, MATCHED, Options
from edgelearn.bench.energy_cases import ACCUMULATED, BASELINE, CASES, Case, Row
from edgelearn.energy.counting import Counter, Register
from edgelearn.energy.meter import Mute, Reading
from edgelearn.errors import ConfigError, Interrupted, UsageError

torch = pytest.importorskip("torch")
NET: dict[str, Any] = {"layers": [32, 24], "passes": 2}


def tiny(**how: Any) -> Case:
    """The case of the digits on a net of a second."""
    whole = CASES["digits-2x256"]
    rows = [Row(replace(row.method.at(2**-6), **NET), row.parts) for row in whole.rows]
    return replace(whole, name="tiny", rows=rows, **how)


@pytest.fixture
def trained(tmp_path: Path) -> dict[str, Any]:
    return energy.run(tiny(), "matched", [1, 2], options=Options(out=tmp_path))


def test_matched_passes(trained: dict[str, Any]) -> None:
    assert {t["row"] for t in trained["trainings"]} == {row.name for row in tiny().rows}
    for training in trained["trainings"]:
        assert (training["passes"], training["samples"], training["protocol"]) == (2, 2800, MATCHED)
        assert training["accuracy"] > 0.2
        assert training["allocated"] > 10_000 or training["allocated_by"] == "plan"
        assert training["joules"] is None or training["joules"] > 0
        assert (training["joules"] is None) == bool(training["reason"])
    rows = {row["row"]: row for row in energy_page.summed([trained])}
    assert rows[BASELINE]["time_ratio"] == rows[BASELINE]["allocated_ratio"] == 1
    assert rows["mono-forward"]["seeds"] == [1, 2]


def test_parts_of_a_batch_come_to_the_same_net_in_less_memory(tmp_path: Path) -> None:
    """At batches that are large beside the net, what is saved is activations."""
    case = tiny()
    wide = [Row(replace(r.method, batch=700, layers=[64, 64]), r.parts) for r in case.rows if r.method.engine != "core"]
    told = energy.run(replace(case, rows=wide), "matched", 1, ["backprop PyTorch*", "backprop edgelearn"])
    found = {t["row"]: t for t in told["trainings"]}
    assert found[ACCUMULATED]["allocated"] < 0.6 * found[BASELINE]["allocated"]
    assert found[ACCUMULATED]["accuracy"] == pytest.approx(found[BASELINE]["accuracy"], abs=0.02)
    assert found["backprop edgelearn"]["accuracy"] == pytest.approx(found[BASELINE]["accuracy"], abs=0.02)


def test_own_convergence_pays_for_waiting_and_is_read_at_the_best(tmp_path: Path) -> None:
    told = energy.run(tiny(most=40, patience=2), "convergence", 1, [BASELINE, "*C core"], Options(out=tmp_path))
    for training in told["trainings"]:
        assert training["protocol"] == CONVERGED
        assert training["passes"] == min(40, training["read_at"] + 2)
        assert training["read_at"] > 2
        assert training["samples"] == training["passes"] * 1260  # a tenth is held out
        assert training["accuracy"] > 0.85


def test_a_stop_at_the_most_passes(tmp_path: Path) -> None:
    (training,) = energy.run(tiny(most=1, patience=9), "convergence", 1, [BASELINE])["trainings"]
    assert (training["passes"], training["read_at"]) == (1, 1)


def test_what_is_there_is_not_measured_again(
    trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("measured again")

    with monkeypatch.context() as patched:
        patched.setattr(energy, "measure", never)
        assert energy.run(tiny(), "matched", 2, options=Options(out=tmp_path))["trainings"] == trained["trainings"]
        with pytest.raises(ConfigError, match=r"other settings: passes\."):
            energy.run(tiny(), "matched", 2, options=Options(out=tmp_path, passes=3))
        with pytest.raises(AssertionError, match="measured again"):
            energy.run(tiny(), "matched", 2, options=Options(out=tmp_path, again=True))
    first = next(tmp_path.rglob("*.json"))
    first.write_text("{")
    with pytest.raises(ConfigError, match=first.name):
        energy.run(tiny(), "matched", 2, options=Options(out=tmp_path))


def test_it_goes_on_after_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = energy.measure, []

    def second_stops(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(energy, "measure", second_stops)
    how, rows = Options(out=tmp_path, passes=1), [BASELINE, "drtp"]
    with pytest.raises(Interrupted, match="1 of 2 trainings"):
        energy.run(tiny(), "matched", 1, rows, how)
    assert len(energy.run(tiny(), "matched", 1, rows, how)["trainings"]) == 2
    assert len(calls) == 3


def _two_joules_each_time() -> Counter:
    """A meter that counts 2 J whenever it is read."""
    values: Iterator[int] = count(0, 2)
    return Counter("made up", "made up", (Register("made up", lambda: float(next(values)), 0.0, 0.0),))


def test_joules_are_those_of_the_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matched passes are one window, from the first reading to the fourth; to convergence each pass is one, without the look between."""
    monkeypatch.setattr(energy, "choose", lambda wanted, place: (_two_joules_each_time(), ()))
    (one,) = energy.run(tiny(), "matched", 1, [BASELINE])["trainings"]
    assert (one["meter"], one["source"], one["reason"]) == ("made up", "made up", "")
    (many,) = energy.run(tiny(most=3, patience=9), "convergence", 1, [BASELINE])["trainings"]
    assert (one["joules"], many["joules"]) == (6.0, 6.0)
    (row,) = energy_page.summed([{"case": "energy tiny", "trainings": [one]}])
    assert row["joules_per_sample"] == pytest.approx(6 / 2800)
    assert row["joules_ratio"] == 1
    monkeypatch.setattr(energy, "choose", lambda wanted, place: (Mute("none", "nobody knows"), ()))
    (mute,) = energy.run(tiny(), "matched", 1, [BASELINE], Options(passes=1))["trainings"]
    assert (mute["joules"], mute["reason"]) == (None, "nobody knows")


def test_a_window_without_joules_leaves_none() -> None:
    whole, missing = Reading(1.0, 1.0, "m", 0.1, 0.3), Reading(None, 2.0, "m", 0.1, reason="too short")
    total = energy.added([whole, missing])
    assert (total.joules, total.seconds, total.reason) == (None, 3.0, "too short")
    assert energy.added([whole, whole]).sigma == pytest.approx(0.3 * 2**0.5)


def test_ratios_are_of_the_seeds_that_both_have() -> None:
    def training(row: str, seed: int, joules: float | None) -> dict[str, Any]:
        return {"row": row, "protocol": MATCHED, "seed": seed, "passes": 1, "samples": 10, "accuracy": 0.5, "seconds": 1.0,
                "cpu_s": 1.0, "joules": joules, "reason": "" if joules else "why", "allocated": 8, "allocated_by": "torch, cuda",
                "process": None}  # fmt: skip

    told = [training(BASELINE, 1, 4.0), training(BASELINE, 2, 100.0), training("mono-forward", 1, 3.0)]
    rows = {row["row"]: row for row in energy_page.summed([{"case": "energy cifar10-3x2000", "trainings": told}])}
    assert rows["mono-forward"]["joules_ratio"] == 0.75
    assert rows["mono-forward"]["published_energy"] == pytest.approx(0.801, abs=1e-3)  # the -19.9 % of the source
    assert rows["mono-forward"]["published_memory"] == pytest.approx(0.725, abs=1e-3)  # -27.5 %
    told.append(training("mono-forward", 2, None))
    rows = {row["row"]: row for row in energy_page.summed([{"case": "energy cifar10-3x2000", "trainings": told}])}
    assert rows["mono-forward"]["joules_ratio"] is None
    assert "-" in energy_page.cells(rows["mono-forward"])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: energy.run("digits-9", "matched", 1), "There is no case 'digits-9'"),
        (lambda: energy.run("digits-2x256", "together", 1), "no protocol 'together'"),
        (lambda: energy.run("digits-2x256", "matched", 1, ["backprob"]), "has no row 'backprob'"),
        (lambda: CASES["digits-2x256"].chosen(["*C core"], "cuda"), "No chosen row of digits-2x256 runs on cuda"),
        (lambda: energy.run("digits-2x256", "matched", 0), "too few"),
        (lambda: energy.run("digits-2x256", "matched", 1, [BASELINE], Options(meter="rapel")), "no meter 'rapel'"),
    ],
)
def test_refusals(call: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()


def test_a_gpu_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="no GPU"):
        energy.run("digits-2x256", "matched", 1, options=Options(device="cuda"))


def test_the_stored_files_can_be_made_again() -> None:
    """Each says when, where, with what and by which command."""
    folder = Path(__file__).resolve().parents[2] / "docs/benchmarks"
    files = energy_page.stored(folder)
    assert files
    for told in files:
        assert told["command"].startswith("edgelearn bench energy --case ")
        assert told["date"]
        assert told["device"]["model"]
        assert told["rows"] == json.loads(json.dumps(energy_page.summed(told["cases"])))
