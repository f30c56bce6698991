"""From the layout of files to ours: maps (channels, height, width) to (height, width, channels), and kernels and matrices with them."""

from __future__ import annotations

import math

import numpy as np

from edgelearn.imports.graph import MAX_ELEMENTS, Array, Convolution, Node, Norm, Pair
from edgelearn.layers import MAX_KERNEL, MAX_SIZE, Kind, Layer

Shape = tuple[int, ...]


def conv_values(W: Array, kind: Kind) -> Array:
    """(out, in, k, k) as (out, k, k, in); of a depthwise convolution (channels, 1, k, k) as (k, k, channels)."""
    return W[:, 0].transpose(1, 2, 0) if kind == "depthwise" else W.transpose(0, 2, 3, 1)


def dense_values(W: Array, rows: Shape | None) -> Array:
    """(out, in), in the order of our maps where each row belongs to a flattened map of shape ``rows``."""
    return W if rows is None else W.reshape(len(W), *rows).transpose(0, 2, 3, 1).reshape(W.shape)


def conv_layer(node: Node, conv: Convolution, inp: Shape) -> tuple[Layer, Shape]:
    """The layer that a convolution is, and the shape of what it makes of a map ``inp``.

    Raises:
        UnsupportedError: it is of another kind.
    """
    if conv.W.ndim != 4:
        raise node.refused(f"has weights of shape {conv.W.shape}, not one kernel per map", "Use Conv2d.")
    out, per_group, k, width = conv.W.shape
    if k != width or not 1 <= k <= MAX_KERNEL:
        raise node.refused(f"has a kernel of {k} by {width}", f"Use square kernels of at most {MAX_KERNEL}.")
    if conv.dilation != (1, 1):
        raise node.refused(
            f"has dilation {conv.dilation[0]}, {conv.dilation[1]}", "Use a convolution without dilation."
        )
    stride = conv.stride[0]
    if conv.stride != (stride, stride) or not 1 <= stride <= MAX_KERNEL:
        raise node.refused(
            f"moves by {conv.stride[0]} and {conv.stride[1]}",
            f"Use one stride for both directions, of at most {MAX_KERNEL}.",
        )
    pad = _pad(node, conv, inp, k, stride)
    depthwise = conv.groups > 1
    if depthwise and not conv.groups == out == inp[0]:
        problem = f"has {conv.groups} groups for {inp[0]} channels in and {out} out"
        raise node.refused(problem, "Use groups = 1, or as many groups as channels in and channels out.")
    if per_group * conv.groups != inp[0] or not 1 <= out <= MAX_SIZE:
        raise node.refused(f"has weights of shape {conv.W.shape} for a map of {inp[0]} channels")
    h, w = ((n + 2 * pad - k) // stride + 1 for n in inp[1:])
    if min(h, w) < 1 or out * h * w > MAX_ELEMENTS:
        raise node.refused(f"makes a map of {h} by {w} by {out} of one of {inp[1]} by {inp[2]}")
    layer = Layer("depthwise", 0, k, stride, pad) if depthwise else Layer("conv", out, k, stride, pad)
    return layer, (out, h, w)


def _pad(node: Node, conv: Convolution, inp: Shape, k: int, stride: int) -> int:
    """The padding, if it is the same on all sides."""
    if conv.pads is None:
        totals = {max((math.ceil(n / stride) - 1) * stride + k - n, 0) for n in inp[1:]}
        sides = {side for total in totals for side in (total // 2, total - total // 2)}
    else:
        sides = set(conv.pads)
    pad = min(sides)
    if len(sides) > 1 or not 0 <= pad < k:
        problem = f"pads by {', '.join(str(side) for side in sorted(sides))}"
        raise node.refused(problem, "Pad all four sides alike, by less than the kernel's width.")
    return pad


def folded(node: Node, norm: Norm, W: Array, b: Array) -> tuple[Array, Array, Array]:
    """Weights and bias that do what they and a batch normalisation after them did, and the factor of each channel.

    Raises:
        UnsupportedError: it normalises another number of channels.
    """
    parts = [part.astype(np.float64) for part in (norm.gamma, norm.beta, norm.mean, norm.var)]
    if any(part.shape != (len(W),) for part in parts):
        raise node.refused(f"normalises {norm.mean.size} channels of {len(W)}")
    gamma, beta, mean, var = parts
    with np.errstate(all="ignore"):  # what cannot be computed is refused with the layer
        factor = gamma / np.sqrt(var + norm.eps)
        scaled = W * factor.astype(np.float32).reshape(-1, *[1] * (W.ndim - 1))
        return scaled, ((b - mean) * factor + beta).astype(np.float32), factor


def pool_layer(node: Node, mode: str, window: Pair, inp: Shape) -> tuple[Layer, Shape]:
    """A pool that cuts the map ``inp`` into windows, and what it makes of it.

    Raises:
        UnsupportedError: it does not.
    """
    size, width = window
    if size != width or size < 1:
        raise node.refused(f"has windows of {size} by {width}", "Use square windows, on a square map if they cover it.")
    c, h, w = inp
    if h % size or w % size:
        problem = f"cannot cut a map of {h} by {w} into windows of {size} without a rest"
        raise node.refused(problem, "Choose a window that divides height and width.")
    return Layer("pool", kernel=size, mode="max" if mode == "max" else "avg"), (c, h // size, w // size)
