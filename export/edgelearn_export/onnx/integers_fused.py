"""Dense layers and convolutions in the form that ONNX Runtime makes QGemm and QLinearConv of: dequantized, multiplied, quantized again.

All scales are powers of two, so that a real number is exactly what the device's integers and exponents mean. Runtimes round a product by
the quotient of scales, half to even; the device rounds half away from zero. The weights' scale is therefore larger by 2^-(shift + 8): what
lies half way is then just beyond it, and nothing else crosses a half, since an unsaturated sum is below 127.5 * 2^shift. That product is
made in floats of 24 bits, so that it holds for shifts up to 15; beyond, and where nothing is shifted right, the exact ops are used.

Values are uint8, since on an x86 only those are fused into convolutions, and since its product of int8 matrices is ten times slower than
that of uint8 and int8. So only layers with a ReLU have this form.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from edgelearn.ir.core import Op
from edgelearn.ir.types import LIMIT, shift_round
from edgelearn_export.onnx.integers_linear import BIAS_LIMIT
from edgelearn_export.onnx.integers_maps import geometry
from edgelearn_export.onnx.integers_values import I32, Integers, Power, Tensor, Value

Array = NDArray[Any]
DENSE = ("affine",)
FUSED = (*DENSE, "conv_affine", "depthwise_affine")
MAX_SHIFT = 15


def fused(n: Integers, op: Op, to: Power, W: Tensor, x: Value, b: Tensor | None = None) -> Value | None:
    """The op with its narrowing to int8 at exponent ``to``; None where this form is not exact, or nothing would fuse it."""
    assert op.type is not None
    power = W.power + x.power
    shift, e, e_x = (to - power).known, power.known, x.power.known
    fits = W.array is not None and W.held == "i8" and x.held in ("i8", "u8") and op.type.dtype == "i8"
    if not fits or not op.attr("relu", 0) or shift is None or e is None or e_x is None:
        return None
    if not 0 < shift <= MAX_SHIFT or _most(W, x, b) > I32 or not n.first_use(W.name):
        return None
    scale = np.float32(2.0 ** (e - e_x)) * np.float32(1 + 2.0 ** -(shift + 8))
    bias = "" if b is None else _bias(n, b, power, np.float32(2.0**e_x) * scale)
    layer = _dense if op.name in DENSE else _conv
    name = layer(n, op, W, x, float(scale), bias, float(2.0 ** (shift + e)))
    return Value(name, to, LIMIT["i8"], "u8")


def _most(W: Tensor, x: Value, b: Tensor | None) -> int:
    terms = math.prod(W.shape[:2] if len(W.shape) == 3 else W.shape[1:])
    return W.most * x.most * terms + (BIAS_LIMIT if b is not None else 0)


def _bias(n: Integers, b: Tensor, power: Power, scale: np.float32) -> str:
    assert b.array is not None
    exact = shift_round(b.array.astype(np.int64), (power - b.power).const)
    exact = np.clip(exact, -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
    return n.node(
        "DequantizeLinear", n.graph.constant(exact), n.graph.constant(float(scale), np.float32), n.constant(0, "i32")
    )


def _weights(n: Integers, kernel: Array, scale: float) -> str:
    """Weights as real numbers. Their zero is a tensor of their own: ONNX Runtime makes uint8 of both where int8 is not exact, each once."""
    zero = n.graph.node("Constant", value=numpy_helper.from_array(np.array(0, np.int8)))
    made = n.constant(np.ascontiguousarray(kernel), "i8")
    return n.node("DequantizeLinear", made, n.graph.constant(scale, np.float32), zero)


def _real(n: Integers, name: str, scale: float, zero: int) -> str:
    return n.once("DequantizeLinear", name, n.graph.constant(scale, np.float32), n.constant(zero, "u8"))


def _narrowed(n: Integers, z: str, scale: float) -> str:
    """What is negative becomes 0, since uint8 ends there: that is the ReLU. It does not end at 127."""
    q = n.node("QuantizeLinear", z, n.graph.constant(scale, np.float32), n.constant(0, "u8"))
    return n.clip(q, 0, LIMIT["i8"], "u8")


def _dense(n: Integers, op: Op, W: Tensor, x: Value, scale: float, bias: str, out: float) -> str:
    assert W.array is not None and x.power.known is not None
    flat, zero = n.bytes(x)
    operands = (_real(n, flat, 2.0**x.power.known, zero), _weights(n, W.array.T, scale), *([bias] if bias else []))
    return _narrowed(n, n.node("Gemm", *operands), out)


def _conv(n: Integers, op: Op, W: Tensor, x: Value, scale: float, bias: str, out: float) -> str:
    """ONNX has channels first; where one convolution follows another, runtimes drop the transposes between them."""
    assert W.array is not None and x.power.known is not None and op.type is not None
    stride, pad = geometry(op)
    kernel = W.array[None].transpose(3, 0, 1, 2) if W.array.ndim == 3 else W.array.transpose(0, 3, 1, 2)
    flat, zero = n.bytes(x)
    planes = n.once("Transpose", n.reshape(flat, -1, *x.shape), perm=[0, 3, 1, 2])
    operands = (_real(n, planes, 2.0**x.power.known, zero), _weights(n, kernel, scale), *([bias] if bias else []))
    group = x.shape[2] if W.array.ndim == 3 else 1
    z = n.node("Conv", *operands, strides=[stride] * 2, pads=[pad] * 4, group=group, kernel_shape=kernel.shape[2:])
    turned = n.node("Transpose", _narrowed(n, z, out), perm=[0, 2, 3, 1])
    return n.reshape(turned, -1, math.prod(op.type.shape))
