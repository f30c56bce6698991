"""A recipe made concrete for one board: data loaded, rule lowered, plan written. What is sent, trained, exported and shown."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgelearn import boards
from edgelearn import recipe as recipes
from edgelearn.boards import Board
from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.data import datasets
from edgelearn.data.datasets import Dataset
from edgelearn.errors import ConfigError, MissingToolError
from edgelearn.ir import rng
from edgelearn.ir.core import Module
from edgelearn.passes import budget
from edgelearn.passes.quantize import Calibration
from edgelearn.recipe import Recipe
from edgelearn.rules import Rule, find

SLOWEST_MAC_S = 2e-6  # 32 cycles of a 16 MHz Cortex-M0: twice what its kernels take


class Backend(Protocol):
    """What an entry point of the group ``edgelearn.backends`` gives."""

    name: str
    suffix: str

    def export(self, module: Module, board: str) -> bytes: ...


def backends() -> dict[str, EntryPoint]:
    """Installed backends by name, not loaded yet."""
    return {entry.name: entry for entry in entry_points(group="edgelearn.backends")}


def backend(name: str) -> Backend:
    """The backend ``name``.

    Raises:
        MissingToolError: it is not installed.
    """
    found = backends()
    if name not in found:
        have = ", ".join(sorted(found)) or "none"
        raise MissingToolError(f"There is no backend '{name}' (installed: {have}).", "Install edgelearn: pip install .")
    return found[name].load()()


@dataclass(frozen=True)
class Job:
    """Everything that is known before the first sample is sent."""

    recipe: Recipe
    board: Board
    rule: Rule
    data: Dataset
    compiled: Compiled
    plan: bytes
    steps: int  # samples to learn in all

    @property
    def rule_name(self) -> str:
        """What the rule calls itself."""
        return str(self.rule.instance.rule_name)

    @property
    def rule_source(self) -> str | None:
        """``/absolute/file.py:Class`` of a user's rule, None for one that comes with the package."""
        return None if self.rule.source is None else self.rule.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What the compiler did otherwise than it was told, and what is odd about the data."""
        return (*self.compiled.notes, *self.data.notes())

    @property
    def module(self) -> Module:
        return self.compiled.module

    @property
    def state_bytes(self) -> int:
        return self.module.integer("state_bytes")

    @property
    def arena_bytes(self) -> int:
        return self.module.integer("arena_bytes")

    @cached_property
    def x_train(self) -> NDArray[Any]:
        """Training samples as the device reads them, (N, inputs)."""
        return self.compiled.encode(self.data.x_train)

    @cached_property
    def x_test(self) -> NDArray[Any]:
        """Test samples as the device reads them, (N, inputs)."""
        return self.compiled.encode(self.data.x_test)

    @cached_property
    def data_sha256(self) -> str:
        """Of the training samples and labels: a run is only resumed on the same."""
        digest = hashlib.sha256(np.ascontiguousarray(self.data.x_train).tobytes())
        digest.update(np.ascontiguousarray(self.data.y_train).tobytes())
        return digest.hexdigest()

    @property
    def worst_step_s(self) -> float:
        """The longest that any board may take to learn a sample, in seconds."""
        return self.macs("learn") * SLOWEST_MAC_S

    def order(self, first: int, last: int) -> NDArray[np.int64]:
        """Indices of the training samples that steps ``first`` to ``last - 1`` learn: each epoch in an order of its own."""
        n, seed = len(self.data.x_train), self.recipe.train.seed
        epochs = [rng.permutation(seed, e, n) for e in range(first // n, -(-last // n))]
        start = first // n * n
        return np.concatenate([*epochs, np.empty(0, np.int64)])[first - start : last - start].astype(np.int64)

    def macs(self, entry: str) -> int:
        """Multiplications with weights in one run of ``entry``."""
        from edgelearn.ir.ops import OPS

        types = self.module.types(self.module.entry(entry))
        return sum(OPS[op.name].macs([types[a].shape for a in op.args], op) for op in self.module.entry(entry).ops)


def prepare(source: Recipe | str | Path, board: Board | str = boards.DEFAULT, **overrides: Any) -> Job:
    """Loads, checks and lowers a recipe (object, shipped name or file) for a board: ``edgelearn.compile``.

    Args:
        overrides: values of ``[train]`` and ``[data]`` that replace the recipe's (``epochs=3``, ``seed=1``, ``data="x.npz"``).

    Raises:
        ConfigError: recipe, rule or data are wrong. NoBoardError: no such board. DoesNotFitError: too large for it.
    """
    recipe = source if isinstance(source, Recipe) else recipes.load(source)
    recipe = recipe.override(**overrides)
    board = board if isinstance(board, Board) else boards.load(board)
    rule = _rule(recipe)
    data = datasets.load(recipe.data.name, recipe.data.root).shaped(recipe.model.input, recipe.model.classes)
    steps = recipe.steps_total(len(data.x_train))
    compiled = _compile(recipe, rule, data, steps, board)
    plan = backend("plan").export(compiled.module, board.id)
    budget.check(compiled.module, board.target, len(plan))
    return Job(recipe, board, rule, data, compiled, plan, steps)


def _rule(recipe: Recipe) -> Rule:
    try:
        return find(recipe.rule.name, dict(recipe.rule.params), recipe.path.parent)
    except ConfigError as error:
        key = next((k for k in recipe.rule.params if f"'{k}'" in error.message), "name")
        raise recipe.fault("rule", key, error.message, error.hint) from error


def _compile(recipe: Recipe, rule: Rule, data: Dataset, steps: int, board: Board) -> Compiled:
    model = recipe.model
    net = Net(model.input, model.layers, model.classes)
    calibration = Calibration(data.x_train.reshape(len(data.x_train), -1), data.y_train, recipe.train.seed)
    drops = drop_steps(recipe.train.drops, steps)
    return compile_net(rule, net, calibration, recipe.train.dtype, drops, board, recipe.name)


def drop_steps(fractions: Sequence[float], steps: int) -> list[int]:
    """The steps at which the rate halves, for a run of ``steps`` samples."""
    return [int(steps * f) for f in fractions]
