"""What the run store says of its runs right now, as the JSON that ``serve --once``, ``runs`` and the served pages have."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgelearn import tomlfile
from edgelearn.errors import EdgeLearnError
from edgelearn.runs import Run, RunStore

CURVE = "train_accuracy"


def summary(run: Run) -> dict[str, Any]:
    """A run in a list."""
    result = run.result or {}
    return {
        "id": run.id, "created": run.created, "net": _net(run), "rule": run.rule,
        "rule_source": _rule_source(run), "dtype": run.dtype,
        "board": run.board, "seed": run.seed, "status": run.status, "accuracy": result.get("accuracy"),
        "steps": result.get("steps", result.get("step")),
    }  # fmt: skip


def present(run: Run, store: RunStore, whole: bool = False) -> dict[str, Any]:
    """The same, and where it stands. Only what is not finished has its readings looked at, or ``whole`` says so.

    ``newest`` are the readings of the last step that has some, by name: [step, value].
    """
    result = run.result or {}
    curves = store.metrics(run.id) if whole or run.status != "finished" else {}
    newest = {name: list(pairs[-1]) for name, pairs in curves.items() if pairs}
    steps = [step for step, _ in newest.values()]
    known = result.get("steps", result.get("step"))
    steps += [known] if isinstance(known, int) and not isinstance(known, bool) else []
    kept = store.newest_checkpoint(run.id) if whole else None
    more = {"newest": newest, "checkpoint": kept and kept.step, "result": run.result} if whole else {}
    told = {
        **summary(run), "step": max(steps, default=None), "train_accuracy": newest.get(CURVE, [None, None])[1],
        "findings": _sentences(result.get("health")), "error": result.get("error"),
        "ram": _part(result, "ram", "planned", "measured", "stack"),
        "link": _part(result, "link", "retries", "bad_frames", "overruns"),
        "samples_per_s": result.get("samples_per_s"), **more,
    }  # fmt: skip
    return {key: _sound(value) for key, value in told.items()}


def state(path: Path, run: str | None = None) -> dict[str, Any]:
    """All runs of the store, newest first, or one; no runs where there is no store yet.

    Raises:
        ConfigError: there is no such run, or the store is damaged. UsageError: several runs begin so.
    """
    if not path.exists() and run is None:
        return {"store": str(path), "runs": []}
    with RunStore(path, read_only=True) as store:
        found: Iterable[Run] = store.list() if run is None else (store.get(run),)
        return {"store": str(path), "runs": [present(one, store, run is not None) for one in found]}


def _net(run: Run) -> str:
    """Widths of the net by the stored recipe, which may be anything."""
    try:
        model: Any = tomlfile.parse(run.recipe, Path()).values["model"]
        return "-".join(map(str, (math.prod(map(int, model["input"])), *model["layers"], model["classes"])))
    except (EdgeLearnError, ValueError, KeyError, TypeError):
        return "?"


def _rule_source(run: Run) -> str | None:
    """``file.py:Class`` by the stored recipe; None for a rule that comes with the package."""
    try:
        rule: Any = tomlfile.parse(run.recipe, Path()).values["rule"]
        name = str(rule["name"])
    except (EdgeLearnError, ValueError, KeyError, TypeError):
        return None
    return name if ":" in name else None


def _sound(value: Any) -> Any:
    """JSON has no NaN; Python's reader of it, which has read the result, takes one all the same."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _sound(item) for key, item in value.items()}
    return [_sound(item) for item in value] if isinstance(value, list) else value


def _sentences(health: object) -> list[str]:
    found = health if isinstance(health, list) else []
    return [str(one["message"]) for one in found if isinstance(one, dict) and "message" in one]


def _part(result: dict[str, object], name: str, *keys: str) -> dict[str, object] | None:
    found = result.get(name)
    return {key: found.get(key) for key in keys} if isinstance(found, dict) else None
