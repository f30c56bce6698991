"""``s`` in a rule: one block's state, how it is applied, and what may change it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from edgelearn.ir.core import Init, State
from edgelearn.ir.types import Type
from edgelearn.lang.operators import Dense
from edgelearn.lang.trace import Operand, StepKey, Tensor, Trace, rule_error, user_loc


class StateRef(Tensor):
    """A tensor of the block's state: can be applied, transposed and updated."""

    def __init__(self, trace: Trace, ref: str, type: Type, operator: Dense, owner: Block | None = None) -> None:
        super().__init__(trace, ref, type)
        self.operator, self.owner = operator, owner

    @property
    def is_weight(self) -> bool:
        return len(self.shape) > 1

    def __matmul__(self, x: Operand) -> Tensor:
        self._in_scope()
        return self.operator.apply(self, _traced(x, "s.W @ x"))

    @property
    def T(self) -> Transposed:  # noqa: N802 (as numpy writes it)
        self._in_scope()
        return Transposed(self)

    def _in_scope(self) -> None:
        if self.owner is not None and self.owner.closed:
            rule_error(
                "the state of another block",
                "A step sees its own block only; what it returns is what the next one gets.",
            )

    def __mul__(self, other: Operand) -> Any:
        if self.is_weight and isinstance(other, int | float):
            return Gradient((Decay(self, float(other)),))
        return super().__mul__(other)

    __rmul__ = __mul__

    def __isub__(self, change: Operand) -> Updated:
        if not isinstance(change, Tensor | Gradient):
            rule_error("a state is updated by a traced tensor", "Write s.W -= rate * L.outer(d, x).")
        return Updated(self, change)

    def __iadd__(self, change: Operand) -> Updated:
        if not isinstance(change, Tensor | Gradient):
            rule_error("a state is updated by a traced tensor", "Write s.W += rate * L.outer(d, x).")
        return Updated(self, change * -1.0)


def _traced(value: object, where: str) -> Tensor:
    if not isinstance(value, Tensor):
        rule_error(f"{type(value).__name__} in {where}", "Give it something computed from x, y or s.")
    return value


class Transposed:
    """``s.W.T``: the adjoint of a weight."""

    def __init__(self, of: StateRef) -> None:
        self.of = of

    def __matmul__(self, d: Operand) -> Tensor:
        return self.of.operator.adjoint(self.of, _traced(d, "s.W.T @ d"))


@dataclass(frozen=True)
class Outer:
    """factor * d x^T, or what belongs to the weight that it updates."""

    d: Tensor
    x: Tensor
    factor: float = 1.0


@dataclass(frozen=True)
class Decay:
    """factor * W."""

    of: StateRef
    factor: float = 1.0


@dataclass(frozen=True)
class Gradient:
    """A sum of scaled ``L.outer`` and of the weight itself: the only thing that a weight is updated by."""

    terms: tuple[Outer | Decay, ...]

    def __mul__(self, k: object) -> Gradient:
        if not isinstance(k, int | float):
            rule_error("a gradient times a traced tensor", "Multiply the error: L.outer(k * d, x).")
        return Gradient(tuple(replace(t, factor=t.factor * k) for t in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, k: object) -> Gradient:
        if not isinstance(k, int | float) or k == 0:
            rule_error("a gradient divided by something that is no number", "Divide by a number other than 0.")
        return self * (1.0 / k)

    def __neg__(self) -> Gradient:
        return self * -1.0

    def __add__(self, other: object) -> Gradient:
        if not isinstance(other, Gradient):
            rule_error("a gradient plus something that is none", "Sums may have L.outer(d, x) and numbers times s.W.")
        return Gradient(self.terms + other.terms)

    def __sub__(self, other: object) -> Gradient:
        return self + (-other if isinstance(other, Gradient) else other)


class Updated:
    """What ``s.W -= f`` stores back into the block: the pending change."""

    def __init__(self, state: StateRef, change: Tensor | Gradient) -> None:
        self.state, self.change = state, change
        state.trace.pending[id(self)] = self, user_loc()

    def record(self) -> None:
        """Writes the change down as ops."""
        trace, state = self.state.trace, self.state
        if isinstance(self.change, Tensor):
            if state.is_weight:
                problem = f"the matrix {state.ref[1:]} is updated by something that is no outer product"
                rule_error(problem, "Write matrix updates as sums of rate * L.outer(d, x).")
            trace.update(state, self.change)
            return
        for term in self.change.terms:
            if isinstance(term, Decay):
                if term.of.ref != state.ref:
                    rule_error("a weight decays by another weight", "Write s.W -= rate * s.W.")
                trace.change("decay_update", state, (), term.factor)
                continue
            for target, name, args, attrs in state.operator.gradient(state, term.d, term.x):
                trace.change(name, target, args, term.factor, **attrs)


class FixedMatrix:
    """A random matrix of signs that is made from the seed wherever it is needed: it takes no memory."""

    def __init__(self, trace: Trace, drawn: Drawn, stream: int) -> None:
        self.trace, self.drawn, self.stream = trace, drawn, stream

    @property
    def shape(self) -> tuple[int, ...]:
        return self.drawn.shape

    def __matmul__(self, v: Operand) -> Tensor:
        v = _traced(v, "s.P @ y")
        if v.type.size != self.shape[1]:
            problem = f"a {self.shape} matrix cannot be applied to a vector of shape {v.shape}"
            rule_error(problem, "Check the shapes: L.signs(key, (rows, columns)).")
        signs = self.trace.emit("signs", v, rows=self.shape[0], stream=self.stream)
        return signs if self.drawn.std == 1.0 else signs * self.drawn.std

    @property
    def T(self) -> NoReturn:  # noqa: N802
        rule_error("the transpose of a fixed matrix", "Declare another one with L.signs.")

    def __isub__(self, change: object) -> NoReturn:
        rule_error("a fixed matrix is updated", "Declare it with L.normal if it should be learnt.")

    __iadd__ = __isub__


@dataclass
class Scope:
    """What a block brings to one entry: plain numbers, state, and how each state is applied."""

    sizes: Mapping[str, int]
    state: Mapping[str, State]
    fixed: Mapping[str, tuple[Drawn, int]] = field(default_factory=dict)
    operators: Mapping[str, Dense] = field(default_factory=dict)
    default: Dense = field(default_factory=lambda: Dense((1,)))
    recurrent: bool = False


class Block:
    """``s`` in a rule: one trainable block, and nothing else in scope.

    It has sizes, as plain numbers (``s.inp``, ``s.out``, ``s.units``, ``s.classes``, ``s.index``, ``s.blocks``, ``s.time``, ``s.times``:
    docs/rules.md says what each is), and ``s.key`` for draws in a step. Everything else is a state tensor, a ``StateRef``.
    """

    def __init__(self, trace: Trace, scope: Scope) -> None:
        object.__setattr__(self, "_trace", trace)
        object.__setattr__(self, "_scope", scope)
        object.__setattr__(self, "kept", None)
        object.__setattr__(self, "closed", False)
        object.__setattr__(self, "key", StepKey(trace))
        for key, value in scope.sizes.items():
            object.__setattr__(self, key, value)

    def __getattr__(self, name: str) -> Any:
        scope: Scope = object.__getattribute__(self, "_scope")
        if name in scope.fixed:
            return FixedMatrix(self._trace, *scope.fixed[name])
        if name not in scope.state:
            known = ", ".join((*scope.state, *scope.fixed))
            rule_error(
                f"this block has no state {name}", f"It has {known}; add others in init: s.{name} = L.normal(...)."
            )
        found = scope.state[name]
        self._in_scope()
        return StateRef(self._trace, found.name, found.type, scope.operators.get(name, scope.default), self)

    def __setattr__(self, name: str, value: object) -> None:
        if not isinstance(value, Updated):
            rule_error(
                f"s.{name} is assigned in step", f"State changes by update only: s.{name} -= ... or s.{name} += ..."
            )
        if name not in self._scope.state or value.state.ref != self._scope.state[name].name:
            rule_error(f"s.{name} is assigned the update of another state", "Update each state under its own name.")
        self._in_scope()
        self._trace.pending.pop(id(value), None)
        value.record()

    def close(self) -> None:
        """The step is over: nobody has this block in scope any more."""
        object.__setattr__(self, "closed", True)

    def _in_scope(self) -> None:
        if self.closed:
            rule_error(
                "the state of another block",
                "A step sees its own block only; what it returns is what the next one gets.",
            )

    def keep(self, a: Tensor) -> Tensor:
        """``a``, remembered by a recurrent block as its output of this moment; other blocks have no memory."""
        object.__setattr__(self, "kept", a)
        return a


class Declarations:
    """``s`` in a rule's ``init``: assigning declares state."""

    def __init__(self, prefix: str, sizes: Mapping[str, int], first_stream: int) -> None:
        object.__setattr__(self, "_found", {})
        object.__setattr__(self, "_fixed", {})
        object.__setattr__(self, "_prefix", prefix)
        object.__setattr__(self, "_next", first_stream)
        for key, value in sizes.items():
            object.__setattr__(self, key, value)

    def __setattr__(self, name: str, value: object) -> None:
        if not isinstance(value, Drawn):
            rule_error(f"s.{name} must be drawn", f"Write s.{name} = L.normal(key, shape, std=...) or L.zeros(shape).")
        if value.kind == "signs":
            self._fixed[name] = value, self._next
        else:
            init = Init(value.kind, value.std, self._next)
            self._found[name] = State(f"@{self._prefix}.{name}", Type("f32", value.shape), init)
        object.__setattr__(self, "_next", self._next + 1)

    def __getattr__(self, name: str) -> Any:
        rule_error(f"s.{name} does not exist in init", f"Sizes are {', '.join(f's.{n}' for n in SIZES)}.")

    def states(self) -> dict[str, State]:
        return dict(self._found)

    def fixed(self) -> dict[str, tuple[Drawn, int]]:
        return dict(self._fixed)


SIZES = ("inp", "out", "units", "classes", "index", "blocks", "times")


class Drawn:
    """What ``L.normal``, ``L.zeros`` and ``L.signs`` give in ``init``: a first value to be made from the seed on the device."""

    def __init__(self, kind: str, shape: tuple[int, ...], std: float = 0.0) -> None:
        self.kind, self.shape, self.std = kind, tuple(int(d) for d in shape), float(std)
        if len(self.shape) not in (1, 2) or math.prod(self.shape) < 1:
            rule_error(f"a state of shape {self.shape}", "State is a vector (n,) or a matrix (rows, columns).")
