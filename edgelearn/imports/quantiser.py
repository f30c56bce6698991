"""Quantisers, as ONNX defines QuantizeLinear, DequantizeLinear and Clip: done to constants, and read as steps where they round a value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgelearn.imports.graph import Array, Node, Rounded

FEWEST_LEVELS = 4  # of a value: with fewer, a net without the rounding is another net


def apply(node: Node, first: Array, rest: Sequence[Array | None]) -> Array:
    """What ``node`` makes of constants.

    Raises:
        ValueError: their shapes or types do not go together.
    """
    match node.op:
        case "QuantizeLinear":
            return _quantized(node, first, *_scale(node, first, rest))
        case "DequantizeLinear":
            scale, zero = _scale(node, first, rest)
            return ((first.astype(np.float64) - zero) * scale).astype(np.float32)
        case "Clip":
            low, high = (*rest, None, None)[:2]
            return np.clip(first, low, high) if low is not None or high is not None else first
        case "Transpose":
            return first.transpose(node.attrs.get("perm"))
        case _:
            return first


def _scale(node: Node, first: Array, rest: Sequence[Array | None]) -> tuple[Array, Array]:
    """Scale and zero point, in a shape that goes with the tensor's."""
    if node.attrs.get("block_size"):
        raise ValueError("a scale for each block of numbers")
    scale = rest[0] if rest else None
    if scale is None or scale.dtype.kind != "f":
        raise ValueError("no scale")
    zero = rest[1] if len(rest) > 1 and rest[1] is not None else np.zeros((), np.uint8)
    if node.attrs.get("output_dtype") and len(rest) < 2:
        raise ValueError("a type without a zero point")
    return _along(node, first, scale).astype(np.float64), _along(node, first, zero)


def _along(node: Node, first: Array, value: Array) -> Array:
    if value.size == 1:
        return value.reshape(())
    axis = int(node.attrs.get("axis", 1))
    if value.ndim != 1 or not -first.ndim <= axis < first.ndim or first.shape[axis] != value.size:
        raise ValueError(f"{value.size} scales or zero points for a tensor of shape {first.shape}")
    return value.reshape([-1 if i == axis % first.ndim else 1 for i in range(first.ndim)])


def _quantized(node: Node, first: Array, scale: Array, zero: Array) -> Array:
    if zero.dtype.kind not in "iu":
        raise ValueError(f"whole numbers of type {zero.dtype}")
    if not np.isfinite(first).all() or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError("weights or scales that are NaN, infinite or not positive")
    limits = np.iinfo(zero.dtype)
    units = np.rint(first.astype(np.float64) / scale) + zero
    return np.clip(units, limits.min, limits.max).astype(zero.dtype)


def of_value(node: Node, scale: Array, zero: Array, limits: Sequence[Array | None]) -> Rounded:
    """What the quantiser of a value does.

    Raises:
        UnsupportedError: it leaves so little of the value that a net without it is another net.
        ValueError: it makes no sense.
    """
    if zero.dtype.kind not in "iu" or None in limits or len(limits) not in (0, 2):
        raise ValueError("a quantiser without whole numbers, or with one limit")
    kind = np.iinfo(zero.dtype)
    low, high = (int(limit.item()) for limit in limits if limit is not None) if limits else (kind.min, kind.max)
    size, origin = float(scale.item()), int(zero.item())
    if not 0 < size < np.inf or not kind.min <= low < high <= kind.max:
        raise ValueError("a scale that is zero, negative or no number, or limits in the wrong order")
    levels = high - low + 1
    if levels < FEWEST_LEVELS:
        raise node.refused(f"rounds a value to {levels} steps", "Train it with activations of at least 2 bits.")
    return Rounded((low - origin) * size, levels)
