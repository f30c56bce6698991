"""Products of weights and values, and the updates of weights, in exact integers. Dense matrices and kernels of feature maps.

Sums are made in 32 bits where they fit, as on the device, else in 64: ONNX Runtime's products of such matrices are exact on every machine.
Its product of matrices of bytes is used where the weights are constant. On an x86 without VNNI that of uint8 with int8 loses upper bits if
the former has eight: weights are uint8 then, moved by 128, and nothing is lost.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from edgelearn.ir.core import Op
from edgelearn.ir.ops.linear import MAX_K_LOG2, summed_bits
from edgelearn_export.onnx.integers_maps import patches, spread
from edgelearn_export.onnx.integers_values import I32, OFFSET, Integers, Power, Tensor, Value

BIAS_LIMIT = 1 << 30


# --- products -------------------------------------------------------------------------------------------------------------------------


def _narrow_product(W: Tensor, x: Value) -> bool:
    return W.array is not None and W.held == "i8" and x.held in ("i8", "u8")


def _width(most: int) -> str:
    return "i32" if most <= I32 else "i64"


def _matrix(n: Integers, W: Tensor, held: str, shape: tuple[int, ...], order: tuple[int, ...]) -> str:
    """W as a matrix of ``shape``, its axes in ``order`` first; done when the graph is written if W is constant."""
    if W.array is not None:
        made = n.constant(np.ascontiguousarray(W.array.transpose(order)).reshape(shape), W.held)
        return made if W.held == held else n.cast(made, held)
    turned = W.name if order == tuple(range(len(order))) else n.once("Transpose", W.name, perm=list(order))
    return n.reshape(turned if W.held == held else n.cast(turned, held), *shape)


def _of_bytes(n: Integers, x: str, zero: int, W: Tensor, shape: tuple[int, ...], order: tuple[int, ...]) -> str:
    """x, which is uint8, times constant int8 weights, in 32 bits."""
    if not zero:
        return n.node("MatMulInteger", x, _matrix(n, W, "i8", shape, order))
    assert W.array is not None
    moved = (W.array.transpose(order).reshape(shape).astype(np.int16) + OFFSET).astype(np.uint8)
    zeros = n.constant(zero, "u8"), n.constant(OFFSET, "u8")
    return n.node("MatMulInteger", x, n.constant(np.ascontiguousarray(moved), "u8"), *zeros)


def _finish(n: Integers, op: Op, z: str, v: Value, b: Value | None, size: int) -> Value:
    """Adds the bias, which belongs to channels of a map; ReLU."""
    held, most = v.held, v.most
    if b is not None:
        held, most = "i64", most + BIAS_LIMIT
        bias = n.clip(n.shift_round(n.q(b), v.power - b.power, b.most), -BIAS_LIMIT, BIAS_LIMIT)
        channels = math.prod(b.shape)
        wide = z if v.held == "i64" else n.cast(z, "i64")
        z = n.node("Add", n.reshape(wide, -1, size // channels, channels), n.reshape(bias, 1, 1, channels))
    z = n.reshape(z, -1, size)
    if op.attr("relu", 0):
        z = n.node("Max", z, 0, held=held) if most <= I32 else n.at_least(z, 0)
    return Value(z, v.power, most, held)


def affine(n: Integers, op: Op, W: Tensor, x: Value, b: Value | None = None) -> Value:
    rows, columns = W.shape
    most, power = W.most * x.most * columns, W.power + x.power
    if _narrow_product(W, x):
        z = _of_bytes(n, *n.bytes(x), W, (columns, rows), (1, 0))
        if op.name == "matvec":
            return Value(z, power, most, "i32")
        return _finish(n, op, z, Value(z, power, most, "i32"), b, rows)
    held = _width(most)
    if W.array is not None:
        z = n.node("MatMul", n.held(x, held), _matrix(n, W, held, (columns, rows), (1, 0)))
    else:  # one sample: no need to turn the weights
        z = n.node("MatMul", n.raw(W, held), n.reshape(n.held(x, held), columns, 1))
    return _finish(n, op, z, Value(z, power, most, held), b, rows)


def transposed(n: Integers, op: Op, W: Tensor, d: Value, a: Value | None = None) -> Value:
    rows, columns = W.shape
    most = W.most * d.most * rows
    held = _width(most)
    z = n.node("MatMul", n.held(d, held), _matrix(n, W, held, (rows, columns), (0, 1)))
    return _masked(n, Value(z, W.power + d.power, most, held), a)


def _masked(n: Integers, z: Value, a: Value | None) -> Value:
    if a is None:
        return z
    name = n.where(n.node("Greater", n.q(a), 0), z.name, n.constant(0, z.held))
    return Value(name, z.power, z.most, z.held)


def conv(n: Integers, op: Op, W: Tensor, x: Value, b: Value | None = None) -> Value:
    assert op.type is not None
    out, k = op.type.shape, W.shape[1]
    inside = k * k * W.shape[3]
    most = W.most * x.most * inside
    bytewise = _narrow_product(W, x)
    held = _width(most)
    source, zero = n.bytes(x) if bytewise else (n.held(x, held), 0)
    under = patches(n, source, x.shape, "u8" if bytewise else held, out, k, op, zero)
    under = n.reshape(under, -1, out[0] * out[1], inside)
    if bytewise:
        z, held = _of_bytes(n, under, zero, W, (inside, out[2]), (1, 2, 3, 0)), "i32"
    else:
        z = n.node("MatMul", under, _matrix(n, W, held, (inside, out[2]), (1, 2, 3, 0)))
    return _finish(n, op, z, Value(z, W.power + x.power, most, held), b, math.prod(out))


def depthwise(n: Integers, op: Op, W: Tensor, x: Value, b: Value | None = None) -> Value:
    assert op.type is not None
    out, (k, _, channels) = op.type.shape, W.shape
    most = W.most * x.most * k * k
    held = _width(most)
    products = n.node(
        "Mul", patches(n, n.held(x, held), x.shape, held, out, k, op), _matrix(n, W, held, (k * k, channels), (0, 1, 2))
    )
    z = n.sum(products, 2, keep=0)
    return _finish(n, op, z, Value(z, W.power + x.power, most, held), b, math.prod(out))


def conv_t(n: Integers, op: Op, W: Tensor, d: Value, a: Value | None = None) -> Value:
    assert op.type is not None
    shape, (rows, k, _, channels) = op.type.shape, W.shape
    most = W.most * d.most * k * k * rows
    held = _width(most)
    errors = n.reshape(spread(n, d, held, shape, k, op), -1, shape[0] * shape[1], k * k * rows)
    turned = _turned(n, _matrix(n, W, held, (k * k, rows, channels), (1, 2, 0, 3)), k)
    z = n.reshape(n.node("MatMul", errors, n.reshape(turned, k * k * rows, channels)), -1, math.prod(shape))
    return _masked(n, Value(z, W.power + d.power, most, held), a)


def depthwise_t(n: Integers, op: Op, W: Tensor, d: Value, a: Value | None = None) -> Value:
    assert op.type is not None
    shape, (k, _, channels) = op.type.shape, W.shape
    most = W.most * d.most * k * k
    held = _width(most)
    turned = _turned(n, _matrix(n, W, held, (k * k, channels), (0, 1, 2)), k)
    products = n.node("Mul", spread(n, d, held, shape, k, op), turned)
    z = n.reshape(n.sum(products, 2, keep=0), -1, math.prod(shape))
    return _masked(n, Value(z, W.power + d.power, most, held), a)


def _turned(n: Integers, kernel: str, k: int) -> str:
    """The k * k places of a kernel in the opposite order."""
    return kernel if k == 1 else n.node("Gather", kernel, n.constant(np.arange(k * k)[::-1].copy()))


# --- updates --------------------------------------------------------------------------------------------------------------------------


def _multiplier(n: Integers, op: Op, d: Value, x: Power, W: Tensor, drops: Power, bits: int = MAX_K_LOG2) -> Value:
    """k = round(d * rate * 2^16) in units of W per unit of x, at most 2^bits."""
    shift = (W.power - d.power - x + drops).shifted(-int(op.number("rate_log2")) - 16)
    k = n.clip(n.shift_round(n.q(d), shift, d.most), -(1 << bits), 1 << bits)
    return Value(n.node("Neg", k) if op.attr("sign", 1) == -1 else k, Power(), 1 << bits, shape=d.shape)


def _changed(n: Integers, W: Tensor, total: str, held: str, used: str, dither: str) -> str:
    """W - floor((total + r) / 2^16), saturated to W's bits; r is the dither where ``used``, 32-bit units of which ``total`` has 30 bits."""
    r = n.where(used, dither if held == "i32" else n.cast(dither, held), n.constant(0, held))
    dithered = n.node("Add", total, r)
    if held == "i32":
        positive = n.graph.node("Cast", n.node("Add", dithered, 1 << 30, held=held), to=TensorProto.UINT32)
        shifted = n.graph.node("BitShift", positive, n.graph.constant(16, np.uint32), direction="RIGHT")
        change = n.node("Sub", n.cast(shifted, "i32"), 1 << 14, held=held)
    else:
        change = n.floor_shift(dithered, 16)
    return n.clip(n.node("Sub", n.raw(W, held), change), -W.most, W.most, held)


def _nonzero(n: Integers, name: str, held: str = "i64") -> str:
    return n.node("Not", n.node("Equal", name, 0, held=held))


def outer_update(n: Integers, op: Op, W: Tensor, d: Value, x: Value, drops: Power, dither: str) -> str:
    held = "i32"  # k has 22 bits and x seven
    k = n.cast(n.reshape(_multiplier(n, op, d, x.power, W, drops).name, W.shape[0], 1), held)
    row = n.held(x, held)
    used = n.node("And", _nonzero(n, k, held), _nonzero(n, row, held))
    return _changed(n, W, n.node("Mul", k, row), held, used, dither)


def conv_update(n: Integers, op: Op, W: Tensor, d: Value, x: Value, drops: Power, dither: str) -> str:
    """k x is summed over all positions before the one rounding: 23 bits of k and seven of x in all."""
    held, positions = "i32", d.shape[0] * d.shape[1]
    k = _multiplier(n, op, d, x.power, W, drops, summed_bits(positions))
    wide = len(W.shape) == 3
    width = W.shape[0] if wide else W.shape[1]
    under = patches(n, n.held(x, held), x.shape, held, d.shape, width, op)
    errors = n.reshape(n.held(k, held), positions, d.shape[2])
    if wide:
        products = n.node(
            "Mul", n.reshape(errors, positions, 1, d.shape[2]), n.reshape(under, positions, width**2, W.shape[2])
        )
        total = n.sum(products, 0, keep=0)
    else:
        errors = n.node("Transpose", errors, perm=[1, 0])
        total = n.node("MatMul", errors, n.reshape(under, positions, width**2 * W.shape[3]))
    total = n.reshape(total, *W.shape)
    return _changed(n, W, total, held, _nonzero(n, total, held), dither)


def vec_update(n: Integers, op: Op, b: Tensor, d: Value, drops: Power, dither: str) -> str:
    channels = b.shape[0]
    positions = math.prod(d.shape) // channels
    k = _multiplier(n, op, d, Power(), b, drops, summed_bits(positions))
    total = n.reshape(k.name, channels) if positions == 1 else n.sum(n.reshape(k.name, positions, channels), 0, keep=0)
    return _changed(n, b, total, "i64", _nonzero(n, total), dither)


def decay_update(n: Integers, op: Op, W: Tensor, drops: Power, dither: str) -> str:
    """k = rate * 2^16: below a rate of 2^-16 nothing decays."""
    shift = n.power(Power(16 + int(op.number("rate_log2"))) - drops)
    k = n.where(n.node("Less", shift, 0), 0, n.pow2(n.clip(shift, 0, 22)))
    k = n.node("Neg", k) if op.attr("sign", 1) == -1 else k
    q = n.raw(W, "i64")
    used = n.node("And", _nonzero(n, q), _nonzero(n, k))
    return _changed(n, W, n.node("Mul", q, k), "i64", used, dither)


def _opened(n: Integers, d: Value, mask: Value) -> Value:
    """The error of a channel at every position where the mask is positive."""
    positions, channels = mask.shape[0] * mask.shape[1], mask.shape[2]
    where = n.node("Greater", n.reshape(n.q(mask), -1, positions, channels), 0)
    every = n.where(where, n.reshape(n.q(d), -1, 1, channels), 0)
    return Value(n.reshape(every, -1, positions * channels), d.power, d.most, shape=mask.shape)


def conv_update_open(n: Integers, op: Op, W: Tensor, d: Value, mask: Value, x: Value, drops: Power, dither: str) -> str:
    return conv_update(n, op, W, _opened(n, d, mask), x, drops, dither)


def vec_update_open(n: Integers, op: Op, b: Tensor, d: Value, mask: Value, drops: Power, dither: str) -> str:
    return vec_update(n, op, b, _opened(n, d, mask), drops, dither)


OPS = {
    "matvec": affine, "affine": affine, "matvec_t": transposed, "matvec_t_mask": transposed, "conv": conv, "conv_affine": conv,
    "depthwise": depthwise, "depthwise_affine": depthwise, "conv_t": conv_t, "conv_t_mask": conv_t, "depthwise_t": depthwise_t,
    "depthwise_t_mask": depthwise_t,
}  # fmt: skip
UPDATES = {
    "outer_update": outer_update, "conv_update": conv_update, "depthwise_update": conv_update, "vec_update": vec_update,
    "decay_update": decay_update, "conv_update_open": conv_update_open, "depthwise_update_open": conv_update_open,
    "vec_update_open": vec_update_open,
}  # fmt: skip
