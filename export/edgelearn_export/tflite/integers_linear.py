"""Matrices and their updates in integers, as ``edgelearn.ir.ops.linear`` means them."""

from __future__ import annotations

from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import parse_shape
from edgelearn.ir.ops.linear import MAX_K_LOG2, summed_bits
from edgelearn_export.tflite.integers_basis import Meaning, Q, Scene
from edgelearn_export.tflite.integers_products import product
from edgelearn_export.tflite.integers_shifts import Power, power_of_two, shift_round
from edgelearn_export.tflite.integers_values import Ints, clipped, maximum, minimum, where

BIAS_LIMIT = 1 << 30
FRACTION = 16  # bits of an update below the weight's unit
DECAY_MOST = 22  # a decay by 2^(22 - 16) or more is one by as much
ROUNDED_MOST = 15  # |k w| + r fits 32 bits


# --- products -------------------------------------------------------------------------------------------------------------------------


def with_bias(z: Ints, e: Power, b: Q | None) -> Ints:
    return z if b is None else z + clipped(shift_round(b.q, e - b.e), BIAS_LIMIT)


def activated(op: Op, z: Ints) -> Ints:
    return maximum(z, 0) if op.attr("relu", 0) else z


def _affine(scene: Scene, op: Op, W: Q, x: Q, b: Q | None = None) -> Q:
    e = W.e + x.e
    z = product(x.q.reshaped((1, x.q.size)), W.q, (False, True)).flat()
    return Q(activated(op, with_bias(z, e, b)), e)


def _transposed(scene: Scene, op: Op, W: Q, d: Q, a: Q | None = None) -> Q:
    z = product(d.q.reshaped((1, d.q.size)), W.q)
    shape = parse_shape(str(op.attr("shape"))) if "shape" in dict(op.attrs) else (z.size,)
    z = z.reshaped(shape)
    return Q(z if a is None else where(a.q.reshaped(shape) > 0, z, 0), W.e + d.e)


# --- updates --------------------------------------------------------------------------------------------------------------------------


def step_multiplier(scene: Scene, op: Op, d: Q, e_x: Power, e_w: Power, bits: int = MAX_K_LOG2) -> Ints:
    """k = round(d * rate * 2^16) in units of W per unit of x, at most 2^bits."""
    shift = e_w - d.e - e_x + scene.drops() - int(op.number("rate_log2")) - FRACTION
    k = clipped(shift_round(d.q, shift), 1 << bits)
    return -k if is_negative(op) else k


def is_negative(op: Op) -> bool:
    return op.attr("sign", 1) == -1


def rounded(change: Ints, dither: Ints, moved: Ints) -> Ints:
    """floor((change + dither) / 2^16), where ``moved``; elsewhere change is 0 and no dither is drawn."""
    return (change + where(moved, dither, 0)) >> FRACTION


def _outer_update(scene: Scene, op: Op, W: Q, d: Q, x: Q, limit: int) -> Q:
    k = step_multiplier(scene, op, d, x.e, W.e).reshaped((d.q.size, 1))
    change = k * x.q.reshaped((1, x.q.size))
    moved = change.equals(0).equals(0)
    return Q(clipped(W.q - rounded(change, scene.dither(op, *W.q.shape), moved), limit), W.e)


def vec_update(scene: Scene, op: Op, b: Q, d: Q, limit: int) -> Q:
    n = b.q.size
    positions = d.q.size // n
    k = step_multiplier(scene, op, d, Power(), b.e, summed_bits(positions)).reshaped((positions, n)).sum(0)
    dither = scene.dither(op, n, 1).reshaped((n,))
    return Q(clipped(b.q - rounded(k, dither, k.equals(0).equals(0)), limit), b.e)


def _decay_update(scene: Scene, op: Op, W: Q, limit: int) -> Q:
    """w -= floor((k w + r) / 2^16) with k = 2^shift: from 2^16 on r does not matter, and the product is made without it."""
    flat = W.q.reshaped((1, W.q.size))
    shift = (-scene.drops() + FRACTION + int(op.number("rate_log2"))).value(scene.graph)
    dither = scene.dither(op, 1, W.q.size)
    signed = -flat if is_negative(op) else flat
    small = rounded(signed * power_of_two(minimum(maximum(shift, 0), ROUNDED_MOST)), dither, flat.equals(0).equals(0))
    whole = signed * power_of_two(maximum(minimum(shift, DECAY_MOST) - FRACTION, 0))
    change = where(shift < 0, 0, where(shift > ROUNDED_MOST, whole, small))
    return Q(clipped(flat - change, limit).reshaped(W.q.shape), W.e)


MEANINGS: dict[str, Meaning] = {
    "matvec": _affine, "affine": _affine, "matvec_t": _transposed, "matvec_t_mask": _transposed, "outer_update": _outer_update,
    "vec_update": vec_update, "decay_update": _decay_update,
}  # fmt: skip
