"""freeze: blocks that do not learn lose their updates; what only fed those goes with the next dce."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module
from edgelearn.ir.ops import OPS
from edgelearn.passes.simplify import dce


def frozen(module: Module, blocks: Collection[int], alone: bool = False) -> Module:
    """``module`` in which the states of ``blocks``, counted from 0, stay what they are.

    ``alone``: blocks after the last that learns are not computed in ``learn``, for they will learn later themselves; what it says of a
    sample is then the word of that block. Else they are, so that their exponents follow.

    Raises:
        ConfigError: there is no such block, or none is left to learn.
    """
    if not blocks:
        return module
    have = {block_of(s.name) for s in module.state}
    if missing := sorted(set(blocks) - have):
        raise ConfigError(f"There is no block {missing[0]} to freeze.", f"Blocks are numbered from 0 to {max(have)}.")
    prefixes = tuple(f"@b{i}." for i in blocks)
    learn = module.entry("learn")
    ops = tuple(op for op in learn.ops if not (OPS[op.name].update and op.args[0].startswith(prefixes)))
    if not any(OPS[op.name].update for op in ops):
        raise ConfigError("Every block that learns is frozen.", "Leave at least one that learns, as a rule the last.")
    learn = replace(learn, ops=ops)
    module = module.with_entries(*(learn if e.name == "learn" else e for e in module.entries))
    return dce(module) if alone else module


def learning_blocks(module: Module) -> frozenset[int]:
    """The blocks that have a state which ``learn`` updates."""
    return frozenset(block_of(op.args[0]) for op in module.entry("learn").ops if OPS[op.name].update)


def block_of(state: str) -> int:
    """The number in ``@b12.W``."""
    return int(state[2:].partition(".")[0])
