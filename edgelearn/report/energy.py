"""What a run costs in energy. It is here only where somebody has measured; what was not measured says why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from edgelearn.report import charts
from edgelearn.report.charts import Phase, Span
from edgelearn.report.markup import Markup, tag
from edgelearn.report.stored import Stored, number
from edgelearn.report.words import figure, note, section, table
from edgelearn.report.words import number as shown

KEY = "profile"  # of a run's result: the object that `edgelearn profile --json` prints
MIN_POINTS, MAX_POINTS = 3, 10_000  # of a trace that is drawn
_READINGS = (
    "Each reading with its meter, the meter's period and the standard uncertainty by sampling and resolution. "
    "A dash is no zero: it was not measured. Idle power is not subtracted."
)
_SAMPLE = "A phase's figures, shared out evenly over its samples. An estimate, from the data sheet, is no measurement."


def energy(stored: Stored) -> Markup | None:
    """The phases of a profile, with the source and the uncertainty of each reading; None where the run has no profile."""
    phases = stored.objects(KEY, "phases")
    if not phases:
        return None
    whole = [phase for phase in phases if phase.get("within") is None]
    heads = ("phase", "time", "energy", "+-", "mean power", "largest", "source", "period")
    rows = [_row(phase) for phase in phases]
    emulated = (
        note("The board was emulated: its times are this computer's.") if stored.at(KEY, "emulated") is True else None
    )
    parts = (
        emulated,
        *_trace(stored, whole),
        _power(whole),
        figure(_READINGS, table(heads, rows, (1, 2, 3, 4, 5, 7), "phases")),
        *_reasons(phases),
        *_samples(stored),
    )
    return section("Energy and time by phase", *parts)


def _row(phase: dict[str, Any]) -> tuple[str, ...]:
    name = _text(phase, "name") + (f" (in {_text(phase, 'within')})" if phase.get("within") else "")
    cells = (("seconds", "s"), ("joules", "J"), ("sigma", "J"), ("watts", "W"), ("peak_w", "W"))
    return name, *(_value(phase, *cell) for cell in cells), _text(phase, "source"), _value(phase, "period_s", "s")


def _value(of: dict[str, Any], key: str, unit: str) -> str:
    found = number(of.get(key))
    return "-" if found is None else shown(found, unit)


def _text(of: dict[str, Any], key: str) -> str:
    found = of.get(key)
    return found if isinstance(found, str) and found else "-"


def _reasons(phases: Sequence[dict[str, Any]]) -> Iterator[Markup]:
    """Why there are no joules, each reason once."""
    named: dict[str, list[str]] = {}
    for phase in phases:
        if number(phase.get("joules")) is None:
            named.setdefault(_text(phase, "reason"), []).append(_text(phase, "name"))
    for reason, names in named.items():
        yield note(f"No energy of {', '.join(names)}: {reason}.")


def _power(phases: Sequence[dict[str, Any]]) -> Markup | None:
    """Mean power over time, a phase after the other."""
    drawn = [
        Phase(_text(phase, "name"), seconds, number(phase.get("watts")))
        for phase in phases
        if (seconds := number(phase.get("seconds"))) is not None and seconds > 0
    ]
    if not drawn:
        return None
    measured = any(phase.watts is not None for phase in drawn)
    caption = (
        "Mean power of each phase over time. A pale strip: its power was not measured."
        if measured
        else "Time of each phase; no power was measured."
    )
    return figure(caption, charts.phases(drawn, caption))


def _trace(stored: Stored, phases: Sequence[dict[str, Any]]) -> Iterator[Markup]:
    """Power as the meter has sampled it, with the phases marked."""
    points = list(_points(stored.at(KEY, "trace", "points")))
    if len(points) < MIN_POINTS:
        if reason := stored.text(KEY, "trace_reason"):
            yield note(f"No power over time: {reason}.")
        return
    spans = [
        Span(_text(phase, "name"), at, at + seconds)
        for phase in phases
        if (at := number(phase.get("at"))) is not None
        and (seconds := number(phase.get("seconds"))) is not None
        and seconds > 0
    ]
    source, period = stored.text(KEY, "trace", "source"), stored.number(KEY, "trace", "period_s")
    each = "" if period is None else f", a value each {shown(period, 's')}"
    caption = f"Power over time, with the phases marked. Meter: {source or '-'}{each}; where it has very many values, means of neighbours."
    yield figure(caption, charts.trace(points, spans, "Power over time"))


def _points(found: object) -> Iterator[tuple[float, float]]:
    """What of a list can be (seconds, watts), in order."""
    last = -math.inf
    for pair in found[:MAX_POINTS] if isinstance(found, list) else ():
        at, watts = (number(pair[0]), number(pair[1])) if isinstance(pair, list) and len(pair) == 2 else (None, None)
        if at is not None and watts is not None and at > last:
            last = at
            yield at, watts


def _samples(stored: Stored) -> Iterator[Markup]:
    rows = [
        (name, _value(found, "seconds", "s"), _value(found, "board_s", "s"), _value(found, "joules", "J"),
         _value(found, "sigma", "J"), _estimate(found.get("estimate")))
        for name in ("learn", "infer")
        if isinstance(found := stored.at(KEY, "per_sample", name), dict)
    ]  # fmt: skip
    if rows:
        heads = ("a sample", "time, link included", "on the board", "energy", "+-", "energy, estimate")
        yield figure(_SAMPLE, table(heads, rows, (1, 2, 3, 4, 5)))


def _estimate(found: object) -> str | Markup:
    """By the data sheet, with its page."""
    if not isinstance(found, dict) or number(found.get("joules")) is None:
        return "-"
    return tag("span", f"{_value(found, 'joules', 'J')} (estimate: {_text(found, 'reference')})")
