"""A recipe made concrete for one board: data loaded, rule lowered, plan written. What is sent, trained, exported and shown."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import boards, images
from edgelearn import recipe as recipes
from edgelearn.backends import PlanWriter, WritesFiles, backend
from edgelearn.boards import Board
from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.data import datasets
from edgelearn.data.datasets import Dataset
from edgelearn.errors import ConfigError
from edgelearn.imports import Extractor, features, same_shape
from edgelearn.imports.scale import settled
from edgelearn.ir import rng
from edgelearn.ir.core import Module
from edgelearn.ir.text import print_module
from edgelearn.layout import Layout
from edgelearn.nets import blocks_of
from edgelearn.passes import budget
from edgelearn.passes.quantize import Calibration
from edgelearn.recipe import Recipe
from edgelearn.rules import Rule, find
from edgelearn.stages import Stage, cut
from edgelearn.stages import drop_steps as drop_steps
from edgelearn.start import Start, first_state, fit, of_values
from edgelearn.tracing import independent, trace_module

SLOWEST_MAC_S = 2e-6  # 32 cycles of a 16 MHz Cortex-M0: twice what its kernels take


@dataclass(frozen=True)
class Job:
    """Everything that is known before the first sample is sent.

    ``compiled`` and ``plan`` are those of the last stage: what is measured and kept in the end.

    Attributes:
        stages: a plan for each part of the run; there is more than one where blocks learn one after the other.
        steps: samples to learn in all.
        start: what the caller gave.
        starts: the weights that the net begins with instead of its seed's, later ones over earlier ones.
        start_notes: what is odd about them, in sentences.
    """

    recipe: Recipe
    board: Board
    rule: Rule
    data: Dataset
    stages: tuple[Stage, ...]
    steps: int  # samples to learn in all
    start: Start | None = None
    starts: tuple[Start, ...] = ()
    start_notes: tuple[str, ...] = ()

    @property
    def compiled(self) -> Compiled:
        """The lowered net, with every stage on the way to it."""
        return self.stages[-1].compiled

    @property
    def plan(self) -> bytes:
        """The bytes that a board runs.

        Raises:
            ConfigError: the host learns a net that no plan can hold.
        """
        return self.stages[-1].plan or backend("plan").export(self.module, self.board.id)

    @property
    def plan_bytes(self) -> int:
        """Size of the plan; 0 if there is none."""
        return len(self.stages[-1].plan)

    @property
    def plans(self) -> bytes:
        """The plans of all stages, or the modules' texts where there is none: what a run keeps to know its job again."""
        return b"".join(s.plan or print_module(replace(s.module, name="")).encode() for s in self.stages)

    @property
    def closed_form(self) -> float | None:
        """The ridge term by which the rule wants its heads solved for, in one pass over the data; None: it learns step by step."""
        return _closed_form(self.rule)

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
        return (*self.compiled.notes, *self.start_notes, *self.data.notes())

    @property
    def module(self) -> Module:
        """What a board runs, as a list of operations."""
        return self.compiled.module

    @property
    def state_bytes(self) -> int:
        """RAM for what outlives a step: weights, exponents and counters."""
        return self.module.integer("state_bytes")

    @property
    def arena_bytes(self) -> int:
        """RAM for one sample and what is computed of it, reused at every step."""
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
        return max(_macs(stage.module, "learn") for stage in self.stages) * SLOWEST_MAC_S

    def stage_at(self, step: int) -> Stage:
        """The stage that learns the sample of ``step``; at the end of the run the last one."""
        return next((stage for stage in self.stages if step < stage.last), self.stages[-1])

    def stage_of(self, step: int) -> Stage:
        """The stage that a checkpoint after ``step`` samples is of: between two stages the earlier."""
        return next((stage for stage in self.stages if step <= stage.last), self.stages[-1])

    def as_of(self, step: int) -> Job:
        """This job as it was after ``step`` samples: its module is that of the checkpoint."""
        return replace(self, stages=self.stages[: self.stages.index(self.stage_of(step)) + 1])

    def state_at(self, step: int, checkpoint: bytes | None) -> bytes | None:
        """What ``stage_at(step)`` begins or goes on with after the checkpoint of ``step``; None: the state that its seed gives."""
        stage, before, seed = self.stage_at(step), self.stage_of(step), self.recipe.train.seed
        if checkpoint is None:
            return first_state(stage.module, seed, self.starts) if self.starts else None
        if stage is before:
            return checkpoint
        learnt = Start("the stage before", Layout.of(before.module), checkpoint)
        return first_state(stage.module, seed, (*self.starts, learnt), step)

    def order(self, first: int, last: int) -> NDArray[np.int64]:
        """Indices of the training samples that steps ``first`` to ``last - 1`` learn: each epoch in an order of its own."""
        n, seed = len(self.data.x_train), self.recipe.train.seed
        epochs = [rng.permutation(seed, e, n) for e in range(first // n, -(-last // n))]
        start = first // n * n
        return np.concatenate([*epochs, np.empty(0, np.int64)])[first - start : last - start].astype(np.int64)

    def macs(self, entry: str) -> int:
        """Multiplications with weights in one run of ``entry``: ``"infer"`` or ``"learn"``, which has the forward pass in it."""
        return _macs(self.module, entry)


def _macs(module: Module, entry: str) -> int:
    from edgelearn.ir.ops import OPS

    types = module.types(module.entry(entry))
    return sum(OPS[op.name].macs([types[a].shape for a in op.args], op) for op in module.entry(entry).ops)


def _closed_form(rule: Rule) -> float | None:
    return getattr(rule.instance, "closed_form", None)


def image_of(board: Board, module: Module) -> images.Image:
    """The firmware that ``board`` runs a module with: its own, or one with the module's plan, where that is compiled in.

    Raises:
        as ``images.build`` and ``images.build_with_plan``.
    """
    if not board.has_plan:
        return images.build(board)
    made = backend("plan-c")
    assert isinstance(made, WritesFiles)
    return images.build_with_plan(board, made.files(module, board.id, images.PLAN_NAME))


def prepare(
    source: Recipe | str | Path, board: Board | str = boards.DEFAULT, start: Start | None = None, **overrides: Any
) -> Job:
    """Loads, checks and lowers a recipe for a board; nothing is sent. It is called ``edgelearn.compile``.

    Args:
        source: a recipe's shipped name, its file, or a Recipe.
        board: id, file or Board.
        start: learnt weights to begin with, instead of those that the seed gives.
        overrides: values of ``[train]`` and ``[data]`` that replace the recipe's (``epochs=3``, ``seed=1``, ``data="x.npz"``).

    Raises:
        ConfigError: recipe, rule or data are wrong. NoBoardError: no such board. DoesNotFitError: too large for it.
    """
    recipe = source if isinstance(source, Recipe) else recipes.load(source)
    recipe = recipe.override(**overrides)
    board = board if isinstance(board, Board) else boards.load(board)
    given = features(recipe)
    if given is not None:
        model = replace(recipe.model, input=given.input, features_sha256=given.sha256)
        recipe = replace(recipe, model=model)
    rule, data, net = _rule(recipe, board), load_data(recipe), _net(recipe, given)
    steps = recipe.steps_total(len(data.x_train))
    if _closed_form(rule) is not None:
        steps = min(steps, len(data.x_train))
    fitted, notes = _fitted(rule, net, start)
    starts = () if fitted is None else (fitted,)
    if given is not None:
        given, power = settled(given, net, data.x_train)
        starts = (of_values(given.source, given.values), *starts)
        notes = (given.note + (f", scaled by 2^{power}" if power else ""), *notes)
    stages = _stages(recipe, rule, net, data, steps, board, starts)
    return Job(recipe, board, rule, data, stages, steps, start, starts, notes)


def load_data(recipe: Recipe) -> Dataset:
    """The recipe's data, in the shape of its model.

    Raises:
        ConfigError: they are not there, or do not fit.
    """
    data = datasets.load(recipe.data.name, recipe.data.root)
    if recipe.model.features is not None and len(data.shape) > 2 and not same_shape(data.shape, recipe.model.input):
        problem = f"A sample of '{data.name}' has shape {list(data.shape)}, the features {list(recipe.model.input)}."
        raise ConfigError(
            problem, "Give samples as (height, width, channels), of the size that the file was trained on."
        )
    return data.shaped(recipe.model.input, recipe.model.classes)


def _rule(recipe: Recipe, board: Board) -> Rule:
    try:
        rule = find(recipe.rule.name, dict(recipe.rule.params), recipe.path.parent)
    except ConfigError as error:
        key = next((k for k in recipe.rule.params if f"'{k}'" in error.message), "name")
        raise recipe.fault("rule", key, error.message, error.hint) from error
    why = getattr(rule.instance, "host_only", "")
    if why and not (board.is_host or board.id == boards.DEFAULT):
        problem = f"the rule {rule.instance.rule_name} is not for boards: {why}."
        hint = f"Train it with --board host, or try it with --board {boards.DEFAULT}."
        raise recipe.fault("rule", "name", problem, hint)
    return rule


def _net(recipe: Recipe, given: Extractor | None) -> Net:
    """The recipe's layers, after those of the file that it names."""
    model = recipe.model
    if given is None:
        return Net(model.input, model.layers, model.classes)
    return Net(given.input, (*given.layers, *model.layers), model.classes, given.activations)


def _fitted(rule: Rule, net: Net, start: Start | None) -> tuple[Start | None, tuple[str, ...]]:
    """What the net takes over of ``start``, and notes on what it does not."""
    if start is None:
        return None, ()
    own = [name for spec in blocks_of(net, independent(rule)) for name in spec.own_state()]
    return fit(start, trace_module(rule, net, "net").state, own, net.classes)


def _stages(
    recipe: Recipe, rule: Rule, net: Net, data: Dataset, steps: int, board: Board, starts: Sequence[Start]
) -> tuple[Stage, ...]:
    """The plans of the run."""
    values = {name: value for start in starts for name, value in start.values.items()}
    calibration = Calibration(data.x_train.reshape(len(data.x_train), -1), data.y_train, recipe.train.seed, values)
    encode = backend("plan")

    def make(freeze: frozenset[int], drops: Sequence[int], alone: bool) -> tuple[Compiled, bytes]:
        compiled = compile_net(rule, net, calibration, recipe.train.dtype, drops, board, recipe.name, freeze, alone)
        plan = _plan(encode, compiled.module, board)
        budget.check(compiled.module, board.target, len(plan))
        return compiled, plan

    return cut(recipe, rule, net, steps, make)


def _plan(encode: PlanWriter, module: Module, board: Board) -> bytes:
    """The plan of a module; empty for the host's if no plan can hold it, for the host needs none."""
    try:
        return encode.export(module, board.id)
    except ConfigError:
        if board.is_host:
            return b""
        raise
