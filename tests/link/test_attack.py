"""The firmware's link and core against the client, over lines that damage, die or lose their board: never a wrong weight, never a hang.

Time is counted and not waited for. ``python -m tests.link.soak`` does the same thousands of times and writes
docs/benchmarks/reliability-link.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

import pytest

from edgelearn.bench.link_board import Line, VirtualBoard
from edgelearn.link.client import Client
from edgelearn.link.exchange import LOST_S
from edgelearn.link.messages import MIN_FRAME
from edgelearn.testing.faulty_pipe import FaultyPipe
from edgelearn.testing.power_cut import PowerCutFlash
from tests.link import soak
from tests.link.attack import (
    INPUTS,
    LONGEST_S,
    RATES,
    Outcome,
    boundaries,
    conversation,
    many_pulls,
    over_a_bad_line,
    over_a_dying_line,
    unplugged,
    with_resets,
)
from tests.link.core_board import task

RUNS = 200  # for each rate
DEATHS = 200
POINTS = 60
ON_THE_WAY_S = 0.1  # that bytes may still need when the line dies: a full ring, and an answer
RESUMED_S = 3.0


def say(what: str, outcomes: list[Outcome]) -> None:
    wrong = sum(not one.right for one in outcomes)
    longest = max(one.seconds for one in outcomes)
    counts = f"{sum(one.faults for one in outcomes):,} faults, {sum(one.retries for one in outcomes):,} repetitions"
    print(f"\n{what}: {len(outcomes):,} runs, {wrong} wrong, {counts}, longest {longest:.1f} s")  # noqa: T201


@pytest.mark.parametrize("rate", RATES)
def test_a_bad_line_ends_in_the_clean_lines_weights(rate: float) -> None:
    outcomes = [over_a_bad_line(rate, seed) for seed in range(RUNS)]
    say(f"{rate:g} of all bytes damaged", outcomes)
    assert [one for one in outcomes if not one.right] == []
    assert sum(one.faults for one in outcomes) > 1000 * rate * RUNS
    assert max(one.seconds for one in outcomes) < LONGEST_S
    if rate >= 1e-2:
        assert sum(one.shortest for one in outcomes) > 0.9 * RUNS, "the host did not shrink its frames"


def test_a_bad_line_to_a_board_with_little_ram() -> None:
    """Its ring holds one of the shortest frames, and bytes come while it computes: byte by byte, as edgelearn/bench counts time."""
    it = task(INPUTS[1])
    for seed in range(8):
        board = VirtualBoard("sim", Line(115_200, ring=74, max_frame=MIN_FRAME, step=2e-3), 8192)
        client = Client(FaultyPipe(board, 1e-2, seed=seed), worst_step_s=2e-3, clock=board.clock)
        assert conversation(client, it), f"seed {seed}"
        assert board.overruns == 0


@pytest.mark.parametrize("rate", [0.0, 1e-2])
def test_a_dead_line_is_given_up_after_five_seconds_and_no_other(rate: float) -> None:
    outcomes = [over_a_dying_line(rate, seed) for seed in range(DEATHS)]
    say(f"the line dies, {rate:g} damaged before", outcomes)
    dead = [one for one in outcomes if one.code]
    assert len(dead) > DEATHS / 3
    assert {one.code for one in dead} == {8}
    assert [one for one in outcomes if not one.right] == []
    assert max(one.seconds for one in dead) < LOST_S + ON_THE_WAY_S
    assert min(one.silent for one in dead) > LOST_S - 1e-3


@pytest.mark.parametrize("own", [False, True], ids=["the host's checkpoint", "the board's checkpoint"])
@pytest.mark.parametrize("inputs", INPUTS)
def test_a_reset_anywhere_ends_in_the_same_weights(inputs: int, own: bool) -> None:
    """Before and after each answer, so at both ends of each step, and at any byte in between."""
    frames, most = boundaries(inputs, own)
    draw = Random(inputs)
    deaths = [[at] for at in frames[:-1]] + [draw.choices(range(1, most), k=1 + n % 3) for n in range(POINTS)]
    outcomes = [with_resets(bytes_, inputs, PowerCutFlash() if own else None) for bytes_ in deaths]
    say(f"resets, {inputs} bytes a sample", outcomes)
    assert [one for one in outcomes if not one.right] == []
    assert sum(one.faults for one in outcomes) > len(frames)


@pytest.mark.parametrize("power", [False, True], ids=["the board stays on", "the board restarts"])
def test_a_board_that_is_unplugged_a_hundred_times_is_gone_on_with(power: bool) -> None:
    pulls, steps = many_pulls(100, 1, power)
    outcome, socket = unplugged(pulls, steps)
    say("unplugged", [outcome])
    assert outcome.right, outcome.error
    assert socket.gone == 100
    assert max(socket.waits) < RESUMED_S


def test_a_board_that_stays_away_ends_the_run() -> None:
    outcome, _ = unplugged([(3000, 3600.0, False)], 200)
    assert (outcome.code, outcome.right) == (8, False)
    assert outcome.seconds < LOST_S + 1


def test_the_page_has_the_figures_of_the_soak() -> None:
    found = json.loads(soak.FIGURES.read_text())
    page = soak.PAGE.read_text()
    assert soak.filled(page, found) == page, "python -m tests.link.soak --page"
    assert sum(row["runs"] for row in found["rows"][: len(RATES)]) >= 10_000
    assert sum(row["wrong"] for row in found["rows"]) == 0
    assert max(row["resumed_s"] for row in found["rows"] if "resumed_s" in row) < RESUMED_S


def test_the_soak_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["soak", "--runs", "30", "-o", str(out)])
    monkeypatch.setattr(soak, "at_answers", lambda own: soak.at_random(own, 3))  # all of them are tried above
    assert soak.main() == 0
    found = json.loads(out.read_text())
    assert found["command"] == f"python -m tests.link.soak --runs 30 -o {out}"
    assert [row["wrong"] for row in found["rows"]] == [0] * 11
