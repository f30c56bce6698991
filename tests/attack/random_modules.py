"""Random modules: what a rule might say, and much that none would, in numbers that floats hold exactly.

All values are small multiples of a power of two, so that no pass can hide behind rounding: before and after it every bit must be the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.core import Entry, Init, Module, Op, State
from edgelearn.ir.interp import Interpreter
from edgelearn.ir.ops import OPS, result_shape
from edgelearn.ir.types import NUMPY, Exp, Type

SIZES = (2, 4, 8)
CLASSES = 4
UNIT = 2.0**-6  # all values are multiples of it, and
LARGEST = 2.0**10  # at most that: 16 of the 24 bits that a float has
_CLASS = Type("i32", (1,), Exp(0))
_PLAIN = (
    "relu",
    "abs",
    "gt0",
    "sign",
    "add",
    "sub",
    "mul",
    "scale",
    "sum",
    "max",
    "gate",
    "minimum",
    "maximum",
    "where",
    "mean",
)
_ATTRS: dict[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "scale": (("k", (1.0, 0.5, 2.0, -1.0, -0.5)),), "gate": (("threshold", (0.0, 1.0, 3.0)),), "sign": (("dead", (0.0, 1.0)),),
}  # fmt: skip


class Inexact(Exception):
    """A value left the range in which floats are exact."""


@dataclass
class _Writer:
    """One entry being written; ``values`` are what an op may read, by size."""

    random: Random
    states: dict[str, Type]
    ops: list[Op] = field(default_factory=list)
    types: dict[str, Type] = field(default_factory=dict)

    def value(self, name: str, args: tuple[str, ...], type: Type | None = None, **attrs: float | str) -> str | None:
        """Adds an op if its operands fit; returns its result."""
        op = Op(name, args).with_attrs(**attrs) if attrs else Op(name, args)
        known = {**self.states, **self.types}
        try:
            shape = result_shape(op, [known[a] for a in args])
        except ValueError:
            return None
        result = f"%{len(self.ops)}"
        made = type or Type("f32", shape)
        self.ops.append(Op(op.name, op.args, op.attrs, result, made))
        self.types[result] = made
        return result

    def vectors(self) -> list[str]:
        return [name for name, type in self.types.items() if type.dtype == "f32"]

    def any_vector(self) -> str:
        return self.random.choice(self.vectors())

    def plain(self) -> None:
        """An op that goes element by element, or over all elements."""
        name = self.random.choice(_PLAIN)
        pool = [*self.vectors(), *(s for s, t in self.states.items() if len(t.shape) == 1)]
        args = tuple(self.random.choice(pool) for _ in OPS[name].roles)
        attrs = {key: self.random.choice(values) for key, values in _ATTRS.get(name, ())}
        self.value(name, args, None, **attrs)

    def product(self) -> None:
        """A matrix, or its transpose, times a vector of the right size."""
        W = self.random.choice([s for s, t in self.states.items() if len(t.shape) == 2])
        name = self.random.choice(("matvec", "matvec", "matvec_t"))
        made = self.value(name, (W, self.any_vector()))
        if made is not None and self.random.random() < 0.6:
            biases = [s for s, t in self.states.items() if t.shape == self.types[made].shape]
            added = self.value("add", (made, self.random.choice(biases))) if biases else None
            if added is not None and self.random.random() < 0.6:
                self.value("relu", (added,))

    def again(self) -> None:
        """An op on a state that has been there, whose state may have changed since; what comes of it changes another."""
        before = [op for op in self.ops if op.result is not None and set(op.args) & set(self.states)]
        if before:
            op = self.random.choice(before)
            self.update(self.value(op.name, op.args, op.type, **dict(op.attrs)))

    def update(self, read: str | None = None) -> None:
        """A change of a state, by a rate that is a power of two, by ``read`` or any value."""
        state = self.random.choice(list(self.states))
        vectors = (read or self.any_vector(), self.any_vector())
        if len(self.states[state].shape) == 2:
            op = Op("outer_update", (state, *vectors))
            op = op.with_attrs(id=0, rate=self.random.choice((0.5, 1.0)), sign=self.random.choice((1, -1)))
        else:
            op = Op("update", (state, vectors[0])).with_attrs(id=0)
        try:
            result_shape(op, [{**self.states, **self.types}[a] for a in op.args])
        except ValueError:
            return
        self.ops.append(op)

    def entry(self, name: str, params: tuple[tuple[str, Type], ...], updates: bool) -> Entry:
        self.types.update(params)
        if "%y" in self.types:
            self.value("one_hot", ("%y",), classes=CLASSES)
        for _ in range(self.random.randrange(3, 14)):
            step: Callable[[], None] = self.random.choice(
                [self.plain, self.product, *([self.update, self.again] if updates else [])]
            )
            step()
        if updates:
            self._guess()
            return Entry(name, params, tuple(self.ops))
        best = self.value("argmax", (self.any_vector(),), _CLASS)
        return Entry(name, params, tuple(self.ops), best)

    def _guess(self) -> None:
        """Scores that a softmax reads, for `observe`; nothing else reads what it says, which is not exact."""
        if self.random.random() < 0.5:
            at = self.random.randrange(len(self.ops) + 1)
            known = [op.result for op in self.ops[:at] if op.result and op.type and op.type.dtype == "f32"]
            if known:
                score = self.random.choice(known)
                self.ops.insert(at, Op("softmax", (score,), (), "%soft", self.types[score]))


def module(random: Random) -> Module:
    """A module of a few vectors and matrices, with updates in ``learn`` and a class from ``infer``."""
    states: dict[str, Type] = {}
    for number in range(random.randrange(1, 4)):
        shape = (random.choice(SIZES), random.choice(SIZES))
        states[f"@b{number}.W"] = Type("f32", shape)
        states[f"@b{number}.b"] = Type("f32", shape[:1])
    x = ("%x", Type("f32", (random.choice(SIZES),)))
    learn = _Writer(random, states).entry("learn", (x, ("%y", _CLASS)), updates=True)
    infer = _Writer(random, states).entry("infer", (x,), updates=False)
    kept = tuple(State(name, type, Init("normal", 0.5, number)) for number, (name, type) in enumerate(states.items()))
    attrs = (("classes", CLASSES), ("drops", "1 2"), ("rule", "random"))
    return Module("random", attrs, kept, (learn, infer))


# --- what a module means --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meaning:
    """What a module did: classes, and the bits of each state and the exponents in the end. ``guesses`` of ``learn`` apart."""

    classes: tuple[int, ...]
    states: dict[str, bytes]
    exps: dict[str, int]
    guesses: tuple[int | None, ...]


def samples(module: Module, random: Random, count: int = 3) -> list[tuple[NDArray[Any], int]]:
    type = dict(module.entry("infer").params)["%x"]
    made: list[tuple[NDArray[Any], int]] = []
    for _ in range(count):
        x = np.array([random.randrange(-2, 3) for _ in range(type.size)], np.float32)
        made.append((x, random.randrange(CLASSES)))
    return made


def meaning(
    module: Module, data: list[tuple[NDArray[Any], int]], seed: int, interpreter: type[Interpreter] = Interpreter
) -> Meaning:
    """Learns and infers each sample.

    Raises:
        Inexact: a value of a float module left the range in which sums are exact.
    """
    net = interpreter(module, seed)
    if module.dtype == "f32":
        net.observe = _exactly
        for name, q in net.state.items():
            draw = Random(f"{seed} {name}")
            net.state[name] = np.array([draw.randrange(-2, 3) for _ in range(q.size)], np.float32).reshape(q.shape)
    classes: list[int] = []
    guesses: list[int | None] = []
    for x, label in data:
        guesses.append(net.learn(x, label))
        for q in net.state.values() if module.dtype == "f32" else ():
            _check(q)
        classes.append(net.infer(x))
    states = {name: np.ascontiguousarray(q + 0).tobytes() for name, q in net.state.items()}  # + 0: there is one zero
    return Meaning(tuple(classes), states, dict(net.exps), tuple(guesses))


def _exactly(op: Op, result: NDArray[Any]) -> None:
    if op.name != "softmax":
        _check(np.asarray(result, np.float64))


def _check(values: NDArray[Any]) -> None:
    if np.abs(values).max(initial=0) > LARGEST or (np.asarray(values, np.float64) / UNIT % 1).any():
        raise Inexact


class InItsArena(Interpreter):
    """The interpreter with every value at its place in an arena of bytes, as on a board: what is overwritten is gone."""

    def _run(self, entry: Entry, inputs: list[NDArray[Any]], count: bool) -> NDArray[Any] | None:
        values = _Arena(self.module, entry)
        types = self.module.types(entry)
        for (name, type), x in zip(entry.params, inputs, strict=True):
            values[name] = np.asarray(x).reshape(type.shape).astype(NUMPY[type.dtype])
        for op in entry.ops:
            self._run_op(op, values, types, count)
        return values[entry.result] if entry.result is not None else None


class _Arena(dict[str, NDArray[Any]]):
    """Values by name, in the bytes of one array."""

    def __init__(self, module: Module, entry: Entry) -> None:
        super().__init__()
        self.bytes = np.zeros(module.integer("arena_bytes"), np.uint8)
        self.places = {p.value: p.offset for p in module.places if p.entry == entry.name}
        self.types = entry.types()

    def __setitem__(self, name: str, value: NDArray[Any]) -> None:
        type = self.types[name]
        raw = np.ascontiguousarray(value, NUMPY[type.dtype]).reshape(-1).view(np.uint8)
        assert len(raw) == type.nbytes
        self.bytes[self.places[name] : self.places[name] + type.nbytes] = raw

    def __getitem__(self, name: str) -> NDArray[Any]:
        type, at = self.types[name], self.places[name]
        return self.bytes[at : at + type.nbytes].copy().view(NUMPY[type.dtype]).reshape(type.shape)
