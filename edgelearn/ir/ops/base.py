"""What every row of the table is made of: the row itself, exact integers, shape rules, exponent rules, and rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.core import Op
from edgelearn.ir.types import Exp, shift_round

Shape = tuple[int, ...]
Floats = NDArray[np.float32]


class Q(NamedTuple):
    """Exact integers and the exponent of their unit."""

    q: NDArray[np.int64]
    e: int


class Draw(NamedTuple):
    """What an update or a draw may depend on besides its operands."""

    seed: int
    step: int
    drops: int  # how often the rate has been halved by now


@dataclass(frozen=True)
class OpDef:
    """One row of the table."""

    name: str
    roles: tuple[str, ...]
    shape: Callable[[Sequence[Shape], Op], Shape]
    f32: Callable[..., Any]
    i32: Callable[..., Any]
    exp: Callable[[Sequence[Exp], Op], Exp | None]  # natural exponent of the result; None: aligned at run time
    macs: Callable[[Sequence[Shape], Op], int] = lambda shapes, op: 0
    attrs: tuple[str, ...] = ()
    narrow: str = "acc"  # kind of the natural result: acc, "same" as the first operand, or a dtype
    update: bool = False  # changes its first operand, has no result
    draws: bool = False  # depends on seed and step too: ``f32`` and ``i32`` get a Draw after the operands
    scratch: Callable[[Sequence[Shape]], int] | None = None  # 32-bit words that its integer kernel needs while it runs
    kernels: tuple[str, ...] = ()  # kernels of the device that do it; none: only other ops' parts are lowered


# --- shapes and exponents ---------------------------------------------------------------------------------------------------------


def same(shapes: Sequence[Shape], op: Op) -> Shape:
    """All of one size, but for scalars; a feature map (H, W, C) lends its shape to a vector of as many numbers."""
    large = [s for s in shapes if s != (1,)]
    if len({math.prod(s) for s in large}) > 1 or len({s for s in large if len(s) > 1}) > 1:
        raise ValueError(f"shapes {' and '.join(map(str, shapes))} differ")
    return max(shapes, key=lambda s: (math.prod(s), len(s)))


def scalar(shapes: Sequence[Shape], op: Op) -> Shape:
    return (1,)


def first(exps: Sequence[Exp], op: Op) -> Exp:
    return exps[0]


def product(exps: Sequence[Exp], op: Op) -> Exp:
    return exps[0] + exps[1]


def aligned(exps: Sequence[Exp], op: Op) -> Exp | None:
    return exps[0] if all(e == exps[0] for e in exps) else None


def at_run_time(exps: Sequence[Exp], op: Op) -> None:
    """The op says in a computed slot what exponent its result came to have."""
    return


def fixed(const: int) -> Callable[[Sequence[Exp], Op], Exp]:
    return lambda exps, op: Exp(const)


def parse_shape(text: str) -> Shape:
    """(H, W, C) of the attribute ``"HxWxC"``."""
    return tuple(int(n) for n in text.split("x"))


def shape_text(shape: Shape) -> str:
    return "x".join(map(str, shape))


# --- numbers ----------------------------------------------------------------------------------------------------------------------


def aligned_pair(a: Q, b: Q) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Both at the coarser of their exponents."""
    e = max(a.e, b.e)
    return shift_round(a.q, e - a.e), shift_round(b.q, e - b.e), e


def scale_parts(k: float) -> tuple[int, int]:
    """k as mantissa * 2**exponent: mantissa +-1 for powers of two, else of 7 bits."""
    if k == 0:
        return 0, 0
    fraction, exponent = math.frexp(k)
    if abs(fraction) == 0.5:
        return (1 if k > 0 else -1), exponent - 1
    return round(fraction * 128), exponent - 7


def rate(op: Op, drops: int) -> np.float32:
    return np.float32(op.number("rate") * 2.0**-drops * float(op.attr("sign", 1)))
