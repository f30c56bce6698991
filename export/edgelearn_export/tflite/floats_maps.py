"""Feature maps in floats: convolutions, their adjoints and updates, and pooling. Maps and kernels are TFLite's own: NHWC and OHWI.

There is no gradient of a convolution among the built-in ops, but it is a convolution too: with respect to the kernel it is one of the
map with the error as kernel, the stride being its dilation; with respect to the map it is TRANSPOSE_CONV, or for a depthwise kernel
one of the error, spread by the stride, with the kernel turned round.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgelearn.ir.ops.conv import kernel_width
from edgelearn_export.tflite.builder import ABSENT, SAME, VALID
from edgelearn_export.tflite.calc import Calc
from edgelearn_export.tflite.floats_ops import Kernel, Site, Update, activation, vector


def _geometry(site: Site) -> tuple[int, int, int]:
    """Width of the kernel, stride, padding."""
    return kernel_width(site.types[0].shape), int(site.op.number("stride")), int(site.op.number("pad"))


def _bordered(c: Calc, x: int, pad: int) -> int:
    return c.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def _strides(stride: int, dilation: int = 1) -> dict[str, Any]:
    steps = {"strideH": stride, "strideW": stride}
    return steps if dilation == 1 else {**steps, "dilationHFactor": dilation, "dilationWFactor": dilation}


def _is_same(x: tuple[int, ...], k: int, stride: int, pad: int) -> bool:
    """Whether TFLite's padding SAME puts ``pad`` zeros in front, and as many positions as we have."""

    def fits(n: int) -> bool:
        positions = (n + 2 * pad - k) // stride + 1
        zeros = max((positions - 1) * stride + k - n, 0)
        return positions == -(-n // stride) and zeros // 2 == pad

    return fits(x[1]) and fits(x[2])


def _padded(c: Calc, site: Site, x: int) -> tuple[int, int]:
    """The map as the convolution takes it, and its kind of padding."""
    k, stride, pad = _geometry(site)
    if pad and _is_same(c.shape(x), k, stride, pad):
        return x, SAME
    return _bordered(c, x, pad), VALID


# --- convolutions -------------------------------------------------------------------------------------------------------------------


def _conv(c: Calc, site: Site, W: int, x: int, b: int = ABSENT) -> int:
    _, stride, _ = _geometry(site)
    x, padding = _padded(c, site, x)
    b = c.graph.constant(np.zeros(site.shape[-1], np.float32)) if b == ABSENT else b
    return c.graph.op(
        "CONV_2D", [x, W, b], "f32", site.shape, padding=padding, fusedActivationFunction=activation(site), **_strides(stride)
    )  # fmt: skip


def _depthwise(c: Calc, site: Site, W: int, x: int, b: int = ABSENT) -> int:
    _, stride, _ = _geometry(site)
    x, padding = _padded(c, site, x)
    b = c.graph.constant(np.zeros(site.shape[-1], np.float32)) if b == ABSENT else b
    operands = [x, c.reshape(W, (1, *c.shape(W))), b]
    return c.graph.op(
        "DEPTHWISE_CONV_2D", operands, "f32", site.shape, padding=padding, depthMultiplier=1,
        fusedActivationFunction=activation(site), **_strides(stride),
    )  # fmt: skip


# --- adjoints -----------------------------------------------------------------------------------------------------------------------


def _conv_t(c: Calc, site: Site, W: int, d: int) -> int:
    """Onto the map with its border, which is then cut off: TFLite pads evenly or not at all."""
    _, stride, pad = _geometry(site)
    _, h, w, channels = site.shape
    shape = (1, h + 2 * pad, w + 2 * pad, channels)
    operands = [c.graph.constant(shape, np.int32), c.transpose(W, (3, 1, 2, 0)), d]
    z = c.graph.op("TRANSPOSE_CONV", operands, "f32", shape, padding=VALID, **_strides(stride))
    return _bordered(c, z, -pad)


def _depthwise_t(c: Calc, site: Site, W: int, d: int) -> int:
    k, stride, pad = _geometry(site)
    _, h, w, channels = site.shape
    d = _spread_out(c, d, stride)
    before = k - 1 - pad
    d = c.pad(
        d, ((0, 0), *((before, n + k - 1 - before - m) for n, m in zip((h, w), c.shape(d)[1:3], strict=True)), (0, 0))
    )
    operands = [d, _turned(c, W), c.graph.constant(np.zeros(channels, np.float32))]
    return c.graph.op("DEPTHWISE_CONV_2D", operands, "f32", site.shape, padding=VALID, depthMultiplier=1, **_strides(1))


def _spread_out(c: Calc, d: int, stride: int) -> int:
    """``stride - 1`` zeros after each row and each column."""
    if stride == 1:
        return d
    _, h, w, channels = c.shape(d)
    d = c.pad(c.reshape(d, (1, h * w, 1, channels)), ((0, 0), (0, 0), (0, stride - 1), (0, 0)))
    d = c.pad(c.reshape(d, (1, h, 1, w * stride * channels)), ((0, 0), (0, 0), (0, stride - 1), (0, 0)))
    return c.reshape(d, (1, h * stride, w * stride, channels))


def _turned(c: Calc, W: int) -> int:
    """A depthwise kernel (1, k, k, C), last place first; TFLite Micro gathers rows, but does not reverse them."""
    k, _, channels = c.shape(W)
    order = c.graph.constant(np.arange(k * k)[::-1].copy(), np.int32)
    rows = c.reshape(W, (k * k, channels))
    return c.reshape(c.graph.op("GATHER", [rows, order], "f32", (k * k, channels)), (1, k, k, channels))


def _with_mask(adjoint: Kernel) -> Kernel:
    return lambda c, site, W, d, a: c.masked(adjoint(c, site, W, d), a)


# --- updates ------------------------------------------------------------------------------------------------------------------------


def _seen(c: Calc, site: Site, x: int, positions: tuple[int, ...]) -> int:
    """The padded map as far as kernels of ``positions`` reach."""
    k, stride, pad = _geometry(site)
    after = [(n - 1) * stride + k - m - pad for n, m in zip(positions, c.shape(x)[1:3], strict=True)]
    return c.pad(x, ((0, 0), (pad, after[0]), (pad, after[1]), (0, 0)))


def _conv_update(c: Calc, site: Site, rate: int, W: int, d: int, x: int) -> int:
    """The sum over positions, which is what a convolution sums over: channels take the place of the batch."""
    _, stride, _ = _geometry(site)
    out, k, _, channels = c.shape(W)
    maps = c.transpose(_seen(c, site, x, c.shape(d)[1:3]), (3, 1, 2, 0))
    errors = c.transpose(c.mul(d, rate), (3, 1, 2, 0))
    operands = [maps, errors, c.graph.constant(np.zeros(out, np.float32))]
    found = c.graph.op("CONV_2D", operands, "f32", (channels, k, k, out), padding=VALID, **_strides(1, stride))
    return c.transpose(found, (3, 1, 2, 0))


def _depthwise_update(c: Calc, site: Site, rate: int, W: int, d: int, x: int) -> int:
    _, stride, _ = _geometry(site)
    k, _, channels = c.shape(W)
    maps, zeros = _seen(c, site, x, c.shape(d)[1:3]), c.graph.constant(np.zeros(channels, np.float32))
    found = c.graph.op(
        "DEPTHWISE_CONV_2D", [maps, c.mul(d, rate), zeros], "f32", (1, k, k, channels), padding=VALID, depthMultiplier=1,
        **_strides(1, stride),
    )  # fmt: skip
    return c.reshape(found, c.shape(W))


def _open(c: Calc, d: int, mask: int) -> int:
    """The error of every position of a map, where the map is positive."""
    return c.masked(c.reshape(d, (1, 1, 1, math.prod(c.shape(d)))), mask)


def _opened(update: Update) -> Update:
    return lambda c, site, rate, W, d, mask, *x: update(c, site, rate, W, _open(c, d, mask), *x)


# --- pooling ------------------------------------------------------------------------------------------------------------------------


def _pool(name: str) -> Kernel:
    def kernel(c: Calc, site: Site, x: int) -> int:
        size = int(site.op.number("size"))
        high, wide = (size, size) if size else c.shape(x)[1:3]
        return c.graph.op(
            name, [x], "f32", site.shape, padding=VALID, filterHeight=high, filterWidth=wide, strideH=high, strideW=wide
        )  # fmt: skip

    return kernel


def _unpool(c: Calc, site: Site, d: int) -> int:
    size = int(site.op.number("size"))
    _, h, w, channels = site.shape
    small = (h // size, w // size) if size else (1, 1)
    count = site.op.number("count", size * size)
    scaled = c.scale(c.reshape(d, (1, *small, channels)), 1 / count)
    return c.graph.op("RESIZE_NEAREST_NEIGHBOR", [scaled, c.graph.constant((h, w), np.int32)], "f32", site.shape)


KERNELS: dict[str, Kernel] = {
    **dict.fromkeys(("conv", "conv_affine"), _conv),
    **dict.fromkeys(("depthwise", "depthwise_affine"), _depthwise),
    "conv_t": _conv_t,
    "conv_t_mask": _with_mask(_conv_t),
    "depthwise_t": _depthwise_t,
    "depthwise_t_mask": _with_mask(_depthwise_t),
    "pool": _pool("AVERAGE_POOL_2D"),
    "maxpool": _pool("MAX_POOL_2D"),
    "unpool": _unpool,
}

UPDATES: dict[str, Update] = {
    "conv_update": _conv_update,
    "depthwise_update": _depthwise_update,
    "conv_update_open": _opened(_conv_update),
    "depthwise_update_open": _opened(_depthwise_update),
    "vec_update_open": _opened(vector),
}
