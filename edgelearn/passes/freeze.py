"""freeze: blocks that do not learn lose their updates; what only fed those goes with the next dce."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module
from edgelearn.ir.ops import OPS


def frozen(module: Module, blocks: Collection[int]) -> Module:
    """``module`` in which the states of ``blocks``, counted from 0, stay what they are.

    Raises:
        ConfigError: there is no such block, or none is left to learn.
    """
    if not blocks:
        return module
    have = {int(s.name[2:].partition(".")[0]) for s in module.state}
    if missing := sorted(set(blocks) - have):
        raise ConfigError(f"There is no block {missing[0]} to freeze.", f"Blocks are numbered from 0 to {max(have)}.")
    prefixes = tuple(f"@b{i}." for i in blocks)
    learn = module.entry("learn")
    ops = tuple(op for op in learn.ops if not (OPS[op.name].update and op.args[0].startswith(prefixes)))
    if not any(OPS[op.name].update for op in ops):
        raise ConfigError("Every block that learns is frozen.", "Leave at least one that learns, as a rule the last.")
    learn = replace(learn, ops=ops)
    return module.with_entries(*(learn if e.name == "learn" else e for e in module.entries))
