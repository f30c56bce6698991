"""Layers of int8 inference as TFLite's quantized ops, which its fast kernels run: equal to ours in every bit.

Ours rounds half away from zero, TFLite's kernels half to even, half up or twice, as they like. With the scale of the weights larger by one
millionth no half is ever met, and nothing else crosses a half: ``slack`` says how much more is right for which shift. That holds for
XNNPACK's kernels and for the reference's dense one. Others halve the product and round, then shift and round: they take a sum that is
one below a half for a half. For them (TFLite Micro has such kernels) the scale must be a little less than a power of two: the first
step then changes nothing. No scale is right for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgelearn.ir.core import Op
from edgelearn.ir.types import LIMIT
from edgelearn.ir.types import shift_round as numpy_shift_round
from edgelearn_export.tflite.builder import NONE, RELU, SAME, VALID
from edgelearn_export.tflite.integers_basis import Q
from edgelearn_export.tflite.integers_linear import BIAS_LIMIT
from edgelearn_export.tflite.integers_shifts import Power
from edgelearn_export.tflite.integers_values import Ints, of
from edgelearn_export.tflite.integers_writer import Writer

DENSE = ("matvec", "affine")
CONV = ("conv", "conv_affine")
DEPTHWISE = ("depthwise", "depthwise_affine")
VERSIONS = {"FULLY_CONNECTED": 4, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3}


def slack(shift: int) -> float | None:
    """By how much weights are made larger where results are shifted right by this; None if no amount is right."""
    if 0 <= shift <= 11:
        return 2.0**-20
    return 2.0**-22 if 12 <= shift <= 13 else None


def slack_of_two_roundings(shift: int) -> float | None:
    """The same for kernels that round twice. Sums beyond 2^23 are not exact in them, but saturate."""
    return -(2.0**-24) if 0 <= shift <= 15 else None


@dataclass
class Layers:
    """The kernel of a ``Program`` whose exponents are known."""

    graph: Writer
    twice: bool = False  # for kernels that round twice

    def __call__(self, op: Op, args: Sequence[Q], e: Power) -> Ints | None:
        """The int8 result of a layer, or None if TFLite has no equal op."""
        if op.name not in (*DENSE, *CONV, *DEPTHWISE) or not _is_int8(args):
            return None
        W, x = args[0], args[1]
        shift = (e - W.e - x.e).number
        more = None if shift is None else (slack_of_two_roundings if self.twice else slack)(shift)
        if shift is None or more is None or x.q.scale is None:
            return None
        scale = 2.0**e.const
        options = {"fusedActivationFunction": RELU if op.attr("relu", 0) else NONE}
        weight_scale = 2.0 ** (W.e.const) * (1 + more)
        made = self._layer(op, x.q, W.q, self._bias(W, x, args[2:]), weight_scale, scale, options)
        made.scale = scale
        made.bound = LIMIT["i8"]
        return made if op.attr("relu", 0) else self._symmetric(made)

    def _layer(
        self, op: Op, x: Ints, W: Ints, bias: Any, weight_scale: float, scale: float, options: dict[str, Any]
    ) -> Ints:
        assert W.known is not None and op.type is not None
        b = self.graph.constant(bias, np.int32, weight_scale * float(x.scale or 0))
        if op.name in DENSE:
            weights = self.graph.constant(W.known, np.int8, weight_scale)
            return self._op(
                "FULLY_CONNECTED",
                [x.tensor("i8", (1, x.size)), weights, b],
                (1, len(bias)),
                op.type.shape,
                scale,
                options,
            )
        stride, pad = int(op.number("stride")), int(op.number("pad"))
        k = W.shape[1] if len(W.shape) == 4 else W.shape[0]
        same = pad > 0 and stride == 1 and 2 * pad == k - 1
        x_map = self._map(x, 0 if same else pad)
        options |= {"strideH": stride, "strideW": stride, "padding": SAME if same else VALID}
        shape = (1, *op.type.shape)
        if op.name in CONV:
            weights = self.graph.constant(W.known, np.int8, weight_scale)
            return self._op("CONV_2D", [x_map, weights, b], shape, op.type.shape, scale, options)
        weights = self.graph.constant(W.known.reshape(1, *W.shape), np.int8, weight_scale)
        return self._op(
            "DEPTHWISE_CONV_2D", [x_map, weights, b], shape, op.type.shape, scale, {**options, "depthMultiplier": 1}
        )

    def _op(
        self,
        name: str,
        inputs: list[int],
        shape: tuple[int, ...],
        known_by: tuple[int, ...],
        scale: float,
        options: Any,
    ) -> Ints:
        made = self.graph.op(name, inputs, "i8", shape, scale, version=VERSIONS[name], **options)
        return of(self.graph, made, "i8", shape).reshaped(known_by)

    def _map(self, x: Ints, pad: int) -> int:
        h, w, c = x.shape
        tensor = x.tensor("i8", (1, h, w, c))
        if not pad:
            return tensor
        around = self.graph.constant([(0, 0), (pad, pad), (pad, pad), (0, 0)], np.int32)
        return self.graph.op("PAD", [tensor, around], "i8", (1, h + 2 * pad, w + 2 * pad, c), x.scale)

    def _bias(self, W: Q, x: Q, bias: Sequence[Q]) -> Any:
        """In units of the exact sums."""
        assert W.q.known is not None
        if not bias:
            n = W.q.shape[2] if len(W.q.shape) == 3 else W.q.shape[0]
            return np.zeros(n, np.int32)
        b = bias[0]
        assert b.q.known is not None
        return np.clip(numpy_shift_round(b.q.known, W.e.const + x.e.const - b.e.const), -BIAS_LIMIT, BIAS_LIMIT)

    def _symmetric(self, made: Ints) -> Ints:
        """-128 is no value of ours: TFLite's kernels would saturate there."""
        limit = self.graph.constant(-LIMIT["i8"], np.int8, made.scale)
        key = next(iter(made.parts))
        tensor = self.graph.op("MAXIMUM", [made.parts[key], limit], "i8", key[1], made.scale, version=2)
        found = of(self.graph, tensor, "i8", key[1], LIMIT["i8"]).reshaped(made.shape)
        found.scale = made.scale
        return found


def _is_int8(args: Sequence[Q]) -> bool:
    weights = args[0].q.known
    known = weights is not None and math.prod(weights.shape) > 0 and int(np.abs(weights).max()) <= LIMIT["i8"]
    return known and all(a.e.number is not None for a in args) and all(b.q.known is not None for b in args[2:])
