"""Integer ops that go element by element, reductions, choices, and what ends in a class. edgelearn/ir/ops/ says what each means."""

from __future__ import annotations

import math

import numpy as np

from edgelearn.ir.core import Op
from edgelearn.ir.ops import LOG2E, POW2, scale_parts
from edgelearn.ir.ops.choices import const_parts
from edgelearn.ir.ops.reductions import MEAN_BITS
from edgelearn.ir.types import LIMIT
from edgelearn_export.onnx.integers_values import I32, Integers, Power, Value, shifted_most

ONE = 1 << 15  # 1 in Q15
Q15, Q7 = Power(-15), Power(-7)


# --- arithmetic -----------------------------------------------------------------------------------------------------------------------


def add(n: Integers, op: Op, a: Value, b: Value) -> Value:
    x, y, p = n.aligned(a, b)
    sizes = math.prod(a.shape), math.prod(b.shape)
    if sizes[0] == sizes[1] or 1 in sizes:
        total = n.node("Add", x, y)
    else:  # a map and a vector of its channels
        channels = min(sizes)
        total = n.node(
            "Add", n.reshape(x, -1, sizes[0] // channels, channels), n.reshape(y, -1, sizes[1] // channels, channels)
        )
        total = n.reshape(total, -1, max(sizes))
    return _saturated(n, total, a, b, p)


def sub(n: Integers, op: Op, a: Value, b: Value) -> Value:
    x, y, p = n.aligned(a, b)
    return _saturated(n, n.node("Sub", x, y), a, b, p)


def _saturated(n: Integers, total: str, a: Value, b: Value, p: Power) -> Value:
    most = shifted_most(a.most, p - a.power) + shifted_most(b.most, p - b.power)
    return Value(n.saturate(total, most, I32), p, min(most, I32))


def mul(n: Integers, op: Op, a: Value, b: Value) -> Value:
    return Value(n.node("Mul", n.q(a), n.q(b)), a.power + b.power, a.most * b.most)


def scale(n: Integers, op: Op, v: Value) -> Value:
    mantissa, exponent = scale_parts(op.number("k"))
    name = n.q(v) if mantissa == 1 else n.node("Mul", n.q(v), mantissa)
    return Value(name, v.power.shifted(exponent), v.most * abs(mantissa))


def relu(n: Integers, op: Op, v: Value) -> Value:
    return Value(n.node("Max", n.q(v), 0), v.power, v.most)


def absolute(n: Integers, op: Op, v: Value) -> Value:
    return Value(n.node("Abs", n.q(v)), v.power, v.most)


def quant(n: Integers, op: Op, v: Value) -> Value:
    return Value(n.q(v), v.power, v.most)


# --- comparisons ----------------------------------------------------------------------------------------------------------------------


def _threshold(n: Integers, op: Op, key: str, v: Value) -> str:
    """A number of the rule, in units of ``v``."""
    return n.shift_round(n.constant(round(op.number(key, 0) * ONE)), v.power.shifted(15))


def sign(n: Integers, op: Op, v: Value) -> Value:
    outside = n.node("Greater", n.node("Abs", n.q(v)), _threshold(n, op, "dead", v))
    return Value(n.where(outside, n.node("Mul", n.node("Sign", n.q(v)), 1 << 7), 0), Q7, 1 << 7)


def gt0(n: Integers, op: Op, v: Value) -> Value:
    return Value(n.where(n.node("Greater", n.q(v), 0), 1 << 7, 0), Q7, 1 << 7)


def mask(n: Integers, op: Op, v: Value, a: Value) -> Value:
    return Value(n.where(n.node("Greater", n.q(a), 0), n.q(v), 0), v.power, v.most)


def gate(n: Integers, op: Op, v: Value) -> Value:
    largest = n.max(n.node("Abs", n.q(v)), 1)
    return Value(
        n.where(n.node("GreaterOrEqual", largest, _threshold(n, op, "threshold", v)), n.q(v), 0), v.power, v.most
    )


# --- classes --------------------------------------------------------------------------------------------------------------------------


def softmax(n: Integers, op: Op, g: Value) -> Value:
    distance = n.at_most(n.node("Sub", n.max(n.q(g), 1), n.q(g)), I32)
    below = n.node("Min", n.shift_round(distance, Power(-10) - g.power), 1 << 14)
    t = n.node("Div", n.node("Mul", below, LOG2E), 1 << 10)
    fraction = n.gather(POW2, n.node("Mod", n.node("Div", t, 16), 64))
    power = n.node("Div", fraction, n.pow2(n.node("Div", t, 1 << 10)))
    total = n.sum(power, 1)
    rounded = n.node("Add", n.node("Mul", power, ONE), n.node("Div", total, 2))
    return Value(n.node("Min", n.node("Div", rounded, total), LIMIT["i16"]), Q15, LIMIT["i16"])


def _one_hot(n: Integers, y: Value, classes: int) -> str:
    return n.where(n.node("Equal", n.constant(np.arange(classes)), n.q(y)), ONE, 0)


def one_hot(n: Integers, op: Op, y: Value) -> Value:
    return Value(_one_hot(n, y, int(op.number("classes"))), Q15, ONE)


def sub_one_hot(n: Integers, op: Op, p: Value, y: Value) -> Value:
    return Value(n.node("Sub", n.q(p), _one_hot(n, y, math.prod(p.shape))), Q15, p.most + ONE)


def argmax(n: Integers, op: Op, v: Value) -> Value:
    return Value(n.node("ArgMax", n.held(v, "i32"), axis=1, keepdims=1), Power(), math.prod(v.shape))


# --- choices --------------------------------------------------------------------------------------------------------------------------


def const(n: Integers, op: Op) -> Value:
    q, e = const_parts(op.number("value"))
    return Value(n.constant(np.full((1, int(op.number("size", 1))), q)), Power(e), abs(q))


def minimum(n: Integers, op: Op, a: Value, b: Value) -> Value:
    x, y, p = n.aligned(a, b)
    return Value(n.node("Min", x, y), p, I32)


def maximum(n: Integers, op: Op, a: Value, b: Value) -> Value:
    x, y, p = n.aligned(a, b)
    return Value(n.node("Max", x, y), p, I32)


def where(n: Integers, op: Op, c: Value, a: Value, b: Value) -> Value:
    x, y, p = n.aligned(a, b)
    return Value(n.where(n.node("Greater", n.q(c), 0), x, y), p, I32)


def clip(n: Integers, op: Op, v: Value, low: Value, high: Value) -> Value:
    lowest, highest = (n.shift_round(n.q(limit), v.power - limit.power, limit.most) for limit in (low, high))
    return Value(n.node("Min", n.node("Max", n.q(v), lowest), highest), v.power, I32)


def leaky_relu(n: Integers, op: Op, v: Value) -> Value:
    small = n.shift_round(n.q(v), Power(-int(op.number("slope_log2"))), v.most)
    return Value(n.where(n.node("Greater", n.q(v), 0), n.q(v), small), v.power, I32)


def overlay(n: Integers, op: Op, x: Value, v: Value) -> Value:
    """The first values of x are v's."""
    size, over = math.prod(x.shape), math.prod(v.shape)
    laid = n.shift_round(n.q(v), x.power - v.power, v.most)
    padded = n.node("Pad", laid, n.constant([0, 0, 0, size - over]), 0)
    covered = n.graph.constant(np.arange(size)[None] < over)
    return Value(n.where(covered, padded, n.q(x)), x.power, max(x.most, shifted_most(v.most, x.power - v.power)))


def part(n: Integers, op: Op, v: Value) -> Value:
    start = int(op.number("start"))
    ends = n.constant([start]), n.constant([start + int(op.number("size"))])
    return Value(n.node("Slice", n.q(v), *ends, n.constant([1])), v.power, v.most)


# --- reductions -----------------------------------------------------------------------------------------------------------------------


def total(n: Integers, op: Op, v: Value) -> Value:
    return Value(n.sum(n.q(v), 1), v.power, v.most * math.prod(v.shape))


def mean(n: Integers, op: Op, v: Value) -> Value:
    """The whole part, and MEAN_BITS of the rest, to nearest."""
    size, everything = math.prod(v.shape), n.sum(n.q(v), 1)
    magnitude = n.node("Abs", everything)
    rest = n.node("Add", n.node("Mul", n.node("Mod", magnitude, size), 1 << MEAN_BITS), size >> 1)
    whole = n.node("Mul", n.node("Div", magnitude, size), 1 << MEAN_BITS)
    found = n.node("Add", whole, n.node("Div", rest, size))
    return Value(n.signed(found, everything), v.power.shifted(-MEAN_BITS), (v.most + 1) << MEAN_BITS)


def largest(n: Integers, op: Op, v: Value) -> Value:
    return Value(n.max(n.q(v), 1), v.power, v.most)


def dot(n: Integers, op: Op, a: Value, b: Value) -> Value:
    products = n.node("Mul", n.q(a), n.q(b))
    return Value(n.sum(products, 1), a.power + b.power, a.most * b.most * math.prod(a.shape))


OPS = {
    "add": add, "sub": sub, "mul": mul, "scale": scale, "relu": relu, "abs": absolute, "sign": sign, "gt0": gt0, "mask": mask,
    "softmax": softmax, "one_hot": one_hot, "sub_one_hot": sub_one_hot, "gate": gate, "quant": quant, "argmax": argmax, "const": const,
    "minimum": minimum, "maximum": maximum, "where": where, "clip": clip, "leaky_relu": leaky_relu, "overlay": overlay, "slice": part,
    "sum": total, "mean": mean, "max": largest, "dot": dot,
}  # fmt: skip
