"""THE table: every op of the IR with its shape rule, its meaning in floats, its exact meaning in integers, and its cost.

Everything else asks this table: the verifier, the interpreter, the tracer, the lowering and the generated C headers. To add an op, add
a row to the file of its family; what a backend cannot lower it refuses by name.

Integer meaning: operands arrive as ``Q(q, e)``, exact integers and the current value of their exponent; the result is exact too, at its
*natural* exponent, and is narrowed afterwards if the op's result type is narrower (``interp.py``). ``roles`` says what an operand must be
narrowed to before the op may read it: ``act`` int8, ``vec`` int16, ``acc`` int32; ``any`` is taken as it comes, ``W`` is a weight
matrix in state, ``b`` a vector in state, ``label`` a class number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgelearn.ir.core import Op
from edgelearn.ir.ops import choices, conv, draws, functions, linear, pointwise, reductions
from edgelearn.ir.ops.base import Draw as Draw
from edgelearn.ir.ops.base import Floats as Floats
from edgelearn.ir.ops.base import OpDef as OpDef
from edgelearn.ir.ops.base import Q as Q
from edgelearn.ir.ops.base import Shape as Shape
from edgelearn.ir.ops.base import parse_shape as parse_shape
from edgelearn.ir.ops.base import rate as rate
from edgelearn.ir.ops.base import scale_parts as scale_parts
from edgelearn.ir.ops.base import shape_text as shape_text
from edgelearn.ir.ops.linear import vec_update_shape
from edgelearn.ir.ops.pointwise import LOG2E as LOG2E
from edgelearn.ir.ops.pointwise import POW2 as POW2
from edgelearn.ir.types import Type


def _update_f32(op: Op, b: Floats, f: Floats, drops: int) -> Floats:
    return b - f.reshape(-1, len(b)).sum(axis=0, dtype=np.float32) * np.float32(2.0**-drops)


def _no_integers(op: Op, *args: object) -> Q:
    raise ValueError(f"{op.name} has no integer meaning: fuse makes vec_updates of it")


# What ``s.b -= f`` is traced as, for vectors.
_UPDATE = OpDef(
    "update",
    ("b", "any"),
    vec_update_shape,
    _update_f32,
    _no_integers,
    lambda exps, op: exps[0],
    attrs=("id",),
    update=True,
)

_FAMILIES = (*linear.ROWS, *conv.ROWS, *pointwise.ROWS, *functions.ROWS, *reductions.ROWS, *choices.ROWS, *draws.ROWS)
OPS: dict[str, OpDef] = {row.name: row for row in (*_FAMILIES, _UPDATE)}


def result_shape(op: Op, types: Sequence[Type]) -> Shape:
    """The shape that ``op`` gives, from its operands' types.

    Raises:
        ValueError: the operands do not fit each other.
    """
    return OPS[op.name].shape([t.shape for t in types], op)
