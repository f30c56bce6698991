"""Joules per sample while a training goes on, where a meter answers; else the reason why not."""

from __future__ import annotations

from dataclasses import dataclass

from edgelearn.energy.meter import Mark, Meter, Reading

PERIODS = 3  # of the meter: a shorter window is joined with the next


@dataclass(frozen=True)
class Energy:
    """What a sample has cost so far: the mean over all windows that were measured. ``joules`` is None with a reason, and never 0."""

    joules: float | None = None
    reason: str = "nothing has been learnt yet"
    source: str = ""


class Consumption:
    """Adds up what ``meter`` reads from the beginning to the end of each stretch of learning."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._begin: Mark | None = None
        self._samples = 0  # since then
        self._joules, self._of = 0.0, 0  # of windows that were measured
        self.energy = Energy()

    def begin(self) -> None:
        """Learning goes on."""
        if self._begin is None:
            self._begin, self._samples = self._meter.mark(), 0

    def end(self, samples: int) -> None:
        """So many samples were learnt since ``begin``."""
        assert self._begin is not None
        self._samples += samples
        reading = self._meter.between(self._begin, self._meter.mark())
        if reading.joules is None and reading.seconds < PERIODS * (reading.period_s or 0):
            self._tell(reading)
            return
        self._begin = None
        if reading.joules is not None and self._samples:
            self._joules += reading.joules
            self._of += self._samples
        self._tell(reading)

    def drop(self) -> None:
        """Learning was cut short: what it took counts for nothing."""
        self._begin = None

    def _tell(self, reading: Reading) -> None:
        if self._of:
            self.energy = Energy(self._joules / self._of, "", reading.source)
        else:
            self.energy = Energy(None, reading.reason or "no sample was learnt in the window", reading.source)

    def close(self) -> None:
        self._meter.close()
