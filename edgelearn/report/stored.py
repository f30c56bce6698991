"""What a run's record says, read with care: it may be of another version, unfinished, or anybody's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgelearn import restore, tomlfile
from edgelearn.errors import EdgeLearnError
from edgelearn.results import Evaluation
from edgelearn.runs import Checkpoint, Run, RunStore
from edgelearn.start import Start

MAX_NAME = 200
MAX_NUMBER = 1e18
MAX_CONFUSED = 1000  # classes
Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Stored:
    """One run as the store has it. ``result`` is empty where the run has none.

    ``learnt`` is the newest checkpoint with what its bytes mean; None where that is not known without compiling. ``widths`` says of
    readings how many logged ones an older one is the mean of, where that is more than one.
    """

    run: Run
    result: dict[str, object]
    metrics: dict[str, Curve]
    checkpoint: Checkpoint | None
    learnt: Start | None = None
    widths: dict[str, int] = field(default_factory=dict)

    def number(self, *path: str) -> float | None:
        """A finite number of the result; None where it has none there."""
        return number(self.at(*path))

    def count(self, *path: str) -> int | None:
        """The same as a whole number."""
        found = self.number(*path)
        return None if found is None else int(found)

    def text(self, *path: str) -> str | None:
        """A text of the result, cut to the length of a name; None where it has none there."""
        found = self.at(*path)
        return found[:MAX_NAME] if isinstance(found, str) and found else None

    def at(self, *path: str) -> object:
        """Whatever the result has there; None where it has nothing."""
        found: object = self.result
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def sentences(self, *path: str) -> list[str]:
        """A list of texts of the result."""
        found = self.at(*path)
        return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []

    def objects(self, *path: str) -> list[dict[str, Any]]:
        """A list of objects of the result."""
        found = self.at(*path)
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []

    @property
    def step(self) -> int | None:
        """How far it came: the newest thing that is known."""
        known = [curve[-1][0] for curve in self.metrics.values()]
        known += [] if self.checkpoint is None else [self.checkpoint.step]
        known += [found] if (found := self.count("steps") or self.count("step")) is not None else []
        return max(known, default=None)

    @property
    def confusion(self) -> Evaluation | None:
        """The matrix that the result has, if it is one."""
        found = self.at("confusion")
        if not isinstance(found, list) or not 2 <= len(found) <= MAX_CONFUSED:
            return None
        if not all(isinstance(row, list) and len(row) == len(found) and all(map(_is_count, row)) for row in found):
            return None
        total, right = sum(map(sum, found)), sum(row[i] for i, row in enumerate(found))
        return Evaluation(right / total, total, found) if total else None

    @property
    def net(self) -> str:
        """Widths of the net."""
        return self.text("net") or net_of(self.run.recipe)

    @property
    def rule(self) -> str:
        return self.run.rule[:MAX_NAME]


def read(store: RunStore, name: str) -> Stored:
    """The run whose id is, or alone begins with, ``name``.

    Raises:
        UsageError: several begin so. ConfigError: none does.
    """
    run = store.get(name)
    found = store.curves(run.id)
    curves = {key[:MAX_NAME]: _finite(curve) for key, (curve, _) in found.items()}
    known = {key: curve for key, curve in curves.items() if curve}
    widths = {key[:MAX_NAME]: width for key, (_, width) in found.items() if width > 1}
    return Stored(run, run.result or {}, known, store.newest_checkpoint(run.id), _learnt(run, store), widths)


def _learnt(run: Run, store: RunStore) -> Start | None:
    """Nothing is compiled for it: a run of an older version, which does not keep how its state is read, has none."""
    try:
        start = None if run.layout is None else restore.learnt(run, store)
        return start if start is not None and start.snapshot.tensors else None
    except EdgeLearnError:
        return None


def number(value: object) -> float | None:
    """``value`` if it is a finite number of a size that can be shown."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) <= MAX_NUMBER else None  # also not, where it is no number


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0 and number(value) is not None


def net_of(recipe: str) -> str:
    """Widths of the net by a stored recipe, which may be anything."""
    try:
        model: Any = tomlfile.parse(recipe, Path()).values["model"]
        return "-".join(map(str, (math.prod(model["input"]), *model["layers"], model["classes"])))[:MAX_NAME]
    except (EdgeLearnError, ValueError, KeyError, TypeError):
        return "?"


def _finite(curve: Iterable[tuple[int, float]]) -> Curve:
    return tuple((step, value) for step, value in curve if number(value) is not None and step >= 0)
