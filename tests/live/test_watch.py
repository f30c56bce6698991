"""What is watched, and that watching changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import edgelearn
from edgelearn.energy.meter import Mute
from edgelearn.energy.synthetic import Synthetic
from edgelearn.health import Finding
from edgelearn.link.replay import RecordingTransport
from edgelearn.live.consumption import Consumption, Energy
from edgelearn.live.screen import joules, line, rows, screen, spark
from edgelearn.live.watch import Status, watched
from edgelearn.runs import RunStore
from edgelearn.session import Session
from edgelearn.training import Progress

STEPS = 1200


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs.sqlite")


def test_watching_changes_no_byte(store: RunStore) -> None:
    with edgelearn.connect("sim") as session:
        alone = session.train("digits", store, steps=STEPS)
    with edgelearn.connect("sim") as session, watched(session) as device:
        inner = device.inner
        result = session.train("digits", store, device.progress, steps=STEPS)
        status = device.status()
    assert session.device is inner
    assert result.data["state_sha256"] == alone.data["state_sha256"]
    assert result.accuracy == alone.accuracy
    assert status.progress.step == status.progress.steps == STEPS
    assert status.kept == STEPS
    assert status.stats is not None
    assert status.stats.state + status.stats.arena == status.planned == result.data["ram"]["measured"]
    assert status.retries == result.data["link"]["retries"] == 0
    kept = [value for _, value in store.metrics(result.run)["train_accuracy"]]
    assert list(status.curve) == pytest.approx(kept)
    assert status.energy.joules is None or status.energy.source
    assert status.energy.joules is not None or status.energy.reason


def test_a_recording_holds_nothing_that_a_plain_replay_does_not_ask(store: RunStore, tmp_path: Path) -> None:
    file = tmp_path / "conversation"
    wrap = lambda transport: RecordingTransport(transport, file)  # noqa: E731
    with Session("sim", wrap=wrap) as session, watched(session, recorded=True) as device:
        first = session.train("digits", store, device.progress, steps=300)
        assert device.status().stats is None
        assert "recorded" in device.status().reason
    with Session("sim", f"replay:{file}") as session:
        again = session.train("digits", store, steps=300)
    with Session("sim", f"replay:{file}") as session, watched(session) as device:
        once_more = session.train("digits", store, device.progress, steps=300)
    assert first.data["state_sha256"] == again.data["state_sha256"] == once_more.data["state_sha256"]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def test_joules_are_those_of_the_meter() -> None:
    clock = Clock()
    used = Consumption(Synthetic(lambda at: 2.0, clock=clock))
    assert used.energy == Energy()
    for _ in range(3):
        used.begin()
        clock.now += 5.0
        used.end(100)
        clock.now += 60.0  # between two stretches nothing is counted
    assert used.energy.joules == pytest.approx(0.1, rel=0.01)
    assert "synthetic" in used.energy.source


def test_windows_that_are_too_short_are_joined() -> None:
    clock = Clock()
    used = Consumption(Synthetic(lambda at: 2.0, period_s=1.0, clock=clock))
    for n in range(8):
        used.begin()
        clock.now += 0.5
        used.end(10)
        assert (used.energy.joules is None) == (n < 5) or used.energy.joules == pytest.approx(0.1, rel=0.05)
        assert used.energy.joules is not None or "shorter than the meter's period" in used.energy.reason or n >= 1
    assert used.energy.joules == pytest.approx(0.1, rel=0.05)


def test_without_a_meter_there_is_a_reason_and_no_zero() -> None:
    used = Consumption(Mute("none", "nobody measures here"))
    used.begin()
    used.end(100)
    assert used.energy.joules is None
    assert used.energy.reason == "nobody measures here"
    used.close()


def test_what_was_cut_short_counts_for_nothing() -> None:
    clock = Clock()
    used = Consumption(Synthetic(lambda at: 2.0, clock=clock))
    used.begin()
    clock.now += 100.0  # the board restarted, and lost what it had learnt
    used.drop()
    used.begin()
    clock.now += 5.0
    used.end(100)
    assert used.energy.joules == pytest.approx(0.1, rel=0.01)


def test_a_board_with_a_meter_tells_its_joules(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELEARN_SIM_POWER", "1.5")
    with edgelearn.connect("sim") as session, watched(session) as device:
        session.train("digits", store, device.progress, steps=6000)
        told = device.status()
    assert told.energy.joules is not None, told.energy.reason
    assert 0.05 < told.energy.joules * told.progress.samples_per_s < 1.6  # watts, of the time in which it learnt
    assert "synthetic" in told.energy.source
    assert "synthetic" in line(told)


def status(**changes: object) -> Status:
    plain = Status(
        "learning", Progress(500, 1000, 0.9, 100.0), (0.5, 0.9), 4163, None, "asked at each checkpoint", 2, 1,
        Energy(None, "no meter"), 400, 65.0, 0.1,
    )  # fmt: skip
    return replace(plain, **changes)


def test_what_is_unknown_is_a_dash_with_a_reason() -> None:
    shown = {name: (value, remark) for name, value, remark in rows(status())}
    assert shown["J/sample"] == ("-", "no meter")
    assert shown["RAM high water"] == ("-", "asked at each checkpoint")
    assert shown["checkpoint"] == ("step 400", "1 min 05 s ago")
    assert shown["link retries"] == ("2", "restarts: 1")
    assert shown["step"] == ("500 of 1,000", "5 s left")
    assert {name: remark for name, _, remark in rows(status(quiet_s=7.0))}["step"] == "nothing heard for 7 s"
    assert "J/sample - (no meter)" in line(status())


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3 J"), (0.0123, "12.3 mJ"), (4.5e-5, "45 uJ"), (2e-8, "20 nJ"), (None, "-")]
)
def test_joules(value: float | None, text: str) -> None:
    assert joules(status(energy=Energy(value))) == text


def test_a_spark_spans_what_it_shows() -> None:
    assert spark((0.0, 0.5, 1.0), 10, True) == "_=#"[0] + spark((0.0, 0.5, 1.0), 10, True)[1] + "#"
    assert spark((0.5, 0.5), 10, False) == "\u2581\u2581"
    assert len(spark(tuple(range(50)), 10, True)) == 10


@pytest.mark.parametrize("width", [20, 40, 64, 80, 200])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    console = Console(width=width, height=50, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115
    finding = Finding("diverged", "W0", "training has diverged [bold]here[/bold].")
    told = status(progress=Progress(500, 1000, 0.9, 100.0, (finding,)), energy=Energy(None, "x" * 300))
    console.print(screen("a title that is rather long for a small window " * 3, told, console))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "[bold]here[/bold]" in text.replace("\n", "") or width < 64
