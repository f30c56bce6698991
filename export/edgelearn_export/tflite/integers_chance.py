"""What chance gives a step: dither of updates and draws of rules, as the integers that a graph is fed or keeps as constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir import rng
from edgelearn.ir.core import Entry, Module, Op
from edgelearn.ir.ops import OPS, Draw
from edgelearn.ir.ops.base import parse_shape

UPDATES_BY_COLUMN = ("vec_update", "vec_update_open")
FLAT_UPDATES = ("decay_update", "depthwise_update", "depthwise_update_open")


@dataclass(frozen=True)
class Fed:
    """An input of chance: of which op, and its shape."""

    name: str
    op: Op
    shape: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return "i64" if self.op.name == "sample" else "i32"

    def values(self, draw: Draw) -> NDArray[Any]:
        if OPS[self.op.name].update:
            return rng.dither(draw.seed, draw.step, int(self.op.number("id")), *self.shape).astype(np.int32)
        return drawn(self.op, draw).reshape(self.shape).astype(np.int64 if self.dtype == "i64" else np.int32)


def drawn(op: Op, draw: Draw) -> NDArray[np.int64]:
    """The numbers of ``noise``, in the units of its result; the 32-bit word of ``sample``."""
    if op.name == "noise":
        return OPS["noise"].i32(op, draw).q
    return rng.draw_bits(draw.seed, draw.step, int(op.number("id")), 1).astype(np.int64)


def fed(module: Module, entry: Entry) -> dict[str, Fed]:
    """The inputs of chance of an entry, by name."""
    types = module.state_types()
    found: dict[str, Fed] = {}
    for op in entry.ops:
        if OPS[op.name].update:
            shape = grid(op, types[op.args[0]].shape)
            found.setdefault(f"dither{int(op.number('id'))}", Fed(f"dither{int(op.number('id'))}", op, shape))
        elif op.name in ("noise", "sample"):
            shape = parse_shape(str(op.attr("shape"))) if op.name == "noise" else (1,)
            found.setdefault(f"draw{int(op.number('id'))}", Fed(f"draw{int(op.number('id'))}", op, shape))
    return found


def grid(op: Op, shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of an update's dither."""
    if op.name in UPDATES_BY_COLUMN:
        return shape[0], 1
    if op.name in FLAT_UPDATES:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])
