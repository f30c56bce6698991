"""The file of the integer training step: subgraphs on resource variables that LiteRT runs by the names of their signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgelearn.backends import Signature, Source
from edgelearn.ir import rng
from edgelearn.ir.core import Entry, Slot, State
from edgelearn.ir.interp import EXP_LIMIT, MAX_ELEMS
from edgelearn.state import decode
from edgelearn_export.tflite.builder import Model
from edgelearn_export.tflite.integers_program import FedChance, Program, answer, limit, sample
from edgelearn_export.tflite.integers_shifts import Power
from edgelearn_export.tflite.integers_values import Ints, clipped, concatenated, constant, maximum, minimum, of, where
from edgelearn_export.tflite.integers_writer import Writer

EXPS, SATURATED, LARGEST_SEEN = (
    "exps",
    "saturated",
    "largest",
)  # variables besides the state: one number a slot, in the module's order
WINDOW_MOST = 65535  # a window counts no more saturated elements
HALF_OF = 100  # weights are halved when more than one in as many sits at the limit


@dataclass
class Variables:
    """The resource variables as one subgraph sees them."""

    graph: Writer

    def read(self, name: str, dtype: str, shape: tuple[int, ...]) -> Ints:
        return of(self.graph, self.graph.graph.read(self.graph.graph.variable(name), dtype, shape), dtype, shape)

    def assign(self, name: str, value: Ints, dtype: str = "i32") -> None:
        self.graph.graph.assign(self.graph.graph.variable(name), value.tensor(dtype))


@dataclass
class Training:
    """Writes the file. ``variables`` are all there are, with type and shape."""

    source: Source

    def __post_init__(self) -> None:
        self.module = self.source.module
        self.slots = self.module.slots
        self.snapshot = decode(self.module, self.source.state)
        self.model = Model(self.source.name)
        self.graphs = {
            key: self.model.graph(key) for key in ("infer", "train", "save", "restore", "move", "halve", "init")
        }
        n = (len(self.slots),)
        self.variables = {s.name[1:]: (s.type.dtype, s.type.shape) for s in self.module.state}
        self.variables |= dict.fromkeys((EXPS, SATURATED, LARGEST_SEEN), ("i32", n))

    def written(self) -> tuple[bytes, Sequence[Signature], Sequence[Signature]]:
        self._init()
        self._infer()
        self._train()
        self._save()
        self._restore()
        self._move()
        self._halve()
        for key, graph in self.graphs.items():
            if key != "init":
                self.model.signature(key, graph)
        train = self.graphs["train"]
        return self.model.bytes(), train.inputs, train.outputs

    def _start(self, key: str) -> tuple[Writer, Variables]:
        """Whatever is called first, the variables have their first values before it."""
        self.graphs[key].call_once(self.graphs["init"])
        graph = Writer(self.graphs[key])
        return graph, Variables(graph)

    # --- variables --------------------------------------------------------------------------------------------------------------------

    def _init(self) -> None:
        graph, snapshot = Writer(self.graphs["init"]), self.snapshot
        variables = Variables(graph)
        for s in self.module.state:
            variables.assign(s.name[1:], constant(graph, snapshot.tensors[s.name].astype(np.int64)), s.type.dtype)
        stats = [snapshot.stats[s.name] for s in self.slots]
        columns = [snapshot.exps[s.name] for s in self.slots], [a for a, _ in stats], [b for _, b in stats]
        for name, numbers in zip((EXPS, SATURATED, LARGEST_SEEN), columns, strict=True):
            variables.assign(name, constant(graph, np.array(numbers)))

    def _save(self) -> None:
        graph, variables = self._start("save")
        for name, (dtype, shape) in self.variables.items():
            graph.graph.output(variables.read(name, dtype, shape).tensor(dtype), name)

    def _restore(self) -> None:
        graph, variables = self._start("restore")
        for name, (dtype, shape) in self.variables.items():
            variables.assign(name, of(graph, graph.graph.input(name, dtype, shape), dtype, shape), dtype)

    # --- entries ----------------------------------------------------------------------------------------------------------------------

    def _infer(self) -> None:
        graph, variables = self._start("infer")
        entry = self.module.entry("infer")
        x = sample(graph, self.module, entry)
        program, exps = self._program(graph, variables, entry)
        program.run(entry, [x], count=False)
        answer(graph, program, entry)
        self._keep_computed(program, variables, exps)

    def _train(self) -> None:
        graph, variables = self._start("train")
        entry = self.module.entry("learn")
        x = sample(graph, self.module, entry)
        y = of(graph, graph.graph.input("y", "i32", (1,)), "i32", (1,))
        program, exps = self._program(graph, variables, entry)
        before = dict(program.state)
        program.run(entry, [x, y], count=True)
        for s in self.module.state:
            if program.state[s.name] is not before[s.name]:
                variables.assign(s.name[1:], program.state[s.name], s.type.dtype)
        self._keep_computed(program, variables, exps)
        self._keep_statistics(program, variables)
        if entry.result is not None:
            graph.graph.output(program.values[entry.result].tensor("i32", (1,)), "class")

    def _program(self, graph: Writer, variables: Variables, entry: Entry) -> tuple[Program, dict[str, Power]]:
        """With all variables read, and the exponents as they were."""
        state = {s.name: self._state(variables, s) for s in self.module.state}
        exps = self._parts(variables.read(EXPS, "i32", (len(self.slots),)))
        powers = {name: Power.of(e) for name, e in exps.items()}
        chance = FedChance(graph, self.module, entry)
        return Program(graph, self.module, chance, state, dict(powers), self.snapshot.seed), powers

    def _state(self, variables: Variables, s: State) -> Ints:
        found = variables.read(s.name[1:], s.type.dtype, s.type.shape)
        found.bound = limit(self.module, s.type)
        return found

    def _parts(self, vector: Ints) -> dict[str, Ints]:
        return {slot.name: vector.part([i], [1]) for i, slot in enumerate(self.slots)}

    def _keep_computed(self, program: Program, variables: Variables, before: dict[str, Power]) -> None:
        if any(program.exps[name] is not e for name, e in before.items()):
            graph = program.graph
            variables.assign(EXPS, concatenated([program.exps[s.name].value(graph) for s in self.slots], 0))

    def _keep_statistics(self, program: Program, variables: Variables) -> None:
        """A window's saturated elements are added up, its largest value is kept."""
        graph, n = program.graph, (len(self.slots),)
        none = constant(graph, 0)
        more = concatenated([program.saturated.get(s.name, none) for s in self.slots], 0)
        seen = concatenated([program.largest.get(s.name, none) for s in self.slots], 0)
        variables.assign(SATURATED, minimum(variables.read(SATURATED, "i32", n) + more, WINDOW_MOST))
        variables.assign(LARGEST_SEEN, maximum(variables.read(LARGEST_SEEN, "i32", n), seen))

    # --- outside the step -------------------------------------------------------------------------------------------------------------

    def _move(self) -> None:
        """As ``Interpreter.rescale`` moves exponents: all slots at once, those that do not move by nothing."""
        graph, variables = self._start("move")
        n = (len(self.slots),)
        saturated, seen, exps = (variables.read(name, "i32", n) for name in (SATURATED, LARGEST_SEEN, EXPS))
        moving = self._column(graph, lambda s: int(s.kind == "moving"))
        many = self._column(graph, lambda s: min(s.elems, MAX_ELEMS))
        quarter = self._column(graph, lambda s: 1 << s.bits >> 2)
        low = where((quarter > seen).both(seen > 0), -1, constant(graph, 0))
        move = where(saturated > many, 1, low) * moving
        moved = where(moving > 0, clipped(exps + move, EXP_LIMIT), exps)
        variables.assign(EXPS, moved)
        rest = 1 - moving
        variables.assign(SATURATED, saturated * rest)
        variables.assign(LARGEST_SEEN, seen * rest)
        graph.graph.output(moved.tensor(), "exps")

    def _column(self, graph: Writer, number: Callable[[Slot], int]) -> Ints:
        return constant(graph, np.array([number(s) for s in self.slots], np.int64))

    def _halve(self) -> None:
        graph, variables = self._start("halve")
        exps = self._parts(variables.read(EXPS, "i32", (len(self.slots),)))
        for number, s in enumerate(self.module.state):
            self._halve_one(graph, variables, exps, number, s)
        kept = concatenated([exps[s.name] for s in self.slots], 0)
        variables.assign(EXPS, kept)
        graph.graph.output(kept.tensor(), "exps")

    def _halve_one(self, graph: Writer, variables: Variables, exps: dict[str, Ints], number: int, s: State) -> None:
        """Stochastically, and its exponent one up."""
        assert s.type.exp is not None
        slot = s.type.exp.slots[0]
        q = self._state(variables, s)
        at_limit = where(q.abs() > limit(self.module, s.type) - 1, 1, constant(graph, 0)).sum()
        due = (at_limit > s.type.size // HALF_OF).both(exps[slot] < EXP_LIMIT)
        dither = graph.graph.input(halving_input(number), "i32", (1, s.type.size))
        bits = of(graph, dither, "i32", (1, s.type.size)).reshaped(s.type.shape) >> 15
        variables.assign(s.name[1:], where(due, (q + bits) >> 1, q), s.type.dtype)
        exps[slot] = where(due, exps[slot] + 1, exps[slot])


def halving_input(number: int) -> str:
    """The dither that halves the state tensor ``number``."""
    return f"dither{number + rng.HALVE}"
