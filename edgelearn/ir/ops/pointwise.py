"""Element by element: arithmetic, comparisons, narrowing, and what ends in a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import (
    Floats,
    OpDef,
    Q,
    Shape,
    aligned,
    aligned_pair,
    first,
    fixed,
    product,
    same,
    scale_parts,
)
from edgelearn.ir.types import LIMIT, Exp, saturate, shift_round


def _sum_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    """``same``, or a map and a vector of its channels: what a bias is to a convolution."""
    large, small = sorted(shapes, key=len, reverse=True)
    return large if is_channels(large, small) else same(shapes, op)


def is_channels(large: Shape, small: Shape) -> bool:
    return len(large) == 3 and small == large[2:]


def _add_i32(op: Op, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    return Q(saturate(x + y, "i32"), e)


def _sub_i32(op: Op, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    return Q(saturate(x - y, "i32"), e)


POW2 = np.array([round(32768 * 2 ** (-f / 64)) for f in range(64)], np.int64)  # 2^-f/64 in Q15
LOG2E = 1477  # log2(e) in Q10


def _softmax_i32(op: Op, g: Q) -> Q:
    """Q15, from a 64-entry table of 2^-f and one division per class."""
    distance = np.minimum(g.q.max() - g.q, LIMIT["i32"])
    below = np.minimum(shift_round(distance, -(g.e + 10)), 1 << 14)  # distance to the maximum, Q10
    t = below * LOG2E >> 10
    power = POW2[t >> 4 & 63] >> (t >> 10)
    total = int(power.sum())
    return Q(np.minimum(((power << 15) + (total >> 1)) // total, LIMIT["i16"]), -15)


def _softmax_f32(op: Op, g: Floats) -> Floats:
    power = np.exp(g - g.max())
    return power / power.sum()


def _one_hot_i32(op: Op, y: Q) -> Q:
    return Q((np.arange(int(op.number("classes"))) == y.q).astype(np.int64) << 15, -15)


def _one_hot_f32(op: Op, y: NDArray[np.int64]) -> Floats:
    return (np.arange(int(op.number("classes"))) == y).astype(np.float32)


def _sub_one_hot_i32(op: Op, p: Q, y: Q) -> Q:
    return Q(p.q - ((np.arange(len(p.q)) == y.q).astype(np.int64) << 15), -15)


def _sub_one_hot_f32(op: Op, p: Floats, y: NDArray[np.int64]) -> Floats:
    return p - (np.arange(len(p)) == y).astype(np.float32)


def _threshold(op: Op, key: str, e: int) -> int:
    """A number of the rule, given in Q15, in units of 2^e."""
    return int(shift_round(round(op.number(key, 0) * 32768), e + 15))


def _sign_i32(op: Op, v: Q) -> Q:
    """Zero within the dead zone, ends included."""
    return Q(np.where(np.abs(v.q) > _threshold(op, "dead", v.e), np.sign(v.q) << 7, 0), -7)


def _sign_f32(op: Op, v: Floats) -> Floats:
    return np.where(np.abs(v) > np.float32(op.number("dead", 0)), np.sign(v), np.float32(0))


def _gate_i32(op: Op, v: Q) -> Q:
    threshold = _threshold(op, "threshold", v.e)
    return Q(v.q if np.abs(v.q).max() >= threshold else np.zeros_like(v.q), v.e)


def _gate_f32(op: Op, v: Floats) -> Floats:
    return v if np.abs(v).max() >= np.float32(op.number("threshold")) else np.zeros_like(v)


def _scale_i32(op: Op, v: Q) -> Q:
    mantissa, exponent = scale_parts(op.number("k"))
    return Q(v.q * mantissa, v.e + exponent)


def _scale_exp(exps: Sequence[Exp], op: Op) -> Exp:
    return exps[0].shifted(scale_parts(op.number("k"))[1])


ROWS: tuple[OpDef, ...] = (
    OpDef("add", ("any", "any"), _sum_shape, lambda op, a, b: a + b, _add_i32, aligned, kernels=("add",)),
    OpDef("sub", ("any", "any"), same, lambda op, a, b: a - b, _sub_i32, aligned, kernels=("sub",)),
    OpDef("mul", ("vec", "vec"), same, lambda op, a, b: a * b, lambda op, a, b: Q(a.q * b.q, a.e + b.e), product, kernels=("mul",)),
    OpDef("scale", ("vec",), same, lambda op, v: v * np.float32(op.number("k")), _scale_i32, _scale_exp, attrs=("k",),
          kernels=("scale",)),
    OpDef("relu", ("any",), same, lambda op, v: np.maximum(v, 0), lambda op, v: Q(np.maximum(v.q, 0), v.e), first, narrow="same",
          kernels=("relu",)),
    OpDef("abs", ("any",), same, lambda op, v: np.abs(v), lambda op, v: Q(np.abs(v.q), v.e), first, narrow="same", kernels=("abs",)),
    OpDef("sign", ("any",), same, _sign_f32, _sign_i32, fixed(-7), attrs=("dead",), narrow="i16", kernels=("sign",)),
    OpDef("gt0", ("any",), same, lambda op, v: (v > 0).astype(np.float32), lambda op, v: Q((v.q > 0).astype(np.int64) << 7, -7),
          fixed(-7), narrow="i16", kernels=("gt0",)),
    OpDef("mask", ("any", "act"), same, lambda op, v, a: np.where(a > 0, v, np.float32(0)),
          lambda op, v, a: Q(np.where(a.q > 0, v.q, 0), v.e), first, narrow="same", kernels=("mask",)),
    OpDef("softmax", ("any",), same, _softmax_f32, _softmax_i32, fixed(-15), narrow="i16", kernels=("softmax",)),
    OpDef("one_hot", ("label",), lambda shapes, op: (int(op.number("classes")),), _one_hot_f32, _one_hot_i32, fixed(-15),
          attrs=("classes",), kernels=("one_hot",)),
    OpDef("sub_one_hot", ("vec", "label"), lambda shapes, op: shapes[0], _sub_one_hot_f32, _sub_one_hot_i32, fixed(-15), narrow="i16",
          kernels=("sub_one_hot",)),
    OpDef("gate", ("any",), same, _gate_f32, _gate_i32, first, attrs=("threshold",), narrow="same", kernels=("gate",)),
    OpDef("quant", ("any",), same, lambda op, v: v, lambda op, v: v, first, kernels=("quant",)),
    OpDef("argmax", ("any",), lambda shapes, op: (1,), lambda op, v: np.array([np.argmax(v)]),
          lambda op, v: Q(np.array([np.argmax(v.q)]), 0), fixed(0), kernels=("argmax",)),
)  # fmt: skip
