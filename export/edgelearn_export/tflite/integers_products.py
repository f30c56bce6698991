"""Exact matrix products: of int8 by int8 to int32, and of wider factors cut into digits of 7 bits first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgelearn.ir.types import LIMIT
from edgelearn_export.tflite.integers_values import LARGEST, Ints, of

DIGIT_BITS = 7  # of a factor of an int8 product: digits are -64 to 63, the first one may be anything of 8 bits
HALF_DIGIT = 1 << DIGIT_BITS >> 1


def product(a: Ints, b: Ints, turned: tuple[bool, bool] = (False, False)) -> Ints:
    """The matrix product of (m, k) and (k, n), each stored transposed if ``turned``; exact if the result fits 32 bits."""
    multiply = _float_product if a.graph.whole_floats else _int8_product
    pieces = (lambda v: [(v, 1)]) if a.graph.whole_floats else digits
    right = pieces(b)
    found = added([multiply(x, y, turned) * (m * n) for x, m in pieces(a) for y, n in right])
    found.bound = a.graph.check(min(_product_bound(a, b, turned), LARGEST))
    return found


def _product_bound(a: Ints, b: Ints, turned: tuple[bool, bool]) -> int:
    """By the sums of the magnitudes that are known, else by their number."""
    if b.known is not None:
        return a.bound * int(np.abs(b.known).sum(axis=1 if turned[1] else 0).max(initial=0))
    return a.bound * b.bound * a.shape[0 if turned[0] else 1]


def digits(x: Ints) -> list[tuple[Ints, int]]:
    """(digit, what it counts for): integers as a sum of what fits int8."""
    found, unit, bound = [], 1, x.bound
    while bound > LIMIT["i8"]:
        rest = (x + HALF_DIGIT) >> DIGIT_BITS
        found.append((x - rest * (1 << DIGIT_BITS), unit))
        x, bound, unit = rest, (bound + HALF_DIGIT) >> DIGIT_BITS, unit << DIGIT_BITS
    return [*found, (x, unit)]


def added(terms: Sequence[Ints]) -> Ints:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _int8_product(a: Ints, b: Ints, turned: tuple[bool, bool]) -> Ints:
    shape = a.shape[1 if turned[0] else 0], b.shape[0 if turned[1] else 1]
    made = a.graph.op(
        "BATCH_MATMUL", [a.tensor("i8"), b.tensor("i8")], "i32", shape, version=2, adjX=turned[0], adjY=turned[1]
    )
    return of(a.graph, made, "i32", shape)


def _float_product(a: Ints, b: Ints, turned: tuple[bool, bool]) -> Ints:
    shape = a.shape[1 if turned[0] else 0], b.shape[0 if turned[1] else 1]
    if turned == (False, True) and b.known is not None:
        absent = -1
        made = a.graph.op("FULLY_CONNECTED", [a.tensor(), b.tensor(), absent], "f32", shape)
    else:
        made = a.graph.op("BATCH_MATMUL", [a.tensor(), b.tensor()], "f32", shape, adjX=turned[0], adjY=turned[1])
    return of(a.graph, made, "f32", shape, 1)
