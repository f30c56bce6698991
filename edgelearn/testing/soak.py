"""The long proof: every cell that a backend promises, on many inputs and steps. It takes hours, so it can be stopped and goes on."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgelearn.errors import EdgeLearnError
from edgelearn.testing.backend import Cell, artifact_of, cells, prove_cell

SCHEMA = "edgelearn.formats/2"
RUNTIMES = ("onnxruntime", "ai-edge-litert", "tflite-micro", "numpy")


def proved(formats: Sequence[str], inputs: int, steps: int, only: str, place: Path | None) -> list[dict[str, Any]]:
    """A line for each cell, with the largest difference or what went wrong.

    ``place`` is written after each cell. What stands there already is not proved again if the file that was proved would be the same
    today, byte for byte, and so are the runtimes and the counts; failures are tried again.
    """
    before = _kept(place)
    done: list[dict[str, Any]] = []
    for cell in _promised(formats, only):
        now = {**asdict(cell), "inputs": inputs, "steps": steps, **_file(cell)}
        found = next((old for old in before if all(old.get(key) == value for key, value in now.items())), None)
        told = _timed(cell, now) if found is None or "problem" in found else found
        done.append(told)
        if told is not found and place is not None:
            _write(place, done + [old for old in before if not any(_same(old, d) for d in done)])
            sys.stderr.write(f"{cell}: {told.get('problem', told.get('max_diff'))} ({told['seconds']} s)\n")
    return done


def _promised(formats: Sequence[str], only: str) -> Iterator[Cell]:
    return (cell for name in formats for cell in cells(name) if cell.status == "open" and only in str(cell))


def _file(cell: Cell) -> dict[str, str]:
    """What would be proved, or the reason why there is nothing."""
    try:
        return {"sha256": hashlib.sha256(artifact_of(cell).raw).hexdigest()}
    except EdgeLearnError as error:
        return {"problem": error.message}


def _timed(cell: Cell, now: dict[str, Any]) -> dict[str, Any]:
    began, told = time.monotonic(), dict(now)
    try:
        told["max_diff"] = prove_cell(cell, now["inputs"], now["steps"]).worst
    except EdgeLearnError as error:
        told["problem"] = error.message
    return {**told, "seconds": round(time.monotonic() - began, 1)}


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(a[key] == b[key] for key in ("format", "rule", "block", "dtype", "entry"))


def _kept(place: Path | None) -> list[dict[str, Any]]:
    """The cells of an earlier run with the same runtimes."""
    if place is None or not place.is_file():
        return []
    told = json.loads(place.read_text())
    return told["cells"] if told.get("schema") == SCHEMA and told.get("versions") == _versions() else []


def _write(place: Path, done: list[dict[str, Any]]) -> None:
    told = {
        "schema": SCHEMA, "date": date.today().isoformat(), "versions": _versions(), "machine": platform.machine(),
        "command": f"python -m edgelearn.testing.matrix --prove -o {place}", "cells": done,
    }  # fmt: skip
    beside = place.with_suffix(".tmp")
    beside.write_text(json.dumps(told, indent=1) + "\n")
    beside.replace(place)


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in RUNTIMES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
