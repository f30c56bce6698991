"""What the memory bench measures: the shipped recipes, every rule on a digits net, nets of equal blocks, a keyword spotter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgelearn import recipe as recipes
from edgelearn.bench import cases
from edgelearn.bench.methods import Item, Method
from edgelearn.layers import from_item
from edgelearn.recipe import DataSpec, ModelSpec, Recipe, RuleSpec, TrainSpec

DEPTHS = (2, 4, 8, 16)
DEPTH_BOARD = KEYWORDS_BOARD = "mps2-an386"
DENSE: Item = 32
CONV: Item = {"conv": 16, "kernel": 3, "head": "pool", "bits": 7}
RATE = 2.0**-7  # memory does not depend on it
# The net of MLPerf Tiny's keyword spotting, with square kernels: 7x7 stands for 10x4 (49 weights for 40), and gives the same map of 25x5.
KEYWORDS: tuple[Item, ...] = (
    {"conv": 64, "kernel": 7, "stride": 2, "head": "pool", "bits": 7},
    *4 * ({"depthwise": 3, "head": "pool", "bits": 7}, {"conv": 64, "kernel": 1, "head": "pool", "bits": 7}),
)
KEYWORDS_INPUT, KEYWORDS_CLASSES, KEYWORDS_SAMPLES = (49, 10, 1), 12, 64


@dataclass(frozen=True)
class Case:
    """Recipes, on the boards named; None: on all of them."""

    name: str
    title: str
    recipes: Callable[[Path], Sequence[Recipe]]  # given a folder for data that have to be made
    boards: tuple[str, ...] | None = None
    compiled_in: bool = False  # the plan is in flash, and of the kernels only those that it calls


def _shipped(_: Path) -> list[Recipe]:
    return [recipes.load(name) for name in recipes.shipped()]


def _rules(_: Path) -> list[Recipe]:
    rows = cases.find("digits-rules-int8").chosen(dtype="int8")
    return [_of_method(row) for row in rows]


def _smallest(_: Path) -> list[Recipe]:
    return [_recipe("64-32-10", "mono-forward", (8, 8), [32], "digits")]


def _depths(_: Path) -> list[Recipe]:
    return [
        _recipe(f"{rule}-{depth}-{kind}", rule, (8, 8), [item] * depth, "digits")
        for kind, item in (("dense", DENSE), ("conv", CONV))
        for rule in ("mono-forward", "backprop")
        for depth in DEPTHS
    ]


def _keywords(folder: Path) -> list[Recipe]:
    """Samples of the right shape, drawn at random: enough to see what memory is touched, and to learn nothing."""
    rng = np.random.default_rng(1)
    x = rng.random((KEYWORDS_SAMPLES, *KEYWORDS_INPUT), np.float32)
    y = rng.integers(0, KEYWORDS_CLASSES, KEYWORDS_SAMPLES)
    y[:KEYWORDS_CLASSES] = np.arange(KEYWORDS_CLASSES)
    file = folder / "noise.npz"
    np.savez(file, x_train=x, y_train=y, x_test=x[:16], y_test=y[:16])
    both = _recipe("ds-cnn", "mono-forward", KEYWORDS_INPUT, KEYWORDS, str(file), KEYWORDS_CLASSES)
    steps = len(KEYWORDS) * 4
    one = replace(both, path=Path("ds-cnn-by-block"), train=replace(both.train, steps=steps, schedule="block-by-block"))
    back = _recipe("ds-cnn-backprop", "backprop", KEYWORDS_INPUT, KEYWORDS, str(file), KEYWORDS_CLASSES)
    return [both, one, back]


def _of_method(row: Method) -> Recipe:
    made = _recipe(row.rule, row.rule, row.input, row.layers, "digits")
    return replace(made, rule=RuleSpec(row.rule, {**row.params, **row.readout}))


def _recipe(
    name: str, rule: str, shape: tuple[int, ...], layers: Sequence[Item], data: str, classes: int = 10
) -> Recipe:
    stack = tuple(from_item(dict(item) if not isinstance(item, int) else item) for item in layers)
    train = TrainSpec(dtype="int8", drops=())
    return Recipe(ModelSpec(shape, stack, classes), RuleSpec(rule, {"lr": RATE}), DataSpec(data), train, "", Path(name))


_ALL = (
    Case("recipes", "every shipped recipe on every board", _shipped),
    Case("rules", "every rule on the digits, on every board", _rules),
    Case(
        "flash", "every rule with its plan and kernels compiled in", _rules, ("microbit", DEPTH_BOARD), compiled_in=True
    ),
    Case("smallest", "one hidden layer, against its float weights", _smallest, ("microbit", DEPTH_BOARD)),
    Case("depth", "nets of equal blocks, Mono-Forward beside backpropagation", _depths, (DEPTH_BOARD,)),
    Case("keywords", "a net of MLPerf Tiny's keyword spotting, on random samples", _keywords, (KEYWORDS_BOARD,)),
)
CASES = {case.name: case for case in _ALL}
