"""``edgelearn report``: runs as one page that opens anywhere, without a network and without a script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgelearn import exporting
from edgelearn.errors import ConfigError, UsageError
from edgelearn.report import again, charts, page, stored
from edgelearn.report.energy import KEY
from edgelearn.report.stored import Stored
from edgelearn.report.work import KEY as COUNTS
from edgelearn.report.work import RULE, countable
from edgelearn.runs import RunStore

_PROFILE = "edgelearn profile RUN --json > FILE"
_INSTRUCTIONS = "edgelearn bench instructions --net WIDTHS -o FILE"
STORED_ONLY = "the report was asked for with what is stored only."


@dataclass(frozen=True)
class Written:
    """A report: its file, the runs in it, and what could not be said of them."""

    file: Path
    nbytes: int
    runs: tuple[str, ...]
    notes: tuple[str, ...]


def report(
    runs: Sequence[str],
    file: str | Path = "report.html",
    store: RunStore | None = None,
    stored_only: bool = False,
    profile: str | Path | None = None,
    instructions: str | Path | None = None,
) -> Written:
    """Writes the report of ``runs`` (ids, or beginnings of such) to ``file``.

    Args:
        stored_only: compile nothing, and test nothing: show what the store has.
        profile: a file that `edgelearn profile RUN --json` printed, of the one run that is reported.
        instructions: a file that `edgelearn bench instructions -o` wrote; it is shown with the runs of its net.

    Raises:
        UsageError: none, or too many to tell apart, or one of them twice. ConfigError: there is no such run, or a file is none of it.
        StorageFullError: the file cannot be written; nothing has changed then.
    """
    if store is None:
        with RunStore() as own:
            return report(runs, file, own, stored_only, profile, instructions)
    read = [stored.read(store, name) for name in runs]
    _check([item.run.id for item in read])
    if profile is not None:
        read = [_profiled(read, Path(profile))]
    if instructions is not None:
        read = _counted(read, Path(instructions))
    known = [(item, STORED_ONLY if stored_only else again.compiled(item)) for item in read]
    raw = page.page(known, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    exporting.write({Path(file): raw})
    notes = tuple(f"{item.run.id}: {found}" for item, found in known if isinstance(found, str) and not stored_only)
    return Written(Path(file), len(raw), tuple(item.run.id for item in read), notes)


def _profiled(read: Sequence[Stored], file: Path) -> Stored:
    """The one run that is read, with its profile.

    Raises:
        UsageError: there are several. ConfigError: the file is no profile, or one of something else.
    """
    if len(read) != 1:
        raise UsageError(f"One profile cannot be of {len(read)} runs.", "Report one run with --profile.")
    (item,) = read
    found = _json(file, "phases", _PROFILE)
    ours = {"net": item.net, "rule": item.run.rule, "dtype": item.run.dtype}
    for key, value in ours.items():
        if found.get(key) != value:
            problem = f"The profile {file} is not of run {item.run.id}: its {key} is {str(found.get(key))[:60]!r}, not {value!r}."
            raise ConfigError(problem, f"Measure it: edgelearn profile {item.run.id} --json > {file}")
    return replace(item, result=item.result | {KEY: found})


def _counted(read: Sequence[Stored], file: Path) -> list[Stored]:
    """The runs, those of the file's net with its counts.

    Raises:
        ConfigError: it has no counts, or those of none of the runs.
    """
    found = _json(file, "rows", _INSTRUCTIONS)
    fits = [countable(item) and item.net == found.get("net") for item in read]
    if not any(fits):
        hint = f"Count them: edgelearn bench instructions --net {read[0].net} -o {file}"
        problem = f"The counts in {file} are of {str(found.get('net'))[:60]} and {RULE}, not of {read[0].net} and {read[0].rule}."
        raise ConfigError(
            problem, hint if countable(read[0]) else "Leave --instructions out: the bench does not count such a net."
        )
    return [
        replace(item, result=item.result | {COUNTS: found}) if fit else item
        for item, fit in zip(read, fits, strict=True)
    ]


def _json(file: Path, part: str, command: str) -> dict[str, Any]:
    """The object in a file that ``command`` has written; it has a list called ``part``."""
    hint = f"Write one with: {command}"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read {file}: {error.strerror}.", hint) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is no JSON.", hint) from error
    if not isinstance(found, dict) or not isinstance(found.get(part), list):
        raise ConfigError(f"{file} has no {part}.", hint)
    return found


def _check(ids: Sequence[str]) -> None:
    if not ids:
        raise UsageError("Nothing says which run to report.", "Name one; `edgelearn runs` lists them.")
    if len(ids) > charts.COLOURS:
        raise UsageError(f"{len(ids)} runs are too many to tell apart on one page.", f"Name up to {charts.COLOURS}.")
    if len(set(ids)) < len(ids):
        twice = next(run for run in ids if ids.count(run) > 1)
        raise UsageError(f"Run {twice} is named twice.", "Name each run once.")
