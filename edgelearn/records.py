"""Records of the run store: what is known of a run, read from a row that may hold anything."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import cast

STATUSES = ("running", "finished", "interrupted", "failed")


@dataclass(frozen=True)
class Run:
    """What is known of one run. ``recipe`` and ``rule_text`` are texts to read or compare, never to execute."""

    id: str
    created: str  # ISO 8601, UTC
    recipe: str
    rule: str
    rule_text: str
    rule_hash: str
    board: str
    dtype: str
    seed: int
    plan: bytes
    versions: dict[str, str]
    status: str  # one of STATUSES; "running" also after a crash
    result: dict[str, object] | None
    port: str | None = None  # the way to the board, where it will be the same tomorrow
    layout: dict[str, object] | None = None  # of its final state, see edgelearn.layout; None in runs of older versions
    start: bytes | None = None  # the weights that it began with, see edgelearn.start; None: those that the seed gives


@dataclass(frozen=True)
class Checkpoint:
    """The state region of a board after ``step`` samples; ``boot_id`` of the board that it was read from.

    ``moments`` is what else the host needs to go on: the memory of its optimizer, see ``edgelearn.hostdevice``.
    """

    step: int
    boot_id: int
    state: bytes
    moments: bytes | None = None


def text_hash(text: str) -> str:
    """How a rule's text is named: SHA-256, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def run_of(row: tuple[object, ...]) -> Run:
    """One row of the table ``runs``.

    Raises:
        ValueError, RecursionError: a value of it has another type or is no JSON.
    """
    *head, seed, plan, versions, status, result, port, layout, start = row
    run, created, recipe, rule, rule_text, rule_hash, board, dtype = (_text(value) for value in head)
    if not isinstance(seed, int) or not isinstance(plan, bytes) or not isinstance(start, bytes | None):
        raise ValueError("seed, plan or start of another type")
    outcome = None if result is None else _object(_text(result))
    known = {key: str(value) for key, value in _object(_text(versions)).items()}
    names = (run, created, recipe, rule, rule_text, rule_hash, board, dtype)
    way = None if port is None else _text(port)
    shape = None if layout is None else _object(_text(layout))
    return Run(*names, seed, plan, known, _text(status), outcome, way, shape, start)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} instead of a text")
    return value


def number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan  # SQLite keeps NaN as NULL


def _object(text: str) -> dict[str, object]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast(dict[str, object], value)
