"""Feature maps in integers, as ``edgelearn.ir.ops.conv`` means them: convolutions, adjoints and updates as products of patches.

A map's patches are its k * k shifted copies side by side. The adjoint is a convolution of the map of errors, spread out by the stride,
with the kernel turned by half a turn.
"""

from __future__ import annotations

import math

from edgelearn.ir.core import Op
from edgelearn.ir.ops.base import parse_shape, scale_parts
from edgelearn.ir.ops.conv import count, kernel_width
from edgelearn.ir.ops.linear import summed_bits
from edgelearn_export.tflite.integers_basis import Meaning, Q, Scene
from edgelearn_export.tflite.integers_linear import (
    activated,
    rounded,
    step_multiplier,
    vec_update,
    with_bias,
)
from edgelearn_export.tflite.integers_products import added, product
from edgelearn_export.tflite.integers_values import Ints, clipped, concatenated, of, where

Shape = tuple[int, ...]


# --- patches --------------------------------------------------------------------------------------------------------------------------


def _places(k: int, turned: bool = False) -> list[tuple[int, int]]:
    """Of a kernel, row by row; ``turned``, where each is after half a turn."""
    found = [(i, j) for i in range(k) for j in range(k)]
    return found[::-1] if turned else found


def _shifted_maps(x: Ints, places: list[tuple[int, int]], out: Shape, stride: int, dtype: str = "i32") -> list[Ints]:
    """What lies under each place of the kernel at all positions; ``x`` is padded."""
    size, step = (out[0], out[1], x.shape[2]), (stride, stride, 1)
    return [x.part((i, j, 0), size, step, dtype) for i, j in places]


def _padded(x: Ints, pad: int, dtype: str = "i32") -> Ints:
    return x.padded(((pad, pad), (pad, pad), (0, 0)), dtype)


def _patches(x: Ints, k: int, out: Shape, op: Op) -> Ints:
    """(positions, k * k * channels) in 8 bits."""
    stride, pad = _geometry(op)
    maps = _shifted_maps(_padded(x, pad, "i8"), _places(k), out, stride, "i8")
    return concatenated(maps, 2, "i8").reshaped((out[0] * out[1], k * k * x.shape[2]))


def _geometry(op: Op) -> tuple[int, int]:
    return int(op.number("stride")), int(op.number("pad"))


def _out(W: Ints, x: Ints, op: Op) -> Shape:
    """Height and width of the map that a kernel makes."""
    k, (stride, pad) = kernel_width(W.shape), _geometry(op)
    return tuple((n + 2 * pad - k) // stride + 1 for n in x.shape[:2])


def _at(W: Ints, i: int, j: int) -> Ints:
    """The channels' factors at a place of a depthwise kernel."""
    channels = W.shape[2]
    return W.part((i, j, 0), (1, 1, channels)).reshaped((channels,))


# --- convolutions and adjoints --------------------------------------------------------------------------------------------------------


def _conv(scene: Scene, op: Op, W: Q, x: Q, b: Q | None = None) -> Q:
    out, k = _out(W.q, x.q, op), kernel_width(W.q.shape)
    if len(W.q.shape) == 3:
        stride, pad = _geometry(op)
        maps = _shifted_maps(_padded(x.q, pad), _places(k), out, stride)
        z = added([m * _at(W.q, i, j) for m, (i, j) in zip(maps, _places(k), strict=True)])
    else:
        kernels = W.q.reshaped((W.q.shape[0], math.prod(W.q.shape[1:])))
        z = product(_patches(x.q, k, out, op), kernels, (False, True))
        z = z.reshaped((*out, W.q.shape[0]))
    e = W.e + x.e
    return Q(activated(op, with_bias(z, e, b)), e)


def _conv_t(scene: Scene, op: Op, W: Q, d: Q, a: Q | None = None) -> Q:
    shape = parse_shape(str(op.attr("shape")))
    spread, k = _spread_out(d.q, W.q, shape, op), kernel_width(W.q.shape)
    maps = _shifted_maps(spread, _places(k, turned=True), shape, 1)
    if len(W.q.shape) == 3:
        z = added([m * _at(W.q, i, j) for m, (i, j) in zip(maps, _places(k), strict=True)])
    else:
        z = _turned_product(W.q, concatenated(maps, 2)).reshaped(shape)
    return Q(z if a is None else where(a.q.reshaped(shape) > 0, z, 0), W.e + d.e)


def _turned_product(W: Ints, maps: Ints) -> Ints:
    """Shifted maps of errors (H, W, k * k * out) times what the kernel has at these places."""
    n, k, _, channels = W.shape
    kernels = W.transposed((1, 2, 0, 3)).reshaped((k * k * n, channels))
    return product(maps.reshaped((maps.shape[0] * maps.shape[1], k * k * n)), kernels)


def _spread_out(d: Ints, W: Ints, shape: Shape, op: Op) -> Ints:
    """Errors as far apart as the stride, with as much around as lets a kernel reach every position of ``shape``."""
    stride, pad = _geometry(op)
    h, w, channels = d.shape
    if stride > 1:
        apart = d.reshaped((h, 1, w, 1, channels)).padded(((0, 0), (0, stride - 1), (0, 0), (0, stride - 1), (0, 0)))
        h, w = (h - 1) * stride + 1, (w - 1) * stride + 1
        d = apart.reshaped((d.shape[0] * stride, d.shape[1] * stride, channels)).part((0, 0, 0), (h, w, channels))
    before = kernel_width(W.shape) - 1 - pad
    widths = [(before, n + pad - have) for n, have in zip(shape, (h, w), strict=False)]
    return d.padded((*widths, (0, 0)))


# --- updates --------------------------------------------------------------------------------------------------------------------------


def _conv_update(scene: Scene, op: Op, W: Q, d: Q, x: Q, limit: int) -> Q:
    """k x is summed over all positions before the one rounding."""
    bits = summed_bits(d.q.shape[0] * d.q.shape[1])
    total = _correlation(op, W.q, step_multiplier(scene, op, d, x.e, W.e, bits), x.q)
    rows = W.q.shape[0] if len(W.q.shape) == 4 else 1
    dither = scene.dither(op, rows, W.q.size // rows).reshaped(W.q.shape)
    return Q(clipped(W.q - rounded(total, dither, total.equals(0).equals(0)), limit), W.e)


def _correlation(op: Op, W: Ints, k: Ints, x: Ints) -> Ints:
    """The sum over positions of k times what x has under the kernel there."""
    width, out = kernel_width(W.shape), k.shape[:2]
    if len(W.shape) == 3:
        stride, pad = _geometry(op)
        maps = _shifted_maps(_padded(x, pad), _places(width), out, stride)
        return concatenated([(m * k).sum(0, 1) for m in maps], 0).reshaped(W.shape)
    rows = k.reshaped((out[0] * out[1], W.shape[0]))
    return product(rows, _patches(x, width, out, op), (True, False)).reshaped(W.shape)


def _open(d: Q, mask: Q) -> Q:
    """The error of every position."""
    return Q(where(mask.q > 0, d.q.flat(), 0), d.e)


def _open_update(scene: Scene, op: Op, W: Q, d: Q, mask: Q, x: Q, limit: int) -> Q:
    return _conv_update(scene, op, W, _open(d, mask), x, limit)


def _open_vec_update(scene: Scene, op: Op, b: Q, d: Q, mask: Q, limit: int) -> Q:
    return vec_update(scene, op, b, _open(d, mask), limit)


# --- pools ----------------------------------------------------------------------------------------------------------------------------


def _window(op: Op, shape: Shape) -> tuple[int, int]:
    size = int(op.number("size"))
    return (size, size) if size else (shape[0], shape[1])


def _pool(scene: Scene, op: Op, x: Q) -> Q:
    mantissa, exponent = scale_parts(1 / count(op))
    (h, w, c), (high, wide) = x.q.shape, _window(op, x.q.shape)
    total = x.q.reshaped((h // high, high, w // wide, wide, c)).sum(1, 3)
    return Q(total * mantissa, x.e + exponent)


def _maxpool(scene: Scene, op: Op, x: Q) -> Q:
    (h, w, c), (high, wide) = x.q.shape, _window(op, x.q.shape)
    shape = h // high, w // wide, c
    made = scene.graph.op("MAX_POOL_2D", [x.q.tensor("i8", (1, h, w, c))], "i8", (1, *shape), x.q.scale, version=2, padding=1,
                          strideH=high, strideW=wide, filterHeight=high, filterWidth=wide)  # fmt: skip
    pooled = of(scene.graph, made, "i8", (1, *shape), x.q.bound).reshaped(shape)
    pooled.scale = x.q.scale
    return Q(pooled, x.e)


def _unpool(scene: Scene, op: Op, d: Q) -> Q:
    mantissa, exponent = scale_parts(1 / count(op))
    h, w, c = parse_shape(str(op.attr("shape")))
    high, wide = _window(op, (h, w, c))
    apart = d.q.reshaped((h // high, 1, w // wide, 1, c)).repeated((1, high, 1, wide, 1))
    return Q(apart.reshaped((h, w, c)) * mantissa, d.e + exponent)


MEANINGS: dict[str, Meaning] = {
    **dict.fromkeys(("conv", "conv_affine", "depthwise", "depthwise_affine"), _conv),
    **dict.fromkeys(("conv_t", "conv_t_mask", "depthwise_t", "depthwise_t_mask"), _conv_t),
    **dict.fromkeys(("conv_update", "depthwise_update"), _conv_update),
    **dict.fromkeys(("conv_update_open", "depthwise_update_open"), _open_update),
    "vec_update_open": _open_vec_update, "pool": _pool, "maxpool": _maxpool, "unpool": _unpool,
}  # fmt: skip
