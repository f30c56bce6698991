"""What a sample costs in work: multiplications, counted from the plan, and instructions, where somebody has counted them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgelearn.bench.instructions import PLANS, TASKS
from edgelearn.report import charts
from edgelearn.report.again import Again
from edgelearn.report.charts import Part
from edgelearn.report.markup import Markup, tag
from edgelearn.report.stored import Stored, number
from edgelearn.report.words import NONE, count, figure, note, percent, section, table

KEY = "instructions"  # of a run's result: the object that `edgelearn bench instructions --json` prints
RULE = "mono-forward"  # of which the bench counts
_MULTIPLICATIONS = "Multiplications with weights for one sample, counted from the plan, skipped updates too: neither instructions nor time."


def work(stored: Stored, again: Again | str) -> Markup | None:
    """Where a sample's multiplications and instructions go; None where nothing can be said of either."""
    parts = [*_multiplications(again), *_instructions(stored)]
    return section("Work of a sample", *parts) if parts else None


def _multiplications(again: Again | str) -> Iterator[Markup]:
    if isinstance(again, str) or not again.macs:
        return
    infer, learn = sum(row[1] for row in again.macs), sum(row[2] for row in again.macs)
    rows = [(name, f"{i:,}", f"{n:,}", percent(n / learn) if learn else "-") for name, i, n in again.macs]
    rows.append(("all", f"{infer:,}", f"{learn:,}", "100.0 %"))
    colours = {name: f"s{i % charts.COLOURS}" for i, (name, _, _) in enumerate(again.macs)}
    bars = (
        part
        for title, column in (("to learn", 2), ("to infer", 1))
        for part in (
            tag("p", title, class_="barname"),
            _bar([Part(row[0], int(row[column]), colours[row[0]]) for row in again.macs], max(infer, learn), title),
        )
    )
    legend = charts.legend([(colour, name) for name, colour in list(colours.items())[: charts.COLOURS]])
    shown = table(("operation", "to infer", "to learn", "of learning"), rows, (1, 2, 3))
    yield figure(_MULTIPLICATIONS, *bars, legend, shown)


def _bar(parts: Sequence[Part], whole: int, title: str) -> Markup:
    return charts.bar([part for part in parts if part.nbytes], whole, f"Multiplications {title}", "")


# --- instructions -------------------------------------------------------------------------------------------------------------------


def _instructions(stored: Stored) -> Iterator[Markup]:
    rows = [row for row in stored.objects(KEY, "rows") if row.get("name") == _row_name(stored)]
    if not rows:
        yield note("Instructions of a sample: not counted. ", _remedy(stored))
        return
    (row, *_), board = rows, stored.text(KEY, "board") or NONE
    lines = [(name, count(number(row.get(key)))) for name, key in _COUNTS.items()]
    yield figure(_caption(stored, row, board), table(("a sample", "instructions"), lines, (1,)))


_COUNTS = {
    "to learn, in the first pass": "train_epoch1", "to learn, mean of all passes": "train_mean",
    "to learn, in the last pass": "train", "to infer": "infer",
}  # fmt: skip


def _caption(stored: Stored, row: dict[str, Any], board: str) -> str:
    other = "" if board == stored.run.board else f" This run was on {stored.run.board}."
    compiler = stored.text(KEY, "compiler")
    with_it = f", compiled with {compiler}" if compiler else ""
    return (
        f"Guest instructions of a sample on {board} in QEMU{with_it}: neither cycles nor time. Counted by edgelearn bench instructions "
        f"on this net with its own samples, rates and gate, not with this run's.{other} A closed gate skips work: later passes take fewer."
    )


def _row_name(stored: Stored) -> str:
    return next((name for name, dtype in PLANS.items() if dtype == stored.run.dtype), "")


def countable(stored: Stored) -> bool:
    """Does the bench have this net?"""
    first, *rest = stored.net.split("-")
    return stored.rule == RULE and first.isdigit() and int(first) in TASKS and all(part.isdigit() for part in rest)


def _remedy(stored: Stored) -> str | Markup:
    if not countable(stored):
        known = " or ".join(map(str, TASKS))
        return f"The bench counts {RULE} on dense nets of {known} inputs."
    command = f"edgelearn bench instructions --net {stored.net} -o counts.json"
    return tag("code", f"{command}; edgelearn report {stored.run.id} --instructions counts.json")
