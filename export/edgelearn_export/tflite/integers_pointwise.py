"""Element by element, choices, reductions and chance in integers: each function means what the row of its name in ``OPS`` does."""

from __future__ import annotations

import numpy as np

from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import scale_parts
from edgelearn.ir.ops.choices import const_parts
from edgelearn.ir.ops.draws import NOISE_EXP
from edgelearn.ir.ops.pointwise import LOG2E, POW2
from edgelearn.ir.ops.reductions import MEAN_BITS
from edgelearn.ir.types import LIMIT
from edgelearn_export.tflite.integers_basis import Meaning, Q, Scene, aligned_pair, together
from edgelearn_export.tflite.integers_products import product
from edgelearn_export.tflite.integers_shifts import Power, saturated_sum, shift_round
from edgelearn_export.tflite.integers_values import Ints, binary, concatenated, constant, maximum, minimum, where

ONE_Q15 = 1 << 15
DISTANCE_BITS = 14  # softmax looks no further than 2^14 below the maximum, in Q10


# --- arithmetic -----------------------------------------------------------------------------------------------------------------------


def _add(scene: Scene, op: Op, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    return Q(saturated_sum(x, y), e)


def _sub(scene: Scene, op: Op, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    return Q(saturated_sum(x, -y), e)


def _mul(scene: Scene, op: Op, a: Q, b: Q) -> Q:
    return Q(a.q * b.q, a.e + b.e)


def _scale(scene: Scene, op: Op, v: Q) -> Q:
    mantissa, exponent = scale_parts(op.number("k"))
    return Q(v.q * mantissa, v.e + exponent)


def _quant(scene: Scene, op: Op, v: Q) -> Q:
    return v


def _relu(scene: Scene, op: Op, v: Q) -> Q:
    return Q(maximum(v.q, 0), v.e)


def _abs(scene: Scene, op: Op, v: Q) -> Q:
    return Q(v.q.abs(), v.e)


def _leaky_relu(scene: Scene, op: Op, v: Q) -> Q:
    return Q(where(v.q > 0, v.q, shift_round(v.q, -int(op.number("slope_log2")))), v.e)


# --- comparisons ----------------------------------------------------------------------------------------------------------------------


def _threshold(scene: Scene, op: Op, key: str, e: Power) -> Ints:
    """A number of the rule, given in Q15, in units of 2^e."""
    return shift_round(constant(scene.graph, round(op.number(key, 0) * ONE_Q15)), e + 15)


def _sign(scene: Scene, op: Op, v: Q) -> Q:
    beyond = v.q.abs() > _threshold(scene, op, "dead", v.e)
    way = where(v.q > 0, 128, where(v.q < 0, -128, 0))
    return Q(where(beyond, way, 0), Power(-7))


def _gt0(scene: Scene, op: Op, v: Q) -> Q:
    return Q(where(v.q > 0, 128, constant(scene.graph, 0)), Power(-7))


def _mask(scene: Scene, op: Op, v: Q, a: Q) -> Q:
    x, y = together(v.q, a.q)
    return Q(where(y > 0, x, 0), v.e)


def _gate(scene: Scene, op: Op, v: Q) -> Q:
    reached = v.q.abs().max() > _threshold(scene, op, "threshold", v.e) - 1
    return Q(where(reached, v.q, 0), v.e)


def _minimum(scene: Scene, op: Op, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    return Q(minimum(*together(x, y)), e)


def _maximum(scene: Scene, op: Op, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    return Q(maximum(*together(x, y)), e)


def _where(scene: Scene, op: Op, c: Q, a: Q, b: Q) -> Q:
    x, y, e = aligned_pair(a, b)
    truth, x, y = together(c.q, x, y)
    return Q(where(truth > 0, x, y), e)


def _clip(scene: Scene, op: Op, v: Q, low: Q, high: Q) -> Q:
    x, a, b = together(v.q, shift_round(low.q, v.e - low.e), shift_round(high.q, v.e - high.e))
    return Q(minimum(maximum(x, a), b), v.e)


# --- constants and parts --------------------------------------------------------------------------------------------------------------


def _const(scene: Scene, op: Op) -> Q:
    q, e = const_parts(op.number("value"))
    return Q(constant(scene.graph, np.full(int(op.number("size", 1)), q, np.int64)), Power(e))


def _overlay(scene: Scene, op: Op, x: Q, v: Q) -> Q:
    over = shift_round(v.q, x.e - v.e).flat()
    under = x.q.flat()
    rest = under.size - over.size
    whole = concatenated([over, under.part([over.size], [rest])], 0) if rest else over
    return Q(whole.reshaped(x.q.shape), x.e)


def _slice(scene: Scene, op: Op, v: Q) -> Q:
    return Q(v.q.flat().part([int(op.number("start"))], [int(op.number("size"))]), v.e)


# --- what ends in a class ---------------------------------------------------------------------------------------------------------------


def _softmax(scene: Scene, op: Op, g: Q) -> Q:
    """A table of 64 powers of two and one division a class."""
    distance = saturated_sum(g.q.max(), -g.q)
    below = minimum(shift_round(distance, -(g.e + 10)), 1 << DISTANCE_BITS)
    t = (below * LOG2E) >> 10
    power = constant(scene.graph, POW2).at((t >> 4) % len(POW2)) >> (t >> 10)
    total = power.sum()
    return Q(minimum((power * ONE_Q15 + (total >> 1)) // total, LIMIT["i16"]), Power(-15))


def _one_hot(scene: Scene, op: Op, y: Q) -> Q:
    return Q(_hot(scene, int(op.number("classes")), y.q), Power(-15))


def _sub_one_hot(scene: Scene, op: Op, p: Q, y: Q) -> Q:
    return Q(p.q - _hot(scene, p.q.size, y.q), Power(-15))


def _hot(scene: Scene, classes: int, y: Ints) -> Ints:
    return where(y.equals(constant(scene.graph, np.arange(classes))), ONE_Q15, 0)


def _argmax(scene: Scene, op: Op, v: Q) -> Q:
    return Q(v.q.argmax(), Power())


# --- reductions -----------------------------------------------------------------------------------------------------------------------


def _sum(scene: Scene, op: Op, v: Q) -> Q:
    return Q(v.q.sum(), v.e)


def _mean(scene: Scene, op: Op, v: Q) -> Q:
    """The whole part, and MEAN_BITS of the rest, to nearest."""
    n, total = v.q.size, v.q.sum()
    size = total.abs()
    whole = size // n
    rest = size - whole * n
    mean = whole * (1 << MEAN_BITS) + (rest * (1 << MEAN_BITS) + (n >> 1)) // n
    return Q(where(total < 0, -mean, mean), v.e - MEAN_BITS)


def _max(scene: Scene, op: Op, v: Q) -> Q:
    return Q(v.q.max(), v.e)


def _dot(scene: Scene, op: Op, a: Q, b: Q) -> Q:
    n = a.q.size
    found = product(a.q.reshaped((1, n)), b.q.reshaped((1, n)), (False, True))
    return Q(found.reshaped((1,)), a.e + b.e)


# --- chance ---------------------------------------------------------------------------------------------------------------------------


def _noise(scene: Scene, op: Op) -> Q:
    return Q(scene.draw(op), Power(NOISE_EXP[str(op.attr("kind"))]))


def _sample(scene: Scene, op: Op, p: Q) -> Q:
    """The class in whose part of the total a word falls: ends > word * total / 2^32, without the division."""
    ends = maximum(p.q.flat(), 0).cumsum()
    total = ends.part([ends.size - 1], [1])
    reached = binary("MUL", np.multiply, ends, constant(scene.graph, 1 << 32), "i64", "i64")
    at = binary("MUL", np.multiply, scene.draw(op), total, "i64", "i64")
    return Q(binary("GREATER", np.greater, reached, at, "bool", "i64").argmax(), Power())


def _signs(scene: Scene, op: Op, v: Q) -> Q:
    found = product(v.q.reshaped((1, v.q.size)), scene.signs(op, v.q.size), (False, True))
    return Q(found.flat(), v.e)


MEANINGS: dict[str, Meaning] = {
    "add": _add, "sub": _sub, "mul": _mul, "scale": _scale, "quant": _quant, "relu": _relu, "abs": _abs, "leaky_relu": _leaky_relu,
    "sign": _sign, "gt0": _gt0, "mask": _mask, "gate": _gate, "minimum": _minimum, "maximum": _maximum, "where": _where, "clip": _clip,
    "const": _const, "overlay": _overlay, "slice": _slice, "softmax": _softmax, "one_hot": _one_hot, "sub_one_hot": _sub_one_hot,
    "argmax": _argmax, "sum": _sum, "mean": _mean, "max": _max, "dot": _dot, "noise": _noise, "sample": _sample, "signs": _signs,
}  # fmt: skip
