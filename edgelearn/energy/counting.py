"""Meters that count energy themselves: the difference of two readings is what was used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, sqrt

from edgelearn.energy.meter import Clock, Mark, Reading, too_short


@dataclass(frozen=True)
class Register:
    """A counter of joules.

    Attributes:
        read: its value, in joules. period_s: how often it advances. resolution_j: its least step.
        range_j: where it begins again; None: it must not.
    """

    source: str
    read: Callable[[], float]
    period_s: float
    resolution_j: float
    range_j: float | None = None


class Counter:
    """A meter of one register or several, whose energies do not contain each other.

    A thread reads them often enough that none can wrap twice in between (``watch_s``).
    """

    def __init__(
        self,
        name: str,
        source: str,
        registers: tuple[Register, ...],
        errors: tuple[type[Exception], ...] = (OSError, ValueError),
        watch_s: float | None = None,
        clock: Clock = time.monotonic,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.source = name, source
        self._registers, self._errors, self._clock, self._on_close = registers, errors, clock, on_close
        self._last: list[float | None] = [None] * len(registers)
        self._total = 0.0
        self._broken = ""  # why nothing after it can be trusted
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(watch_s,), name=f"meter {name}", daemon=True)
        if watch_s is not None:
            self._thread.start()

    def _run(self, watch_s: float) -> None:
        while not self._stop.wait(watch_s):
            self.mark()

    def mark(self) -> Mark:
        with self._lock:
            before = self._clock()
            try:
                for i, register in enumerate(self._registers):
                    self._advance(i, register)
            except self._errors as error:
                return Mark(before, time.time(), None, f"it could not be read: {error}")
            at = (before + self._clock()) / 2
            return Mark(at, time.time(), None if self._broken else self._total, self._broken)

    def _advance(self, i: int, register: Register) -> None:
        value, last = register.read(), self._last[i]
        self._last[i] = value
        step = 0.0 if last is None else value - last
        if step < 0 and register.range_j is not None:
            step += register.range_j
        if step < 0:
            self._broken = f"the counter went back by {-step:.3g} J: it was reset"
            return
        self._total += step

    def between(self, begin: Mark, end: Mark) -> Reading:
        seconds = end.at - begin.at
        period = max(register.period_s for register in self._registers)
        blank = Reading(None, seconds, self.source, period)
        if reason := begin.reason or end.reason or too_short(seconds, period):
            return blank.without(reason)
        if begin.joules is None or end.joules is None:
            return blank.without("it was not read at both ends of the window")
        used = end.joules - begin.joules
        if used <= 0:
            return blank.without(f"the counter did not advance in {seconds:.3g} s")
        return Reading(used, seconds, self.source, period, self._sigma(used / seconds))

    def _sigma(self, watts: float) -> float:
        """Both ends lie anywhere between two updates of the counter, and between two of its steps."""
        period = max(register.period_s for register in self._registers)
        steps = sqrt(sum(register.resolution_j**2 for register in self._registers))
        return hypot(watts * period, steps) / sqrt(6)

    def close(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            if self._thread.is_alive():
                self._thread.join()
            self._on_close()
