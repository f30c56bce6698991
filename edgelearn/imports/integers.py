"""Weights that were trained as whole numbers stay those numbers, in units that are powers of two.

relu(c v) = c relu(v) for c > 0, and pools and matrices pass c on. So a layer whose unit is s may have the unit 2^e instead: what it
makes is then 2^e / s times as large, and the units of the next layer make up for it. At the end the scores are off by one factor near 1,
which changes no guess. A layer with a unit for each row cannot do so with every row at once: it is rounded to one unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgelearn.imports.graph import Array

LIMIT = 127  # of int8, as boards have it
ROUNDED_LIMIT = (
    126  # of a layer that is rounded anyway: none of its weights sits at the limit, so that no board halves it
)
MAX_EXPONENT = 24  # of a unit, up or down


@dataclass(frozen=True)
class Scaled:
    """A layer's weights; ``quantised``: they were in training, in units of ``unit``, None: each row in its own.

    ``exponent`` is set once they are int8 in units of 2^exponent; ``rounding`` is what int8 moves one of them by at most, in units.
    """

    W: Array
    b: Array
    quantised: bool
    unit: float | None
    exponent: int | None = None
    rounding: float = 0.0

    @property
    def whole(self) -> Array | None:
        """The weights as int8, None: they are none, or one is too large."""
        if self.exponent is not None:
            return np.rint(np.ldexp(self.W.astype(np.float64), -self.exponent)).astype(np.int8)
        if self.unit is None:
            return None
        q = np.rint(self.W.astype(np.float64) / self.unit)
        return q.astype(np.int8) if np.abs(q).max() <= LIMIT else None

    @property
    def crowded(self) -> bool:
        """Do more than 1 % sit at the limit of int8? A board would halve them, to make room."""
        q = self.whole if self.exponent is not None else None
        return q is not None and int((np.abs(q) == LIMIT).sum()) * 100 > q.size


def settled(layers: Sequence[Scaled]) -> list[Scaled]:
    """A chain of layers with a ReLU after each, but for the last, in units of powers of two; those without whole numbers stay."""
    if not any(layer.quantised for layer in layers):
        return list(layers)
    found, factor = (
        list[Scaled](),
        1.0,
    )  # what has to be multiplied with what the layer reads, to have it as in the file
    for layer in layers:
        done, factor = _settled(layer, factor)
        found.append(done)
    return found


def _settled(layer: Scaled, factor: float) -> tuple[Scaled, float]:
    largest = float(np.abs(layer.W).max())
    if not layer.quantised or largest == 0:
        return replace(layer, b=(layer.b / factor).astype(np.float32)), factor
    q, unit = layer.whole, layer.unit
    units = layer.W.astype(np.float64) / (unit := largest / ROUNDED_LIMIT) if q is None or unit is None else q
    exponent = min(max(round(math.log2(unit * factor)), -MAX_EXPONENT), MAX_EXPONENT)
    after = unit * factor / 2.0**exponent
    rounding = float(np.abs(np.rint(units) - units).max())
    W, b = np.ldexp(units, exponent).astype(np.float32), (layer.b / after).astype(np.float32)
    return replace(layer, W=W, b=b, exponent=exponent if q is not None else None, rounding=rounding), after
