"""The numbers that a graph's draw inputs want: what a board would draw at each sample's step, for whole batches in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir import rng
from edgelearn.ir.core import Module, Op
from edgelearn.ir.ops import parse_shape

Floats = NDArray[np.float32]


def drawing(module: Module, entry: str) -> list[Op]:
    """The ops of an entry that draw anew at every step."""
    return [op for op in module.entry(entry).ops if op.name in ("noise", "sample")]


def floats(op: Op, seed: int, steps: NDArray[np.int64]) -> Floats:
    """(B, ...) numbers of the f32 op ``op``: standard normal or uniform noise, or the uniform number of a ``sample``."""
    if op.name == "sample":
        return _uniform(_words(op, seed, steps, 1))
    shape = parse_shape(str(op.attr("shape")))
    n = math.prod(shape)
    if op.attr("kind") == "normal":
        halves = _words(op, seed, steps, 2 * n)
        units = ((halves & 0xFFFF) + (halves >> 16)).reshape(len(steps), n, 2).sum(axis=2) - rng.NORMAL_MAX
        made: Any = units.astype(np.float32) * np.float32(1 / rng.NORMAL_STD)
    else:
        made = _uniform(_words(op, seed, steps, n))
    return made.reshape(len(steps), *shape)


def _uniform(words: NDArray[np.int64]) -> Floats:
    return (words >> 8).astype(np.float32) * np.float32(2.0**-24)


def _words(op: Op, seed: int, steps: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """(B, n) words of 32 bits: ``rng.draw_bits`` of each step."""
    key = int(rng.mix(seed)) + int(op.number("id")) * rng.OP
    starts = rng.mix((steps.astype(np.uint64) * np.uint64(rng.STEP)) + np.uint64(key))
    columns = np.arange(n, dtype=np.uint64) * np.uint64(rng.COLUMN)
    return rng.mix(starts[:, None] + columns).astype(np.int64)
