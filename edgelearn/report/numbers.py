"""Is a run well? What was found wrong with it, how often its numbers were too small for its values, and its exponents."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgelearn.health import MIN_WINDOW, window
from edgelearn.ir.core import Slot
from edgelearn.report import charts, learning
from edgelearn.report.again import Again
from edgelearn.report.blocks import PREFIXES
from edgelearn.report.charts import Line
from edgelearn.report.markup import Markup, join, tag
from edgelearn.report.stored import Stored
from edgelearn.report.words import figure, note, number, section, share, table, warning
from edgelearn.runs import RIGHT
from edgelearn.start import Start

MAX_SLOTS = 300
MAX_OTHERS = 12
SHARES = {
    "saturation": "values at the limit",
    "weights_at_limit": "weights at the limit",
}
_SHARES = (
    "At each checkpoint, of the value and of the weight that have most of them: the share of elements that were as large as their numbers "
    "can be. Of values it is counted by the board over the newest window of samples, of weights read from the state."
)


def health(stored: Stored, again: Again | str) -> Markup:
    """What the run's record says of its numbers."""
    return section(
        "Numbers and health", *_findings(stored), _curves(stored), *_others(stored), *_exponents(stored, again)
    )


def _findings(stored: Stored) -> Iterator[Markup]:
    found = stored.objects("health")
    for item in found:
        yield warning(_sentence(item.get("message")), " ", _sentence(item.get("hint")), _when(item.get("steps")))
    if not found and isinstance(stored.at("health"), list):
        yield note("Nothing was found wrong at any checkpoint.")
    for sentence in stored.sentences("notes"):
        yield note("Note: ", sentence)


def _sentence(value: object) -> str:
    return value if isinstance(value, str) else ""


def _when(steps: object) -> str:
    if not isinstance(steps, list) or len(steps) != 2 or not all(isinstance(step, int) for step in steps):
        return ""
    return f" (steps {steps[0]:,} to {steps[1]:,})" if steps[0] != steps[1] else f" (step {steps[0]:,})"


def _curves(stored: Stored) -> Markup | None:
    found = [
        Line(name, curve, i)
        for i, (key, name) in enumerate(SHARES.items())
        if (curve := learning.shares(stored.metrics.get(key, ())))
    ]
    if not found:
        return None
    return figure(_SHARES, charts.lines(found, "Shares of elements at their limit", learning.percent_axis))


def _others(stored: Stored) -> Iterator[Markup]:
    """Readings that this page knows nothing of: drawn under the name that they were logged by."""
    known = {learning.CURVE, RIGHT, *SHARES}
    others = [
        (name, curve) for name, curve in stored.metrics.items() if name not in known and not name.startswith(PREFIXES)
    ]
    for name, curve in others[:MAX_OTHERS]:
        if all(value >= 0 for _, value in curve) and any(value for _, value in curve):
            yield figure(
                f"{name}, as the run has logged it.{_meant(stored, name)}",
                charts.lines([Line(name, curve)], name, number),
            )
        else:
            yield note(f"{name}: from {number(curve[0][1])} to {number(curve[-1][1])}, {len(curve):,} readings.")
    if len(others) > MAX_OTHERS:
        yield note(
            f"{len(others) - MAX_OTHERS:,} more sorts of readings are not drawn: edgelearn runs export has them."
        )


def _meant(stored: Stored, name: str) -> str:
    """What has become of readings that were too many to keep one by one."""
    width = stored.widths.get(name)
    return f" Older ones are kept as means of up to {width:,}." if width else ""


# --- exponents ----------------------------------------------------------------------------------------------------------------------


def _exponents(stored: Stored, again: Again | str) -> Iterator[Markup]:
    learnt = stored.learnt
    if learnt is None or learnt.layout.dtype == "f32":
        return
    slots = [slot for slot in learnt.layout.slots if slot.kind in ("weight", "moving")]
    rows = [_row(slot, stored, learnt, again) for slot in slots[:MAX_SLOTS]]
    heads = ("exponent of", "kind", "at first", "now", "elements at the limit")
    more = f" {len(slots) - MAX_SLOTS:,} more are not shown." if len(slots) > MAX_SLOTS else ""
    shown = figure(join(_caption(learnt, stored, again), more), table(heads, rows, (2, 3, 4)))
    yield tag("details", tag("summary", f"{len(slots)} exponents, and what is at its limit"), shown)


def _caption(learnt: Start, stored: Stored, again: Again | str) -> str:
    seen = _seen(learnt, again)
    told = f"A stored integer q means q times 2 to the exponent. State after step {learnt.snapshot.step:,}; "
    if seen < MIN_WINDOW:
        return f"{told}its window of statistics has seen {seen} samples, too few to say something of values."
    return f"{told}values: counted by the board in a window of {seen} samples."


def _seen(learnt: Start, again: Again | str) -> int:
    return window(learnt.snapshot, 0 if isinstance(again, str) else again.since)


def _row(slot: Slot, stored: Stored, learnt: Start, again: Again | str) -> tuple[str, str, str, str, str]:
    first = stored.at("exponents", slot.name)
    begin = f"{first[0]}" if isinstance(first, list) and first and isinstance(first[0], int) else "-"
    kind = f"weight, {slot.bits + 1} bits" if slot.kind == "weight" else "value"
    limit = _weights(slot, learnt) if slot.kind == "weight" else _values(slot, learnt, again)
    return slot.name, kind, begin, str(learnt.snapshot.exps[slot.name]), limit


def _weights(slot: Slot, learnt: Start) -> str:
    q = learnt.snapshot.tensors[f"@{slot.name}"]
    return share(float((np.abs(q.astype(np.int64)) >= (1 << slot.bits) - 1).mean()))


def _values(slot: Slot, learnt: Start, again: Again | str) -> str:
    """A share where it is known how many elements a sample has, else their count."""
    seen, counted = _seen(learnt, again), learnt.snapshot.stats[slot.name][0]
    elements = 0 if isinstance(again, str) else again.elements.get(slot.name, 0)
    if seen < MIN_WINDOW:
        return "-"
    return share(counted / (elements * seen)) if elements else f"{counted:,} in all"
