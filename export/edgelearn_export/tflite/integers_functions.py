"""tanh, sigmoid, exp, log, sqrt, rsqrt, recip and rms_norm in integers, as ``edgelearn.ir.ops.functions`` means them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.core import Op
from edgelearn.ir.ops import functions as means
from edgelearn.ir.types import LIMIT
from edgelearn_export.tflite.integers_basis import Meaning, Q, Scene
from edgelearn_export.tflite.integers_shifts import Power, bit_count, saturated_sum, shift_round, shifted
from edgelearn_export.tflite.integers_values import Ints, capped, clipped, constant, maximum, minimum, of, where

Parts = tuple[Ints, Ints]  # mantissas and exponents, say


# --- bounded: tanh, sigmoid, log ------------------------------------------------------------------------------------------------------


def _tanh_q15(scene: Scene, q: Ints, shift: Power) -> Ints:
    t = capped(shift_round(q, shift).abs(), (means.TANH_END << 15) - 1)
    i, rest = t >> 10, t % 1024
    y, step = _entry(scene, means.TANH, i)
    y = y + ((step * rest + 512) >> 10)
    return where(q < 0, -y, y)


def _entry(scene: Scene, table: NDArray[np.int64], i: Ints) -> Parts:
    """What a table has at i, and how much more next to it."""
    return constant(scene.graph, table).at(i), constant(scene.graph, np.diff(table)).at(i)


def _tanh(scene: Scene, op: Op, v: Q) -> Q:
    return Q(clipped(_tanh_q15(scene, v.q, -(v.e + 15)), LIMIT["i16"]), Power(-15))


def _sigmoid(scene: Scene, op: Op, v: Q) -> Q:
    y = _tanh_q15(scene, v.q, -(v.e + 14))
    return Q(clipped((y + 32769) >> 1, LIMIT["i16"]), Power(-15))


def _log(scene: Scene, op: Op, v: Q) -> Q:
    positive = maximum(v.q, 1)
    bits = bit_count(positive)
    m = shifted(positive, 16 - bits)
    low, step = _entry(scene, means.LOG2, (m >> 9) % 64)
    log2 = low + ((step * (m % 512)) >> 9)
    whole = (bits + (v.e - 1).value(scene.graph)) * 4096
    t = clipped(whole + ((log2 + 4) >> 3), means.LOG2_MAX)
    found = clipped(shift_round(t * means.LN2, 16), LIMIT["i16"])
    return Q(where(v.q > 0, found, -LIMIT["i16"]), Power(means.LOG_EXP))


# --- blocks: exp, sqrt, rsqrt, recip --------------------------------------------------------------------------------------------------


def _root(q: Ints, e: Ints) -> Parts:
    """The square root of q * 2^e in 15 bits, rounded down. A float's root is off by one at most; integers say which way."""
    left = 30 - bit_count(q)
    left = left - (e - left) % 2
    square = shifted(q, left)
    graph = q.graph
    rough = graph.op("SQRT", [graph.op("CAST", [square.tensor("i32")], "f32", square.shape)], "f32", square.shape)
    r = of(graph, graph.op("CAST", [rough], "i32", square.shape), "i32", square.shape)
    r = where(r * r > square, r - 1, r)
    r = where((r + 1) * (r + 1) > square, r, r + 1)
    return r, (e - left) >> 1


def _block(parts: Parts, extreme: Ints, live: Ints | None = None) -> Q:
    """Mantissas at the exponent of the largest, which element ``extreme`` is; 0 where not ``live``."""
    mantissa, exponent = parts
    e = clipped(exponent.flat().at(extreme), means.BLOCK_EXP)
    down = minimum(e - exponent, 31)
    right, left = maximum(down, 0), minimum(maximum(-down, 0), 16)
    size = shifted(_halved(mantissa.abs(), right), left)
    q = clipped(where(mantissa < 0, -size, size), LIMIT["i16"])
    if live is None:
        return Q(q, Power.of(e))
    some = where(live, 1, constant(q.graph, 0)).max() > 0
    return Q(where(live, q, 0), Power.of(where(some, e, means.EMPTY_EXP)))


def _halved(size: Ints, right: Ints) -> Ints:
    """size / 2^right, half rounded up; at 0 it is size itself."""
    return where(right > 0, _rounded(size, maximum(right - 1, 0)), size)


def _rounded(size: Ints, less: Ints) -> Ints:
    kept = size >> less
    return kept - (kept >> 1)


def _inverse(m: Ints, log2: int, exponent: Ints) -> Parts:
    mantissa = ((m >> 1) + (1 << log2)) // m
    whole = mantissa.equals(1 << 15)
    return where(whole, 1 << 14, mantissa), where(whole, exponent + 1, exponent)


def _exp(scene: Scene, op: Op, v: Q) -> Q:
    end = means.EXP_MAX << 12
    x = clipped(shift_round(v.q, -(v.e + 12)), end)
    t = x + ((x * means.LOG2E_FRACTION + (1 << 13)) >> 14)
    down = 4095 - t % 4096
    high, step = _entry(scene, means.POW2_65, down >> 6)
    mantissa = high - ((-step * (down % 64 + 1) + 32) >> 6)
    return _block((mantissa, (t >> 12) - 14), v.q.argmax())


def _sqrt(scene: Scene, op: Op, v: Q) -> Q:
    return _block(_root(maximum(v.q, 1), v.e.value(scene.graph)), v.q.argmax(), v.q > 0)


def _rsqrt(scene: Scene, op: Op, v: Q) -> Q:
    lowest = means.RSQRT_MIN // 2 - 14
    r, f = _root(maximum(v.q, 1), v.e.value(scene.graph))
    low = minimum(where(v.q > 0, constant(scene.graph, 1), 0), where(f < lowest, 0, constant(scene.graph, 1))) < 1
    r, f = where(low, 1 << 14, r), where(low, lowest, f)
    return _block(_inverse(r, 29, -29 - f), v.q.argmin())


def _recip(scene: Scene, op: Op, v: Q) -> Q:
    size = maximum(v.q.abs(), 1)
    left = 16 - bit_count(size)
    m = shifted(size, left)
    mantissa, exponent = _inverse(m, 30, left - (v.e + 30).value(scene.graph))
    none = v.q.equals(0)
    smallest = where(none, LIMIT["i32"], size - 1).argmin()
    return _block((where(v.q < 0, -mantissa, mantissa), exponent), smallest, none.equals(0))


# --- rms_norm -------------------------------------------------------------------------------------------------------------------------


def _rms_norm(scene: Scene, op: Op, v: Q) -> Q:
    graph, size = scene.graph, v.q.size
    n, e2 = constant(graph, size), (v.e + v.e).value(graph)
    squares = (v.q * v.q).sum()
    left = 30 - maximum(bit_count(maximum(squares, 1)), means.RMS_EPS + size.bit_length() - e2)
    mean = saturated_sum(shift_round(squares, -left), shift_round(n, e2 - means.RMS_EPS - left))
    top, e_top = _known_root(size)
    bottom, e_bottom = _root(maximum(mean, 1), -left)
    factor = ((bottom >> 1) + (top << 16)) // bottom
    e_out = means._rms_exp(size)
    q = shift_round(v.q * factor, Power.of(e_out - (e_top - 16 - e_bottom)))
    return Q(clipped(q, LIMIT["i16"]), Power(e_out))


def _known_root(n: int) -> tuple[int, int]:
    r, f = means._root(np.array(n), 0)
    return int(r), int(f)


MEANINGS: dict[str, Meaning] = {
    "tanh": _tanh, "sigmoid": _sigmoid, "log": _log, "exp": _exp, "sqrt": _sqrt, "rsqrt": _rsqrt, "recip": _recip, "rms_norm": _rms_norm,
}  # fmt: skip
