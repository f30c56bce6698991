"""Power over time, for those who draw it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from edgelearn import profiling
from edgelearn.energy import trace
from edgelearn.energy.external import External, options
from edgelearn.energy.meter import Mark, Mute
from edgelearn.energy.sampling import Sampler, Sensor
from edgelearn.job import prepare
from edgelearn.session import Session


def test_a_profile_has_the_values_between_its_first_and_its_last_phase() -> None:
    job = prepare("digits", "sim", steps=200)
    with Session("sim") as session:
        meter = Sampler("fake", Sensor("a meter that is none", 1e-3), lambda: 2.0)
        told = profiling.measure(session.device, job, meter, (), "sim", None, 200, 0.05)
    points, phases = told["trace"]["points"], [phase for phase in told["phases"] if phase["within"] is None]
    assert told["trace_reason"] == ""
    assert {watts for _, watts in points} == {2.0}
    assert [at for at, _ in points] == sorted(at for at, _ in points)
    assert phases[0]["at"] == 0
    end = phases[-1]["at"] + phases[-1]["seconds"]
    assert 0 <= points[0][0] < points[-1][0] <= end + 1e-9
    assert all(a["at"] + a["seconds"] <= b["at"] + 1e-9 for a, b in pairwise(phases))


def test_a_meter_without_single_values_says_so() -> None:
    begin, end = Mark(0, 0), Mark(1, 1)
    assert trace.told(Mute("none", "there is no meter"), begin, end, None) == {
        "trace": None,
        "trace_reason": "there is no meter",
    }
    job = prepare("digits", "sim", steps=20)
    with Session("sim") as session:
        told = profiling.measure(session.device, job, Mute("none", "asked for none"), (), "sim", None, 20, 0)
    assert (told["trace"], told["trace_reason"]) == (None, "asked for none")


def test_rows_of_a_file_are_taken_where_their_times_are_known(tmp_path: Path) -> None:
    file, wall = tmp_path / "power.csv", 1.7e9
    file.write_text("time(s),power(W)\n" + "".join(f"{wall + i},{i}\n" for i in range(10)))
    meter = External(options(str(file)))
    begin, end = Mark(0, wall + 2), Mark(3, wall + 5)
    assert meter.trace(begin, end) == [], "it has not been read yet"
    meter.between(begin, end)
    assert meter.trace(begin, end) == [(0, 2), (1, 3), (2, 4), (3, 5)]
    undated = tmp_path / "undated.csv"
    undated.write_text("time(s),power(W)\n" + "".join(f"{i},{i}\n" for i in range(10)))
    meter = External(options(str(undated)))
    meter.between(begin, end)
    assert meter.trace(begin, end) == []


@pytest.mark.parametrize("n", [0, 1, 2000, 2001, 100_000])
def test_very_many_values_become_means(n: int) -> None:
    thin = trace.thinned([(float(i), 1.0) for i in range(n)])
    assert len(thin) <= trace.MOST
    assert len(thin) == n or n > trace.MOST
    assert all(watts == 1.0 for _, watts in thin)
