"""RAPL: what Intel's and AMD's processors count themselves, by the kernel's powercap (Documentation/power/powercap/powercap.rst).

Only whole packages are counted. Their parts (core, uncore, dram) lie in them or beside them, depending on the processor, and psys has
packages in it: none of these is ever added.
"""

from __future__ import annotations

import time
from pathlib import Path

from edgelearn.energy.counting import Counter, Register
from edgelearn.energy.meter import Clock, NoAnswer

NAME = "rapl"
PERIOD_S = 0.001  # Intel's Software Developer's Manual, volume 3B, "RAPL Interfaces": about a millisecond
RESOLUTION_J = 61e-6  # the same: 2^-14 J on most processors
HOTTEST_W = 2000.0  # of a package, far beyond any: how soon a counter may wrap
_ZONES = "sys/class/powercap/intel-rapl:[0-9]*"  # AMD's too


def open_meter(root: Path = Path("/"), clock: Clock = time.monotonic) -> Counter:
    """The packages of this computer's processors.

    Raises:
        NoAnswer: there is no powercap, or its counters may not be read.
    """
    found = [(folder, _text(folder / "name")) for folder in sorted(root.glob(_ZONES)) if folder.name.count(":") == 1]
    packages = [(folder, name) for folder, name in found if name.startswith("package")]
    if not packages:
        raise NoAnswer("this computer has no /sys/class/powercap/intel-rapl with a processor package in it")
    source = (
        f"RAPL, {' + '.join(name for _, name in packages)} of this computer: neither its memory nor anything else in it"
    )
    registers = tuple(_register(folder, source) for folder, _ in packages)
    soonest = min(register.range_j or 0.0 for register in registers) / HOTTEST_W
    return Counter(NAME, source, registers, watch_s=max(0.1, soonest / 2), clock=clock)


def _register(folder: Path, source: str) -> Register:
    def read() -> float:
        return int((folder / "energy_uj").read_text()) / 1e6

    try:
        read()
        reach = int((folder / "max_energy_range_uj").read_text()) / 1e6
    except PermissionError as error:
        raise NoAnswer(
            f"only root may read {folder}/energy_uj: sudo chmod a+r /sys/class/powercap/*/energy_uj"
        ) from error
    except (OSError, ValueError) as error:
        raise NoAnswer(f"{folder} cannot be read: {error}") from error
    return Register(source, read, PERIOD_S, RESOLUTION_J, reach)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
