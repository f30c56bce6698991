"""Types of the IR: element type, shape and, for integers, the power of two that one unit is worth."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BYTES = {"f32": 4, "i8": 1, "i16": 2, "i32": 4}
LIMIT = {"i8": 127, "i16": 32767, "i32": 2**31 - 1}  # symmetric: -128 is never stored
NUMPY = {"f32": np.float32, "i8": np.int8, "i16": np.int16, "i32": np.int32}


@dataclass(frozen=True)
class Exp:
    """The exponent of an integer value, known at run time: ``const`` plus the current values of ``slots``.

    A stored integer q means the real number q * 2**(const + sum of slots).
    """

    const: int = 0
    slots: tuple[str, ...] = ()

    def __add__(self, other: Exp) -> Exp:
        return Exp(self.const + other.const, tuple(sorted(self.slots + other.slots)))

    def shifted(self, k: int) -> Exp:
        return Exp(self.const + k, self.slots)

    def __str__(self) -> str:
        terms = list(self.slots) + ([str(self.const)] if self.const or not self.slots else [])
        return "+".join(terms).replace("+-", "-")

    @classmethod
    def parse(cls, text: str) -> Exp:
        const, slots = 0, []
        for term in re.findall(r"[+-]?[^+-]+", text):
            try:
                const += int(term)
            except ValueError:
                slots.append(term.lstrip("+"))
        return cls(const, tuple(sorted(slots)))


@dataclass(frozen=True)
class Type:
    """``f32[32,64]`` or ``i8[32,64]*2^(W-7)``. Vectors have one dimension, scalars are vectors of length one."""

    dtype: str
    shape: tuple[int, ...]
    exp: Exp | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * BYTES[self.dtype]

    @property
    def is_int(self) -> bool:
        return self.dtype != "f32"

    def __str__(self) -> str:
        dims = ",".join(map(str, self.shape))
        return f"{self.dtype}[{dims}]" + (f"*2^({self.exp})" if self.exp is not None else "")

    @classmethod
    def parse(cls, text: str) -> Type:
        match = re.fullmatch(r"(\w+)\[([\d,]*)\](?:\*2\^\((.+)\))?", text)
        if match is None or match[1] not in BYTES:
            raise ValueError(f"not a type: {text!r}")
        shape = tuple(int(d) for d in match[2].split(",") if d)
        return cls(match[1], shape, Exp.parse(match[3]) if match[3] else None)


def shift_round(q: NDArray[np.int64] | int, shift: int) -> NDArray[np.int64]:
    """q * 2**-shift, to nearest, half away from zero; a negative shift multiplies and saturates to 32 bits."""
    q = np.asarray(q, np.int64)
    if shift <= 0:
        return np.clip(q << min(-shift, 31), -LIMIT["i32"], LIMIT["i32"])
    magnitude = (np.abs(q) + (1 << min(shift, 40) >> 1)) >> min(shift, 40)
    return np.where(q < 0, -magnitude, magnitude)


def saturate(q: NDArray[np.int64], dtype: str) -> NDArray[np.int64]:
    return np.clip(q, -LIMIT[dtype], LIMIT[dtype])


def exponent_for(maximum: float, bits: int) -> int:
    """The exponent at which ``maximum`` just fits ``bits`` magnitude bits, with no headroom."""
    return math.ceil(math.log2(maximum)) - bits if maximum > 0 else -bits
