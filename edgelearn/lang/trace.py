"""What a rule's ``step`` runs on: tensors that record the operations done to them.

A rule is ordinary Python; calling it once with these tensors writes down its ops. Nothing is computed here.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.ir.core import Attr, Entry, Loc, Op
from edgelearn.ir.ops import OPS, result_shape
from edgelearn.ir.types import Exp, Type

_PACKAGE = Path(__file__).resolve().parents[1]


def _is_rule(file: Path) -> bool:
    """Is this a user's file, or a rule of ours, and none of the machinery or of the interpreter's own?"""
    generated = file.name == "<string>"  # such as a dataclass's own methods
    return file.parent.name == "rules" if _PACKAGE in file.parents else "contextlib" not in file.name and not generated


def user_loc() -> Loc:
    """File and line of the innermost caller that is a rule, not the machinery."""
    frame: FrameType | None = sys._getframe(1)
    loc = Loc("?", 0)
    while frame is not None:
        if _is_rule(Path(frame.f_code.co_filename)):
            return Loc(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return loc


def rule_error(message: str, hint: str, loc: Loc | None = None) -> NoReturn:
    """Raises a ConfigError that shows the user's own line."""
    loc = loc or user_loc()
    source = linecache.getline(loc.file, loc.line).strip()
    raise ConfigError(f"{loc.file}:{loc.line}: {message}\n    {source}\n    {'^' * len(source)}", hint)


@contextmanager
def user_code() -> Iterator[None]:
    """Whatever a rule raises in here becomes a ConfigError that shows the rule's own line."""
    try:
        yield
    except EdgeLearnError:
        raise
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_rule(Path(f.filename))]
        if not frames:
            raise
        where = Loc(frames[-1].filename, frames[-1].lineno or 0)
        rule_error(
            f"{type(error).__name__}: {error}", "Correct this line; docs/rules.md shows what a rule may say.", where
        )


class Trace:
    """One entry under construction."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.params: list[tuple[str, Type]] = []
        self.ops: list[Op] = []
        self.pending: dict[int, tuple[Any, Loc]] = {}  # changes made by -= or +=, not yet stored back

    def param(self, name: str, type: Type) -> Tensor:
        self.params.append((name, type))
        return Tensor(self, name, type)

    def emit(self, name: str, *args: Tensor, **attrs: Attr) -> Tensor:
        for arg, role in zip(args, OPS[name].roles, strict=True):
            if (arg.type.dtype == "i32") != (role == "label"):
                rule_error(f"{name} of a class number", "L.argmax gives an index: nothing can be computed with it.")
        op = Op(name, tuple(a.ref for a in args), tuple(sorted(attrs.items())), loc=user_loc())
        try:
            shape = result_shape(op, [a.type for a in args])
        except ValueError as error:
            rule_error(
                f"{error} (in {name})", "Check the shapes: W is (outputs, inputs), M is (classes, outputs).", op.loc
            )
        ref = f"%{len(self.ops)}"
        type = Type("i32", shape, Exp(0)) if name in CLASS_OPS else Type("f32", shape)
        self.ops.append(Op(op.name, op.args, op.attrs, ref, type, op.loc))
        return Tensor(self, ref, type)

    def update(self, state: Tensor, change: Tensor) -> None:
        """Records ``state -= change`` for a vector."""
        self._record(Op("update", (state.ref, change.ref), (("id", 0),), loc=user_loc()), state, change)

    def change(self, name: str, state: Tensor, args: Sequence[Tensor], factor: float, **attrs: Attr) -> None:
        """Records ``state -= factor * f``, f being what the update ``name`` makes of ``args``; nothing where the factor is 0."""
        rate: dict[str, Attr] = {"id": 0, "rate": abs(factor), "sign": 1 if factor >= 0 else -1}
        op = Op(name, (state.ref, *(a.ref for a in args)), tuple(sorted({**attrs, **rate}.items())), loc=user_loc())
        self._record(op, state, *args)
        if factor == 0:
            self.ops.pop()  # a rate of 0 freezes the state

    def _record(self, op: Op, *operands: Tensor) -> None:
        try:
            result_shape(op, [t.type for t in operands])
        except ValueError as error:
            rule_error(str(error), "The right-hand side of -= must have the shape of the state.", op.loc)
        self.ops.append(op)

    def entry(self, result: Tensor | None) -> Entry:
        for updated, loc in self.pending.values():
            symbol = updated.state.ref.rpartition(".")[2]
            rule_error("this update is never stored", f"Update the block's own name: s.{symbol} -= ...", loc)
        return Entry(self.name, tuple(self.params), tuple(self.ops), None if result is None else result.ref)


Operand = Any  # Tensor, int or float
CLASS_OPS = ("argmax", "sample")  # they give the number of a class
MAX_CONST = 2.0**60


class Tensor:
    """A value of the trace: supports ``@ + - * / .T``, ``<`` and ``>``, and the words of ``edgelearn.L``."""

    __array_ufunc__ = None  # numpy must not take these apart

    def __init__(self, trace: Trace, ref: str, type: Type) -> None:
        self.trace, self.ref, self.type = trace, ref, type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    def lifted(self, other: Operand) -> Tensor:
        """``other`` as an operand of this trace: a number becomes a constant."""
        if isinstance(other, Tensor):
            return other
        if not isinstance(other, int | float):
            rule_error(f"a traced tensor and {type(other).__name__}", "Combine tensors with tensors, or with numbers.")
        if not abs(other) < MAX_CONST:
            rule_error(f"the constant {other!r}", f"Numbers in a rule must lie within +-{MAX_CONST:g}.")
        return self.trace.emit("const", value=float(other))

    def __add__(self, other: Operand) -> Tensor:
        return self.trace.emit("add", self, self.lifted(other))

    def __sub__(self, other: Operand) -> Tensor:
        return self.trace.emit("sub", self, self.lifted(other))

    def __neg__(self) -> Tensor:
        return self * -1.0

    def __mul__(self, other: Operand) -> Tensor:
        if isinstance(other, int | float):
            return self.trace.emit("scale", self, k=float(other))
        return self.trace.emit("mul", self, self.lifted(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Tensor:
        if isinstance(other, int | float):
            return self * (1.0 / other)
        return self * self.trace.emit("recip", self.lifted(other))

    def __rtruediv__(self, other: Operand) -> Tensor:
        return self.trace.emit("recip", self) * other

    def __gt__(self, other: Operand) -> Tensor:
        return self.trace.emit("gt0", self if _is_zero(other) else self - other)

    def __lt__(self, other: Operand) -> Tensor:
        return self.trace.emit("gt0", -self if _is_zero(other) else self.lifted(other) - self)

    def __ge__(self, other: Operand) -> NoReturn:
        rule_error("a comparison that includes equality", "Write a > 0 or a < 0.")

    __le__ = __ge__

    def __eq__(self, other: object) -> NoReturn:
        rule_error("a comparison for equality", "Write a > 0 or a < 0.")

    __ne__ = __eq__
    __hash__ = object.__hash__

    def __radd__(self, other: Operand) -> Tensor:
        return self + other

    def __rsub__(self, other: Operand) -> Tensor:
        return self.lifted(other) - self

    def __pow__(self, other: Operand) -> Tensor:
        if other == 2:
            return self * self
        rule_error(f"the power {other!r} of a traced tensor", "Only squares: a ** 2, or a * a.")

    def __getitem__(self, index: object) -> NoReturn:
        rule_error("a single element of a traced tensor", "A rule works on whole tensors; mask what you do not want.")

    def __matmul__(self, other: Operand) -> Tensor:
        rule_error("@ needs a weight of this block on its left", "Write s.W @ x or s.W.T @ d.")

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 (a traced tensor has no truth value)
        rule_error(
            "a rule cannot branch on a traced tensor: the branch would be taken once, at compile time",
            "Write it without `if`: multiply by a comparison, e.g. d * (a > 0), or use L.gate.",
        )

    def __iter__(self) -> NoReturn:
        rule_error("a traced tensor cannot be iterated over", "Use the words of edgelearn.L on the whole tensor.")

    def __float__(self) -> NoReturn:
        rule_error("a traced tensor has no value yet", "Rates and thresholds must be plain numbers.")


def _is_zero(other: Operand) -> bool:
    return isinstance(other, int | float) and other == 0


class StepKey:
    """What ``L.normal(key, shape)`` gets in a step: a draw that is made anew at every sample."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
