"""Functions of a vector: tanh, sigmoid, exp, log, sqrt, rsqrt, recip and rms_norm. Tables and shifts, no 64-bit product.

What has a bound has a fixed exponent. exp, sqrt, rsqrt and recip are block floating point: 15 bits each, and one exponent for all,
that of the largest, which the op leaves in a computed slot. No function gives NaN or infinity: each says what it does out of range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import Floats, OpDef, Q, Shape, at_run_time, fixed, same
from edgelearn.ir.ops.pointwise import POW2
from edgelearn.ir.types import LIMIT, Exp, saturate, shift_round

Ints = NDArray[np.int64]

TANH_END = 8  # the table's end: 1 - tanh(8) is 2^-22
TANH = np.array([round(32768 * math.tanh(TANH_END * i / 256)) for i in range(257)], np.int64)  # Q15
LOG2 = np.array([round(32768 * math.log2(1 + i / 64)) for i in range(65)], np.int64)  # log2(1 + i/64), Q15
POW2_65 = np.append(POW2, 16384)  # 2^-(i/64), Q15
LOG2E_FRACTION = 7253  # log2(e) - 1, Q14
LN2 = 22713  # Q15

EXP_MAX = 32  # exp(v) is exp(32), 2^46, for every v beyond
LOG_EXP = -11
LOG_MAX = LIMIT["i16"] * 2.0**LOG_EXP  # log(v) is within +-LOG_MAX, 16 all but a unit
LOG2_MAX = 94545  # the same as log2, Q12
RSQRT_MIN = -16  # below 2^-16, rsqrt(v) is what it is there: 256
RECIP_MIN = 2.0**-100  # a float nearer to 0 counts as 0
RMS_EPS = -27  # 2^-27, 0.7e-8, is added to the mean square
BLOCK_EXP = 100  # exponents of blocks stay within +-100: they are stored in 8 bits
EMPTY_EXP = -15  # of a block of zeros
MAX_SQUARES = 1 << 17  # 127^2 times as many fits 32 bits


# --- bounded: tanh, sigmoid, log ------------------------------------------------------------------------------------------------------


def _tanh_q15(q: Ints, shift: int) -> Ints:
    """tanh of q * 2^-shift, given in Q15, between table entries by a straight line: off by 4 units at most."""
    t = np.minimum(np.abs(shift_round(q, shift)), (TANH_END << 15) - 1)
    i, rest = t >> 10, t & 1023
    y = TANH[i] + ((TANH[i + 1] - TANH[i]) * rest + 512 >> 10)
    return np.where(q < 0, -y, y)


def _tanh_i32(op: Op, v: Q) -> Q:
    return Q(saturate(_tanh_q15(v.q, -(v.e + 15)), "i16"), -15)


def _sigmoid_i32(op: Op, v: Q) -> Q:
    """(1 + tanh(v/2)) / 2."""
    return Q(saturate(32768 + _tanh_q15(v.q, -(v.e + 14)) + 1 >> 1, "i16"), -15)


def _sigmoid_f32(op: Op, v: Floats) -> Floats:
    half = np.float32(0.5)
    return half + half * np.tanh(half * v)


def _log_i32(op: Op, v: Q) -> Q:
    """log2 of the mantissa from a table, plus the exponent, times ln 2; the smallest number for v <= 0."""
    positive = np.maximum(v.q, 1)
    bits = _bits(positive)
    m = _shifted(positive, 16 - bits)  # 1 to 2, Q15
    i, rest = m >> 9 & 63, m & 511
    log2 = LOG2[i] + ((LOG2[i + 1] - LOG2[i]) * rest >> 9)
    t = np.clip((v.e + bits - 1 << 12) + (log2 + 4 >> 3), -LOG2_MAX, LOG2_MAX)
    return Q(np.where(v.q > 0, saturate(shift_round(t * LN2, 16), "i16"), -LIMIT["i16"]), LOG_EXP)


def _log_f32(op: Op, v: Floats) -> Floats:
    return np.clip(np.log(np.maximum(v, np.float32(1e-30))), -LOG_MAX, LOG_MAX)


# --- blocks: exp, sqrt, rsqrt, recip --------------------------------------------------------------------------------------------------

Parts = tuple[Ints, Ints]  # mantissa and exponent, each for itself


def _bits(q: Ints) -> Ints:
    """How many bits a positive integer has."""
    return np.frexp(q.astype(np.float64))[1].astype(np.int64)


def _shifted(q: Ints, left: Ints) -> Ints:
    """q * 2^left; what falls off at the right is lost."""
    return q << np.maximum(left, 0) >> np.maximum(-left, 0)


def _root(q: Ints, e: int) -> Parts:
    """(r, f) such that r * 2^f is the square root of q * 2^e, r having 15 bits: rounded down."""
    left = 30 - _bits(q)
    left = left - (e - left & 1)  # what is left as exponent must be even
    return np.floor(np.sqrt(_shifted(q, left).astype(np.float64))).astype(np.int64), e - left >> 1


def _block(parts: Parts, extreme: int, live: NDArray[np.bool_]) -> Q:
    """Mantissas at the exponent of the largest, which element ``extreme`` is; 0 where not ``live``."""
    mantissa, exponent = parts
    e = min(max(int(exponent.reshape(-1)[extreme]), -BLOCK_EXP), BLOCK_EXP)
    down = np.minimum(e - exponent, 31)
    half = np.where(down > 0, 1 << np.maximum(down, 1) >> 1, 0)
    size = np.abs(mantissa) + half >> np.maximum(down, 0) << np.minimum(np.maximum(-down, 0), 16)
    q = np.where(live, saturate(np.where(mantissa < 0, -size, size), "i16"), 0)
    return Q(q, e if live.any() else EMPTY_EXP)


def _inverse(m: Ints, log2: int, exponent: Ints) -> Parts:
    """2^log2 / m, which has 15 bits or is 2^15: that becomes 2^14, so that powers of two stay exact."""
    mantissa = ((1 << log2) + (m >> 1)) // m
    whole = mantissa == 1 << 15
    return np.where(whole, 1 << 14, mantissa), np.where(whole, exponent + 1, exponent)


def _exp_i32(op: Op, v: Q) -> Q:
    """2^(v log2 e), whose fraction comes from softmax's table, between its entries by a straight line."""
    x = np.clip(shift_round(v.q, -(v.e + 12)), -(EXP_MAX << 12), EXP_MAX << 12)
    t = x + (x * LOG2E_FRACTION + (1 << 13) >> 14)
    down = 4095 - (t & 4095)  # 2^f is 2 * 2^-(1 - f)
    i, rest = down >> 6, (down & 63) + 1
    mantissa = POW2_65[i] - ((POW2_65[i] - POW2_65[i + 1]) * rest + 32 >> 6)
    return _block((mantissa, (t >> 12) - 14), int(v.q.argmax()), np.ones(v.q.shape, np.bool_))


def _sqrt_i32(op: Op, v: Q) -> Q:
    return _block(_root(np.maximum(v.q, 1), v.e), int(v.q.argmax()), v.q > 0)


def _rsqrt_i32(op: Op, v: Q) -> Q:
    r, f = _root(np.maximum(v.q, 1), v.e)
    low = (v.q <= 0) | (f < RSQRT_MIN // 2 - 14)
    r, f = np.where(low, 1 << 14, r), np.where(low, RSQRT_MIN // 2 - 14, f)
    return _block(_inverse(r, 29, -29 - f), int(v.q.argmin()), np.ones(v.q.shape, np.bool_))


def _recip_i32(op: Op, v: Q) -> Q:
    """1 / v from 16 bits of v; 0 where v is 0."""
    size = np.maximum(np.abs(v.q), 1)
    left = 16 - _bits(size)
    mantissa, exponent = _inverse(_shifted(size, left), 30, left - v.e - 30)
    smallest = int(np.where(v.q == 0, LIMIT["i32"] + 1, size).argmin())
    return _block((np.where(v.q < 0, -mantissa, mantissa), exponent), smallest, v.q != 0)


def _recip_f32(op: Op, v: Floats) -> Floats:
    far = np.abs(v) >= RECIP_MIN
    return np.where(far, 1 / np.where(far, v, np.float32(1)), np.float32(0))


# --- rms_norm -------------------------------------------------------------------------------------------------------------------------


def _rms_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    if math.prod(shapes[0]) > MAX_SQUARES:
        raise ValueError(f"the squares of {math.prod(shapes[0])} values do not fit 32 bits")
    return shapes[0]


def _rms_exp(n: int) -> int:
    """One value alone becomes sqrt(n): the largest result there can be."""
    return (math.ceil(math.log2(n)) + 1) // 2 - 15


def _rms_norm_i32(op: Op, v: Q) -> Q:
    """q sqrt(n) / sqrt(sum of squares): two roots, one division, and a product for each value. Both terms of the
    mean have 30 bits or fewer: few squares, and the constant beside them, lose nothing."""
    n, squares = np.array(v.q.size), np.array((v.q * v.q).sum())
    if squares == 0:
        return Q(v.q, _rms_exp(v.q.size))
    left = 30 - max(int(_bits(squares)), int(_bits(n)) + RMS_EPS - 2 * v.e)
    squares = np.minimum(shift_round(squares, -left) + shift_round(n, 2 * v.e - RMS_EPS - left), LIMIT["i32"])
    (top, e_top), (bottom, e_bottom) = _root(n, 0), _root(squares, -left)
    factor = ((top << 16) + (bottom >> 1)) // bottom
    e, e_out = int(e_top - e_bottom) - 16, _rms_exp(v.q.size)
    return Q(saturate(shift_round(v.q * factor, e_out - e), "i16"), e_out)


def _rms_norm_f32(op: Op, v: Floats) -> Floats:
    return v / np.sqrt(np.mean(v * v, dtype=np.float32) + np.float32(2.0**RMS_EPS))


def _rms_result(exps: Sequence[Exp], op: Op) -> Exp:
    assert op.type is not None
    return Exp(_rms_exp(op.type.size))


def _row(name: str, f32: Callable[[Op, Floats], Floats], i32: Callable[[Op, Q], Q], e: int | None = None) -> OpDef:
    """A function of any exact values, whatever their width: they are brought to 32 bits or fewer before anything is computed."""
    return OpDef(name, ("any",), same, f32, i32, at_run_time if e is None else fixed(e), narrow="i16", kernels=(name,))


ROWS: tuple[OpDef, ...] = (
    _row("tanh", lambda op, v: np.tanh(v), _tanh_i32, -15),
    _row("sigmoid", _sigmoid_f32, _sigmoid_i32, -15),
    _row("exp", lambda op, v: np.exp(np.minimum(v, np.float32(EXP_MAX))), _exp_i32),
    _row("log", _log_f32, _log_i32, LOG_EXP),
    _row("sqrt", lambda op, v: np.sqrt(np.maximum(v, np.float32(0))), _sqrt_i32),
    _row("rsqrt", lambda op, v: np.reciprocal(np.sqrt(np.maximum(v, np.float32(2.0**RSQRT_MIN)))), _rsqrt_i32),
    _row("recip", _recip_f32, _recip_i32),
    OpDef("rms_norm", ("act",), _rms_shape, _rms_norm_f32, _rms_norm_i32, _rms_result, narrow="i16", kernels=("rms_norm",)),
)  # fmt: skip
