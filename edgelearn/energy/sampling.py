"""Meters that tell power: it is sampled, and integrated by trapezia."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgelearn.energy.meter import Clock, Mark, Reading, too_short

_ROUNDING = 1e-12  # of doubles, as a share
GAP_PERIODS = 3.0  # a longer distance between two samples is a gap


@dataclass(frozen=True)
class Sensor:
    """How a meter takes its values.

    Attributes:
        period_s: the time that one value stands for: no shorter window can be measured.
        every_s: how often a value is taken; None: as ``period_s``.
        resolution_w: the least step of power that it tells.
        may_miss: the share of a window that may lie in gaps.
    """

    source: str
    period_s: float
    every_s: float | None = None
    resolution_w: float = 0.0
    may_miss: float = 0.01


def integrate(sensor: Sensor, times: Sequence[float], watts: Sequence[float], begin: float, end: float) -> Reading:
    """What was used from ``begin`` to ``end``, of samples whose times grow."""
    t, w = np.asarray(times, float), np.asarray(watts, float)
    seconds, every = end - begin, sensor.every_s or sensor.period_s
    blank = Reading(None, seconds, sensor.source, sensor.period_s)
    if reason := too_short(seconds, sensor.period_s) or _uncovered(t, begin, end, every):
        return blank.without(reason)
    inside = (t > begin) & (t < end)
    if inside.sum() < 2:
        return blank.without("fewer than two samples were taken in the window")
    t, w = _cut(t, w, inside, begin, end)
    if not np.isfinite(w).all():
        return blank.without("the meter told values that are no numbers")
    gaps = np.diff(t)
    lost = float(gaps[gaps > GAP_PERIODS * every].sum())
    if lost > sensor.may_miss * seconds:
        return blank.without(f"samples are missing for {lost:.3g} s of {seconds:.3g} s")
    joules, sigma = float((gaps * (w[1:] + w[:-1]) / 2).sum()), _sigma(sensor, w, seconds, lost)
    return Reading(joules, seconds, sensor.source, sensor.period_s, sigma, peak_w=float(w.max()))


def _uncovered(t: NDArray[np.float64], begin: float, end: float, every: float) -> str:
    """Why the samples do not cover a window; empty if they do, up to one period at each end."""
    if not len(t):
        return "the meter took no sample"
    late, early = max(0.0, t[0] - begin), max(0.0, end - t[-1])
    if late <= GAP_PERIODS * every and early <= GAP_PERIODS * every:
        return ""
    seen = max(0.0, min(end, t[-1]) - max(begin, t[0]))
    return f"the meter recorded only {seen:.3g} s of {end - begin:.3g} s"


def _cut(
    t: NDArray[np.float64], w: NDArray[np.float64], inside: NDArray[np.bool_], begin: float, end: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The samples inside, and power at both ends, between the samples there."""
    edges = np.interp([begin, end], t, w)
    return np.concatenate(([begin], t[inside], [end])), np.concatenate((edges[:1], w[inside], edges[1:]))


def _sigma(sensor: Sensor, w: NDArray[np.float64], seconds: float, lost: float) -> float | None:
    """Of the mean of so many samples, of a resolution that errs the same way all the time, and of what happened in gaps."""
    spread = float(w.std(ddof=1)) * seconds / np.sqrt(len(w))
    coarse = sensor.resolution_w * seconds / np.sqrt(12)
    unseen = lost * float(np.ptp(w)) / np.sqrt(12)
    found = float(np.hypot(np.hypot(spread, coarse), unseen))
    if found <= _ROUNDING * float(np.abs(w).max()) * seconds:
        return None  # the same value over and over, of a meter whose resolution nobody told: that is no certainty
    return found


class Sampler:
    """A meter whose power is read in a thread of its own, and at every mark.

    Args:
        read: gives watts; what it raises of ``errors`` becomes the reason of the windows in which it happens.
    """

    def __init__(
        self,
        name: str,
        sensor: Sensor,
        read: Callable[[], float],
        errors: tuple[type[Exception], ...] = (OSError,),
        clock: Clock = time.monotonic,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.source = name, sensor.source
        self._sensor, self._read, self._errors, self._clock, self._on_close = sensor, read, errors, clock, on_close
        self._taken: list[tuple[float, float]] = []
        self._failed: list[tuple[float, str]] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"meter {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._sensor.every_s or self._sensor.period_s):
            self._take()

    def _take(self) -> float:
        """One sample, timed in the middle of its reading."""
        with self._lock:
            before = self._clock()
            try:
                watts = self._read()
            except self._errors as error:
                self._failed.append((before, str(error)))
                return before
            at = (before + self._clock()) / 2
            if not self._taken or at > self._taken[-1][0]:
                self._taken.append((at, watts))
            return at

    def mark(self) -> Mark:
        return Mark(self._take(), time.time())

    def between(self, begin: Mark, end: Mark) -> Reading:
        with self._lock:
            taken, failed = list(self._taken), list(self._failed)
        reading = integrate(self._sensor, [at for at, _ in taken], [w for _, w in taken], begin.at, end.at)
        reasons = [reason for at, reason in failed if begin.at <= at <= end.at]
        return reading.without(f"it could not be read: {reasons[0]}") if reasons else reading

    def trace(self, begin: Mark, end: Mark) -> list[tuple[float, float]]:
        """Its samples, in seconds since ``begin``."""
        with self._lock:
            return [(at - begin.at, watts) for at, watts in self._taken if begin.at <= at <= end.at]

    def close(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self._on_close()


def jumped_back(times: Sequence[float]) -> int | None:
    """The index of the first time that is before the one that precedes it."""
    return next((i for i, (a, b) in enumerate(pairwise(times), 1) if b < a), None)
