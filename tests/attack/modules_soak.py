"""Random modules through every pass: ``python -m tests.attack.modules_soak [--count 10000]``.

Exits with 1 if a pass changed what a module means.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from random import Random

import numpy as np

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module
from edgelearn.ir.text import parse, print_module
from edgelearn.passes.pipeline import Stages, lower
from edgelearn.passes.quantize import Calibration
from tests.attack.random_modules import Inexact, InItsArena, meaning, module, samples

NEW_NUMBERS = ("quantize",)  # after it values are others, by design: integers
NEW_GUESS = ("observe",)  # it adds what ``learn`` answers


@dataclass
class Tried:
    """How many modules were compared, and through how many passes; ``refused`` by the compiler in one sentence, ``inexact`` left out."""

    modules: int = 0
    passes: int = 0
    integer_modules: int = 0
    refused: int = 0
    inexact: int = 0
    wrong: list[str] = field(default_factory=list)


def run(count: int, seed: int = 1) -> Tried:
    """Makes modules until ``count`` of them were compared."""
    tried, random = Tried(), Random(seed)
    while tried.modules < count:
        made = module(random)
        try:
            _floats(made, random, tried)
        except Inexact:
            tried.inexact += 1
            continue
        _integers(made, random, tried)
    return tried


def _floats(made: Module, random: Random, tried: Tried) -> None:
    data, seed = samples(made, random), random.randrange(1000)
    try:
        stages = _lowered(made, "f32", random)
    except ConfigError:
        tried.refused += 1
        return
    _compared(stages, data, seed, tried)
    tried.modules += 1


def _integers(made: Module, random: Random, tried: Tried) -> None:
    try:
        stages = _lowered(made, "int8", random)
    except ConfigError:
        tried.refused += 1
        return
    stages = stages[[name for name, _ in stages].index("quantize") :]
    x = [(np.clip(x * 20, -127, 127).astype(np.int8), label) for x, label in samples(made, random)]
    _compared(stages, x, random.randrange(1000), tried)
    tried.integer_modules += 1


def _lowered(made: Module, dtype: str, random: Random) -> Stages:
    data = samples(made, random, 12)
    calibration = Calibration(np.stack([x for x, _ in data]), np.array([label for _, label in data]), 1)
    return lower(made, dtype, calibration)


def _compared(stages: Stages, data: list[tuple[np.ndarray, int]], seed: int, tried: Tried) -> None:
    """Each pass in turn; the planned module also with all its values in one arena."""
    texts = [name for name, stage in stages if parse(print_module(stage)) != stage]
    tried.wrong += [f"{name}: its text reads back as something else" for name in texts]
    before = meaning(stages[0][1], data, seed)
    for name, after, interpreter in _runs(stages):
        found = meaning(after, data, seed, interpreter) if interpreter else meaning(after, data, seed)
        if name in NEW_GUESS:
            before = type(before)(before.classes, before.states, before.exps, found.guesses)
        kept = {state: raw for state, raw in before.states.items() if state in found.states}
        same = (found.classes, found.guesses) == (before.classes, before.guesses)
        if not same or found.states != kept or found.exps != before.exps:
            tried.wrong.append(f"{name}:\n{print_module(stages[0][1])}")
        tried.passes += 1


def _runs(stages: Stages) -> Iterator[tuple[str, Module, type[InItsArena] | None]]:
    for name, stage in stages[1:]:
        yield name, stage, None
    yield "arena", stages[-1][1], InItsArena


def main() -> int:
    parser = argparse.ArgumentParser(description="Random modules through every pass.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    found = run(asked.count, asked.seed)
    sys.stdout.write(json.dumps({**asdict(found), "wrong": found.wrong[:5]}) + "\n")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
