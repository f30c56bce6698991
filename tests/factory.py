"""Small things that many tests need: compiled nets and the ways to run them."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.data import datasets
from edgelearn.host.native import NativeCore
from edgelearn.ir import rng
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn_export.plan import encode

DIGITS = datasets.load("digits")
X = DIGITS.x_train.reshape(len(DIGITS.x_train), -1)
Y = DIGITS.y_train


def compiled(
    rule: str = "mono-forward",
    layers: tuple[int, ...] = (32, 32),
    dtype: str = "int8",
    seed: int = 0,
    drops: tuple[int, ...] = (),
    **params: Any,
) -> Compiled:
    """A digits net, calibrated on the digits."""
    return compile_net(find(rule, params), Net(64, layers, 10), Calibration(X, Y, seed), dtype, drops, name="digits")


def native(net: Compiled, seed: int = 0) -> NativeCore:
    return NativeCore(encode(net.module), net.module.integer("state_bytes"), net.module.integer("arena_bytes"), seed)


def order(n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Indices of n training samples, epoch after epoch."""
    return np.concatenate([rng.permutation(seed, e, len(Y)) for e in range(-(-n // len(Y)))])[:n]
