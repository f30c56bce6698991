"""Constants and choices: const, minimum, maximum, where, clip, leaky_relu, overlay and slice. Nothing is computed, so nothing overflows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import Floats, OpDef, Q, Shape, aligned, aligned_pair, first, same
from edgelearn.ir.types import Exp, shift_round

Array = NDArray[Any]
CONST_BITS = 15  # of a constant's mantissa
ZERO_EXP = -30  # of the constant 0: whatever it is aligned with is coarser
CONST_MIN = 2.0**-80  # what is nearer to 0 counts as 0: the exponent of a constant has 8 bits


def together(*arrays: Array) -> list[Array]:
    """All in the shape of the largest, but for scalars: a feature map takes a vector of as many numbers."""
    shape = max((a.shape for a in arrays), key=lambda s: (math.prod(s), len(s)))
    return [a if a.size == 1 else a.reshape(shape) for a in arrays]


# --- constants ------------------------------------------------------------------------------------------------------------------------


def const_parts(value: float) -> tuple[int, int]:
    """(q, e) such that q * 2^e is ``value`` to 15 bits. q has 30: a constant is so fine that it never coarsens what it is added to."""
    if abs(value) < CONST_MIN:
        return 0, ZERO_EXP
    fraction, exponent = math.frexp(value)
    return round(fraction * 2**CONST_BITS) << 30 - CONST_BITS, exponent - 30


def _const_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    return (int(op.number("size", 1)),)


def _const_i32(op: Op) -> Q:
    q, e = const_parts(op.number("value"))
    return Q(np.full(int(op.number("size", 1)), q, np.int64), e)


def _const_f32(op: Op) -> Floats:
    return np.full(int(op.number("size", 1)), op.number("value"), np.float32)


def _const_exp(exps: Sequence[Exp], op: Op) -> Exp:
    return Exp(const_parts(op.number("value"))[1])


# --- choices --------------------------------------------------------------------------------------------------------------------------


def _minimum_i32(op: Op, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    return Q(np.minimum(*together(x, y)), e)


def _maximum_i32(op: Op, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    return Q(np.maximum(*together(x, y)), e)


def _where_i32(op: Op, c: Q, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    return Q(_where_f32(op, c.q, x, y), e)


def _where_f32(op: Op, c: Array, a: Array, b: Array) -> Array:
    c, a, b = together(c, a, b)
    return np.where(c > 0, a, b)


def _clip_i32(op: Op, v: Q, low: Q, high: Q) -> Q:
    """In units of v: a limit that v's type cannot reach limits nothing."""
    return Q(_clip_f32(op, v.q, shift_round(low.q, v.e - low.e), shift_round(high.q, v.e - high.e)), v.e)


def _clip_f32(op: Op, v: Array, low: Array, high: Array) -> Array:
    v, low, high = together(v, low, high)
    return np.minimum(np.maximum(v, low), high)


def _clip_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    if same(shapes, op) != shapes[0]:
        raise ValueError(f"limits of shapes {shapes[1]} and {shapes[2]} for values of shape {shapes[0]}")
    return shapes[0]


def _leaky_relu_i32(op: Op, v: Q) -> Q:
    return Q(np.where(v.q > 0, v.q, shift_round(v.q, -int(op.number("slope_log2")))), v.e)


def _leaky_relu_f32(op: Op, v: Floats) -> Floats:
    return np.where(v > 0, v, v * np.float32(2.0 ** op.number("slope_log2")))


# --- parts ----------------------------------------------------------------------------------------------------------------------------


def _overlay_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    if math.prod(shapes[1]) > math.prod(shapes[0]):
        raise ValueError(f"{math.prod(shapes[1])} values laid over {math.prod(shapes[0])}")
    return shapes[0]


def _overlay_f32(op: Op, x: Array, v: Array) -> Array:
    out = x.copy()
    out.reshape(-1)[: v.size] = v.reshape(-1)
    return out


def _overlay_i32(op: Op, x: Q, v: Q) -> Q:
    return Q(_overlay_f32(op, x.q, shift_round(v.q, x.e - v.e)), x.e)


def _slice_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    start, size = int(op.number("start")), int(op.number("size"))
    if start < 0 or size < 1 or start + size > math.prod(shapes[0]):
        raise ValueError(f"elements {start} to {start + size} of {math.prod(shapes[0])}")
    return (size,)


def _slice(op: Op, v: Array) -> Array:
    start = int(op.number("start"))
    return v.reshape(-1)[start : start + int(op.number("size"))]


def _aligned_choices(exps: Sequence[Exp], op: Op) -> Exp | None:
    return aligned(exps[-2:], op)


ROWS: tuple[OpDef, ...] = (
    OpDef("const", (), _const_shape, _const_f32, _const_i32, _const_exp, attrs=("value", "size"), kernels=("const",)),
    OpDef("minimum", ("any", "any"), same, lambda op, a, b: np.minimum(*together(a, b)), _minimum_i32, _aligned_choices,
          kernels=("minimum",)),
    OpDef("maximum", ("any", "any"), same, lambda op, a, b: np.maximum(*together(a, b)), _maximum_i32, _aligned_choices,
          kernels=("maximum",)),
    OpDef("where", ("any", "any", "any"), same, _where_f32, _where_i32, _aligned_choices, kernels=("where",)),
    OpDef("clip", ("any", "any", "any"), _clip_shape, _clip_f32, _clip_i32, first, narrow="same", kernels=("clip",)),
    OpDef("leaky_relu", ("any",), same, _leaky_relu_f32, _leaky_relu_i32, first, attrs=("slope_log2",), narrow="same",
          kernels=("leaky_relu",)),
    OpDef("overlay", ("any", "any"), _overlay_shape, _overlay_f32, _overlay_i32, first, narrow="same", kernels=("overlay",)),
    OpDef("slice", ("any",), _slice_shape, _slice, lambda op, v: Q(_slice(op, v.q), v.e), first, attrs=("start", "size"),
          narrow="same", kernels=("slice",)),
)  # fmt: skip
