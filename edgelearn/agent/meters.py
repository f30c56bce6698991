"""The meters of the computer that an agent runs on, told over the link as a microcontroller tells its own."""

from __future__ import annotations

import time
from pathlib import Path

from edgelearn.energy.choose import Place, choose
from edgelearn.energy.meter import Clock, Mark, Meter, Mute
from edgelearn.link.messages import POWER, POWER_MEASURED, POWER_SILENT

GPU = ("cuda", "tensorrt")  # providers of ONNX Runtime that compute on it
_NOBODY: dict[str, int] = dict.fromkeys((name for name, _ in POWER), 0)


def place(providers: tuple[str, ...], root: Path = Path("/")) -> Place:
    """What an agent with these providers of ONNX Runtime may be measured with."""
    on_gpu = any(name in GPU for name in providers)
    meters = ("nvml", "ina3221", "rapl") if on_gpu else ("ina3221", "rapl")
    return Place(meters, "it measures a GPU, and the agent computes on none", root=root)


class OwnMeter:
    """Sums of what a meter measured since somebody asked first; nobody asks, nothing is read.

    Args:
        wanted: as ``edgelearn.energy.choose.choose`` takes it.

    Raises:
        UsageError: there is no such meter.
    """

    def __init__(self, wanted: str, where: Place, clock: Clock = time.monotonic) -> None:
        self._wanted, self._where, self._clock = wanted, where, clock
        self._meter: Meter | None = None
        self._last = Mark(0.0, 0.0)
        self._count = 0
        self._joules = self._covered = self._missed = 0.0
        self._peak_w = 0.0
        self._window, self._period_s, self._why = -1, 0.0, ""
        choose(wanted, Place((), ""))[0].close()  # a wrong name is told now

    def told(self, window: int, work_s: float) -> tuple[dict[str, int], str]:
        """The fields of POWER, and which meter it is or why there is none. An answer that got lost is not made twice.

        Args:
            work_s: seconds that the agent has computed.
        """
        meter = self._opened()
        if isinstance(meter, Mute):
            return _NOBODY | {"kind": POWER_SILENT}, meter.reason
        if window != self._window:
            self._window, self._why = window, ""
            self._advance(meter)
        if self._why:
            return _NOBODY | {"kind": POWER_SILENT}, self._why
        return {
            **_NOBODY, "kind": POWER_MEASURED, "period_us": round(1e6 * self._period_s), "count": self._count,
            "covered_us": round(1e6 * self._covered), "missed_us": round(1e6 * self._missed),
            "energy_pj": round(1e12 * self._joules), "peak_uw": round(1e6 * self._peak_w),
            "work_us": round(1e6 * work_s),
        }, meter.source  # fmt: skip

    def _opened(self) -> Meter:
        if self._meter is None:
            self._meter, _ = choose(self._wanted, self._where, self._clock)
            self._last = self._meter.mark()
        return self._meter

    def _advance(self, meter: Meter) -> None:
        """Adds what was used since the last reading; a time that is too short for the meter waits for the next."""
        now = meter.mark()
        reading = meter.between(self._last, now)
        self._period_s = max(self._period_s, reading.period_s or 0.0)
        if reading.joules is None and reading.seconds <= 2 * self._period_s:
            return
        self._last, self._peak_w = now, reading.peak_w or 0.0
        if reading.joules is None:
            self._missed += reading.seconds
            self._why = reading.reason
            return
        self._count += 1
        self._joules += reading.joules
        self._covered += reading.seconds

    def close(self) -> None:
        """Stops reading, until somebody asks again; the sums stay."""
        if self._meter is not None:
            self._meter.close()
        self._meter = None
