"""How long a user waits before anything happens: wall time of whole process starts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

COMMANDS = {
    "edgelearn --help": (("-m", "edgelearn.cli", "--help"), 0.150),
    "import edgelearn": (("-c", "import edgelearn"), 0.10),
    "python alone": (("-c", "pass"), None),
}


@dataclass(frozen=True)
class Row:
    """``seconds`` is the median over ``starts``; ``budget`` the most that it may be, None: for comparison only."""

    name: str
    seconds: float
    starts: int
    budget: float | None


def run(starts: int) -> list[Row]:
    """Starts every command ``starts`` times, in turn, so that a busy moment meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(starts):
        for name, (arguments, _) in COMMANDS.items():
            times[name].append(_seconds(arguments))
    return [Row(name, median(times[name]), starts, budget) for name, (_, budget) in COMMANDS.items()]


def _seconds(arguments: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
