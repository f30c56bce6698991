"""What a meter on the bench recorded: a CSV with times and power, or current and voltage.

A Power Profiler Kit's program writes such a file when its recording is over: ``ppk2:FILE`` waits for it. Its times are either seconds since
1970 (or dates), and then this computer's clock says which rows belong to a window; or they begin anywhere, and then a digital channel, high
while the board learns, says it.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import TextIO

import numpy as np

from edgelearn.energy.meter import Clock, Mark, NoAnswer, Reading, clock_jumped
from edgelearn.energy.sampling import Sensor, integrate, jumped_back
from edgelearn.errors import ConfigError, UsageError

NAME, PPK2 = "csv", "ppk2"
SINCE_1970_S = 1e9  # later times are dates of this century; no recording takes thirty years
PATIENCE_S = 600.0  # for a file that is written when all is over
SETTLED_S = 1.0  # without growing: it is whole
MARKER_AGREES = 0.05  # by what share of the window the marker's length may differ from ours
_COLUMN = re.compile(r"\s*([a-z][a-z0-9]*)\s*[(\[_ ]?\s*([a-zµμ]*)\s*[)\]]?\s*")
_NAMES = {
    "time": ("timestamp", "time", "t", "unix", "date"),
    "power": ("power", "p"),
    "current": ("current", "i"),
    "voltage": ("voltage", "volts", "v", "u"),
}
_UNITS = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "power": {"w": 1.0, "mw": 1e-3, "uw": 1e-6, "nw": 1e-9},
    "current": {"a": 1.0, "ma": 1e-3, "ua": 1e-6, "na": 1e-9},
    "voltage": {"v": 1.0, "mv": 1e-3, "uv": 1e-6},
}
_HINT = "Name the columns as in: time(s),power(W); or Timestamp(ms),Current(uA) with volts=3.0."


@dataclass(frozen=True)
class Options:
    """``csv:FILE[,volts=V][,marker=COLUMN]``, or ``ppk2:`` with the same.

    Attributes:
        volts: of the supply, where the file has no voltage.
        later: the file comes when all is over.
    """

    path: Path
    volts: float | None = None
    marker: str = ""
    later: bool = False


@dataclass(frozen=True)
class Recording:
    """A file as read: seconds, watts, and the marker, if there is one."""

    times: Sequence[float]
    watts: Sequence[float]
    high: Sequence[bool]

    @property
    def dated(self) -> bool:
        """Are its times seconds since 1970?"""
        return self.times[0] > SINCE_1970_S


def options(text: str, name: str = NAME) -> Options:
    """Reads what stands after ``csv:`` or ``ppk2:``.

    Raises:
        UsageError: there is no file, or an option is unknown, or no number.
    """
    file, *rest = text.split(",")
    given = {part.partition("=")[0]: part.partition("=")[2] for part in rest}
    if not file and name == PPK2:
        hint = "Record with Nordic's program and name the file that it will export: ppk2:FILE,volts=3.0,marker=D0."
        raise UsageError("edgelearn does not drive a Power Profiler Kit.", hint)
    if not file or not given.keys() <= {"volts", "marker"}:
        hint = f"Write {name}:FILE, {name}:FILE,volts=3.0 or {name}:FILE,marker=D0."
        raise UsageError(f"'{name}:{text}' names no file of a meter.", hint)
    try:
        volts = float(given["volts"]) if "volts" in given else None
    except ValueError:
        raise UsageError(f"volts={given['volts']} is no voltage.", "Write volts=3.0.") from None
    if volts is not None and not 0 < volts < 1000:
        raise UsageError(f"volts={volts:g} is no voltage of a supply.", "Give it in volts: volts=3.0.")
    return Options(Path(file).expanduser(), volts, given.get("marker", ""), name == PPK2)


class External:
    """A file that a meter's own program writes while we measure.

    Raises:
        ConfigError: it is not there, or has not the columns.
    """

    def __init__(
        self,
        given: Options,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = PPK2 if given.later else NAME
        self._given, self._clock, self._wall, self._sleep = given, clock, wall, sleep
        self._recording: Recording | None = None
        self._window: tuple[Mark, Mark] | None = None
        self._late = False  # it was waited for in vain
        self.source = f"{given.path.name}, recorded by a meter of the bench"
        if given.later and given.path.exists():
            hint = "Name a file that is not there yet; edgelearn waits until it is exported."
            raise ConfigError(f"{given.path} is there already: it cannot hold what is measured now.", hint)
        if not given.later:
            with _opened(given.path) as lines:
                _columns(given, next(csv.reader(lines), []))

    @property
    def wants_marker(self) -> bool:
        """Does a pin that is high while the board learns say which rows are meant?"""
        return bool(self._given.marker)

    def mark(self) -> Mark:
        return Mark(self._clock(), self._wall())

    def marked(self, begin: Mark, end: Mark) -> None:
        """This is the window in which the marker is high."""
        self._window = (begin, end)

    def close(self) -> None:
        """The meter's program goes on; there is nothing of ours to stop."""

    def between(self, begin: Mark, end: Mark) -> Reading:
        if self._given.later and not self._recording and not self._arrived():
            reason = f"{self._given.path} was not exported within {PATIENCE_S:g} s"
            return Reading(None, end.at - begin.at, self.source, reason=reason)
        found = self._recording = self._recording or read(self._given)
        period = float(np.median(np.diff(found.times)))
        blank = Reading(None, end.at - begin.at, self.source, period)
        if reason := clock_jumped(begin, end):
            return blank.without(reason)
        try:
            shift = self._shift(found, period)
        except NoAnswer as error:
            return blank.without(str(error))
        first = begin.wall + shift
        return integrate(Sensor(self.source, period), found.times, found.watts, first, first + blank.seconds)

    def trace(self, begin: Mark, end: Mark) -> list[tuple[float, float]]:
        """Its rows, in seconds since ``begin``; none where it is not known which ones they are."""
        if (found := self._recording) is None:
            return []
        try:
            first = begin.wall + self._shift(found, float(np.median(np.diff(found.times))))
        except NoAnswer:
            return []
        last = first + end.at - begin.at
        return [(t - first, w) for t, w in zip(found.times, found.watts, strict=True) if first <= t <= last]

    def _arrived(self) -> bool:
        """Waits for a file that is exported when all is over, and until it grows no more; once."""
        size, give_up = 0, self._clock() + (0.0 if self._late else PATIENCE_S)
        while self._clock() < give_up:
            self._sleep(SETTLED_S)
            before, size = size, self._given.path.stat().st_size if self._given.path.exists() else 0
            if size and size == before:
                return True
        self._late = True
        return False

    def _shift(self, found: Recording, period: float) -> float:
        """What is to be added to this computer's time to get the file's."""
        if self._given.marker:
            return self._by_marker(found, period)
        if not found.dated:
            raise NoAnswer(
                "its times are not dates, and no marker says where the window begins: csv:FILE,marker=COLUMN"
            )
        return 0.0

    def _by_marker(self, found: Recording, period: float) -> float:
        if self._window is None:
            raise NoAnswer("no window was marked")
        begin, end = self._window
        seconds = end.at - begin.at
        pulses = [(a, b) for a, b in _pulses(found) if abs(b - a - seconds) <= MARKER_AGREES * seconds + 2 * period]
        if len(pulses) != 1:
            raise NoAnswer(
                f"{self._given.marker} was {len(pulses)} times high for the {seconds:.3g} s that learning took"
            )
        return pulses[0][0] - begin.wall


def _pulses(found: Recording) -> Iterator[tuple[float, float]]:
    """From each rising edge to the falling one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], found.high, [False])).astype(int)))
    for rise, fall in zip(edges[::2], edges[1::2], strict=True):
        yield found.times[rise], found.times[min(fall, len(found.times) - 1)]


# --- the file -----------------------------------------------------------------------------------------------------------------------


def read(given: Options) -> Recording:
    """The whole file.

    Raises:
        ConfigError: it cannot be read, has not the columns, or its clock jumps back; the line is named.
    """
    times: list[float] = []
    watts: list[float] = []
    high: list[bool] = []
    with _opened(given.path) as lines:
        rows = csv.reader(line for line in lines if line.endswith("\n"))  # the last may be half written
        columns = _columns(given, next(rows, []))
        for row in rows:
            if not row:
                continue  # an empty line
            try:
                times.append(columns.time(row))
                watts.append(columns.watts(row))
                high.append(columns.high(row))
            except (ValueError, IndexError) as error:
                raise ConfigError(f"{given.path}, line {rows.line_num}: {error}.", "Take the line out.") from None
    if len(times) < 2:
        raise ConfigError(
            f"{given.path} has fewer than two rows of numbers.", "Let the meter record while edgelearn runs."
        )
    if (back := jumped_back(times)) is not None:
        problem = f"{given.path}, row {back + 1}: the clock jumps back by {times[back - 1] - times[back]:.3g} s."
        raise ConfigError(problem, "Record again, with the meter's clock left alone.")
    return Recording(times, watts, high)


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="", errors="replace")
    except OSError as error:
        hint = "Have the meter's program write it while edgelearn runs; start that first."
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", hint) from error


@dataclass(frozen=True)
class _Columns:
    """Where the figures of a row stand: what -> (index, what one unit is worth)."""

    names: Sequence[str]
    at: Mapping[str, tuple[int, float]]
    volts: float | None
    marker: int | None

    def time(self, row: Sequence[str]) -> float:
        index, unit = self.at["time"]
        try:
            found = float(row[index]) * unit
        except ValueError:
            return datetime.fromisoformat(row[index].strip()).timestamp()
        if not isfinite(found):
            raise ValueError(f"{row[index]} is no time")
        return found

    def watts(self, row: Sequence[str]) -> float:
        if "power" in self.at:
            return self._number(row, "power")
        volts = self._number(row, "voltage") if "voltage" in self.at else self.volts
        assert volts is not None
        return self._number(row, "current") * volts

    def high(self, row: Sequence[str]) -> bool:
        return self.marker is not None and float(row[self.marker]) > 0.5

    def _number(self, row: Sequence[str], what: str) -> float:
        index, unit = self.at[what]
        return float(row[index]) * unit


def _columns(given: Options, header: Sequence[str]) -> _Columns:
    """Which column is what.

    Raises:
        ConfigError: there is no time, no power, or no such marker.
    """
    at: dict[str, tuple[int, float]] = {}
    for index, name in enumerate(header):
        for what, unit in _meaning(name):
            at.setdefault(what, (index, unit))
    have = ", ".join(name.strip() for name in header) or "nothing"
    if "time" not in at:
        raise ConfigError(f"{given.path} has no column of times; it has {have}.", _HINT)
    if "power" not in at and "current" not in at:
        raise ConfigError(f"{given.path} has no column of power or current; it has {have}.", _HINT)
    if "power" not in at and "voltage" not in at and given.volts is None:
        hint = f"Say what the supply is: csv:{given.path},volts=3.0."
        raise ConfigError(f"{given.path} has current and no voltage.", hint)
    names = [name.strip() for name in header]
    if given.marker and given.marker not in names:
        problem = f"{given.path} has no column {given.marker}; it has {have}."
        raise ConfigError(problem, "Export the digital channels as columns of their own.")
    return _Columns(names, at, given.volts, names.index(given.marker) if given.marker else None)


def _meaning(name: str) -> Iterator[tuple[str, float]]:
    """What a column of that name is, and its unit; a name without a unit is in seconds, watts, amperes, volts."""
    match = _COLUMN.fullmatch(name.lower())
    if match is None:
        return
    word, unit = match[1], match[2].replace("µ", "u").replace("μ", "u")
    for what, words in _NAMES.items():
        if word in words and (not unit or unit in _UNITS[what]):
            yield what, _UNITS[what].get(unit, 1.0)
