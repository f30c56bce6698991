"""tanh, sigmoid, log, rms_norm and the block floating point of exp, sqrt, rsqrt and recip, in exact integers.

edgelearn/ir/ops/functions.py says what each means. Bit lengths are counts of the powers of two that a number reaches. The one thing that is
not an integer is the root of a number of 30 bits: IEEE doubles give it correctly rounded, so its floor is exact.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from edgelearn.ir.core import Op
from edgelearn.ir.ops import OPS as MEANINGS
from edgelearn.ir.ops.functions import (
    BLOCK_EXP,
    EMPTY_EXP,
    EXP_MAX,
    LN2,
    LOG2,
    LOG2_MAX,
    LOG2E_FRACTION,
    LOG_EXP,
    POW2_65,
    RMS_EPS,
    RSQRT_MIN,
    TANH,
    TANH_END,
)
from edgelearn.ir.types import LIMIT
from edgelearn_export.onnx.integers_values import I32, POWERS, Integers, Power, Value

I16 = LIMIT["i16"]
Parts = tuple[str, str]  # mantissa and exponent, each for itself


# --- bounded: tanh, sigmoid, log ------------------------------------------------------------------------------------------------------


def _between(n: Integers, table: np.ndarray, index: str, rest: str, bits: int, half: int = 0) -> str:
    """An entry of a rising table plus ``rest`` / 2**bits of the way to the next."""
    low = n.gather(table, index)
    way = n.node("Mul", n.node("Sub", n.gather(table, n.node("Add", index, 1)), low), rest)
    return n.node("Add", low, n.node("Div", n.node("Add", way, half) if half else way, 1 << bits))


def _tanh_q15(n: Integers, v: Value, shift: Power) -> str:
    t = n.node("Min", n.node("Abs", n.shift_round(n.q(v), shift, v.most)), (TANH_END << 15) - 1)
    y = _between(n, TANH, n.node("Div", t, 1 << 10), n.node("Mod", t, 1 << 10), 10, 512)
    return n.signed(y, n.q(v))


def tanh(n: Integers, op: Op, v: Value) -> Value:
    return Value(n.clip(_tanh_q15(n, v, Power(-15) - v.power), -I16, I16), Power(-15), I16)


def sigmoid(n: Integers, op: Op, v: Value) -> Value:
    doubled = n.node("Add", _tanh_q15(n, v, Power(-14) - v.power), 32769)
    return Value(n.node("Min", n.node("Div", doubled, 2), I16), Power(-15), I16)


def log(n: Integers, op: Op, v: Value) -> Value:
    positive = n.node("Max", n.q(v), 1)
    bits = _bits(n, positive)
    m = _shifted(n, positive, n.node("Sub", 16, bits))
    fraction = _between(n, LOG2, n.node("Mod", n.node("Div", m, 512), 64), n.node("Mod", m, 512), 9)
    whole = n.node("Mul", n.node("Add", n.power(v.power), n.node("Sub", bits, 1)), 1 << 12)
    t = n.clip(n.node("Add", whole, n.node("Div", n.node("Add", fraction, 4), 8)), -LOG2_MAX, LOG2_MAX)
    found = n.clip(n.shift_round(n.node("Mul", t, LN2), Power(16)), -I16, I16)
    return Value(n.where(n.node("Greater", n.q(v), 0), found, -I16), Power(LOG_EXP), I16)


# --- blocks: exp, sqrt, rsqrt, recip --------------------------------------------------------------------------------------------------


def _bits(n: Integers, q: str) -> str:
    """How many bits integers (batch, size) that are not negative have."""
    reached = n.node("GreaterOrEqual", n.node("Unsqueeze", q, n.constant([2])), n.constant(POWERS))
    return n.sum(n.cast(reached, "i64"), 2, keep=0)


def _down(n: Integers, q: str, bits: str) -> str:
    """q >> bits, for q that are not negative; negative ``bits`` shift nothing."""
    return n.node("Div", q, n.pow2(n.node("Max", bits, 0)))


def _up(n: Integers, q: str, bits: str) -> str:
    return n.node("Mul", q, n.pow2(n.node("Max", bits, 0)))


def _shifted(n: Integers, q: str, left: str) -> str:
    """q * 2^left; what falls off at the right is lost."""
    return _down(n, _up(n, q, left), n.node("Neg", left))


def _root(n: Integers, q: str, e: str) -> Parts:
    """(r, f) such that r * 2^f is the square root of q * 2^e, r having 15 bits: rounded down."""
    free = n.node("Sub", 30, _bits(n, q))
    odd = n.node("BitwiseAnd", n.node("Sub", e, free), 1)
    left = n.node("Sub", free, odd)  # what is left as exponent must be even
    root = n.node("Floor", n.node("Sqrt", n.node("Cast", _shifted(n, q, left), to=TensorProto.DOUBLE)))
    return n.cast(root, "i64"), n.node("Div", n.node("Sub", e, left), 2)


def _block(n: Integers, parts: Parts, by: str, live: str | None = None) -> Value:
    """Mantissas at the exponent of the largest, which is where ``by`` is; 0 where not ``live``."""
    mantissa, exponent = parts
    place = n.node("ArgMax", n.cast(by, "i32"), axis=1, keepdims=1)
    e = n.clip(n.node("GatherElements", exponent, place, axis=1), -BLOCK_EXP, BLOCK_EXP)
    down = n.node("Min", n.node("Sub", e, exponent), 31)
    half = n.node("Div", n.pow2(n.node("Max", down, 0)), 2)
    size = _down(n, n.node("Add", n.node("Abs", mantissa), half), down)
    size = _up(n, size, n.node("Min", n.node("Neg", down), 16))
    q = n.clip(n.signed(size, mantissa), -I16, I16, most=2 * I32)
    if live is not None:
        q = n.where(live, q, 0)
        some = n.node("Greater", n.max(n.cast(live, "i64"), 1), 0)
        e = n.where(some, e, EMPTY_EXP)
    return Value(q, Power(0, ((e, 1),)), I16)


def _inverse(n: Integers, m: str, log2: int, exponent: str) -> Parts:
    """2^log2 / m, which has 15 bits or is 2^15: that becomes 2^14, so that powers of two stay exact."""
    mantissa = n.node("Div", n.node("Add", n.node("Div", m, 2), 1 << log2), m)
    whole = n.node("Equal", mantissa, 1 << 15)
    return n.where(whole, 1 << 14, mantissa), n.node("Add", exponent, n.cast(whole, "i64"))


def exp(n: Integers, op: Op, v: Value) -> Value:
    x = n.clip(n.shift_round(n.q(v), Power(-12) - v.power, v.most), -(EXP_MAX << 12), EXP_MAX << 12)
    rest = n.floor_shift(n.node("Add", n.node("Mul", x, LOG2E_FRACTION), 1 << 13), 14)
    t = n.node("Add", x, rest)
    down = n.node("Sub", 4095, n.node("BitwiseAnd", t, 4095))
    i, part = n.node("Div", down, 64), n.node("Add", n.node("Mod", down, 64), 1)
    high = n.gather(POW2_65, i)
    fall = n.node("Mul", n.node("Sub", high, n.gather(POW2_65, n.node("Add", i, 1))), part)
    mantissa = n.node("Sub", high, n.node("Div", n.node("Add", fall, 32), 64))
    return _block(n, (mantissa, n.node("Sub", n.floor_shift(t, 12), 14)), n.q(v))


def sqrt(n: Integers, op: Op, v: Value) -> Value:
    return _block(n, _root(n, n.node("Max", n.q(v), 1), n.power(v.power)), n.q(v), n.node("Greater", n.q(v), 0))


def rsqrt(n: Integers, op: Op, v: Value) -> Value:
    least = RSQRT_MIN // 2 - 14
    r, f = _root(n, n.node("Max", n.q(v), 1), n.power(v.power))
    low = n.node("Or", n.node("LessOrEqual", n.q(v), 0), n.node("Less", f, least))
    r, f = n.where(low, 1 << 14, r), n.where(low, least, f)
    return _block(n, _inverse(n, r, 29, n.node("Sub", -29, f)), n.node("Neg", n.q(v)))


def recip(n: Integers, op: Op, v: Value) -> Value:
    size = n.node("Max", n.node("Abs", n.q(v)), 1)
    left = n.node("Sub", 16, _bits(n, size))
    exponent = n.node("Sub", left, n.power(v.power.shifted(30)))
    mantissa, exponent = _inverse(n, _shifted(n, size, left), 30, exponent)
    zero = n.node("Equal", n.q(v), 0)
    smallest = n.where(zero, -I32 - 1, n.node("Neg", size))
    return _block(n, (n.signed(mantissa, n.q(v)), exponent), smallest, n.node("Not", zero))


# --- rms_norm -------------------------------------------------------------------------------------------------------------------------


def rms_norm(n: Integers, op: Op, v: Value) -> Value:
    size, q = math.prod(v.shape), n.q(v)
    squares = n.sum(n.node("Mul", q, q), 1)
    least = n.power(Power(size.bit_length() + RMS_EPS) - v.power - v.power)
    left = n.node("Sub", 30, n.node("Max", _bits(n, squares), least))
    right = Power(0, ((left, -1),))
    noise = n.shift_round(n.constant([[size]]), right + v.power + v.power.shifted(-RMS_EPS))
    mean = n.at_most(n.node("Add", n.shift_round(squares, right), noise), I32)
    top, e_top = _root(n, n.constant([[size]]), n.constant(0))
    bottom, e_bottom = _root(n, n.node("Max", mean, 1), n.power(right))
    factor = n.node("Div", n.node("Add", n.node("Mul", top, 1 << 16), n.node("Div", bottom, 2)), bottom)
    natural = MEANINGS["rms_norm"].exp((), op)
    assert natural is not None
    e = Power(-16, ((e_bottom, -1), (e_top, 1)))
    found = n.clip(n.shift_round(n.node("Mul", q, factor), Power(natural.const) - e), -I16, I16)
    return Value(n.where(n.node("Equal", squares, 0), q, found), Power(natural.const), I16)


OPS = {
    "tanh": tanh, "sigmoid": sigmoid, "log": log, "exp": exp, "sqrt": sqrt, "rsqrt": rsqrt, "recip": recip, "rms_norm": rms_norm,
}  # fmt: skip
