"""Feature maps: convolutions, their adjoints and updates, and pooling. Maps are (height, width, channels), kernels (out, k, k, in).

A depthwise kernel is (k, k, channels). Attributes ``stride`` and ``pad`` are the same in both directions; what lies outside a map is
zero. Pooling windows do not overlap; ``size`` 0 is one window, the whole map, and ``count`` its positions.

``..._open`` updates take the error of a head that read a map's average: the same for every position of a channel, but 0 where the mask,
the map itself, is not positive. They are what spreading that error, masking it and the update that is named would do, without the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgelearn.ir import rng
from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import Draw, Floats, OpDef, Q, Shape, first, parse_shape, product, rate, scale_parts
from edgelearn.ir.ops.linear import (
    UPDATE_ATTRS,
    step_multiplier,
    summed_bits,
    vec_update_f32,
    vec_update_i32,
    with_bias,
)
from edgelearn.ir.types import Exp

Array = NDArray[Any]
GEOMETRY = ("stride", "pad")
POOL_ATTRS = ("size", "count")


# --- shapes -----------------------------------------------------------------------------------------------------------------------


def _geometry(op: Op) -> tuple[int, int]:
    return int(op.number("stride")), int(op.number("pad"))


def _map(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ValueError(f"{shape} is no feature map of (height, width, channels)")
    return shape


def _reach(size: int, k: int, stride: int, pad: int) -> int:
    """How many positions a kernel of width k has."""
    if size + 2 * pad < k:
        raise ValueError(f"a kernel of width {k} does not fit a map of width {size}")
    return (size + 2 * pad - k) // stride + 1


def kernel_width(W: Shape) -> int:
    return W[1] if len(W) == 4 else W[0]


def _applied(W: Shape, x: Shape, op: Op) -> Shape:
    h, w, c = _map(x)
    k, (stride, pad) = kernel_width(W), _geometry(op)
    if W[-1] != c:
        raise ValueError(f"a kernel of shape {W} does not fit a map of {c} channels")
    return _reach(h, k, stride, pad), _reach(w, k, stride, pad), W[0] if len(W) == 4 else c


def _conv_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    out = _applied(shapes[0], shapes[1], op)
    if len(shapes) == 3 and shapes[2] != out[2:]:
        raise ValueError(f"a bias of shape {shapes[2]} does not fit {out[2]} channels")
    return out


def _conv_t_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    shape = parse_shape(str(op.attr("shape")))
    if _applied(shapes[0], shape, op) != shapes[1]:
        raise ValueError(f"the adjoint of a kernel of shape {shapes[0]} does not take {shapes[1]} to {shape}")
    if len(shapes) == 3 and shapes[2] != shape:
        raise ValueError(f"a mask of shape {shapes[2]} does not fit a map of shape {shape}")
    return shape


def _conv_update_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    if _applied(shapes[0], shapes[2], op) != shapes[1]:
        raise ValueError(f"outer({shapes[1]}, {shapes[2]}) does not fit a kernel of shape {shapes[0]}")
    return ()


def _pool_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    h, w, c = _map(shapes[0])
    high, wide = _window(op, shapes[0])
    if h % high or w % wide or high * wide != count(op):
        raise ValueError(f"a map of {h} by {w} cannot be cut into windows of {high} by {wide}")
    return h // high, w // wide, c


def _unpool_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    h, w, c = _map(parse_shape(str(op.attr("shape"))))
    if math.prod(shapes[0]) * count(op) != h * w * c:
        raise ValueError(f"{shapes[0]} is not what a map of shape {(h, w, c)} is pooled to")
    return h, w, c


def _window(op: Op, shape: Shape) -> tuple[int, int]:
    """Height and width of what becomes one position of a map of ``shape``."""
    size = int(op.number("size"))
    return (size, size) if size else (shape[0], shape[1])


def count(op: Op) -> int:
    """Positions of a window."""
    return int(op.number("count", op.number("size") ** 2))


def _open_update_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    W, d, mask, x = shapes
    if _applied(W, x, op) != mask or math.prod(d) != mask[2]:
        raise ValueError(f"an error of shape {d}, where {mask} is open, does not fit a kernel of shape {W} on {x}")
    return ()


def _open_vec_shape(shapes: Sequence[Shape], op: Op) -> Shape:
    b, d, mask = shapes
    if len(_map(mask)) != 3 or math.prod(d) != mask[2] or b != mask[2:]:
        raise ValueError(f"an error of shape {d}, where {mask} is open, does not fit state of shape {b}")
    return ()


# --- meanings ---------------------------------------------------------------------------------------------------------------------


def patches(x: Array, k: int, stride: int, pad: int) -> Array:
    """The window under the kernel at each position: (Ho, Wo, k, k, C)."""
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    return sliding_window_view(padded, (k, k), axis=(0, 1))[::stride, ::stride].transpose(0, 1, 3, 4, 2)


def _conv(op: Op, W: Array, x: Array) -> Array:
    p = patches(x, kernel_width(W.shape), *_geometry(op))
    if W.ndim == 3:
        return (p * W).sum(axis=(2, 3))
    return p.reshape(*p.shape[:2], -1) @ W.reshape(len(W), -1).T


def _conv_t(op: Op, W: Array, d: Array) -> Array:
    """Each position spreads its error over the window that it saw."""
    h, w, c = parse_shape(str(op.attr("shape")))
    k, (stride, pad) = kernel_width(W.shape), _geometry(op)
    out = np.zeros((h + 2 * pad, w + 2 * pad, c), d.dtype)
    for i in range(k):
        for j in range(k):
            spread = d * W[i, j] if W.ndim == 3 else d @ W[:, i, j, :]
            out[i : i + stride * d.shape[0] : stride, j : j + stride * d.shape[1] : stride] += spread
    return out[pad : pad + h, pad : pad + w]


def _correlation(op: Op, W: Array, d: Array, x: Array) -> Array:
    """The gradient of d . conv(W, x) with respect to W: a sum over positions."""
    p = patches(x, kernel_width(W.shape), *_geometry(op))
    if W.ndim == 3:
        return np.einsum("hwc,hwijc->ijc", d, p)
    return (d.reshape(-1, d.shape[2]).T @ p.reshape(d.shape[0] * d.shape[1], -1)).reshape(W.shape)


def _conv_f32(op: Op, W: Floats, x: Floats, b: Floats | None = None) -> Floats:
    z = _conv(op, W, x)
    z = z if b is None else z + b
    return np.maximum(z, 0) if op.attr("relu", 0) else z


def _conv_i32(op: Op, W: Q, x: Q, b: Q | None = None) -> Q:
    e = W.e + x.e
    z = with_bias(_conv(op, W.q, x.q), e, b)
    return Q(np.maximum(z, 0) if op.attr("relu", 0) else z, e)


def _conv_t_f32(op: Op, W: Floats, d: Floats, a: Floats | None = None) -> Floats:
    z = _conv_t(op, W, d)
    return z if a is None else np.where(a > 0, z, np.float32(0))


def _conv_t_i32(op: Op, W: Q, d: Q, a: Q | None = None) -> Q:
    z = _conv_t(op, W.q, d.q)
    return Q(z if a is None else np.where(a.q > 0, z, 0), W.e + d.e)


def _conv_update_i32(op: Op, W: Q, d: Q, x: Q, draw: Draw, limit: int) -> Q:
    """Like a dense update, but k x is summed over all positions before the one rounding. r belongs to (out, place in the kernel)."""
    k = step_multiplier(d, x.e, W.e, op, draw, summed_bits(d.q.shape[0] * d.q.shape[1]))
    total = _correlation(op, W.q, k, x.q)
    rows = len(W.q) if W.q.ndim == 4 else 1
    r = rng.dither(draw.seed, draw.step, int(op.number("id")), rows, W.q.size // rows).reshape(W.q.shape)
    return Q(np.clip(W.q - (total + np.where(total != 0, r, 0) >> 16), -limit, limit), W.e)


def _open(d: Array, mask: Array) -> Array:
    """The error of every position."""
    return np.where(mask > 0, d.reshape(-1), d.dtype.type(0))


def _open_update_i32(op: Op, W: Q, d: Q, mask: Q, x: Q, draw: Draw, limit: int) -> Q:
    return _conv_update_i32(op, W, Q(_open(d.q, mask.q), d.e), x, draw, limit)


def _open_vec_i32(op: Op, b: Q, d: Q, mask: Q, draw: Draw, limit: int) -> Q:
    return vec_update_i32(op, b, Q(_open(d.q, mask.q), d.e), draw, limit)


def _windows(op: Op, x: Array) -> Array:
    h, w, c = x.shape
    high, wide = _window(op, x.shape)
    return x.reshape(h // high, high, w // wide, wide, c)


def _pool_i32(op: Op, x: Q) -> Q:
    mantissa, exponent = scale_parts(1 / count(op))
    return Q(_windows(op, x.q).sum(axis=(1, 3)) * mantissa, x.e + exponent)


def _pool_exp(exps: Sequence[Exp], op: Op) -> Exp:
    return exps[0].shifted(scale_parts(1 / count(op))[1])


def _spread(op: Op, d: Array) -> Array:
    h, w, c = _map(parse_shape(str(op.attr("shape"))))
    high, wide = _window(op, (h, w))
    return d.reshape(h // high, w // wide, c).repeat(high, axis=0).repeat(wide, axis=1)


def _unpool_i32(op: Op, d: Q) -> Q:
    mantissa, exponent = scale_parts(1 / count(op))
    return Q(_spread(op, d.q) * mantissa, d.e + exponent)


def _unpool_f32(op: Op, d: Floats) -> Floats:
    return (_spread(op, d) / np.float32(count(op))).astype(np.float32)


def _macs(shapes: Sequence[Shape], op: Op) -> int:
    """W is applied at every position of its output map: the error's for adjoint and update, else to be worked out."""
    out = shapes[1] if op.name.partition("_")[2] in ("t", "t_mask", "update") else _applied(shapes[0], shapes[1], op)
    return math.prod(shapes[0]) * out[0] * out[1]


def _conv_row(name: str, bias: bool) -> OpDef:
    roles = ("W", "act", "b") if bias else ("W", "act")
    return OpDef(name, roles, _conv_shape, _conv_f32, _conv_i32, product, _macs, (*GEOMETRY, "relu") if bias else GEOMETRY,
                 kernels=(name,))  # fmt: skip


def _conv_t_row(name: str, mask: bool) -> OpDef:
    roles = ("W", "vec", "act") if mask else ("W", "vec")
    return OpDef(
        name, roles, _conv_t_shape, _conv_t_f32, _conv_t_i32, product, _macs, (*GEOMETRY, "shape"), kernels=(name,)
    )


def _update_row(name: str) -> OpDef:
    def f32(op: Op, W: Floats, d: Floats, x: Floats, drops: int) -> Floats:
        return W - rate(op, drops) * _correlation(op, W, d, x)

    return OpDef(name, ("W", "vec", "act"), _conv_update_shape, f32, _conv_update_i32, first, _macs, (*GEOMETRY, *UPDATE_ATTRS),
                 update=True, kernels=(name,), scratch=_accumulators)  # fmt: skip


def _open_row(name: str) -> OpDef:
    def f32(op: Op, W: Floats, d: Floats, mask: Floats, x: Floats, drops: int) -> Floats:
        return W - rate(op, drops) * _correlation(op, W, _open(d, mask), x)

    def macs(shapes: Sequence[Shape], op: Op) -> int:
        return math.prod(shapes[0]) * shapes[2][0] * shapes[2][1]

    return OpDef(name, ("W", "vec", "act", "act"), _open_update_shape, f32, _open_update_i32, first, macs,
                 (*GEOMETRY, *UPDATE_ATTRS), update=True, kernels=(name,))  # fmt: skip


def _open_vec_f32(op: Op, b: Floats, d: Floats, mask: Floats, drops: int) -> Floats:
    return vec_update_f32(op, b, _open(d, mask), drops)


def _accumulators(shapes: Sequence[Shape]) -> int:
    """32-bit words: the sums of one output channel, or of a whole depthwise kernel."""
    W = shapes[0]
    return math.prod(W[1:] if len(W) == 4 else W)


ROWS: tuple[OpDef, ...] = (
    *(_conv_row(name, "affine" in name) for name in ("conv", "conv_affine", "depthwise", "depthwise_affine")),
    *(_conv_t_row(name, "mask" in name) for name in ("conv_t", "conv_t_mask", "depthwise_t", "depthwise_t_mask")),
    _update_row("conv_update"),
    _update_row("depthwise_update"),
    OpDef("pool", ("act",), _pool_shape, lambda op, x: _windows(op, x).mean(axis=(1, 3)), _pool_i32, _pool_exp,
          attrs=POOL_ATTRS, kernels=("pool",)),
    OpDef("maxpool", ("act",), _pool_shape, lambda op, x: _windows(op, x).max(axis=(1, 3)),
          lambda op, x: Q(_windows(op, x.q).max(axis=(1, 3)), x.e), first, attrs=POOL_ATTRS, narrow="same",
          kernels=("maxpool",)),
    OpDef("unpool", ("vec",), _unpool_shape, _unpool_f32, _unpool_i32, _pool_exp, attrs=(*POOL_ATTRS, "shape"), kernels=("unpool",)),
    _open_row("conv_update_open"),
    _open_row("depthwise_update_open"),
    OpDef("vec_update_open", ("b", "vec", "act"), _open_vec_shape, _open_vec_f32, _open_vec_i32, first, attrs=UPDATE_ATTRS, update=True,
          kernels=("vec_update_open",)),
)  # fmt: skip
