"""ONNX graphs of int8 modules: inference, the training step and what is done between steps, equal to the device's integers bit for bit.

Inference has the exponents of the state that it is written from, as constants. The training step has them as an input, ``exps``, in the
order of ``module.slots``, and learns one sample: a graph with integers only (roots apart). What chance adds are inputs too, so that a
user of the files alone can go on, or repeat what a board did: ``docs/onnx.md`` says how they are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgelearn import state
from edgelearn.backends import Artifact, EntryName, Signature, Source
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Entry, Module, Op, Slot
from edgelearn.ir.core import State as StateTensor
from edgelearn.ir.ops import OPS as MEANINGS
from edgelearn.ir.types import LIMIT, Exp, Type
from edgelearn_export.onnx import integers_draws as draws
from edgelearn_export.onnx import integers_functions, integers_linear, integers_maps, integers_pointwise
from edgelearn_export.onnx.graph import Graph
from edgelearn_export.onnx.integers_fused import FUSED, fused
from edgelearn_export.onnx.integers_rescale import rescale_graph
from edgelearn_export.onnx.integers_values import Integers, Power, Tensor, Value, shifted_most

EXACT = {**integers_pointwise.OPS, **integers_functions.OPS, **integers_maps.OPS, **integers_linear.OPS}
UPDATES = integers_linear.UPDATES
DRAWS = ("noise", "sample", "signs")
MAX_COUNT = 65535  # of saturated elements that a window counts
Written = tuple[bytes, tuple[Signature, ...], tuple[Signature, ...]]


def gap(module: Module, entry: EntryName) -> str:
    """The ops of an entry that have no counterpart, in a few words; empty if there are none."""
    entries = [e for e in module.entries if entry == "all" or e.name == {"train": "learn"}.get(entry, entry)]
    unknown = sorted({op.name for e in entries for op in e.ops} - {*EXACT, *UPDATES, *DRAWS})
    return f"no integer counterpart of {', '.join(unknown)}" if unknown else ""


def artifacts(source: Source) -> Iterator[Artifact]:
    """The files of all entries without a gap, and of what is done between steps."""
    if not gap(source.module, "infer"):
        yield _artifact(source, "infer", infer_graph(source))
    if not gap(source.module, "train"):
        yield _artifact(source, "train", train_graph(source))
        yield _artifact(source, "rescale", rescale_graph(source))


def _artifact(source: Source, entry: EntryName, written: Written) -> Artifact:
    raw, inputs, outputs = written
    return Artifact(f"{source.name}-{entry}-int8.onnx", raw, entry, "int8", inputs, outputs)


def infer_graph(source: Source) -> Written:
    """``x`` int8 (B, inputs) to ``class`` int64 (B) and ``scores`` int32 (B, classes), the integers that argmax reads.

    Raises:
        ConfigError: an op has no counterpart.
    """
    walk = Walk(source, source.module.entry("infer"), learns=False)
    walk.constants()
    walk.run()
    entry, graph = walk.entry, walk.graph
    last = next(op for op in entry.ops if op.result == entry.result)
    walk.guess("B")
    if last.name == "argmax":
        scores = walk.values[last.args[0]]
        graph.output(walk.n.held(scores, "i32"), "scores", "i32", ("B", math.prod(scores.shape)))
    return graph.model(), tuple(graph.inputs), tuple(graph.outputs)


def train_graph(source: Source) -> Written:
    """One sample, ``y``, ``drops``, the state and chance to the state after the step.

    Raises:
        ConfigError: an op has no counterpart.
    """
    walk = Walk(source, source.module.entry("learn"), learns=True)
    walk.parameters()
    walk.run()
    if walk.entry.result is not None:
        walk.guess(1)
    walk.results()
    return walk.graph.model(), tuple(walk.graph.inputs), tuple(walk.graph.outputs)


def state_name(name: str) -> str:
    return name.removeprefix("@")


@dataclass
class Walk:
    """An entry as it is written, op by op: what its values, states and exponents are by now."""

    source: Source
    entry: Entry
    learns: bool
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    states: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    exps: dict[str, Power] = field(default_factory=dict[str, Power])
    seen: dict[str, list[tuple[str, str]]] = field(default_factory=dict[str, list[tuple[str, str]]])
    drops: Power = field(default_factory=Power)

    def __post_init__(self) -> None:
        self.module = self.source.module
        self.graph = Graph(f"{self.source.name}.{self.entry.name}")
        self.n = Integers(self.graph)
        self.snapshot = state.decode(self.module, self.source.state)
        self.types = self.module.types(self.entry)
        self.slots = {s.name: s for s in self.module.slots}

    # --- what goes in -----------------------------------------------------------------------------------------------------------------

    def constants(self) -> None:
        """Inference: the state as it is."""
        self.exps = {name: Power(e) for name, e in self.snapshot.exps.items()}
        for s in self.module.state:
            self.states[s.name] = self._tensor(s, "", self.snapshot.tensors[s.name])
        self._sample("B")

    def parameters(self) -> None:
        """The training step: the state as it comes, or as the source has it."""
        self._sample(1)
        self.graph.input("y", "i64", (1,))
        self.values["%y"] = Value(self.n.reshape("y", 1, 1), Power(), self.module.integer("classes"), shape=(1,))
        self.drops = Power(0, ((self.graph.input("drops", "i64", ()), 1),))
        if self.slots:
            self.graph.input("exps", "i64", (len(self.slots),))
            self.graph.default("exps", np.array([self.snapshot.exps[name] for name in self.slots], np.int64))
        self.exps = {name: Power(0, ((self._exp(i), 1),)) for i, name in enumerate(self.slots)}
        for s in self.module.state:
            name = self.graph.input(state_name(s.name), s.type.dtype, s.type.shape)
            self.graph.default(name, self.snapshot.tensors[s.name])
            self.states[s.name] = self._tensor(s, name, None)

    def _exp(self, i: int) -> str:
        return self.n.node("Gather", "exps", self.n.constant(i))

    def _sample(self, batch: int | str) -> None:
        (name, type) = self.entry.params[0]
        e = self.exponent(type.exp).known
        self.graph.input("x", "i8", (batch, type.size), None if e is None else 2.0**e)
        self.values[name] = Value("x", self.exponent(type.exp), LIMIT["i8"], "i8", type.shape)

    def _tensor(self, s: StateTensor, name: str, array: Any) -> Tensor:
        t = s.type
        name = name or self.n.constant(array, t.dtype)
        return Tensor(name, self.exponent(t.exp), self._limit(t), t.dtype, t.shape, array)

    def _limit(self, t: Type) -> int:
        """The largest magnitude of a state: its slot says how many bits it has."""
        slot = self._slot(t.exp)
        return LIMIT[t.dtype] if slot is None else (1 << slot.bits) - 1

    # --- ops --------------------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        for op in self.entry.ops:
            if MEANINGS[op.name].update:
                self._update(op)
            elif op.result is not None and op.type is not None:
                found = self._narrow(op, op.type)
                self.values[op.result] = replace(found, shape=op.type.shape)

    def _args(self, op: Op) -> list[Any]:
        return [self.states[a] if a.startswith("@") else self.values[a] for a in op.args]

    def _update(self, op: Op) -> None:
        weight: Tensor = self.states[op.args[0]]
        if op.name not in UPDATES:
            raise self._refused(op)
        dither = self.graph.input(f"dither{int(op.number('id'))}", "i32", weight.shape)
        wide = UPDATES[op.name](self.n, op, *self._args(op), self.drops, dither)
        self.states[op.args[0]] = replace(weight, name=self.n.cast(wide, weight.held))

    def _exact(self, op: Op) -> Value:
        if op.name in EXACT:
            write: Callable[..., Value] = EXACT[op.name]
            return write(self.n, op, *self._args(op))
        if op.name == "signs":
            (v,) = self._args(op)
            return draws.signs(self.n, op, v, self.snapshot.seed)
        if op.name in DRAWS:
            return getattr(draws, op.name)(self.n, op, *self._args(op), self._drawn(op))
        raise self._refused(op)

    def _drawn(self, op: Op) -> str:
        """What chance gives: the graph's input, or in inference what this seed and step make."""
        if self.learns:
            return self.graph.input(f"draw{int(op.number('id'))}", "i64", (1, draws.drawn_size(op)))
        return self.n.constant(draws.drawn(op, self.snapshot.seed, self.snapshot.step))

    def _narrow(self, op: Op, type: Type) -> Value:
        """The op's result in the unit and width of its type; counts what saturates for the exponents that move."""
        if not self.learns and op.name in FUSED:
            found = fused(self.n, op, self.exponent(type.exp), *self._args(op))
            if found is not None:
                return found
        exact = self._exact(op)
        slot = self._slot(type.exp)
        if slot is not None and slot.kind == "computed":
            self.exps[slot.name] = exact.power
        to, limit = self.exponent(type.exp), LIMIT[type.dtype]
        shift = to - exact.power
        if shift.known == 0 and exact.most <= limit:
            return replace(exact, power=to)
        q = self.n.shift_round(self.n.q(exact), shift, exact.most)
        if (
            self.learns
            and slot is not None
            and slot.kind == "moving"
            and MEANINGS[op.name].narrow == "acc"
            and type.dtype != "i32"
        ):
            self._count(slot, q, limit)
        clipped = self.n.clip(q, -limit, limit, most=shifted_most(exact.most, shift))
        if not self.learns and type.dtype == "i8":
            return Value(self.n.cast(clipped, "i8"), to, limit, "i8")
        return Value(clipped, to, limit)

    def _count(self, slot: Slot, q: str, limit: int) -> None:
        magnitude = self.n.node("Abs", q)
        beyond = self.n.cast(self.n.node("Greater", magnitude, limit), "i64")
        most = self.n.node("Min", self.n.max(magnitude, 0, 1), limit)
        self.seen.setdefault(slot.name, []).append((self.n.sum(beyond, 0, 1), most))

    def exponent(self, exp: Exp | None) -> Power:
        total = Power()
        if exp is not None:
            total = Power(exp.const)
            for slot in exp.slots:
                total = total + self.exps[slot]
        return total

    def _slot(self, exp: Exp | None) -> Slot | None:
        return self.slots.get(exp.slots[0]) if exp is not None and len(exp.slots) == 1 and exp.const == 0 else None

    def _refused(self, op: Op) -> ConfigError:
        where = f"{op.loc.file}:{op.loc.line}: " if op.loc is not None else ""
        return ConfigError(
            f"{where}ONNX in integers has no {op.name}.", "Export in floats, or write the rule without it."
        )

    # --- what comes out ---------------------------------------------------------------------------------------------------------------

    def guess(self, batch: int | str) -> None:
        assert self.entry.result is not None
        result = self.n.held(self.values[self.entry.result], "i64")
        self.graph.output(self.n.reshape(result, -1), "class", "i64", (batch,))

    def results(self) -> None:
        for name, tensor in self.states.items():
            self.graph.output(tensor.name, f"{state_name(name)}.next", tensor.held, tensor.shape)
        if not self.slots:
            return
        parts = [self.n.reshape(self.n.power(self.exps[s]), 1) for s in self.slots]
        self.graph.output(self.n.node("Concat", *parts, axis=0), "exps.next", "i64", (len(parts),))
        rows = [self._statistics(s) for s in self.slots]
        self.graph.output(self.n.node("Concat", *rows, axis=0), "stats", "i64", (len(rows), 2))

    def _statistics(self, slot: str) -> str:
        """(1, 2): how many elements of this sample saturated, and the largest magnitude."""
        found = self.seen.get(slot, [])
        if not found:
            return self.n.constant([[0, 0]])
        counts, largest = [c for c, _ in found], [m for _, m in found]
        count, most = counts[0], largest[0]
        for c, m in found[1:]:
            count, most = self.n.node("Add", count, c), self.n.node("Max", most, m)
        return self.n.node("Concat", self.n.node("Min", count, MAX_COUNT), most, axis=1)
