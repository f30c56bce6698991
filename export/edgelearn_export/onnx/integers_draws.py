"""noise, sample and signs in exact integers. A graph cannot draw as the device does: it is given the numbers that the seed and step make.

``draw<id>`` of noise is what its words are made into: of kind normal the sum of four uniforms (``rng.draw_normal``), of kind uniform the
words (``rng.draw_bits``); of sample it is one such word. The matrix of signs follows from the seed alone, so it is in the file.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir import rng
from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import parse_shape
from edgelearn.ir.ops.draws import NOISE_EXP, NORMAL_SCALE, NORMAL_SHIFT
from edgelearn.ir.types import LIMIT
from edgelearn_export.onnx.integers_values import I32, Integers, Power, Value


def drawn_size(op: Op) -> int:
    return math.prod(parse_shape(str(op.attr("shape")))) if op.name == "noise" else 1


def drawn(op: Op, seed: int, step: int) -> NDArray[np.int64]:
    """What the graph's input ``draw<id>`` is given at a step, (1, size)."""
    make = rng.draw_normal if op.attr("kind", "") == "normal" else rng.draw_bits
    return make(seed, step, int(op.number("id")), drawn_size(op)).astype(np.int64).reshape(1, -1)


def noise(n: Integers, op: Op, numbers: str) -> Value:
    kind = str(op.attr("kind"))
    if kind == "normal":
        found = n.shift_round(n.node("Mul", numbers, NORMAL_SCALE), Power(NORMAL_SHIFT))
    else:
        found = n.node("Div", numbers, 1 << 17)
    return Value(found, Power(NOISE_EXP[kind]), LIMIT["i16"])


def sample(n: Integers, op: Op, p: Value, word: str) -> Value:
    """The class in whose part of the total a uniform number falls."""
    ends = n.node("CumSum", n.node("Max", n.q(p), 0), 1)
    at = n.node("Div", n.node("Mul", n.max(ends, 1), word), 1 << 32)
    beyond = n.cast(n.node("Greater", ends, at), "i32")
    return Value(n.node("ArgMax", beyond, axis=1, keepdims=1), Power(), math.prod(p.shape))


def signs(n: Integers, op: Op, v: Value, seed: int) -> Value:
    size = math.prod(v.shape)
    matrix = rng.signs(seed, int(op.number("stream")), int(op.number("rows")), size)
    most = v.most * size
    held = "i32" if most <= I32 else "i64"
    product = n.node("MatMul", n.held(v, held), n.cast(n.constant(matrix.T, "i8"), held))
    return Value(product, v.power, most, held)
