"""Many numbers become one: sum, mean, max and dot. A feature map is as good as a vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import Floats, OpDef, Q, Shape, first, product, scalar
from edgelearn.ir.ops.functions import MAX_SQUARES
from edgelearn.ir.types import Exp

MAX_TERMS = 1 << 16  # 32767 times as many fits 32 bits
MEAN_BITS = 8  # a mean has 8 bits more than what it is of: 23 of 32


def sums(limit: int) -> Callable[[Sequence[Shape], Op], Shape]:
    """To a scalar, if at most ``limit`` terms are added: as many as fit 32 bits at their largest."""

    def shape(shapes: Sequence[Shape], op: Op) -> Shape:
        sizes = [math.prod(s) for s in shapes]
        if len(set(sizes)) > 1:
            raise ValueError(f"shapes {' and '.join(map(str, shapes))} differ")
        if sizes[0] > limit:
            raise ValueError(f"{sizes[0]} terms do not fit 32 bits")
        return (1,)

    return shape


def _sum_i32(op: Op, v: Q) -> Q:
    return Q(v.q.sum().reshape(1), v.e)


def _mean_i32(op: Op, v: Q) -> Q:
    """The whole part, and MEAN_BITS of the rest, to nearest; n * 2^MEAN_BITS fits 32 bits."""
    n, total = v.q.size, int(v.q.sum())
    whole, rest = divmod(abs(total), n)
    size = (whole << MEAN_BITS) + ((rest << MEAN_BITS) + (n >> 1)) // n
    return Q(np.array([-size if total < 0 else size], np.int64), v.e - MEAN_BITS)


def _mean_exp(exps: Sequence[Exp], op: Op) -> Exp:
    return exps[0].shifted(-MEAN_BITS)


def _dot_i32(op: Op, a: Q, b: Q) -> Q:
    return Q((a.q.reshape(-1) * b.q.reshape(-1)).sum().reshape(1), a.e + b.e)


def _dot_f32(op: Op, a: Floats, b: Floats) -> Floats:
    return np.sum(a.reshape(-1) * b.reshape(-1), dtype=np.float32).reshape(1)


ROWS: tuple[OpDef, ...] = (
    OpDef("sum", ("vec",), sums(MAX_TERMS), lambda op, v: np.sum(v, dtype=np.float32).reshape(1), _sum_i32, first, kernels=("sum",)),
    OpDef("mean", ("vec",), sums(MAX_TERMS), lambda op, v: np.mean(v, dtype=np.float32).reshape(1), _mean_i32, _mean_exp,
          kernels=("mean",)),
    OpDef("max", ("any",), scalar, lambda op, v: np.max(v).reshape(1), lambda op, v: Q(v.q.max().reshape(1), v.e), first,
          narrow="same", kernels=("max",)),
    OpDef("dot", ("act", "act"), sums(MAX_SQUARES), _dot_f32, _dot_i32, product, kernels=("dot",)),
)  # fmt: skip
