"""Random numbers as pure functions of counters, so that every backend and every restart draws the same ones.

``mix`` (a 32-bit finaliser with full avalanche) makes initial weights and shuffles. ``dither`` is a Weyl sequence, linear in all its
counters: enough for stochastic rounding (int-lowering.md, section 7), and one addition per weight on the device.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP, OP, ROW, COLUMN = 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F, 0x9E3779B9  # odd constants of the Weyl sequence
HALVE = 0x80  # added to the op number when a weight tensor is halved
NORMAL_STD = 37837.227  # of the sum of four 16-bit uniforms: 65536 / sqrt(3)
NORMAL_MAX = 131070  # and half its range
_MASK = 0xFFFFFFFF


def mix(counters: NDArray[np.uint64] | int) -> NDArray[np.uint64]:
    """Scrambles 32-bit counters."""
    v: NDArray[np.uint64] = np.bitwise_and(np.asarray(counters, np.uint64), np.uint64(_MASK))
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        v = (v ^ (v >> np.uint64(shift))) * np.uint64(factor) & np.uint64(_MASK)
    return v ^ (v >> np.uint64(16))


def raw_bits(seed: int, stream: int, n: int) -> NDArray[np.uint64]:
    """n scrambled 32-bit words of one stream."""
    start = int(mix(int(mix(seed)) + stream * OP + COLUMN))
    return mix(start + np.arange(n, dtype=np.uint64) * np.uint64(COLUMN))


def normal_units(seed: int, stream: int, n: int) -> NDArray[np.int64]:
    """n integers, near normal (sum of four uniforms), mean 0, standard deviation NORMAL_STD, within +-NORMAL_MAX."""
    return _normal(raw_bits(seed, stream, 2 * n))


def _normal(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    pairs = words.reshape(-1, 2)
    return ((pairs & 0xFFFF) + (pairs >> np.uint64(16))).sum(axis=1).astype(np.int64) - NORMAL_MAX


def draw_bits(seed: int, step: int, draw: int, n: int) -> NDArray[np.uint64]:
    """n scrambled 32-bit words of one draw of one step. ``mix`` comes last, so that a draw and an update may have the same number."""
    start = int(mix(int(mix(seed)) + step * STEP + draw * OP & _MASK))
    return mix(start + np.arange(n, dtype=np.uint64) * np.uint64(COLUMN))


def draw_normal(seed: int, step: int, draw: int, n: int) -> NDArray[np.int64]:
    """As ``normal_units``, of one draw of one step."""
    return _normal(draw_bits(seed, step, draw, 2 * n))


def signs(seed: int, stream: int, rows: int, cols: int) -> NDArray[np.int64]:
    """(rows, cols) of +-1: one bit each, from the lowest, of as many words a row as it needs."""
    words = -(-cols // 32)
    bits = raw_bits(seed, stream, rows * words)[:, None] >> np.arange(32, dtype=np.uint64) & np.uint64(1)
    return bits.astype(np.int64).reshape(rows, words * 32)[:, :cols] * 2 - 1


def dither(seed: int, step: int, op: int, rows: int, cols: int) -> NDArray[np.int64]:
    """(rows, cols) integers in [0, 65536) for the stochastic rounding of one update."""
    start = int(mix(seed)) + step * STEP + op * OP
    grid = np.arange(rows, dtype=np.uint64)[:, None] * np.uint64(ROW) + np.arange(cols, dtype=np.uint64) * np.uint64(
        COLUMN
    )
    return ((grid + np.uint64(start & _MASK)) & np.uint64(_MASK)).astype(np.int64) >> 16


def permutation(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The order in which epoch ``epoch`` shows n samples."""
    return np.argsort(raw_bits(seed, 0x5000 + epoch, n), kind="stable")
