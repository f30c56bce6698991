"""Matrices: products, transposed products, and the updates of matrices and vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir import rng
from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import Draw, Floats, OpDef, Q, Shape, first, parse_shape, product, rate
from edgelearn.ir.types import shift_round

MAX_K_LOG2 = 22  # |k| of an update is at most 2^22


def _matvec_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    W, x = shapes[0], shapes[1]
    if len(W) != 2 or math.prod(x) != W[1]:
        raise ValueError(f"a {W} matrix cannot be applied to a vector of shape {x}")
    if len(shapes) == 3 and shapes[2] != (W[0],):
        raise ValueError(f"a bias of shape {shapes[2]} does not fit {W[0]} rows")
    return (W[0],)


def _matvec_t_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    W, d = shapes[0], shapes[1]
    if len(W) != 2 or math.prod(d) != W[0]:
        raise ValueError(f"the transpose of a {W} matrix cannot be applied to a vector of shape {d}")
    shape = parse_shape(str(op.attr("shape"))) if "shape" in dict(op.attrs) else (W[1],)
    if math.prod(shape) != W[1] or (len(shapes) == 3 and math.prod(shapes[2]) != W[1]):
        raise ValueError(f"a result or mask of shape {shapes[-1]} does not fit {W[1]} columns")
    return shape


def vec_update_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    """A feature map (H, W, C) updates a vector (C,): the sum over its positions does."""
    if shapes[0] != shapes[1] and (len(shapes[1]) != 3 or shapes[0] != shapes[1][2:]):
        raise ValueError(f"an update of shape {shapes[1]} does not fit state of shape {shapes[0]}")
    return ()


def _outer_update_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    if shapes[0] != (math.prod(shapes[1]), math.prod(shapes[2])):
        raise ValueError(f"outer({shapes[1]}, {shapes[2]}) does not fit state of shape {shapes[0]}")
    return ()


def weight_macs(shapes: Sequence[Shape], op: Op) -> int:
    return math.prod(shapes[0])


def with_bias(z: NDArray[np.int64], e: int, b: Q | None) -> NDArray[np.int64]:
    """Exact sums of exponent ``e`` plus a bias; within 2^30, so that the device's 32 bits hold it."""
    return z if b is None else z + np.clip(shift_round(b.q, e - b.e), -(1 << 30), 1 << 30)


def _affine_i32(op: Op, W: Q, x: Q, b: Q | None = None) -> Q:
    e = W.e + x.e
    z = with_bias(W.q @ x.q.reshape(-1), e, b)
    return Q(np.maximum(z, 0) if op.attr("relu", 0) else z, e)


def _affine_f32(op: Op, W: Floats, x: Floats, b: Floats | None = None) -> Floats:
    z = W @ x.reshape(-1)
    z = z if b is None else z + b
    return np.maximum(z, 0) if op.attr("relu", 0) else z


def _transposed_i32(op: Op, W: Q, d: Q, a: Q | None = None) -> Q:
    z = (W.q.T @ d.q.reshape(-1)).reshape(_matvec_t_shape([W.q.shape, d.q.shape], op))
    return Q(z if a is None else np.where(a.q.reshape(z.shape) > 0, z, 0), W.e + d.e)


def _transposed_f32(op: Op, W: Floats, d: Floats, a: Floats | None = None) -> Floats:
    z = (W.T @ d.reshape(-1)).reshape(_matvec_t_shape([W.shape, d.shape], op))
    return z if a is None else np.where(a.reshape(z.shape) > 0, z, np.float32(0))


def step_multiplier(d: Q, e_x: int, e_w: int, op: Op, draw: Draw, bits: int = MAX_K_LOG2) -> NDArray[np.int64]:
    """k = round(d * rate * 2^16) in units of W per unit of x, at most 2^bits: what one row's update is made of."""
    shift = e_w - d.e - e_x - int(op.number("rate_log2")) - 16 + draw.drops
    k = np.clip(shift_round(d.q, shift), -(1 << bits), 1 << bits)
    return -k if op.attr("sign", 1) == -1 else k


def _outer_update_i32(op: Op, W: Q, d: Q, x: Q, draw: Draw, limit: int) -> Q:
    """w -= floor((k x + r) / 2^16), saturated: stochastic rounding, since r is uniform in [0, 2^16)."""
    k = step_multiplier(d, x.e, W.e, op, draw).reshape(-1, 1)
    r = rng.dither(draw.seed, draw.step, int(op.number("id")), *W.q.shape)
    xq = x.q.reshape(-1)
    return Q(np.clip(W.q - (k * xq + np.where((k != 0) & (xq != 0), r, 0) >> 16), -limit, limit), W.e)


def summed_bits(positions: int) -> int:
    """Bound on log2 |k| where ``positions`` products k x are summed in 32 bits before they are rounded."""
    return min(MAX_K_LOG2, 23 - math.ceil(math.log2(positions)))


def vec_update_i32(op: Op, b: Q, d: Q, draw: Draw, limit: int) -> Q:
    positions = d.q.size // b.q.size
    k = step_multiplier(d, 0, b.e, op, draw, summed_bits(positions)).reshape(positions, -1).sum(axis=0)
    r = rng.dither(draw.seed, draw.step, int(op.number("id")), len(b.q), 1)[:, 0]
    return Q(np.clip(b.q - (k + np.where(k != 0, r, 0) >> 16), -limit, limit), b.e)


def vec_update_f32(op: Op, b: Floats, d: Floats, drops: int) -> Floats:
    return b - rate(op, drops) * d.reshape(-1, len(b)).sum(axis=0, dtype=np.float32)


def _decay_update_i32(op: Op, W: Q, draw: Draw, limit: int) -> Q:
    """w -= floor((k w + r) / 2^16) with k = rate * 2^16: below a rate of 2^-16 nothing decays."""
    shift = 16 + int(op.number("rate_log2")) - draw.drops
    k = (1 << min(shift, 22) if shift >= 0 else 0) * (-1 if op.attr("sign", 1) == -1 else 1)
    flat = W.q.reshape(1, -1)
    r = rng.dither(draw.seed, draw.step, int(op.number("id")), *flat.shape)
    change = k * flat + np.where((flat != 0) & (k != 0), r, 0) >> 16
    return Q(np.clip(flat - change, -limit, limit).reshape(W.q.shape), W.e)


UPDATE_ATTRS = ("id", "rate", "rate_log2", "sign")

ROWS: tuple[OpDef, ...] = (
    OpDef("matvec", ("W", "act"), _matvec_shape, _affine_f32, _affine_i32, product, weight_macs, kernels=("matvec",)),
    OpDef("affine", ("W", "act", "b"), _matvec_shape, _affine_f32, _affine_i32, product, weight_macs, ("relu",), kernels=("affine",)),
    OpDef("matvec_t", ("W", "vec"), _matvec_t_shape, _transposed_f32, _transposed_i32, product, weight_macs, ("shape",),
          kernels=("matvec_t",)),
    OpDef("matvec_t_mask", ("W", "vec", "act"), _matvec_t_shape, _transposed_f32, _transposed_i32, product, weight_macs, ("shape",),
          kernels=("matvec_t_mask",)),
    OpDef("outer_update", ("W", "vec", "act"), _outer_update_shape,
          lambda op, W, d, x, drops: W - rate(op, drops) * np.outer(d, x), _outer_update_i32, first, weight_macs,
          UPDATE_ATTRS, update=True, kernels=("outer_update",)),
    OpDef("vec_update", ("b", "vec"), vec_update_shape, vec_update_f32, vec_update_i32, first, attrs=UPDATE_ATTRS, update=True,
          kernels=("vec_update",)),
    OpDef("decay_update", ("W",), lambda shapes, op: (), lambda op, W, drops: W - rate(op, drops) * W, _decay_update_i32, first,
          attrs=UPDATE_ATTRS, update=True, kernels=("decay_update",)),
)  # fmt: skip
