"""THE table: every op of the IR with its shape rule, its meaning in floats, its exact meaning in integers, and its cost.

Everything else asks this table: the verifier, the interpreter, the tracer, the lowering and the generated C headers. To add an op, add
a row; what a backend cannot lower it refuses by name.

Integer meaning: operands arrive as ``Q(q, e)``, exact integers and the current value of their exponent; the result is exact too, at its
*natural* exponent, and is narrowed afterwards if the op's result type is narrower (``interp.py``). ``roles`` says what an operand must be
narrowed to before the op may read it: ``act`` int8, ``vec`` int16, ``acc`` int32; ``any`` is taken as it comes, ``W`` is a weight
matrix in state, ``b`` a vector in state, ``label`` a class number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir import rng
from edgelearn.ir.core import Op
from edgelearn.ir.types import LIMIT, Exp, Type, saturate, shift_round

Shape = tuple[int, ...]
Floats = NDArray[np.float32]


class Q(NamedTuple):
    """Exact integers and the exponent of their unit."""

    q: NDArray[np.int64]
    e: int


class Draw(NamedTuple):
    """What an update may depend on besides its operands."""

    seed: int
    step: int
    drops: int  # how often the rate has been halved by now


@dataclass(frozen=True)
class OpDef:
    """One row of the table."""

    name: str
    roles: tuple[str, ...]
    shape: Callable[[Sequence[Shape], Op], Shape]
    f32: Callable[..., Any]
    i32: Callable[..., Any]
    exp: Callable[[Sequence[Exp], Op], Exp | None]  # natural exponent of the result; None: aligned at run time
    macs: Callable[[Sequence[Shape]], int] = lambda shapes: 0
    attrs: tuple[str, ...] = ()
    narrow: str = "acc"  # kind of the natural result: acc, "same" as the first operand, or a dtype
    update: bool = False  # changes its first operand, has no result
    kernels: tuple[str, ...] = ()  # kernels of the device that do it; none: only other ops' parts are lowered


def _same(shapes: Sequence[Shape], op: Op) -> Shape:
    if len({s for s in shapes if s != (1,)}) > 1:
        raise ValueError(f"shapes {' and '.join(map(str, shapes))} differ")
    return max(shapes, key=math.prod)


def _matvec_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    W, x = shapes[0], shapes[1]
    if len(W) != 2 or x != (W[1],):
        raise ValueError(f"a {W} matrix cannot be applied to a vector of shape {x}")
    if len(shapes) == 3 and shapes[2] != (W[0],):
        raise ValueError(f"a bias of shape {shapes[2]} does not fit {W[0]} rows")
    return (W[0],)


def _matvec_t_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    W, d = shapes[0], shapes[1]
    if len(W) != 2 or d != (W[0],):
        raise ValueError(f"the transpose of a {W} matrix cannot be applied to a vector of shape {d}")
    if len(shapes) == 3 and shapes[2] != (W[1],):
        raise ValueError(f"a mask of shape {shapes[2]} does not fit {W[1]} columns")
    return (W[1],)


def _outer_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    return (math.prod(shapes[0]), math.prod(shapes[1]))


def _update_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    if shapes[0] != shapes[1]:
        raise ValueError(f"an update of shape {shapes[1]} does not fit state of shape {shapes[0]}")
    return ()


def _outer_update_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    if shapes[0] != (math.prod(shapes[1]), math.prod(shapes[2])):
        raise ValueError(f"outer({shapes[1]}, {shapes[2]}) does not fit state of shape {shapes[0]}")
    return ()


def _first(exps: Sequence[Exp], op: Op) -> Exp:
    return exps[0]


def _product(exps: Sequence[Exp], op: Op) -> Exp:
    return exps[0] + exps[1]


def _aligned(exps: Sequence[Exp], op: Op) -> Exp | None:
    return exps[0] if all(e == exps[0] for e in exps) else None


def _fixed(const: int) -> Callable[[Sequence[Exp], Op], Exp]:
    return lambda exps, op: Exp(const)


def _macs(shapes: Sequence[Shape]) -> int:
    return math.prod(shapes[0])


# --- meanings ---------------------------------------------------------------------------------------------------------------------


def _affine_i32(op: Op, W: Q, x: Q, b: Q | None = None) -> Q:
    e = W.e + x.e
    z = W.q @ x.q
    if b is not None:
        z = z + np.clip(shift_round(b.q, e - b.e), -(1 << 30), 1 << 30)
    return Q(np.maximum(z, 0) if op.attr("relu", 0) else z, e)


def _affine_f32(op: Op, W: Floats, x: Floats, b: Floats | None = None) -> Floats:
    z = W @ x
    z = z if b is None else z + b
    return np.maximum(z, 0) if op.attr("relu", 0) else z


def _transposed_i32(op: Op, W: Q, d: Q, a: Q | None = None) -> Q:
    z = W.q.T @ d.q
    return Q(z if a is None else np.where(a.q > 0, z, 0), W.e + d.e)


def _transposed_f32(op: Op, W: Floats, d: Floats, a: Floats | None = None) -> Floats:
    z = W.T @ d
    return z if a is None else np.where(a > 0, z, np.float32(0))


def _aligned_pair(a: Q, b: Q) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Both at the coarser of their exponents."""
    e = max(a.e, b.e)
    return shift_round(a.q, e - a.e), shift_round(b.q, e - b.e), e


def _add_i32(op: Op, a: Q, b: Q) -> Q:
    x, y, e = _aligned_pair(a, b)
    return Q(saturate(x + y, "i32"), e)


def _sub_i32(op: Op, a: Q, b: Q) -> Q:
    x, y, e = _aligned_pair(a, b)
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


def _gate_i32(op: Op, v: Q) -> Q:
    threshold = int(shift_round(round(op.number("threshold") * 32768), v.e + 15))
    return Q(v.q if np.abs(v.q).max() >= threshold else np.zeros_like(v.q), v.e)


def _gate_f32(op: Op, v: Floats) -> Floats:
    return v if np.abs(v).max() >= np.float32(op.number("threshold")) else np.zeros_like(v)


def _scale_i32(op: Op, v: Q) -> Q:
    mantissa, exponent = scale_parts(op.number("k"))
    return Q(v.q * mantissa, v.e + exponent)


def scale_parts(k: float) -> tuple[int, int]:
    """k as mantissa * 2**exponent: mantissa +-1 for powers of two, else of 7 bits."""
    if k == 0:
        return 0, 0
    fraction, exponent = math.frexp(k)
    if abs(fraction) == 0.5:
        return (1 if k > 0 else -1), exponent - 1
    return round(fraction * 128), exponent - 7


def _scale_exp(exps: Sequence[Exp], op: Op) -> Exp:
    return exps[0].shifted(scale_parts(op.number("k"))[1])


def _step_multiplier(d: Q, e_x: int, W: Q, op: Op, draw: Draw) -> NDArray[np.int64]:
    """k = round(d * rate * 2^16) in units of W per unit of x: what one row's update is made of."""
    shift = W.e - d.e - e_x - int(op.number("rate_log2")) - 16 + draw.drops
    k = np.clip(shift_round(d.q, shift), -(1 << 22), 1 << 22)
    return -k if op.attr("sign", 1) == -1 else k


def _outer_update_i32(op: Op, W: Q, d: Q, x: Q, draw: Draw, limit: int) -> Q:
    """w -= floor((k x + r) / 2^16), saturated: stochastic rounding, since r is uniform in [0, 2^16)."""
    k = _step_multiplier(d, x.e, W, op, draw)[:, None]
    r = rng.dither(draw.seed, draw.step, int(op.number("id")), *W.q.shape)
    return Q(np.clip(W.q - (k * x.q + np.where((k != 0) & (x.q != 0), r, 0) >> 16), -limit, limit), W.e)


def _vec_update_i32(op: Op, b: Q, d: Q, draw: Draw, limit: int) -> Q:
    k = _step_multiplier(d, 0, b, op, draw)
    r = rng.dither(draw.seed, draw.step, int(op.number("id")), len(b.q), 1)[:, 0]
    return Q(np.clip(b.q - (k + np.where(k != 0, r, 0) >> 16), -limit, limit), b.e)


def rate(op: Op, drops: int) -> np.float32:
    return np.float32(op.number("rate") * 2.0**-drops * float(op.attr("sign", 1)))


def _no_integers(op: Op, *args: Any) -> Q:
    raise ValueError(f"{op.name} has no integer meaning: it is lowered to other ops first")


_TABLE: tuple[OpDef, ...] = (
    OpDef("matvec", ("W", "act"), _matvec_shape, _affine_f32, _affine_i32, _product, _macs, kernels=("matvec",)),
    OpDef("affine", ("W", "act", "b"), _matvec_shape, _affine_f32, _affine_i32, _product, _macs, ("relu",), kernels=("affine",)),
    OpDef("matvec_t", ("W", "vec"), _matvec_t_shape, _transposed_f32, _transposed_i32, _product, _macs, kernels=("matvec_t",)),
    OpDef("matvec_t_mask", ("W", "vec", "act"), _matvec_t_shape, _transposed_f32, _transposed_i32, _product, _macs,
          kernels=("matvec_t_mask",)),
    OpDef("add", ("any", "any"), _same, lambda op, a, b: a + b, _add_i32, _aligned, kernels=("add",)),
    OpDef("sub", ("any", "any"), _same, lambda op, a, b: a - b, _sub_i32, _aligned, kernels=("sub",)),
    OpDef("mul", ("vec", "vec"), _same, lambda op, a, b: a * b, lambda op, a, b: Q(a.q * b.q, a.e + b.e), _product, kernels=("mul",)),
    OpDef("scale", ("vec",), _same, lambda op, v: v * np.float32(op.number("k")), _scale_i32, _scale_exp, attrs=("k",),
          kernels=("scale",)),
    OpDef("relu", ("any",), _same, lambda op, v: np.maximum(v, 0), lambda op, v: Q(np.maximum(v.q, 0), v.e), _first, narrow="same",
          kernels=("relu",)),
    OpDef("abs", ("any",), _same, lambda op, v: np.abs(v), lambda op, v: Q(np.abs(v.q), v.e), _first, narrow="same", kernels=("abs",)),
    OpDef("sign", ("any",), _same, lambda op, v: np.sign(v), lambda op, v: Q(np.sign(v.q) << 7, -7), _fixed(-7), narrow="i16",
          kernels=("sign",)),
    OpDef("gt0", ("any",), _same, lambda op, v: (v > 0).astype(np.float32), lambda op, v: Q((v.q > 0).astype(np.int64) << 7, -7),
          _fixed(-7), narrow="i16", kernels=("gt0",)),
    OpDef("mask", ("any", "act"), _same, lambda op, v, a: np.where(a > 0, v, np.float32(0)),
          lambda op, v, a: Q(np.where(a.q > 0, v.q, 0), v.e), _first, narrow="same", kernels=("mask",)),
    OpDef("softmax", ("any",), _same, _softmax_f32, _softmax_i32, _fixed(-15), narrow="i16", kernels=("softmax",)),
    OpDef("one_hot", ("label",), lambda shapes, op: (int(op.number("classes")),), _one_hot_f32, _one_hot_i32, _fixed(-15),
          attrs=("classes",), kernels=("one_hot",)),
    OpDef("sub_one_hot", ("vec", "label"), lambda shapes, op: shapes[0], _sub_one_hot_f32, _sub_one_hot_i32, _fixed(-15), narrow="i16",
          kernels=("sub_one_hot",)),
    OpDef("gate", ("any",), _same, _gate_f32, _gate_i32, _first, attrs=("threshold",), narrow="same", kernels=("gate",)),
    OpDef("quant", ("any",), _same, lambda op, v: v, lambda op, v: v, _first, kernels=("quant",)),
    OpDef("argmax", ("any",), lambda shapes, op: (1,), lambda op, v: np.array([np.argmax(v)]),
          lambda op, v: Q(np.array([np.argmax(v.q)]), 0), _fixed(0), kernels=("argmax",)),
    OpDef("outer", ("vec", "act"), _outer_shape, lambda op, d, x: np.outer(d, x), _no_integers, _product),
    OpDef("update", ("W", "any"), _update_shape, lambda op, W, f, drops: W - f * np.float32(2.0**-drops), _no_integers, _first,
          attrs=("id",), update=True),
    OpDef("outer_update", ("W", "vec", "act"), _outer_update_shape,
          lambda op, W, d, x, drops: W - rate(op, drops) * np.outer(d, x), _outer_update_i32, _first, _macs,
          ("id", "rate", "rate_log2", "sign"), update=True, kernels=("outer_update",)),
    OpDef("vec_update", ("b", "vec"), _update_shape, lambda op, b, d, drops: b - rate(op, drops) * d, _vec_update_i32, _first,
          attrs=("id", "rate", "rate_log2", "sign"), update=True, kernels=("vec_update",)),
)  # fmt: skip

OPS: dict[str, OpDef] = {row.name: row for row in _TABLE}


def result_shape(op: Op, types: Sequence[Type]) -> Shape:
    """The shape that ``op`` gives, from its operands' types.

    Raises:
        ValueError: the operands do not fit each other.
    """
    return OPS[op.name].shape([t.shape for t in types], op)
