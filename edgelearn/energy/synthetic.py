"""A meter of which everything is known: it drives the tests of what reads meters. The command line does not offer it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from edgelearn.energy.meter import Clock, Mark, Reading
from edgelearn.energy.sampling import Sensor, integrate


class Synthetic:
    """Power as a function of time, sampled every ``period_s``.

    Args:
        watts: at a time of ``clock``. dropped: says of a sample's number that it was lost. noise_w: standard deviation, from ``seed``.
    """

    name = "synthetic"

    def __init__(
        self,
        watts: Callable[[float], float],
        period_s: float = 0.001,
        clock: Clock = time.monotonic,
        dropped: Callable[[int], bool] = lambda number: False,
        noise_w: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.source = "synthetic, for tests"
        self._watts, self._period_s, self._clock, self._dropped = watts, period_s, clock, dropped
        self._noise_w, self._seed = noise_w, seed

    def mark(self) -> Mark:
        at = self._clock()
        return Mark(at, at)

    def between(self, begin: Mark, end: Mark) -> Reading:
        numbers = range(int(begin.at / self._period_s), int(end.at / self._period_s) + 2)
        times = [n * self._period_s for n in numbers if not self._dropped(n)]
        noise = np.random.default_rng(self._seed).normal(0.0, self._noise_w, len(times))
        watts = [self._watts(t) + float(e) for t, e in zip(times, noise, strict=True)]
        return integrate(Sensor(self.source, self._period_s), times, watts, begin.at, end.at)

    def close(self) -> None:
        """There is nothing to stop."""
