"""The ops of the IR in floats: matrices, arithmetic, functions, choices, chance, and what begins or ends with a class.

A value is (B, n), (B, 1) for a scalar, (B, H, W, C) for a map; a class is int32 (B,). ``KERNELS`` writes an op and returns its result,
``UPDATES`` returns what is to be subtracted from the first operand, given the rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgelearn.ir import rng
from edgelearn.ir.core import Op
from edgelearn.ir.ops.functions import EXP_MAX, LOG_MAX, RECIP_MIN, RMS_EPS, RSQRT_MIN
from edgelearn.ir.types import Type
from edgelearn_export.tflite.builder import ABSENT, NONE, RELU
from edgelearn_export.tflite.calc import INT32, Calc

LOG_MIN = 1e-30  # what is below it counts as this before the logarithm


@dataclass(frozen=True)
class Site:
    """An op in its place. ``draw`` is the tensor with its random numbers, where it draws any."""

    op: Op
    types: tuple[Type, ...]  # of the operands
    seed: int
    draw: int = ABSENT

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result, batch included."""
        assert self.op.type is not None
        return (1, *self.op.type.shape)


Kernel = Callable[..., int]  # (calc, site, *operands) -> result
Update = Callable[..., int]  # (calc, site, rate, *operands) -> what the state loses


def activation(site: Site) -> int:
    return RELU if site.op.attr("relu", 0) else NONE


def fitted(c: Calc, site: Site, *args: int) -> tuple[int, ...]:
    """The operands in shapes that broadcast: a vector takes the shape of a map of as many numbers, or is one of its channels."""

    def view(a: int) -> int:
        shape = c.shape(a)[1:]
        if math.prod(shape) == math.prod(site.shape):
            return c.reshape(a, site.shape)
        return c.reshape(a, (1,) * (len(site.shape) - len(shape)) + shape)

    return tuple(view(a) for a in args)


def pointwise(write: Callable[..., int]) -> Kernel:
    """A kernel from what writes it for operands that fit each other."""
    return lambda c, site, *args: write(c, *fitted(c, site, *args))


# --- matrices -----------------------------------------------------------------------------------------------------------------------


def _affine(c: Calc, site: Site, W: int, x: int, b: int = ABSENT) -> int:
    operands = [c.rows(x), W, b]
    return c.graph.op("FULLY_CONNECTED", operands, "f32", site.shape, fusedActivationFunction=activation(site))


def _matvec_t(c: Calc, site: Site, W: int, d: int) -> int:
    return c.reshape(c.matmul(c.rows(d), W), site.shape)


def _matvec_t_mask(c: Calc, site: Site, W: int, d: int, a: int) -> int:
    return c.masked(_matvec_t(c, site, W, d), c.reshape(a, site.shape))


def _outer(c: Calc, site: Site, rate: int, W: int, d: int, x: int) -> int:
    return c.matmul(c.mul(c.rows(d), rate), c.rows(x), transposed=True)


def vector(c: Calc, site: Site, rate: int, b: int, d: int) -> int:
    """A map updates a vector by the sum over its positions."""
    shape = c.shape(b)
    if c.shape(d)[1:] == shape:
        return c.mul(c.reshape(d, shape), rate)
    return c.mul(
        c.reduce("SUM", c.reshape(d, (1, math.prod(c.shape(d)) // shape[-1], *shape)), (0, 1), keep=False), rate
    )


# --- element by element -------------------------------------------------------------------------------------------------------------


def _sign(c: Calc, site: Site, v: int) -> int:
    """From two comparisons: TFLite Micro has no SIGN, and the dead zone needs both anyway."""
    dead = float(np.float32(site.op.number("dead", 0)))
    below = c.binary("LESS", v, c.number(-dead), "bool")
    return c.sub(c.cast(c.above(v, dead), "f32"), c.cast(below, "f32"))


def _gate(c: Calc, site: Site, v: int) -> int:
    loudest = c.total("REDUCE_MAX", c.unary("ABS", v))
    loud = c.binary("GREATER_EQUAL", loudest, c.number(site.op.number("threshold")), "bool")
    return c.mul(v, c.reshape(c.cast(loud, "f32"), (1,) * len(c.shape(v))))


def _softmax(c: Calc, site: Site, g: int) -> int:
    rows = c.rows(g)
    return c.reshape(c.graph.op("SOFTMAX", [rows], "f32", c.shape(rows), beta=1.0), site.shape)


def one_hot(c: Calc, y: int, classes: int) -> int:
    """From a comparison: TFLite Micro has no ONE_HOT."""
    numbers = c.graph.constant(np.arange(classes, dtype=np.int32).reshape(1, -1))
    return c.cast(c.binary("EQUAL", c.reshape(y, (1, 1)), numbers, "bool"), "f32")


def _sub_one_hot(c: Calc, site: Site, p: int, y: int) -> int:
    return c.sub(p, one_hot(c, y, c.shape(p)[-1]))


def _argmax(c: Calc, site: Site, v: int) -> int:
    return c.graph.op("ARG_MAX", [c.rows(v), c.graph.constant([1], np.int32)], "i32", [1], outputType=INT32)


# --- functions ----------------------------------------------------------------------------------------------------------------------


def _exp(c: Calc, site: Site, v: int) -> int:
    return c.unary("EXP", c.at_most(v, EXP_MAX))


def _log(c: Calc, site: Site, v: int) -> int:
    return c.at_most(c.at_least(c.unary("LOG", c.at_least(v, LOG_MIN)), -LOG_MAX), LOG_MAX)


def _sqrt(c: Calc, site: Site, v: int) -> int:
    return c.unary("SQRT", c.at_least(v, 0.0))


def _rsqrt(c: Calc, site: Site, v: int) -> int:
    return c.unary("RSQRT", c.at_least(v, 2.0**RSQRT_MIN))


def _recip(c: Calc, site: Site, v: int) -> int:
    """Nothing is divided by what counts as 0: its place holds 1 meanwhile."""
    near = c.binary("LESS", c.unary("ABS", v), c.number(RECIP_MIN), "bool")
    one, zero = c.number(1.0), c.number(0.0)
    return c.select(near, zero, c.binary("DIV", one, c.select(near, one, v)))


def _rms_norm(c: Calc, site: Site, v: int) -> int:
    rows = c.rows(v)
    square = c.add(c.total("MEAN", c.mul(rows, rows)), c.number(2.0**RMS_EPS))
    return c.reshape(c.binary("DIV", rows, c.unary("SQRT", square)), c.shape(v))


# --- constants, choices, parts ------------------------------------------------------------------------------------------------------


def _const(c: Calc, site: Site) -> int:
    return c.graph.constant(np.full(site.shape, site.op.number("value"), np.float32))


def _where(c: Calc, condition: int, a: int, b: int) -> int:
    return c.select(c.above(condition), a, b)


def _clip(c: Calc, v: int, low: int, high: int) -> int:
    return c.binary("MINIMUM", c.binary("MAXIMUM", v, low), high)


def _leaky_relu(c: Calc, site: Site, v: int) -> int:
    return c.graph.op("LEAKY_RELU", [v], "f32", c.shape(v), alpha=2.0 ** site.op.number("slope_log2"))


def _overlay(c: Calc, site: Site, x: int, v: int) -> int:
    """A choice between both, so that one of them may be the same for the whole batch."""
    rows, part = c.rows(x), c.rows(v)
    n, size = c.shape(rows)[1], c.shape(part)[1]
    inside = c.graph.constant((np.arange(n) < size).reshape(1, n))
    return c.reshape(c.select(inside, c.pad(part, ((0, 0), (0, n - size))), rows), site.shape)


def _slice(c: Calc, site: Site, v: int) -> int:
    return c.slice(c.rows(v), (0, int(site.op.number("start"))), (1, int(site.op.number("size"))))


# --- chance -------------------------------------------------------------------------------------------------------------------------


def _sample(c: Calc, site: Site, p: int) -> int:
    """The class in whose part of the total a uniform number falls, but none beyond the last that has a weight."""
    weights = c.unary("RELU", c.rows(p))
    n = c.shape(weights)[1]
    ends = c.graph.op("CUMSUM", [weights, c.graph.constant(1, np.int32)], "f32", c.shape(weights))
    at = c.mul(site.draw, c.slice(ends, (0, n - 1), (1, 1)))
    found = c.total("SUM", c.cast(c.binary("LESS_EQUAL", ends, at, "bool"), "f32"))
    numbers = c.graph.constant(np.arange(n, dtype=np.float32).reshape(1, n))
    last = c.total("REDUCE_MAX", c.mul(numbers, c.cast(c.above(weights), "f32")))
    return c.reshape(c.cast(c.binary("MINIMUM", found, last), "i32"), (1,))


def _signs(c: Calc, site: Site, v: int) -> int:
    """A byte each in the file: the product needs floats, which the runtime makes of a constant once."""
    matrix = rng.signs(site.seed, int(site.op.number("stream")), int(site.op.number("rows")), site.types[0].size)
    kept = c.graph.constant(matrix.astype(np.int8), quant=1.0)
    floats = c.graph.op("DEQUANTIZE", [kept], "f32", matrix.shape)
    return c.graph.op("FULLY_CONNECTED", [c.rows(v), floats, ABSENT], "f32", site.shape)


KERNELS: dict[str, Kernel] = {
    "matvec": _affine,
    "affine": _affine,
    "matvec_t": _matvec_t,
    "matvec_t_mask": _matvec_t_mask,
    "add": pointwise(Calc.add),
    "sub": pointwise(Calc.sub),
    "mul": pointwise(Calc.mul),
    "scale": lambda c, site, v: c.scale(v, site.op.number("k")),
    "relu": lambda c, site, v: c.unary("RELU", v),
    "abs": lambda c, site, v: c.unary("ABS", v),
    "sign": _sign,
    "gt0": lambda c, site, v: c.cast(c.above(v), "f32"),
    "mask": pointwise(Calc.masked),
    "softmax": _softmax,
    "one_hot": lambda c, site, y: one_hot(c, y, int(site.op.number("classes"))),
    "sub_one_hot": _sub_one_hot,
    "gate": _gate,
    "quant": lambda c, site, v: v,
    "argmax": _argmax,
    "tanh": lambda c, site, v: c.unary("TANH", v),
    "sigmoid": lambda c, site, v: c.unary("LOGISTIC", v),
    "exp": _exp,
    "log": _log,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "recip": _recip,
    "rms_norm": _rms_norm,
    "sum": lambda c, site, v: c.total("SUM", v),
    "mean": lambda c, site, v: c.total("MEAN", v),
    "max": lambda c, site, v: c.total("REDUCE_MAX", v),
    "dot": lambda c, site, a, b: c.total("SUM", c.mul(c.rows(a), c.rows(b))),
    "const": _const,
    "minimum": pointwise(lambda c, a, b: c.binary("MINIMUM", a, b)),
    "maximum": pointwise(lambda c, a, b: c.binary("MAXIMUM", a, b)),
    "where": pointwise(_where),
    "clip": pointwise(_clip),
    "leaky_relu": _leaky_relu,
    "overlay": _overlay,
    "slice": _slice,
    "noise": lambda c, site: site.draw,
    "sample": _sample,
    "signs": _signs,
}

UPDATES: dict[str, Update] = {
    "outer_update": _outer,
    "vec_update": vector,
    "update": vector,
    "decay_update": lambda c, site, rate, W: c.mul(W, rate),
}
