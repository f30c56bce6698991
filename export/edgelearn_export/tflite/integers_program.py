"""An entry of a module as int32 ops of a TFLite graph: what ``edgelearn.ir.interp.Interpreter`` does with one sample, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from edgelearn.ir import rng
from edgelearn.ir.core import Entry, Module, Op, Slot
from edgelearn.ir.ops import OPS, Draw
from edgelearn.ir.types import LIMIT, Exp, Type
from edgelearn.state import Snapshot
from edgelearn_export.tflite import integers_conv, integers_functions, integers_linear, integers_pointwise
from edgelearn_export.tflite.integers_basis import Meaning, Q
from edgelearn_export.tflite.integers_chance import drawn, fed
from edgelearn_export.tflite.integers_shifts import Power, shift_round
from edgelearn_export.tflite.integers_values import Ints, clipped, constant, of, where
from edgelearn_export.tflite.integers_writer import Writer

MEANINGS: dict[str, Meaning] = {
    **integers_linear.MEANINGS, **integers_conv.MEANINGS, **integers_pointwise.MEANINGS, **integers_functions.MEANINGS,
}  # fmt: skip
Kernel = Callable[[Op, Sequence[Q], Power], Ints | None]


class Chance(Protocol):
    """Where random numbers and the rate come from."""

    def drops(self) -> Power: ...
    def dither(self, op: Op, rows: int, cols: int) -> Ints: ...
    def draw(self, op: Op) -> Ints: ...


@dataclass
class FedChance:
    """From inputs of the graph, made when they are first asked for."""

    graph: Writer
    module: Module
    entry: Entry
    made: dict[str, Ints] = field(default_factory=dict)

    def drops(self) -> Power:
        return Power.of(self._input("drops", "i32", (1,)))

    def dither(self, op: Op, rows: int, cols: int) -> Ints:
        return self._input(f"dither{int(op.number('id'))}", "i32", (rows, cols))

    def draw(self, op: Op) -> Ints:
        one = fed(self.module, self.entry)[f"draw{int(op.number('id'))}"]
        return self._input(one.name, one.dtype, one.shape)

    def _input(self, name: str, dtype: str, shape: tuple[int, ...]) -> Ints:
        if name not in self.made:
            self.made[name] = of(self.graph, self.graph.graph.input(name, dtype, shape), dtype, shape)
        return self.made[name]


@dataclass
class KnownChance:
    """That of one step, as constants. There is no update then."""

    graph: Writer
    at: Draw

    def drops(self) -> Power:
        return Power(self.at.drops)

    def dither(self, op: Op, rows: int, cols: int) -> Ints:
        return constant(self.graph, rng.dither(self.at.seed, self.at.step, int(op.number("id")), rows, cols))

    def draw(self, op: Op) -> Ints:
        return constant(self.graph, drawn(op, self.at))


@dataclass
class Program:
    """Runs an entry on the tensors of a graph.

    Attributes:
        state: the tensors of the module's state; updates put the new ones here.
        exps: exponents by slot; ops that compute one put it here.
        kernel: asked first for ops whose result is int8: a quantized op that gives the same.
        saturated, largest: of each moving slot, what this sample adds to the window.
    """

    graph: Writer
    module: Module
    chance: Chance
    state: dict[str, Ints]
    exps: dict[str, Power]
    seed: int = 0
    kernel: Kernel | None = None
    saturated: dict[str, Ints] = field(default_factory=dict)
    largest: dict[str, Ints] = field(default_factory=dict)
    values: dict[str, Ints] = field(default_factory=dict)
    signed: dict[tuple[int, int], Ints] = field(default_factory=dict)

    def run(self, entry: Entry, params: Sequence[Ints], count: bool) -> None:
        types = self.module.types(entry)
        self.values = {name: value for (name, _), value in zip(entry.params, params, strict=True)}
        for op in entry.ops:
            self._run_op(op, types, count)

    def exponent(self, exp: Exp | None) -> Power:
        total = Power(0 if exp is None else exp.const)
        for slot in () if exp is None else exp.slots:
            total = total + self.exps[slot]
        return total

    # --- what ops ask for -------------------------------------------------------------------------------------------------------------

    def drops(self) -> Power:
        return self.chance.drops()

    def dither(self, op: Op, rows: int, cols: int) -> Ints:
        return self.chance.dither(op, rows, cols)

    def draw(self, op: Op) -> Ints:
        return self.chance.draw(op)

    def signs(self, op: Op, cols: int) -> Ints:
        key = int(op.number("stream")), cols
        if key not in self.signed:
            self.signed[key] = constant(self.graph, rng.signs(self.seed, key[0], int(op.number("rows")), cols))
        return self.signed[key]

    # --- one op -----------------------------------------------------------------------------------------------------------------------

    def _run_op(self, op: Op, types: dict[str, Type], count: bool) -> None:
        args = [Q(self._operand(a, op), self.exponent(types[a].exp)) for a in op.args]
        if OPS[op.name].update:
            self.state[op.args[0]] = self._updated(op, args, types[op.args[0]])
        elif op.result is not None and op.type is not None:
            self.values[op.result] = self._result(op, op.type, args, count)

    def _operand(self, name: str, op: Op) -> Ints:
        """A vector that goes element by element with a feature map takes its shape."""
        value = self.state[name] if name.startswith("@") else self.values[name]
        shape = op.type.shape if op.type is not None else ()
        fits = len(value.shape) == 1 and len(shape) == 3 and value.size == np.prod(shape)
        return value.reshaped(shape) if fits else value

    def _updated(self, op: Op, args: list[Q], weight: Type) -> Ints:
        made = MEANINGS[op.name](self, op, *args, limit(self.module, weight)).q
        kept = of(self.graph, made.tensor(weight.dtype), weight.dtype, made.shape, made.bound)
        kept.parts.update(made.parts)
        return kept

    def _result(self, op: Op, type: Type, args: list[Q], count: bool) -> Ints:
        e = self.exponent(type.exp)
        if self.kernel is not None and type.dtype == "i8" and (made := self.kernel(op, args, e)) is not None:
            return made
        exact = MEANINGS[op.name](self, op, *args)
        slot = slot_of(self.module, type.exp)
        if slot is not None and slot.kind == "computed":
            self.exps[slot.name] = exact.e
        counted = (
            count
            and OPS[op.name].narrow == "acc"
            and type.dtype != "i32"
            and slot is not None
            and slot.kind == "moving"
        )
        return self._narrowed(exact, type, slot if counted else None)

    def _narrowed(self, exact: Q, type: Type, slot: Slot | None) -> Ints:
        """In the unit and width of its type; what saturates is counted."""
        e = self.exponent(type.exp)
        q = shift_round(exact.q, e - exact.e)
        found = clipped(q, LIMIT[type.dtype])
        if slot is not None:
            self._count(slot.name, q.abs(), LIMIT[type.dtype])
        if type.dtype == "i8" and e.number is not None:
            found.scale = 2.0**e.const
        return found

    def _count(self, slot: str, size: Ints, most: int) -> None:
        above = where(size > most, 1, constant(self.graph, 0)).sum()
        largest = clipped(size.max(), most)
        seen = slot in self.saturated
        self.saturated[slot] = self.saturated[slot] + above if seen else above
        if seen:
            largest = _larger(self.largest[slot], largest)
        self.largest[slot] = largest


def _larger(a: Ints, b: Ints) -> Ints:
    return where(a > b, a, b)


def slot_of(module: Module, exp: Exp | None) -> Slot | None:
    """The slot that is all of an exponent."""
    return None if exp is None else next((s for s in module.slots if exp.slots == (s.name,) and exp.const == 0), None)


def limit(module: Module, weight: Type) -> int:
    """The largest magnitude of a weight: its slot says how many bits it has."""
    slot = slot_of(module, weight.exp)
    return LIMIT[weight.dtype] if slot is None else (1 << slot.bits) - 1


# --- an entry's ends --------------------------------------------------------------------------------------------------------------------


def weights(graph: Writer, module: Module, snapshot: Snapshot) -> dict[str, Ints]:
    """The state as constants."""
    return {s.name: constant(graph, snapshot.tensors[s.name].astype(np.int64)) for s in module.state}


def sample(graph: Writer, module: Module, entry: Entry, quantized: bool = False) -> Ints:
    """The input ``x``."""
    _, type = entry.params[0]
    assert type.exp is not None
    scale = 2.0**type.exp.const
    x = of(graph, graph.graph.input("x", "i8", (1, type.size), scale if quantized else None), "i8", (1, type.size), 127)
    shaped = x.reshaped(type.shape)
    shaped.scale = scale if quantized else None
    return shaped


def scores(entry: Entry) -> tuple[str, Type] | None:
    """The value of which the class is the largest, if there is one."""
    last = next((op for op in entry.ops if op.result == entry.result), None)
    if last is None or last.name != "argmax":
        return None
    return last.args[0], entry.types()[last.args[0]]


def answer(graph: Writer, program: Program, entry: Entry) -> None:
    """The outputs ``class`` and ``scores``."""
    assert entry.result is not None
    graph.graph.output(program.values[entry.result].tensor("i32", (1,)), "class")
    read = scores(entry)
    if read is not None:
        name, type = read
        graph.graph.output(program.values[name].tensor(None, (1, type.size)), "scores")
