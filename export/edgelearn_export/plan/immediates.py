"""What the record of a function, a choice or a draw says besides its operands: the fields ``k`` and ``imm``."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgelearn.ir.core import Op
from edgelearn.ir.ops.choices import const_parts
from edgelearn.ir.ops.draws import NOISE_EXP


def float_bits(v: float | np.floating[Any]) -> int:
    return int(np.float32(v).view(np.int32))


def of_word(op: Op, floats: bool) -> tuple[int, int] | None:
    """(k, imm) of the ops of edgelearn/ir/ops/choices.py and draws.py, and of sign; None for all others."""
    match op.name:
        case "const":
            value = op.number("value")
            return 0, float_bits(value) if floats else const_parts(value)[0]
        case "sign":
            dead = op.number("dead", 0)
            return 0, float_bits(dead) if floats else round(dead * 32768)
        case "leaky_relu":
            log2 = int(op.number("slope_log2"))
            return (0, float_bits(2.0**log2)) if floats else (log2, 0)
        case "slice":
            return 0, int(op.number("start"))
        case "signs":
            return 0, int(op.number("stream"))
        case "noise":
            return list(NOISE_EXP).index(str(op.attr("kind"))), 0
        case _:
            return None
