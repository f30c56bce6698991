"""NVIDIA GPUs, by NVML: the driver's counter of energy where it works, power integrated where it does not.

On a Jetson NVML answers NotSupported to both; so do slices of a GPU (MIG). That is no 0 J: it is no answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edgelearn.energy.counting import Counter, Register
from edgelearn.energy.meter import Clock, Meter, NoAnswer
from edgelearn.energy.sampling import Sampler, Sensor

NAME = "nvml"
CHANGES = 4  # of the counter, between which its period is measured
PATIENCE_S = 1.0  # a counter that stands still so long does not work: a GPU that idles uses watts
POWER_PERIOD_S = 1.0  # NVML's documentation: since Ampere, but for the GA100, power is a mean over a second
POWER_EVERY_S = 0.05
_SHARE_IN_GAPS = 0.1  # what the driver tells is a mean over more than a gap


def open_meter(
    device: str = "0", library: Any = None, clock: Clock = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Meter:
    """A GPU, by its number for NVML or its UUID (``GPU-...``).

    Raises:
        NoAnswer: there is no driver, no such GPU, or it tells neither energy nor power.
    """
    nvml = library or _library()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NoAnswer(f"NVML does not start: {error}") from error
    try:
        return _open(nvml, device, clock, sleep)
    except (nvml.NVMLError, ValueError) as error:
        nvml.nvmlShutdown()
        raise NoAnswer(f"NVML has no GPU {device}: {error}") from error
    except NoAnswer:
        nvml.nvmlShutdown()
        raise


def _library() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise NoAnswer("nvidia-ml-py is not installed: pip install 'edgelearn[gpu]'") from error
    return pynvml


def _open(nvml: Any, device: str, clock: Clock, sleep: Callable[[float], None]) -> Meter:
    by_uuid = device.startswith("GPU-")
    handle = nvml.nvmlDeviceGetHandleByUUID(device) if by_uuid else nvml.nvmlDeviceGetHandleByIndex(int(device))
    name = nvml.nvmlDeviceGetName(handle)
    of = f"GPU {device} ({name.decode() if isinstance(name, bytes) else name}), the card alone"

    def joules() -> float:
        return nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3

    def watts() -> float:
        return nvml.nvmlDeviceGetPowerUsage(handle) / 1e3

    try:
        period = _period(joules, clock, sleep)
        why = f"its energy counter stood still for {PATIENCE_S:g} s" if period is None else ""
    except nvml.NVMLError as error:
        period, why = None, f"its energy counter: {error}"
    if period is not None:
        source = f"NVML, energy counter of {of}"
        register = Register(source, joules, period, 1e-3)
        return Counter(NAME, source, (register,), (nvml.NVMLError,), None, clock, nvml.nvmlShutdown)
    try:
        watts()
    except nvml.NVMLError as error:
        raise NoAnswer(f"NVML tells neither energy nor power of {of} ({why}; its power: {error})") from error
    source = f"NVML, power of {of}, a mean over up to a second, integrated ({why})"
    sensor = Sensor(source, POWER_PERIOD_S, POWER_EVERY_S, 1e-3, _SHARE_IN_GAPS)
    return Sampler(NAME, sensor, watts, (nvml.NVMLError,), clock, nvml.nvmlShutdown)


def _period(joules: Callable[[], float], clock: Clock, sleep: Callable[[float], None]) -> float | None:
    """How often the counter advances, which no document says; None: it does not."""
    seen, changed = joules(), []
    began = clock()
    while len(changed) <= CHANGES and clock() - began < PATIENCE_S:
        sleep(0.001)
        if (now := joules()) != seen:
            seen = now
            changed.append(clock())
    if len(changed) < 2:
        return None
    return (changed[-1] - changed[0]) / (len(changed) - 1)
