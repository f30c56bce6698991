"""From a rule and a net to a lowered module with planned memory: the one place that knows the whole way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.boards import Board
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module
from edgelearn.nets import Net as Net
from edgelearn.nets import blocks_of
from edgelearn.passes.freeze import frozen
from edgelearn.passes.pipeline import Stages, lower
from edgelearn.passes.quantize import Calibration, check_rates, check_watched, quantize_input
from edgelearn.rules import Rule
from edgelearn.tracing import independent
from edgelearn.tracing import trace_module as trace_module

DTYPES = ("int8", "f32")


@dataclass(frozen=True)
class Compiled:
    """A lowered module, the stages on the way to it, and what the compiler has to say about it."""

    module: Module
    net: Net
    stages: Stages = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        """``int8`` or ``f32``."""
        return self.module.dtype

    @property
    def input_exp(self) -> int:
        """Exponent of the int8 inputs; 0 for floats."""
        exp = dict(self.module.entry("infer").params)["%x"].exp
        return 0 if exp is None else exp.const

    def encode(self, x: NDArray[np.floating[Any]]) -> NDArray[Any]:
        """Samples (N, ...) of real values as rows (N, inputs) that the device reads: int8 units or float32."""
        rows = np.asarray(x).reshape(len(x), -1)
        return rows.astype("<f4") if self.dtype == "f32" else quantize_input(rows, self.input_exp)


def compile_net(
    rule: Rule,
    net: Net,
    calibration: Calibration,
    dtype: str = "int8",
    drops: Sequence[int] = (),
    board: Board | None = None,
    name: str = "net",
    freeze: Collection[int] = (),
    alone: bool = False,
) -> Compiled:
    """Lowers ``rule`` on ``net`` to numbers of kind ``dtype`` for ``board``.

    Args:
        calibration: samples that the first exponents and the input's unit come from.
        drops: steps at which the learning rate halves.
        freeze: blocks, from 0, that do not learn. alone: those after the last that learns will learn later, and are not computed yet.

    Raises:
        ConfigError: the rule or the net cannot be lowered, or ``board`` has no such numbers.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"There is no dtype {dtype!r}.", f"Choose one of {', '.join(DTYPES)}.")
    if board is not None and dtype not in board.dtypes:
        exact = " For a board's own integers use --board sim." if board.is_host else ""
        raise ConfigError(
            f"Board {board.id} does not compute in {dtype}; it has {', '.join(board.dtypes)}.",
            f'Give --dtype {board.dtypes[0]}, or set dtype = "{board.dtypes[0]}" under [train].{exact}',
        )
    traced = trace_module(rule, net, name).with_attrs(drops=" ".join(map(str, drops)), rule=rule.name)
    stages = lower(frozen(traced, freeze, alone), dtype, calibration, chosen_bits(rule, net))
    module = stages[-1][1]
    notes = (*check_rates(module), *check_watched(module)) if dtype == "int8" else ()
    return Compiled(module, net, stages, notes)


def chosen_bits(rule: Rule, net: Net) -> dict[str, int]:
    """Bits of weights by name: what the rule says of its symbols (``bits = {"W": 12}``), and over that what a layer says of its W."""
    of_rule: dict[str, int] = getattr(rule.instance, "bits", {})
    found: dict[str, int] = {}
    for spec in blocks_of(net, independent(rule)):
        if spec.index >= spec.first:
            found |= {f"{spec.prefix}.{symbol}": bits for symbol, bits in of_rule.items()}
        if spec.layer.bits:
            found[f"{spec.prefix}.W"] = spec.layer.bits
    return found
