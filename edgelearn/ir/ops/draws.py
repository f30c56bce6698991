"""Chance: noise, sample and signs. All of it follows from the seed, so that a run can be repeated, resumed and moved to another board.

noise and sample are drawn anew at every step: they depend on (seed, step, id). signs is one fixed matrix that takes no memory: it depends
on (seed, stream).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir import rng
from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import Draw, Floats, OpDef, Q, Shape, first, fixed, parse_shape
from edgelearn.ir.ops.reductions import MAX_TERMS
from edgelearn.ir.types import Exp, exponent_for, shift_round

NOISE_EXP = {"normal": -12, "uniform": -15}
NORMAL_BOUND = rng.NORMAL_MAX / rng.NORMAL_STD  # a normal number is the sum of four uniforms: 3.46 at most
_UNIT = 2.0 ** -NOISE_EXP["normal"] / rng.NORMAL_STD
NORMAL_SHIFT = -exponent_for(_UNIT, 13)
NORMAL_SCALE = round(_UNIT * 2**NORMAL_SHIFT)  # below 2^13, times NORMAL_MAX: fits 32 bits


# --- noise ----------------------------------------------------------------------------------------------------------------------------


def _noise_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    return parse_shape(str(op.attr("shape")))


def _kind(op: Op) -> str:
    return str(op.attr("kind"))


def _numbers(op: Op, draw: Draw) -> NDArray[np.int64]:
    """Normal units, or uniform words of 32 bits."""
    shape = _noise_shape((), op)
    key = (draw.seed, draw.step, int(op.number("id")), math.prod(shape))
    numbers = rng.draw_normal(*key) if _kind(op) == "normal" else rng.draw_bits(*key).astype(np.int64)
    return numbers.reshape(shape)


def _noise_i32(op: Op, draw: Draw) -> Q:
    """Normal: standard deviation 1 in Q12. Uniform: the upper 15 bits of a word."""
    numbers, e = _numbers(op, draw), NOISE_EXP[_kind(op)]
    return Q(shift_round(numbers * NORMAL_SCALE, NORMAL_SHIFT) if _kind(op) == "normal" else numbers >> 17, e)


def _noise_f32(op: Op, draw: Draw) -> Floats:
    numbers = _numbers(op, draw)
    if _kind(op) == "normal":
        return numbers.astype(np.float32) * np.float32(1 / rng.NORMAL_STD)
    return (numbers >> 8).astype(np.float32) * np.float32(2.0**-24)


def _noise_exp(exps: Sequence[Exp], op: Op) -> Exp:
    return Exp(NOISE_EXP[_kind(op)])


# --- sample ---------------------------------------------------------------------------------------------------------------------------


def _sample_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    if math.prod(shapes[0]) > MAX_TERMS:
        raise ValueError(f"{math.prod(shapes[0])} weights do not fit 32 bits")
    return (1,)


def _word(op: Op, draw: Draw) -> int:
    return int(rng.draw_bits(draw.seed, draw.step, int(op.number("id")), 1)[0])


def _sample_i32(op: Op, p: Q, draw: Draw) -> Q:
    """The class in whose part of the total a uniform number falls; negative weights are 0, and if all are, class 0 it is."""
    ends = np.maximum(p.q.reshape(-1), 0).cumsum()
    at = _word(op, draw) * int(ends[-1]) >> 32
    return Q(np.array([int((ends > at).argmax())], np.int64), 0)


def _sample_f32(op: Op, p: Floats, draw: Draw) -> NDArray[np.int64]:
    """The same. A product rounded up to the total falls to the last class that has a weight."""
    weights = np.maximum(p.reshape(-1), np.float32(0))
    ends = np.cumsum(weights, dtype=np.float32)
    at = np.float32(_word(op, draw) >> 8) * np.float32(2.0**-24) * ends[-1]
    found = np.flatnonzero(ends > at)
    with_weight = np.flatnonzero(weights > 0)
    return np.array([found[0] if found.size else with_weight[-1] if with_weight.size else 0], np.int64)


# --- signs ----------------------------------------------------------------------------------------------------------------------------


def _signs_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    if math.prod(shapes[0]) > MAX_TERMS:
        raise ValueError(f"{math.prod(shapes[0])} terms do not fit 32 bits")
    return (int(op.number("rows")),)


def _matrix(op: Op, n: int, draw: Draw) -> NDArray[np.int64]:
    return rng.signs(draw.seed, int(op.number("stream")), int(op.number("rows")), n)


def _signs_i32(op: Op, v: Q, draw: Draw) -> Q:
    return Q(_matrix(op, v.q.size, draw) @ v.q.reshape(-1), v.e)


def _signs_f32(op: Op, v: Floats, draw: Draw) -> Floats:
    return _matrix(op, v.size, draw).astype(np.float32) @ v.reshape(-1)


ROWS: tuple[OpDef, ...] = (
    OpDef("noise", (), _noise_shape, _noise_f32, _noise_i32, _noise_exp, attrs=("id", "kind", "shape"), narrow="i16", draws=True,
          kernels=("noise",)),
    OpDef("sample", ("vec",), _sample_shape, _sample_f32, _sample_i32, fixed(0), attrs=("id",), draws=True, kernels=("sample",)),
    OpDef("signs", ("vec",), _signs_shape, _signs_f32, _signs_i32, first, attrs=("rows", "stream"), draws=True, kernels=("signs",)),
)  # fmt: skip
