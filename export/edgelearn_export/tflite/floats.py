"""Modules of floats as TFLite models: an inference file, and a file that learns, with signatures infer, train, save and restore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from edgelearn import state
from edgelearn.backends import EntryName, Signature, Source
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Entry, Module, Op
from edgelearn.ir.ops import OPS
from edgelearn_export.tflite import floats_maps, floats_ops
from edgelearn_export.tflite.builder import ABSENT, Graph, Model
from edgelearn_export.tflite.calc import Calc
from edgelearn_export.tflite.floats_ops import Site

KERNELS = {**floats_ops.KERNELS, **floats_maps.KERNELS}
UPDATES = {**floats_ops.UPDATES, **floats_maps.UPDATES}
DRAWING = ("noise", "sample")  # anew at every step
RAW_ROLES = ("W", "b")  # what reads a state as it is; everything else sees a batch of one

Built = tuple[bytes, tuple[Signature, ...], tuple[Signature, ...]]
Reader = Callable[[Calc, str], int]  # (calc, name of a state) -> its tensor


def entry_of(module: Module, entry: EntryName) -> Entry:
    return module.entry("learn" if entry == "train" else "infer")


def gap(module: Module, entry: EntryName) -> str:
    """Why an entry cannot be written; empty if it can."""
    wanted = ("infer", "train") if entry == "all" else (entry,)
    ops = [op for name in wanted for op in entry_of(module, name).ops]
    missing = {op.name: f"{op.name}{_place(op)}" for op in ops if op.name not in KERNELS and op.name not in UPDATES}
    return f"no counterpart of {', '.join(missing.values())}" if missing else ""


def _place(op: Op) -> str:
    return f" ({op.loc.file}:{op.loc.line})" if op.loc is not None else ""


def draws(entry: Entry) -> dict[str, Op]:
    """The ops that need random numbers of the caller, by the name of the input that takes them."""
    return {draw_name(op): op for op in entry.ops if op.name in DRAWING}


def draw_name(op: Op) -> str:
    return f"draw{int(op.number('id'))}"


def plain(name: str) -> str:
    """A state's name as inputs, outputs and variables have it."""
    return name.removeprefix("@")


# --- one entry ----------------------------------------------------------------------------------------------------------------------


@dataclass
class Lowering:
    """Writes the ops of one entry into a subgraph.

    Attributes:
        read: gives the tensor of a state, when it is first needed.
        current: of each state that was read or changed, its value as of now.
        changed: states that the entry updates.
        prefix: of the names of the inputs that take random numbers.
    """

    calc: Calc
    module: Module
    entry: Entry
    seed: int
    read: Reader
    rate: int | None = None
    values: dict[str, int] = field(default_factory=dict)
    current: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    prefix: str = ""
    _rates: dict[float, int] = field(default_factory=dict)
    _draws: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """
        Raises:
            ConfigError: an op has no counterpart.
        """
        self._types = self.module.types(self.entry)
        for name, op in draws(self.entry).items():
            shape = op.type.shape if op.name == "noise" and op.type is not None else (1,)
            self._draws[name] = self.calc.graph.input(f"{self.prefix}{name}", "f32", (1, *shape))
        for op in self.entry.ops:
            self._op(op)

    def _op(self, op: Op) -> None:
        if op.name not in KERNELS and op.name not in UPDATES:
            raise ConfigError(f"TFLite has no counterpart of {op.name}{_place(op)}.", "Export another format.")
        draw = self._draws[draw_name(op)] if op.name in DRAWING else ABSENT
        site = Site(op, tuple(self._types[a] for a in op.args), self.seed, draw)
        args = [self._operand(a, role) for a, role in zip(op.args, OPS[op.name].roles, strict=False)]
        if op.name in UPDATES:
            loss = UPDATES[op.name](self.calc, site, self._rate(op), *args)
            self._set(op.args[0], self.calc.sub(args[0], loss))
            return
        result = KERNELS[op.name](self.calc, site, *args)
        if op.result is not None:
            self.values[op.result] = result

    def _operand(self, name: str, role: str) -> int:
        if not name.startswith("@"):
            value = self.values[name]
            if role != "label" and self.calc.graph.dtype(value) == "i32":
                return self.calc.reshape(self.calc.cast(value, "f32"), (1, 1))
            return value
        tensor = self.state(name)
        return tensor if role in RAW_ROLES else self.calc.reshape(tensor, (1, *self.calc.shape(tensor)))

    def state(self, name: str) -> int:
        if name not in self.current:
            self.current[name] = self.read(self.calc, name)
        return self.current[name]

    def _set(self, name: str, value: int) -> None:
        self.current[name] = value
        if name not in self.changed:
            self.changed.append(name)

    def _rate(self, op: Op) -> int:
        """The op's own rate times the caller's factor: a tensor of one number."""
        assert self.rate is not None
        own = float(np.float32(op.number("rate", 1) * op.number("sign", 1)))
        if own not in self._rates:
            self._rates[own] = self.calc.scale(self.rate, own)
        return self._rates[own]


def lower_infer(graph: Graph, module: Module, seed: int, read: Reader) -> None:
    """x -> class and, if the entry ends in argmax, scores."""
    entry = module.entry("infer")
    (name, type), *_ = entry.params
    calc = Calc(graph)
    x = graph.input("x", "f32", ("B", type.size))
    lowering = Lowering(calc, module, entry, seed, read, values={name: calc.reshape(x, (1, *type.shape))})
    lowering.run()
    assert entry.result is not None
    graph.output(lowering.values[entry.result], "class", ("B",))
    if (scores := scores_of(entry)) is not None:
        rows = calc.rows(lowering.values[scores])
        graph.output(rows, "scores", ("B", *calc.shape(rows)[1:]))


def scores_of(entry: Entry) -> str | None:
    """What the entry's last argmax reads."""
    return next((op.args[0] for op in entry.ops if op.name == "argmax" and op.result == entry.result), None)


def lower_train(graph: Graph, module: Module, seed: int, read: Reader) -> Lowering:
    """x, y, rate and draws -> class, if the rule guesses. The new state is in what it returns."""
    entry = module.entry("learn")
    calc = Calc(graph)
    (x_name, type), (y_name, _) = entry.params
    values = {x_name: calc.reshape(graph.input("x", "f32", (1, type.size)), (1, *type.shape))}
    values[y_name] = graph.input("y", "i32", (1,))
    rate = graph.input("rate", "f32", (1,))
    lowering = Lowering(calc, module, entry, seed, read, rate, values)
    lowering.run()
    if entry.result is not None:
        graph.output(lowering.values[entry.result], "class", (1,))
    return lowering


# --- files --------------------------------------------------------------------------------------------------------------------------


def infer_model(source: Source) -> Built:
    """The weights are constants."""
    found = state.decode(source.module, source.state)
    model = Model(f"{source.name}: inference")
    graph = model.graph("infer")
    lower_infer(
        graph, source.module, found.seed, lambda c, name: c.graph.constant(found.tensors[name], name=plain(name))
    )
    model.signature("infer", graph)
    return model.bytes(), tuple(graph.inputs), tuple(graph.outputs)


def train_model(source: Source) -> Built:
    """The weights are resource variables, which all signatures share; ``init`` gives them the source's values, once.

    It is the first op of every signature, ``restore`` too: otherwise it would come later and undo what was restored.
    """
    module, model = source.module, Model(f"{source.name}: inference and training")
    seed = state.decode(module, source.state).seed
    infer, train, save, restore = (model.graph(name) for name in ("infer", "train", "save", "restore"))
    init = model.graph("init")
    for graph in (infer, train, save, restore):
        graph.call_once(init)
    fill(init, source)
    lower_infer(infer, module, seed, variables(module))
    assign_changed(lower_train(train, module, seed, variables(module)))
    for s in module.state:
        save.output(variables(module)(Calc(save), s.name), plain(s.name))
        restore.assign(restore.variable(plain(s.name)), restore.input(plain(s.name), "f32", s.type.shape))
    for graph in (infer, train, save, restore):
        model.signature(graph.name, graph)
    return model.bytes(), tuple(train.inputs), tuple(train.outputs)


def fill(init: Graph, source: Source) -> None:
    """Writes the source's state into the variables."""
    for name, tensor in state.decode(source.module, source.state).tensors.items():
        init.assign(init.variable(plain(name)), init.constant(tensor))


def variables(module: Module) -> Reader:
    types = module.state_types()
    return lambda c, name: c.graph.read(c.graph.variable(plain(name)), "f32", types[name].shape)


def assign_changed(lowering: Lowering) -> None:
    """Stores what a step changed, after everything else has read it."""
    graph = lowering.calc.graph
    for name in lowering.changed:
        graph.assign(graph.variable(plain(name)), lowering.current[name])
