"""The meter that a board has in its own supply: it counts by its own clock, and tells its sums over the link.

Its energy is carried from the seconds that its readings stand for to those of the window; the two differ by less than two periods and a
hundredth of the window, or nothing is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, sqrt

from edgelearn.energy.meter import CLOCKS_AGREE_S, Clock, Mark, NoAnswer, Reading, too_short

NAME = "telemetry"
SILENT, MEASURED, SYNTHETIC = 0, 1, 2  # kinds, as in edgelearn.link.messages
MAY_MISS = 0.01  # of a window, without readings
CLOCKS_DIFFER = 0.05  # by what share a board's clock may run away from ours
SEEN = 0.9  # of the time in which the board computed, by readings that lie in it
_WORD, _LONG = 1 << 32, 1 << 64

Ask = Callable[
    [int], tuple[dict[str, int], str] | None
]  # number of a window -> POWER of edgelearn.link.messages, and a text


@dataclass(frozen=True)
class Counted:
    """What a board has counted since it started, modulo 2^32 and 2^64: see POWER in edgelearn.link.messages."""

    kind: int
    period_us: int
    count: int
    failed: int
    covered_us: int
    missed_us: int
    work_us: int
    seen_us: int
    energy_pj: int
    work_pj: int
    resolution_ua: int
    peak_uw: int
    ua: int
    mv: int

    @property
    def period_s(self) -> float:
        return self.period_us / 1e6


@dataclass(frozen=True)
class BoardMark(Mark):
    """A moment, with what the board had counted by then."""

    told: Counted | None = None


@dataclass(frozen=True)
class Work:
    """The part of a window in which the board computed. ``joules`` is None where that was not resolved, and ``reason`` says why."""

    seconds: float
    joules: float | None = None
    reason: str = ""


def open_meter(ask: Ask, clock: Clock = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> Telemetry:
    """The board's meter.

    Raises:
        NoAnswer: it tells of none, or of one that does not serve.
    """
    told = ask(0)
    if told is None:
        raise NoAnswer("the board's firmware tells of no meter in its supply")
    if told[0]["kind"] not in (MEASURED, SYNTHETIC):
        raise NoAnswer(told[1] or "the board's meter does not serve")
    return Telemetry(ask, Counted(**told[0]), told[1], clock, sleep)


class Telemetry:
    """Windows between two sums that the board tells."""

    name = NAME

    def __init__(self, ask: Ask, first: Counted, text: str, clock: Clock, sleep: Callable[[float], None]) -> None:
        made_up = first.kind == SYNTHETIC
        self.source = f"synthetic, nothing was measured: {text}" if made_up else f"{text}, told by the board"
        self.period_s = first.period_s
        self._ask, self._clock, self._sleep, self._window = ask, clock, sleep, 0

    def mark(self) -> BoardMark:
        self._window += 1
        before = self._clock()
        told = self._ask(self._window)
        at = (before + self._clock()) / 2
        counted = None if told is None else Counted(**told[0])
        why = told[1] if told and told[0]["kind"] == SILENT else ""
        return BoardMark(at, time.time(), None, why, counted)

    def rest(self, seconds: float) -> None:
        """Waits. A board that sleeps takes a reading only when it is asked."""
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            self._sleep(min(left, self.period_s))
            self._ask(self._window)

    def close(self) -> None:
        """The board counts on; nobody need stop it."""

    def between(self, begin: Mark, end: Mark) -> Reading:
        seconds = end.at - begin.at
        blank = Reading(None, seconds, self.source, self.period_s)
        both = _both(begin, end)
        if reason := too_short(seconds, self.period_s) or (
            both if isinstance(both, str) else _incomplete(*both, seconds)
        ):
            return blank.without(reason)
        assert not isinstance(both, str)
        first, last = both
        used, covered = (
            _signed(last.energy_pj - first.energy_pj) * 1e-12,
            _word(last.covered_us - first.covered_us) / 1e6,
        )
        if used <= 0:
            return blank.without(_no_energy(used, last))
        watts = used / covered
        sigma = self._sigma(watts, seconds, _word(last.missed_us - first.missed_us) / 1e6, last)
        return Reading(
            watts * seconds,
            seconds,
            self.source,
            self.period_s,
            sigma,
            peak_w=last.peak_uw * 1e-6 if last.peak_uw else None,
        )

    def _sigma(self, watts: float, seconds: float, missed: float, last: Counted) -> float:
        """Both ends lie anywhere within a reading, the current is known in steps, and what was missed may have been nothing or the peak."""
        ends = watts * self.period_s / sqrt(6)
        steps = last.resolution_ua * 1e-6 * last.mv * 1e-3 * seconds / sqrt(12)
        unseen = missed * max(last.peak_uw * 1e-6, watts) / sqrt(12)
        return hypot(ends, steps, unseen)

    def work(self, begin: Mark, end: Mark) -> Work | None:
        """What of a window that was measured was computing; None: the board cannot say."""
        both = _both(begin, end)
        if isinstance(both, str):
            return None
        first, last = both
        work, seen = (_word(b - a) / 1e6 for a, b in ((first.work_us, last.work_us), (first.seen_us, last.seen_us)))
        reading = self.between(begin, end)
        if not work:
            return None
        if reading.joules is None:
            return Work(work, None, reading.reason)
        if seen < SEEN * work:
            share = f"of the {work:.3g} s in which the board computed, {seen:.3g} s were read by themselves"
            return Work(work, None, f"{share}: the meter's period is {self.period_s:.3g} s")
        return Work(work, _signed(last.work_pj - first.work_pj) * 1e-12 / seen * work)


def _both(begin: Mark, end: Mark) -> tuple[Counted, Counted] | str:
    """What was counted by both marks, or why that makes no window."""
    first, last = (mark.told if isinstance(mark, BoardMark) else None for mark in (begin, end))
    if first is None or last is None or SILENT in (first.kind, last.kind):
        return begin.reason or end.reason or "the board told nothing of its meter at an end of the window"
    if last.count < first.count:
        return "the board was restarted in the window, and counts from 0 again"
    return first, last


def _incomplete(first: Counted, last: Counted, seconds: float) -> str:
    """Why the board's readings are not those of the window; empty if they are."""
    failed = _word(last.failed - first.failed)
    broken = f"; {failed} readings failed" if failed else ""
    if last.count == first.count:
        return f"the counter did not advance: the board's meter gave no value in {seconds:.3g} s{broken}"
    if seconds > _WORD / 1e6:
        return "the board's clock wraps after 71 minutes: take fewer samples"
    covered, missed = _word(last.covered_us - first.covered_us) / 1e6, _word(last.missed_us - first.missed_us) / 1e6
    if abs(covered + missed - seconds) > max(CLOCKS_AGREE_S, CLOCKS_DIFFER * seconds) + 2 * last.period_s:
        return f"the board's clock counted {covered + missed:.3g} s in our {seconds:.3g} s: it jumped, or does not run as ours"
    if missed > MAY_MISS * seconds:
        return f"samples are missing for {missed:.3g} s of {seconds:.3g} s{broken}"
    return ""


def _no_energy(used: float, last: Counted) -> str:
    if used == 0 and last.mv == 0:
        return "the meter sees no voltage: is the rail connected to its bus input?"
    return (
        "the current flows out of the board: is the shunt the right way round?"
        if used < 0
        else "the meter told no current"
    )


def _word(value: int) -> int:
    return value % _WORD


def _signed(value: int) -> int:
    return (value + _LONG // 2) % _LONG - _LONG // 2
