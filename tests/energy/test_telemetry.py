"""A board's own meter: the firmware's sums, in C, against the host that reads windows out of them. Time is made up."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgelearn.energy.choose import BUILT_IN, Place, choose
from edgelearn.energy.meter import NoAnswer, Reading
from edgelearn.energy.telemetry import BoardMark, Telemetry, open_meter
from edgelearn.errors import UsageError
from edgelearn.link.messages import (
    MARKER_HIGH,
    MARKER_LOW,
    MARKER_WORK,
    POWER,
    POWER_SILENT,
    TLV_MARKER,
    TLV_POWER,
    pack_power,
    unpack_power,
)
from tests.energy.board_meter import END, NO_NEWS, MeteredBoard, library
from tests.energy.fakes import FakeClock

Make = Callable[..., MeteredBoard]


@pytest.fixture(scope="module")
def lib(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return library(tmp_path_factory.mktemp("power"))


@pytest.fixture
def make(lib: ctypes.CDLL) -> Make:
    return lambda *args, **options: MeteredBoard(lib, FakeClock(), *args, **options)


def window(board: MeteredBoard, meter: Telemetry, during: Callable[[], None]) -> Reading:
    begin = meter.mark()
    during()
    return meter.between(begin, meter.mark())


def unmeasured(reading: Reading, *words: str) -> None:
    assert (reading.joules, reading.sigma, reading.watts, reading.peak_w) == (None, None, None, None)
    for word in words:
        assert word in reading.reason


# --- what is measured -----------------------------------------------------------------------------------------------------------------


def test_one_watt_for_ten_seconds_is_ten_joules(make: Make) -> None:
    board = make()
    meter = board.meter()
    reading = window(board, meter, lambda: board.run(10.0))
    assert reading.joules == pytest.approx(10.0, rel=0.01)
    assert (reading.period_s, reading.reason) == (0.02, "")
    assert reading.source == "a meter, told by the board"
    assert reading.sigma is not None and 0 < reading.sigma < 0.02
    assert reading.peak_w == pytest.approx(1.0, rel=0.01)


def test_sums_are_exact_at_any_size(make: Make) -> None:
    """By parts of 16 bits, against integers of any length; both signs."""
    rng = np.random.default_rng(3)
    for _ in range(60):
        ua, mv = int(10 ** rng.uniform(0, 7.5)) * int(rng.choice((-1, 1))), int(rng.integers(1, 60_000))
        every = int(rng.integers(1, 1 << 24))
        board = make(lambda t, w=ua * mv / 1e9: w, every_us=every)
        board.mv, energy, covered = mv, 0, 0
        for _ in range(40):
            board.clock.sleep(every * 1.5e-6)
            told, _ = board.ask(0) or ({}, "")
            passed, covered = told["covered_us"] - covered, told["covered_us"]
            microwatts = abs(ua) // 1000 * mv + abs(ua) % 1000 * mv // 1000
            energy += (microwatts if ua > 0 else -microwatts) * (passed % (1 << 32))
            assert told["energy_pj"] == energy % (1 << 64)
        assert covered


def test_power_that_changes(make: Make) -> None:
    board = make(lambda t: 1 + t)
    meter = board.meter()
    reading = window(board, meter, lambda: board.run(4.0))
    assert reading.joules == pytest.approx(12.0, rel=0.01)
    assert reading.peak_w == pytest.approx(5.0, rel=0.01)
    assert window(board, meter, lambda: board.run(1.0)).joules == pytest.approx(5.5, rel=0.02)


def test_a_peak_belongs_to_its_window_and_survives_a_lost_answer(make: Make) -> None:
    board = make(lambda t: 9.0 if t < 1 else 2.0)
    meter = board.meter()
    assert window(board, meter, lambda: board.run(2.0)).peak_w == pytest.approx(9.0)
    begin = meter.mark()
    board.run(1.0)
    lost = board.ask(meter._window + 1)
    assert lost is not None
    end = meter.mark()  # the same window, asked again
    assert meter.between(begin, end).peak_w == pytest.approx(2.0)


def test_sigma_knows_the_steps_of_the_current(make: Make) -> None:
    board = make(resolution_ua=1000)
    meter = board.meter()
    reading = window(board, meter, lambda: board.run(10.0))
    steps = 1e-3 * 5.0 * 10.0 / np.sqrt(12)
    assert reading.sigma == pytest.approx(np.hypot(steps, 0.02 / np.sqrt(6)), rel=0.01)


def test_a_slow_clock_of_the_board_costs_nothing(make: Make) -> None:
    """Power is by the board's clock, seconds are ours."""
    board = make()
    meter = board.meter()

    def during() -> None:
        for _ in range(1000):
            board.skew_us -= 200  # 2 %
            board.run(0.01, 0.005)

    assert window(board, meter, during).joules == pytest.approx(10.0, rel=0.01)


def test_readings_are_never_closer_than_the_period(make: Make) -> None:
    board = make(every_us=50_000)
    board.run(1.0)
    board.work(0.0005, 0.0005, 1000)
    assert board.reads <= 2.0 / 0.05 + 1


# --- computing and waiting ------------------------------------------------------------------------------------------------------------


def test_a_meter_as_quick_as_steps_tells_computing_from_waiting(make: Make) -> None:
    board = make(every_us=4000)
    meter = board.meter()
    board.watts = lambda t: 3.0 if board.power.working else 1.0
    begin = meter.mark()
    board.work(0.005, 0.005, 200)
    end = meter.mark()
    work = meter.work(begin, end)
    assert work is not None and work.reason == ""
    assert work.seconds == pytest.approx(1.0, rel=0.01)
    assert work.joules == pytest.approx(3.0, rel=0.01)
    assert meter.between(begin, end).joules == pytest.approx(4.0, rel=0.01)


def test_a_slow_meter_says_that_it_does_not(make: Make) -> None:
    board = make()
    meter = board.meter()
    begin = meter.mark()
    board.work(0.002, 0.002, 500)
    end = meter.mark()
    work = meter.work(begin, end)
    assert work is not None and work.joules is None
    assert work.seconds == pytest.approx(1.0, rel=0.01)
    assert "the meter's period is 0.02 s" in work.reason
    assert meter.between(begin, end).joules == pytest.approx(2.0, rel=0.01)


# --- what is not measured: R29 --------------------------------------------------------------------------------------------------------


def test_a_counter_that_does_not_advance(make: Make) -> None:
    board = make()
    meter = board.meter()
    board.run(0.1)
    board.code = NO_NEWS
    unmeasured(window(board, meter, lambda: board.run(1.0)), "did not advance", "no value in 1 s")
    board.code = -1
    unmeasured(window(board, meter, lambda: board.run(1.0)), "did not advance", "readings failed")


def test_samples_that_were_dropped(make: Make) -> None:
    board = make()
    meter = board.meter()

    def during() -> None:
        board.run(5.0)
        board.code = -1
        board.run(1.0)
        board.code = 0
        board.run(4.0)

    unmeasured(window(board, meter, during), "samples are missing for 1", "of 10 s", "readings failed")


def test_a_board_that_is_deaf_for_longer_than_readings_stand_for(make: Make) -> None:
    board = make()
    meter = board.meter()
    board.run(0.1)
    unmeasured(window(board, meter, lambda: board.work(0.5, 0.0, 4)), "samples are missing for 2 s")


@pytest.mark.parametrize("jump", [-3_000_000, 3_000_000])
def test_the_boards_clock_jumped(make: Make, jump: int) -> None:
    board = make()
    meter = board.meter()

    def during() -> None:
        board.run(5.0)
        board.skew_us += jump
        board.run(5.0)

    unmeasured(window(board, meter, during), "the board's clock counted", "in our 10 s")


def test_a_clock_that_wraps_in_a_window_is_none_of_that(make: Make) -> None:
    board = make()
    board.skew_us = (1 << 32) - 1_000_000
    meter = board.meter()
    assert window(board, meter, lambda: board.run(4.0)).joules == pytest.approx(4.0, rel=0.01)


def test_a_window_longer_than_the_boards_clock(make: Make) -> None:
    board = make(every_us=10_000_000)
    meter = board.meter()
    unmeasured(window(board, meter, lambda: board.run(4400.0, 5.0)), "wraps after 71 minutes")


def test_a_window_shorter_than_the_period(make: Make) -> None:
    board = make()
    meter = board.meter()
    unmeasured(window(board, meter, lambda: board.run(0.01)), "shorter than the meter's period, 0.02 s")


def test_a_rail_that_is_missing(make: Make) -> None:
    board = make()
    board.mv = 0
    meter = board.meter()
    unmeasured(window(board, meter, lambda: board.run(1.0)), "no voltage", "rail")


def test_a_shunt_the_wrong_way_round(make: Make) -> None:
    board = make(lambda t: -1.0)
    meter = board.meter()
    unmeasured(window(board, meter, lambda: board.run(1.0)), "flows out of the board")


def test_no_current_is_no_zero(make: Make) -> None:
    board = make(lambda t: 0.0)
    meter = board.meter()
    unmeasured(window(board, meter, lambda: board.run(1.0)), "told no current")


def test_a_board_that_was_restarted(make: Make, lib: ctypes.CDLL) -> None:
    board = make()
    meter = board.meter()
    board.run(1.0)
    begin = meter.mark()
    fresh = MeteredBoard(lib, board.clock)
    meter._ask = fresh.ask
    fresh.run(0.5)
    unmeasured(meter.between(begin, meter.mark()), "restarted")


def test_a_board_without_a_meter() -> None:
    with pytest.raises(NoAnswer, match="tells of no meter"):
        open_meter(lambda window: None)
    silent = dict.fromkeys((name for name, _ in POWER), 0) | {"kind": POWER_SILENT}
    with pytest.raises(NoAnswer, match="rapl: only root may read"):
        open_meter(lambda window: (silent, "rapl: only root may read"))


def test_a_board_that_falls_silent_says_why(make: Make) -> None:
    board = make()
    meter = board.meter()
    begin = meter.mark()
    board.run(1.0)
    silent = dict.fromkeys((name for name, _ in POWER), 0) | {"kind": POWER_SILENT}
    meter._ask = lambda window: (silent, "NVML: Not Supported")
    end = meter.mark()
    unmeasured(meter.between(begin, end), "Not Supported")
    assert meter.work(begin, end) is None
    meter._ask = lambda window: None
    unmeasured(meter.between(begin, meter.mark()), "told nothing")


def test_what_is_made_up_says_so(make: Make) -> None:
    board = make()
    board.power.synthetic = 1
    assert board.meter().source == "synthetic, nothing was measured: a meter"


def test_while_the_board_rests_it_is_asked(make: Make) -> None:
    """It sleeps, and reads its meter when something arrives."""
    board = make()
    meter = board.meter()
    reading = window(board, meter, lambda: meter.rest(2.0))
    assert reading.joules == pytest.approx(2.0, rel=0.01)


# --- on the line ----------------------------------------------------------------------------------------------------------------------


def test_a_small_frame_cuts_the_name_and_a_smaller_one_has_no_room(make: Make) -> None:
    board = make()
    fixed = len(board.tlvs(bytes((TLV_POWER, 1, 1)))[TLV_POWER]) - len("a meter")
    assert board.tlvs(bytes((TLV_POWER, 1, 1)), 2 + fixed + 3)[TLV_POWER][fixed:] == b"a m"
    assert board.tlvs(bytes((TLV_POWER, 1, 1)), 2 + fixed - 1) == {}


@pytest.mark.parametrize(
    "asked", [b"", bytes((9, 1, 0)), bytes((TLV_POWER, 0)), bytes((TLV_POWER, 2, 0, 0)), bytes((TLV_POWER,))]
)
def test_what_nobody_asked_for_is_not_told(make: Make, asked: bytes) -> None:
    assert make().tlvs(asked) == {}


def test_the_marker_pin(make: Make) -> None:
    board = make()
    assert board.mark(MARKER_HIGH) == bytes((MARKER_HIGH,))
    board.work(0.001, 0.001, 2)
    assert board.mark(MARKER_WORK) == bytes((MARKER_WORK,))
    board.work(0.001, 0.001, 2)
    assert board.mark(77) == bytes((MARKER_LOW,))
    assert board.pin == [1, 0, 1, 0, 1, 0, 0]
    both = board.tlvs(bytes((7, 0, TLV_POWER, 1, 5, TLV_MARKER, 1, MARKER_LOW)))
    assert both.keys() == {TLV_MARKER, TLV_POWER}


def test_a_board_with_a_pin_and_no_meter(make: Make) -> None:
    board = make()
    board.power.read = type(board.power.read)()
    assert board.mark(MARKER_HIGH)
    board.work(0.1, 0.1, 3)
    assert board.ask(1) is None


def test_packing_cuts_numbers_to_their_width() -> None:
    counted = {name: (1 << 70) + 5 for name, _ in POWER}
    _, value = pack_power(counted, "x" * 400)
    assert len(value) == 255
    assert unpack_power(value) == (dict.fromkeys((name for name, _ in POWER), 5), "x" * (255 - 61))
    assert unpack_power(value[:60]) is None


# --- which meter ----------------------------------------------------------------------------------------------------------------------


def test_auto_takes_the_boards_own_first(make: Make) -> None:
    board = make()
    meter, tried = choose("auto", Place(BUILT_IN, "", ask=board.ask), board.clock)
    assert (meter.name, [(t.meter, t.reason) for t in tried]) == ("telemetry", [("telemetry", "")])


def test_auto_says_that_the_board_has_none(tmp_path: Path) -> None:
    _, tried = choose("auto", Place((), "far away", root=tmp_path, ask=lambda window: None))
    assert tried[0].meter == "telemetry" and "no meter in its supply" in tried[0].reason
    assert {t.meter for t in tried[1:]} == set(BUILT_IN)


def test_telemetry_by_name() -> None:
    meter, tried = choose("telemetry", Place((), ""))
    assert "no board" in tried[0].reason
    assert meter.between(meter.mark(), meter.mark()).joules is None
    with pytest.raises(UsageError, match="no meter 'telemetry:x'"):
        choose("telemetry:x", Place((), ""))


def test_marks_of_another_meter_are_no_window(make: Make) -> None:
    board = make()
    meter = board.meter()
    blank = BoardMark(board.clock(), 0.0)
    board.run(1.0)
    unmeasured(meter.between(blank, meter.mark()), "told nothing")


def test_end_of_work_without_a_beginning_counts_nothing_absurd(make: Make) -> None:
    board = make()
    board.skew_us = -5
    board.moment(END)
    told = board.ask(1)
    assert told is not None and told[0]["work_us"] < 1 << 31
