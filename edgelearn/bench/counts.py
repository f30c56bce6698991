"""Counts that are kept beside the code: what a change may cost, and with which compiler they were counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgelearn.bench import qemu
from edgelearn.boards import Board
from edgelearn.errors import ConfigError, EdgeLearnError

RISE = 0.02
COUNTED = ("train_epoch1", "train_mean", "train", "infer")


def compiler(board: Board) -> str:
    """The cross compiler of this board's images, with its version."""
    return f"{board.prefix}gcc {qemu.version(board.prefix + 'gcc')}"


def read(path: Path) -> dict[str, Any]:
    """What ``bench instructions -o`` wrote.

    Raises:
        ConfigError: it is no such file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        assert found["rows"] and found["compiler"]
    except (OSError, ValueError, KeyError, AssertionError, TypeError, RecursionError) as error:
        hint = f"Write one: edgelearn bench instructions -o {path}"
        raise ConfigError(f"{path} holds no counts of instructions.", hint) from error
    return found


def risen(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A sentence for each count that rose by more than 2 %; rows that only one of them has are left out."""
    old = {row["name"]: row for row in before["rows"]}
    pairs = [
        (row["name"], key, old[row["name"]][key], row[key])
        for row in now["rows"]
        if row["name"] in old
        for key in COUNTED
    ]
    dense = [("dense layer", key, before[key], now[key]) for key in ("dense",) if before.get(key) and now.get(key)]
    return [
        f"{name}, {key}: {new:,} instructions, were {count:,}"
        for name, key, count, new in [*pairs, *dense]
        if new > count * (1 + RISE)
    ]


def check(before: dict[str, Any], now: dict[str, Any]) -> Sequence[str]:
    """What rose, where another compiler counted: it may be that one's doing.

    Raises:
        EdgeLearnError: something rose, counted with the same compiler, board and net.
        ConfigError: the two are of different boards or nets.
    """
    if before["case"] != now["case"]:
        raise ConfigError(
            f"The counts are of {before['case']}, these of {now['case']}.", "Name the same board and net."
        )
    found = risen(before, now)
    if found and before["compiler"] == now["compiler"]:
        hint = "Find out why; if it must be so, write the file anew with -o."
        raise EdgeLearnError(f"More than {RISE:.0%} above the counts that are kept: {'; '.join(found)}.", hint)
    return found
