"""What all meters share: marks in time, and readings of what was used between two of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

Clock = Callable[[], float]
CLOCKS_AGREE_S = 0.05  # by how much the two clocks of a window may differ, or by a hundredth of it


class NoAnswer(Exception):  # noqa: N818 (it is an answer too: the reason why there are no joules)
    """A meter is not there, or does not serve; the text says why, in a few words."""


@dataclass(frozen=True)
class Mark:
    """A moment. ``at`` only ever grows, ``wall`` is seconds since 1970, ``joules`` what a counter has counted, if the meter is one.

    ``reason`` says why a counter could not be read then.
    """

    at: float
    wall: float
    joules: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Reading:
    """What was used in a window of ``seconds``.

    Attributes:
        joules: None where it was not measured, and then ``reason`` says why.
        source: which meter, which of its figures, and what it is the energy of.
        period_s: how often the meter takes a value; None where that is not known.
        sigma: standard uncertainty of ``joules`` by sampling and resolution. How well the sensor is calibrated is its maker's to say, and
            not in it. None too where all values were equal and the resolution is not known.
        peak_w: the largest power that was seen; None for a counter, which sees sums only.
    """

    joules: float | None
    seconds: float
    source: str
    period_s: float | None = None
    sigma: float | None = None
    reason: str = ""
    peak_w: float | None = None

    @property
    def watts(self) -> float | None:
        """Mean power."""
        return None if self.joules is None or self.seconds <= 0 else self.joules / self.seconds

    def without(self, reason: str) -> Reading:
        """The same window, not measured."""
        return replace(self, joules=None, sigma=None, peak_w=None, reason=reason)


class Meter(Protocol):
    """A meter that answered when it was opened. ``name`` is what the user calls it, ``source`` as in ``Reading``."""

    name: str
    source: str

    def mark(self) -> Mark:
        """This moment; windows lie between two of them."""
        ...

    def between(self, begin: Mark, end: Mark) -> Reading:
        """What was used from ``begin`` to ``end``. To be asked after ``close``, when all has been recorded."""
        ...

    def close(self) -> None:
        """Stops recording. May be called twice."""
        ...


class Mute:
    """A meter that has nothing to say but why."""

    def __init__(self, name: str, reason: str, source: str = "", clock: Clock = time.monotonic) -> None:
        self.name, self.source, self.reason, self._clock = name, source, reason, clock

    def mark(self) -> Mark:
        return Mark(self._clock(), time.time())

    def between(self, begin: Mark, end: Mark) -> Reading:
        return Reading(None, end.at - begin.at, self.source, reason=self.reason)

    def close(self) -> None:
        """There is nothing to stop."""


def too_short(seconds: float, period_s: float) -> str:
    """Why a window cannot be measured that is shorter than the meter's period; empty if it can."""
    if seconds >= period_s:
        return ""
    return f"the window of {seconds:.3g} s is shorter than the meter's period, {period_s:.3g} s: take more samples"


def clock_jumped(begin: Mark, end: Mark) -> str:
    """Why two wall clock times are no window: the clock was set in between; empty if it was not."""
    off = (end.wall - begin.wall) - (end.at - begin.at)
    if abs(off) <= max(CLOCKS_AGREE_S, 0.01 * (end.at - begin.at)):
        return ""
    return f"this computer's clock jumped by {off:+.2f} s in the window"
