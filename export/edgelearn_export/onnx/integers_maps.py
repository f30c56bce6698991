"""Feature maps in exact integers: windows of a map are slices of it, side by side, so that a convolution is one product of matrices.

A map is a tensor (batch, height * width * channels). No table of places is stored: a file stays as small as its weights.
"""

from __future__ import annotations

import math

from edgelearn.ir.core import Op
from edgelearn.ir.ops import scale_parts
from edgelearn.ir.ops.base import parse_shape
from edgelearn.ir.ops.conv import count
from edgelearn_export.onnx.integers_values import Integers, Value

Shape = tuple[int, ...]


def geometry(op: Op) -> tuple[int, int]:
    return int(op.number("stride")), int(op.number("pad"))


def _windows(n: Integers, grid: str, out: Shape, k: int, stride: int) -> str:
    """What lies under a kernel of width k at each of ``out`` positions: (batch, positions, k * k, channels)."""
    height, width, channels = out
    parts: list[str] = []
    for i in range(k):
        for j in range(k):
            first, end = (i, j), (i + stride * (height - 1) + 1, j + stride * (width - 1) + 1)
            ends = (n.constant(numbers) for numbers in (first, end, (1, 2), (stride, stride)))
            parts.append(n.reshape(n.once("Slice", grid, *ends), -1, height * width, 1, channels))
    return parts[0] if k == 1 else n.once("Concat", *parts, axis=2)


def _padded(n: Integers, grid: str, fill: str, top: int, bottom: int, right: int) -> str:
    """A map (batch, height, width, channels) with as many rows and columns of ``fill``; less than 0 cuts them off."""
    if not (top or bottom or right):
        return grid
    return n.once("Pad", grid, n.constant([0, top, top, 0, 0, bottom, right, 0]), fill)


def patches(n: Integers, x: str, shape: Shape, held: str, out: Shape, k: int, op: Op, zero: int = 0) -> str:
    """The window under the kernel at each position of ``out``, (batch, positions, k * k, channels), of a map of ``shape``."""
    stride, pad = geometry(op)
    grid = _padded(n, n.reshape(x, -1, *shape), n.constant(zero, held), pad, pad, pad)
    return _windows(n, grid, (*out[:2], shape[2]), k, stride)


def spread(n: Integers, d: Value, held: str, shape: Shape, k: int, op: Op) -> str:
    """Errors of all positions whose windows hold a place of a map of ``shape``: (batch, places, k * k, channels).

    They come in the order of the kernel turned by half a turn. Positions are ``stride`` apart: zeros go between them.
    """
    stride, pad = geometry(op)
    height, width, channels = d.shape
    grid = n.reshape(n.held(d, held), -1, height, 1, width, 1, channels)
    if stride > 1:
        between = [0, 0, 0, 0, 0, 0, 0, 0, stride - 1, 0, stride - 1, 0]
        grid = n.once("Pad", grid, n.constant(between), n.constant(0, held))
    grid = n.reshape(grid, -1, height * stride, width * stride, channels)
    top = k - 1 - pad
    bottom, right = (shape[i] + k - 1 - d.shape[i] * stride - top for i in (0, 1))
    return _windows(n, _padded(n, grid, n.constant(0, held), top, bottom, right), (*shape[:2], channels), k, 1)


# --- pools ----------------------------------------------------------------------------------------------------------------------------


def _window(op: Op, shape: Shape) -> tuple[int, int]:
    size = int(op.number("size"))
    return (size, size) if size else (shape[0], shape[1])


def _cut(n: Integers, op: Op, x: Value, held: str) -> str:
    """(batch, rows, height, columns, width, channels) of the windows."""
    (h, w, c), (high, wide) = x.shape, _window(op, x.shape)
    return n.reshape(n.held(x, held), -1, h // high, high, w // wide, wide, c)


def pool(n: Integers, op: Op, x: Value) -> Value:
    mantissa, exponent = scale_parts(1 / count(op))
    total = n.reshape(n.sum(_cut(n, op, x, "i64"), 2, 4), -1, math.prod(x.shape) // count(op))
    name = total if mantissa == 1 else n.node("Mul", total, mantissa)
    return Value(name, x.power.shifted(exponent), x.most * count(op) * mantissa)


def maxpool(n: Integers, op: Op, x: Value) -> Value:
    held = x.held if x.held in ("i8", "u8") else "i64"
    return Value(
        n.reshape(n.max(_cut(n, op, x, held), 2, 4), -1, math.prod(x.shape) // count(op)), x.power, x.most, held
    )


def unpool(n: Integers, op: Op, d: Value) -> Value:
    mantissa, exponent = scale_parts(1 / count(op))
    h, w, c = parse_shape(str(op.attr("shape")))
    high, wide = _window(op, (h, w))
    grid = n.reshape(n.q(d), -1, h // high, 1, w // wide, 1, c)
    every = n.node("Expand", grid, n.constant([1, h // high, high, w // wide, wide, c]))
    name = n.reshape(every, -1, h * w * c)
    return Value(name if mantissa == 1 else n.node("Mul", name, mantissa), d.power.shifted(exponent), d.most * mantissa)


OPS = {"pool": pool, "maxpool": maxpool, "unpool": unpool}
