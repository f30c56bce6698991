"""Recordings of meters on the bench: columns, units, alignment by dates and by a marker, and what is wrong with a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import pytest

from edgelearn.energy import external
from edgelearn.energy.external import External
from edgelearn.energy.meter import Reading
from edgelearn.errors import ConfigError, UsageError
from tests.energy.fakes import FakeClock

NOW = 1_795_000_000.0  # of November 2026


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "meter.csv"


def rows(header: str, lines: Iterable[str]) -> str:
    return "\n".join((header, *lines)) + "\n"


def read(file: Path, text: str, options: str = "", seconds: float = 10.0, jump: float = 0.0) -> Reading:
    """The reading of a window that begins at NOW; the wall clock is set by ``jump`` in it."""
    file.write_text(text)
    clock, wall = FakeClock(), FakeClock(NOW)
    meter = External(external.options(f"{file}{options}"), clock, wall)
    begin = meter.mark()
    clock.sleep(seconds)
    wall.sleep(seconds + jump)
    end = meter.mark()
    meter.marked(begin, end)
    meter.close()
    return meter.between(begin, end)


def dated(value: str = "1.0", every: float = 0.01, of: Callable[[float], str] = lambda t: f"{t:.4f}") -> list[str]:
    return [f"{of(NOW - 1 + i * every)},{value}" for i in range(int(12 / every))]


@pytest.mark.parametrize(
    ("header", "value", "options"),
    [
        ("time(s),power(W)", "1.0", ""),
        ("unix_s,power_mW", "1000", ""),
        ("Timestamp,P", "1.0", ""),
        ("time [s],Current [mA]", "200", ",volts=5"),
        ("time(s),current(uA)", "400000", ",volts=2.5"),
        ("t,i", "0.5", ",volts=2"),
    ],
)
def test_a_watt_is_a_watt_in_any_unit(file: Path, header: str, value: str, options: str) -> None:
    reading = read(file, rows(header, dated(value)), options)
    assert reading.joules == pytest.approx(10.0, rel=0.01)
    assert reading.period_s == pytest.approx(0.01)
    assert reading.sigma is None, "values that never change say nothing of their uncertainty"


def test_dates_and_milliseconds(file: Path) -> None:
    iso = dated(of=lambda t: datetime.fromtimestamp(t).astimezone().isoformat())
    assert read(file, rows("timestamp,power", iso)).joules == pytest.approx(10.0, rel=0.01)
    assert read(file, rows("time(ms),power(W)", dated(of=lambda t: f"{1e3 * t:.1f}"))).joules == pytest.approx(
        10, rel=0.01
    )


def test_current_times_voltage(file: Path) -> None:
    assert read(file, rows("time(s),current(A),voltage(V)", dated("0.25,4.0"))).joules == pytest.approx(10.0, rel=0.01)


# --- times that are no dates ----------------------------------------------------------------------------------------------------------


def ppk2(high: tuple[float, float], others: tuple[tuple[float, float], ...] = ()) -> str:
    """As a Power Profiler Kit's program writes it: relative milliseconds, 100 mA at rest, 300 mA while D0 is high."""
    windows = (high, *others)
    lines = []
    for i in range(2000):
        t = i * 0.01
        learning = any(a <= t < b for a, b in windows)
        lines.append(f"{1e3 * t:.3f},{300000 if learning else 100000},{int(learning)}")
    return rows("Timestamp(ms),Current(uA),D0", lines)


def test_a_marker_says_where_the_window_is(file: Path) -> None:
    reading = read(file, ppk2((4.0, 14.0)), ",volts=3,marker=D0")
    assert reading.joules == pytest.approx(10 * 0.3 * 3, rel=0.01)
    assert reading.peak_w == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        (ppk2((4.0, 14.0)), ",volts=3", "no marker says where"),
        (ppk2((4.0, 7.0)), ",volts=3,marker=D0", "D0 was 0 times high for the 5 s"),
        (ppk2((1.0, 6.0), ((8.0, 13.0),)), ",volts=3,marker=D0", "D0 was 2 times high"),
    ],
)
def test_what_nothing_aligns_is_not_measured(file: Path, text: str, options: str, reason: str) -> None:
    reading = read(file, text, options, seconds=5.0)
    assert reading.joules is None
    assert reason in reading.reason


# --- what is not measured -------------------------------------------------------------------------------------------------------------


def test_a_recording_of_another_day(file: Path) -> None:
    reading = read(file, rows("time(s),power(W)", dated(of=lambda t: f"{t - 86400:.3f}")))
    assert reading.joules is None
    assert "recorded only 0 s of 10 s" in reading.reason


def test_samples_that_were_dropped(file: Path) -> None:
    lines = dated()
    reading = read(file, rows("time(s),power(W)", lines[:300] + lines[400:]))
    assert reading.joules is None
    assert "missing for 1.01 s" in reading.reason


def test_our_own_clock_was_set(file: Path) -> None:
    reading = read(file, rows("time(s),power(W)", dated()), jump=-5.0)
    assert reading.joules is None
    assert "clock jumped by -5" in reading.reason


def test_the_last_line_may_be_half_written(file: Path) -> None:
    whole = rows("time(s),power(W)", dated())
    for part in ("17950", f"{NOW + 11:.3f},", f"{NOW + 11:.3f},1"):
        assert read(file, whole + part).joules == pytest.approx(10.0, rel=0.01)


# --- files that are wrong -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", "", "no column of times; it has nothing"),
        ("a,b\n1,2\n", "", "no column of times; it has a, b"),
        ("time(s),temperature\n1,2\n", "", "no column of power or current; it has time(s), temperature"),
        ("time(h),power(W)\n1,2\n", "", "no column of times"),
        ("time(s),current(A)\n1,2\n", "", "has current and no voltage"),
        ("time(s),power(W)\n1,2\n", ",marker=D0", "no column D0"),
        ("time(s),power(W)\n1,2\n", "", "fewer than two rows"),
        ("time(s),power(W)\n1,2\n2,x\n", "", "line 3: could not convert"),
        ("time(s),power(W)\n5,2\n6,2\n3,2\n", "", "row 3: the clock jumps back by 3 s"),
    ],
)
def test_one_sentence_for_each(file: Path, text: str, options: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(file, text, options)
    assert message in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read"):
        External(external.options(str(tmp_path / "none.csv")))


@pytest.mark.parametrize("text", ["f.csv,volts=x", "f.csv,volts=-1", "f.csv,volts=nan", "f.csv,amps=1", ",volts=3"])
def test_options_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        external.options(text)
    assert caught.value.hint


# --- a file that is exported when all is over -----------------------------------------------------------------------------------------


def test_a_power_profiler_kit_is_waited_for(file: Path) -> None:
    clock, wall = FakeClock(), FakeClock(NOW)

    def sleep(seconds: float) -> None:
        """The user exports in two minutes; the program takes a while to write."""
        clock.sleep(seconds)
        if clock.now > 1000 + 10 + 120:
            text = ppk2((4.0, 14.0))
            file.write_text(text if clock.now > 1000 + 10 + 123 else text[: int(len(text) * (clock.now - 1130) / 4)])

    meter = External(external.options(f"{file},volts=3,marker=D0", "ppk2"), clock, wall, sleep)
    begin = meter.mark()
    clock.sleep(10.0)
    wall.sleep(10.0)
    end = meter.mark()
    meter.marked(begin, end)
    meter.close()
    reading = meter.between(begin, end)
    assert meter.name == "ppk2"
    assert reading.joules == pytest.approx(9.0, rel=0.01)


def test_a_recording_that_never_comes(file: Path) -> None:
    clock, wall = FakeClock(), FakeClock(NOW)
    meter = External(external.options(f"{file},volts=3", "ppk2"), clock, wall, clock.sleep)
    begin = meter.mark()
    clock.sleep(1.0)
    end = meter.mark()
    first = meter.between(begin, end)
    waited = clock.now
    for reading in (first, meter.between(begin, end)):
        assert reading.joules is None and "was not exported within 600 s" in reading.reason
    assert clock.now == waited, "it is waited for once"


def test_an_old_recording_is_not_of_now(file: Path) -> None:
    file.write_text("Timestamp(ms),Current(uA)\n")
    with pytest.raises(ConfigError, match="there already"):
        External(external.options(f"{file},volts=3", "ppk2"))


@pytest.mark.parametrize("text", ["", "f.csv,amps=1", ",volts=3"])
def test_a_kit_without_a_file_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        external.options(text, "ppk2")
    assert "ppk2:FILE" in caught.value.hint
