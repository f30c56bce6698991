"""``edgelearn report``: runs as one page that opens anywhere, without a network and without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgelearn import exporting
from edgelearn.errors import UsageError
from edgelearn.report import again, charts, page, stored
from edgelearn.runs import RunStore

STORED_ONLY = "the report was asked for with what is stored only."


@dataclass(frozen=True)
class Written:
    """A report: its file, the runs in it, and what could not be said of them."""

    file: Path
    nbytes: int
    runs: tuple[str, ...]
    notes: tuple[str, ...]


def report(
    runs: Sequence[str], file: str | Path = "report.html", store: RunStore | None = None, stored_only: bool = False
) -> Written:
    """Writes the report of ``runs`` (ids, or beginnings of such) to ``file``.

    Args:
        stored_only: compile nothing, and test nothing: show what the store has.

    Raises:
        UsageError: none, or too many to tell apart, or one of them twice. ConfigError: there is no such run.
        StorageFullError: the file cannot be written; nothing has changed then.
    """
    if store is None:
        with RunStore() as own:
            return report(runs, file, own, stored_only)
    read = [stored.read(store, name) for name in runs]
    _check([item.run.id for item in read])
    known = [(item, STORED_ONLY if stored_only else again.compiled(item)) for item in read]
    raw = page.page(known, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    exporting.write({Path(file): raw})
    notes = tuple(f"{item.run.id}: {found}" for item, found in known if isinstance(found, str) and not stored_only)
    return Written(Path(file), len(raw), tuple(item.run.id for item in read), notes)


def _check(ids: Sequence[str]) -> None:
    if not ids:
        raise UsageError("Nothing says which run to report.", "Name one; `edgelearn runs` lists them.")
    if len(ids) > charts.COLOURS:
        raise UsageError(f"{len(ids)} runs are too many to tell apart on one page.", f"Name up to {charts.COLOURS}.")
    if len(set(ids)) < len(ids):
        twice = next(run for run in ids if ids.count(run) > 1)
        raise UsageError(f"Run {twice} is named twice.", "Name each run once.")
