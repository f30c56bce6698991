"""Which meter is to be asked: the one that the user names, or the first that answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgelearn.energy import external, ina3221, nvml, rapl, telemetry
from edgelearn.energy.meter import Clock, Meter, Mute, NoAnswer
from edgelearn.errors import UsageError

AUTO, NONE = "auto", "none"
BUILT_IN = (nvml.NAME, ina3221.NAME, rapl.NAME)  # meters that come with a computer, and measure it
CHOICES = (AUTO, telemetry.NAME, *BUILT_IN, "csv:FILE", "ppk2:FILE", NONE)


@dataclass(frozen=True)
class Place:
    """What is to be measured, as far as it matters to meters.

    Attributes:
        meters: those of ``BUILT_IN`` that measure it, the best first.
        otherwise: why the others do not, as the end of a sentence that begins with a meter's name.
        gpu: which GPU, for NVML.
        root: where sysfs is.
        ask: asks the board for what its own meter has counted; None: there is no board to ask.
    """

    meters: Sequence[str]
    otherwise: str
    gpu: str = "0"
    root: Path = Path("/")
    ask: telemetry.Ask | None = None


@dataclass(frozen=True)
class Tried:
    """A meter that was asked, and why it does not serve; empty if it does."""

    meter: str
    reason: str


def choose(wanted: str, place: Place, clock: Clock = time.monotonic) -> tuple[Meter, tuple[Tried, ...]]:
    """The meter for a word of ``CHOICES`` (``nvml`` and ``ina3221`` may name a GPU or a rail after a colon), and what was tried for it.

    A meter that does not answer is no error: what comes back then tells nothing but the reason.

    Raises:
        UsageError: there is no such meter. ConfigError: the file has not what it needs.
    """
    name, _, detail = wanted.partition(":")
    if wanted == NONE:
        return Mute(NONE, "no meter was asked for", clock=clock), ()
    if name in (external.NAME, external.PPK2):
        return external.External(external.options(detail, name), clock), (Tried(name, ""),)
    if wanted == AUTO:
        return _first(place, clock)
    if name not in _OPEN or (detail and name in (rapl.NAME, telemetry.NAME)):
        raise UsageError(f"There is no meter '{wanted}'.", f"Choose one of: {', '.join(CHOICES)}.")
    return _asked([(name, detail)], place, clock)


def _first(place: Place, clock: Clock) -> tuple[Meter, tuple[Tried, ...]]:
    """The board's own meter comes first: it measures the board, and nothing else."""
    own = [telemetry.NAME] if place.ask else []
    others = [name for name in BUILT_IN if name not in place.meters]
    return _asked([(name, "") for name in (*own, *place.meters, *others)], place, clock)


def _asked(wanted: Sequence[tuple[str, str]], place: Place, clock: Clock) -> tuple[Meter, tuple[Tried, ...]]:
    tried: list[Tried] = []
    for name, detail in wanted:
        try:
            if name in BUILT_IN and name not in place.meters:
                raise NoAnswer(place.otherwise)
            meter = _OPEN[name](detail, place, clock)
        except NoAnswer as error:
            tried.append(Tried(name, str(error)))
        else:
            return meter, (*tried, Tried(name, ""))
    told = tried[0].reason if len(tried) == 1 else "; ".join(f"{t.meter}: {t.reason}" for t in tried)
    return Mute(wanted[0][0] if len(wanted) == 1 else NONE, told, clock=clock), tuple(tried)


def _telemetry(place: Place, clock: Clock) -> Meter:
    if place.ask is None:
        raise NoAnswer("what learns is no board at the end of a line, that could have one")
    return telemetry.open_meter(place.ask, clock)


_OPEN: dict[str, Callable[[str, Place, Clock], Meter]] = {
    telemetry.NAME: lambda detail, place, clock: _telemetry(place, clock),
    nvml.NAME: lambda detail, place, clock: nvml.open_meter(detail or place.gpu, clock=clock),
    ina3221.NAME: lambda detail, place, clock: ina3221.open_meter(detail, place.root, clock),
    rapl.NAME: lambda detail, place, clock: rapl.open_meter(place.root, clock),
}
