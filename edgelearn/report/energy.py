"""What a run has cost in energy. It is here only where something was read; what was not measured says why."""

from __future__ import annotations

from typing import Any

from edgelearn.report.markup import Markup
from edgelearn.report.stored import Stored, number
from edgelearn.report.words import figure, section, table
from edgelearn.report.words import number as shown

KEY = "profile"  # of a run's result: the object that `edgelearn profile --json` prints


def energy(stored: Stored) -> Markup | None:
    """The phases of a profile, with the source and the uncertainty of each reading; None where the run has no profile."""
    phases = stored.objects(KEY, "phases")
    if not phases:
        return None
    rows = [_row(phase) for phase in phases]
    caption = "Each reading with the meter that it is from, the meter's period and the standard deviation. A dash is no zero: it was not measured."
    heads = ("phase", "seconds", "joules", "+-", "source", "period", "why not")
    return section("Energy", figure(caption, table(heads, rows, (1, 2, 3, 5))))


def _row(phase: dict[str, Any]) -> tuple[str, ...]:
    def value(key: str, unit: str = "") -> str:
        found = number(phase.get(key))
        return "-" if found is None else shown(found, unit)

    def text(key: str) -> str:
        found = phase.get(key)
        return found if isinstance(found, str) and found else "-"

    return (
        text("name"), value("seconds", "s"), value("joules", "J"), value("sigma", "J"), text("source"),
        value("period_s", "s"), text("reason"),
    )  # fmt: skip
