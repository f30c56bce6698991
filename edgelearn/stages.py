"""Stages: the parts of a run that have plans of their own. A run whose blocks learn at the same time has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgelearn.compiler import Compiled
from edgelearn.ir.core import Module
from edgelearn.nets import Net
from edgelearn.passes.freeze import learning_blocks
from edgelearn.recipe import Recipe
from edgelearn.rules import Rule
from edgelearn.tracing import trace_module

Make = Callable[
    [frozenset[int], Sequence[int], bool], tuple[Compiled, bytes]
]  # (freeze, drops, alone) -> module and plan


@dataclass(frozen=True)
class Stage:
    """A part of a run that has a plan of its own: it learns the samples of steps ``first`` to ``last - 1``."""

    compiled: Compiled
    plan: bytes
    first: int
    last: int

    @property
    def module(self) -> Module:
        return self.compiled.module


def cut(recipe: Recipe, rule: Rule, net: Net, steps: int, make: Make) -> tuple[Stage, ...]:
    """One stage, or one for each block that learns: of equal length, those of no length left out.

    Raises:
        ConfigError: the rule cannot be trained block by block, or no block is left to learn.
    """
    freezes = _freezes(recipe, rule, net)
    ends = [steps * i // len(freezes) for i in range(len(freezes) + 1)]
    made: list[Stage] = []
    for freeze, first, last in zip(freezes, ends, ends[1:], strict=False):
        if first < last:
            drops = [first + step for step in drop_steps(recipe.train.drops, last - first)]
            made.append(Stage(*make(freeze, drops, last < steps), first, last))
    return tuple(made)


def _freezes(recipe: Recipe, rule: Rule, net: Net) -> list[frozenset[int]]:
    """For each stage the blocks that do not learn in it."""
    frozen = frozenset(recipe.train.freeze)
    if recipe.train.schedule != "block-by-block":
        return [frozen]
    if hasattr(rule.instance, "step_net"):
        problem = f"the rule {rule.instance.rule_name} sees all blocks at once: it cannot train one after the other."
        raise recipe.fault("train", "schedule", problem, 'Use schedule = "simultaneous", or a rule that is local.')
    learning = learning_blocks(trace_module(rule, net, recipe.name))
    return [frozen | (learning - {block}) for block in sorted(learning - frozen)] or [frozen]


def drop_steps(fractions: Sequence[float], steps: int) -> list[int]:
    """The steps at which the rate halves, for a run of ``steps`` samples."""
    return [int(steps * f) for f in fractions]
