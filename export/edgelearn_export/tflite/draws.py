"""The random numbers and rates of a step, as files take them for inputs: the interpreter's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir import rng
from edgelearn.ir.core import Entry, Module
from edgelearn.ir.ops import OPS, Draw
from edgelearn_export.tflite.floats import draws


def drawn(entry: Entry, seed: int, step: int) -> dict[str, NDArray[Any]]:
    """A float for each draw input of ``entry``: what an op ``noise`` makes, and for ``sample`` a uniform number from 0 to 1."""
    found: dict[str, NDArray[Any]] = {}
    for name, op in draws(entry).items():
        if op.name == "noise":
            numbers = OPS["noise"].f32(op, Draw(seed, step, 0)).astype(np.float32)[None]
        else:
            word = int(rng.draw_bits(seed, step, int(op.number("id")), 1)[0])
            numbers = np.full((1, 1), np.float32(word >> 8) * np.float32(2.0**-24), np.float32)
        found[name] = numbers
    return found


def rate(module: Module, step: int) -> NDArray[np.float32]:
    """The factor of all rates at ``step``: how often they have been halved."""
    return np.array([2.0 ** -sum(step >= t for t in module.drops)], np.float32)
