"""What the integer ops of TFLite graphs share: a value with its exponent, and what an op may ask of the graph that it is written into."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from edgelearn.ir.core import Op
from edgelearn_export.tflite.integers_shifts import Power, larger, shift_round
from edgelearn_export.tflite.integers_values import Ints
from edgelearn_export.tflite.integers_writer import Writer


class Q(NamedTuple):
    """As ``edgelearn.ir.ops.Q``: exact integers and the exponent of their unit."""

    q: Ints
    e: Power


class Scene(Protocol):
    """What an op may depend on besides its operands."""

    graph: Writer

    def drops(self) -> Power:
        """How often the rate has been halved by now."""
        ...

    def dither(self, op: Op, rows: int, cols: int) -> Ints:
        """(rows, cols) integers in [0, 65536) for the stochastic rounding of an update."""
        ...

    def draw(self, op: Op) -> Ints:
        """What chance gives an op, as ``drawn`` of ``integers_chance.py`` makes it of seed and step."""
        ...

    def signs(self, op: Op, cols: int) -> Ints:
        """The matrix of an op ``signs``."""
        ...


Meaning = Callable[..., Q]


def aligned_pair(a: Q, b: Q) -> tuple[Ints, Ints, Power]:
    """Both at the coarser of their exponents."""
    e = larger(a.e, b.e, a.q.graph)
    return shift_round(a.q, e - a.e), shift_round(b.q, e - b.e), e


def together(*values: Ints) -> list[Ints]:
    """All in the shape of the largest, but for scalars: a feature map takes a vector of as many numbers."""
    shape = max((v.shape for v in values), key=lambda s: (math.prod(s), len(s)))
    return [v if v.size == 1 else v.reshaped(shape) for v in values]
