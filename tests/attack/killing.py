"""A training run that is killed again and again, and gone on with, until it ends."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from edgelearn.records import Run
from edgelearn.runs import RunStore
from tests.attack.warm import Ended, Warm

STEPS = 4000
TRAIN = ("train", "digits", "--steps", str(STEPS), "--seed", "11", "--json")


@dataclass(frozen=True)
class Survived:
    """What came of it. ``progress``: the steps of the newest checkpoint after each kill; None: there was no run yet."""

    kills: int
    progress: tuple[int | None, ...]
    result: dict[str, Any]


def uninterrupted(warm: Warm) -> Ended:
    """The same run with nobody to kill it."""
    done = warm.run(*TRAIN)
    assert done.code == 0, done
    return done


def killed(warm: Warm, store: Path, random: Random, seconds: float, kills: int) -> Survived:
    """Trains, is killed up to ``kills`` times at moments within ``seconds``, and goes on each time.

    Raises:
        AssertionError: the store is damaged, or a command ends otherwise than by the kill or well.
    """
    progress: list[int | None] = []
    for number in range(kills + 1):
        run = _only(store)
        if run is not None and run.status == "finished":  # killed between its last word and its end
            assert run.result is not None
            return Survived(number, tuple(progress), run.result)
        command = TRAIN if run is None else ("resume", run.id, "--json")
        done = warm.run(*command, kill_after=random.uniform(0, seconds) if number < kills else None)
        if done.code == 0:
            return Survived(number, tuple(progress), done.json)
        assert done.code == -9, done
        progress.append(_newest(store))
    raise AssertionError(f"the last command of {kills + 1} did not end")


def _only(store: Path) -> Run | None:
    """The run; None where the kill came before there was one."""
    if not store.is_file():
        return None
    with RunStore(store) as runs:
        found = runs.list()
        assert len(found) <= 1, "a run was begun twice"
        return found[0] if found else None


def _newest(store: Path) -> int | None:
    """The step of the newest checkpoint of a store that must be whole."""
    if not store.is_file():
        return None
    assert integrity(store) == "ok"
    with RunStore(store) as runs:
        found = runs.list()
        newest = runs.newest_checkpoint(found[0].id) if found else None
    return None if newest is None else newest.step


def integrity(store: Path) -> str:
    """What SQLite says of its own file."""
    db = sqlite3.connect(store)
    try:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        db.close()


def same(result: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Did it learn every sample once, and in order? Then the state has the hash of the run that nobody killed."""
    return (result["state_sha256"], result["steps"], result["accuracy"]) == (
        whole["state_sha256"], whole["steps"], whole["accuracy"],
    )  # fmt: skip
