"""What meters read, made up: clocks, sysfs trees, an NVML, recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class FakeClock:
    """Time that passes when it is told to; ``sleep`` tells it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def write(root: Path, folder: str, **files: object) -> Path:
    """A folder of sysfs with a value in each file."""
    path = root / folder
    path.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (path / name).write_text(f"{value}\n")
    return path


class FakeNvml:
    """One GPU that uses ``watts``; its counter advances every ``period_s``. ``refused``: what it answers NotSupported to."""

    class NVMLError(Exception):
        """As the module's."""

    def __init__(
        self, clock: FakeClock, watts: Callable[[float], float], period_s: float = 0.02, refused: tuple[str, ...] = ()
    ) -> None:
        self.clock, self.watts, self.period_s, self.refused = clock, watts, period_s, refused
        self.starts = 0
        self.frozen = False
        self.offset_mj = 0
        self.joules, self._upto = 0.0, clock.now

    def nvmlInit(self) -> None:
        self.starts += 1

    def nvmlShutdown(self) -> None:
        self.starts -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index != 0:
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        return 0

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "Fake 9000"

    def _serve(self, what: str) -> None:
        if what in self.refused:
            raise self.NVMLError("Not Supported")

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        self._serve("energy")
        while not self.frozen and self._upto + self.period_s <= self.clock.now:
            self.joules += self.watts(self._upto) * self.period_s
            self._upto += self.period_s
        return round(1e3 * self.joules) + self.offset_mj

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        self._serve("power")
        return round(1e3 * self.watts(self.clock.now))
