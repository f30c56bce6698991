"""A table of rows for a page, and rows back from a file that ``edgelearn bench accuracy -o`` wrote, by this version or an older one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgelearn.bench.accuracy import Row
from edgelearn.bench.methods import STOPPING
from edgelearn.data.files import damaged

COLUMNS = (
    "accuracy", "std", "seeds", "passes", "batch", "numbers", "time", "RAM, bytes", "published", "gap",
)  # fmt: skip
# What files from before these keys were written do not say: then everything ran in the C core, sample by sample.
_BEFORE: dict[str, Any] = {
    "seed_numbers": [], "rule": "", "net": "", "dtype": "", "engine": "core", "batch": 1, "optimizer": "sgd",
    "ram_of": "device", "stopping": STOPPING, "rate_by": "", "source": None, "against": None, "gap": None,
}  # fmt: skip


def markdown(case: str, rows: Sequence[Row], note: str = "") -> str:
    """The rows as a table for a page, with what its figures mean and where the published ones are from."""
    lines = [f"| {' | '.join((case, *COLUMNS))} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [f"| {' | '.join((row.name, *cells(row)))} |" for row in rows]
    return "\n".join([*lines, "", *remarks(rows, note)]) + "\n"


def cells(r: Row) -> tuple[str, ...]:
    """A row under ``COLUMNS``."""
    published = "" if r.published is None else f"{100 * r.published:.2f}"
    gap = "" if r.gap is None else f"{100 * r.gap:+.2f}"
    ram = f"{r.ram:,}" + (" (host)" if r.ram_of == "host" else "")
    numbers = f"{r.dtype}, {r.engine}" if r.dtype else r.engine
    return (
        f"{100 * r.mean:.2f}", f"{100 * r.std:.2f}" if len(r.seeds) > 1 else "", str(len(r.seeds)), f"{r.passes:g}", str(r.batch), numbers,
        _time(r.seconds), ram, published, gap,
    )  # fmt: skip


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def remarks(rows: Sequence[Row], note: str) -> list[str]:
    """What a reader of the figures must know."""
    stops = sorted({row.stopping for row in rows})
    found = [
        f"Accuracy in %, on the test set, {' or '.join(stops)}; std between seeds; time of one training on this computer.",
        'RAM is state and arena of the device; "host": weights and one sample\'s values here.',
    ]
    against = dict.fromkeys(row.against for row in rows if row.gap is not None and row.against)
    if against:
        found.append(f"gap: percentage points above {', '.join(against)}.")
    untuned = [row.name for row in rows if row.rate_by == "untuned"]
    if untuned:
        found.append(f"Rates not chosen on a validation split: {', '.join(untuned)}.")
    sources = dict.fromkeys(f"{row.name}: {row.source}" for row in rows if row.source)
    return [*found, *([note] if note else []), *(f"Published, {source}." for source in sources)]


def read(path: Path) -> tuple[str, list[Row]]:
    """Name of the case and its rows, from a file of JSON.

    Raises:
        ConfigError: it is none of ours.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        source = told.get("published_source")
        before = [{**_BEFORE, "source": source if row["published"] else None} for row in told["rows"]]
        return str(told["case"]), [_row({**old, **row}) for old, row in zip(before, told["rows"], strict=True)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, error) from error


def _row(told: dict[str, Any]) -> Row:
    missing = [f.name for f in fields(Row) if f.name not in told]
    if missing:
        raise ValueError(f"a row has no '{missing[0]}'")
    return Row(**{f.name: told[f.name] for f in fields(Row)})
