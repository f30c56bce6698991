"""Recipes, states and a Ctrl-C for the tests of the board `host`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.job import Job, prepare
from edgelearn.runs import RunStore

MODEL = '[model]\ninput = [8, 8]\nlayers = [24, 16]\nclasses = 10\n[data]\nname = "digits"\n'


def recipe(folder: Path, rule: str, train: str = "", model: str = MODEL) -> Path:
    (folder / "own.toml").write_text(f'{model}[rule]\n{rule}\n[train]\ndtype = "f32"\n{train}')
    return folder / "own.toml"


def digits(**given: Any) -> Job:
    return prepare("digits", "host", dtype="f32", **given)


def tensors(store: RunStore, run: str, job: Job) -> dict[str, NDArray[Any]]:
    checkpoint = store.newest_checkpoint(run)
    assert checkpoint is not None
    return state.decode(job.module, checkpoint.state).tensors


def difference(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> float:
    assert a.keys() == b.keys()
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


def stopper(step: int) -> Callable[[Any], None]:
    """Ctrl-C, once, when that step is reported."""
    pressed: list[int] = []

    def stop(at: Any) -> None:
        if at.step >= step and not pressed:
            pressed.append(at.step)
            raise KeyboardInterrupt

    return stop
