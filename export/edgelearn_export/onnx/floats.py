"""A module's entries in floats as ONNX graphs: inference, and the training step with the state as inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.backends import EntryName, Signature
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Entry, Module, Op
from edgelearn.ir.ops import OPS
from edgelearn_export.onnx import floats_maps, floats_ops
from edgelearn_export.onnx.floats_updates import UPDATES, Rates, carried, linear_in, write_decay
from edgelearn_export.onnx.floats_values import Label, Operand, Site, Value, Weight, Writer, as_value

KERNELS = {**floats_ops.KERNELS, **floats_maps.KERNELS}
Tensors = Mapping[str, NDArray[Any]]
Built = tuple[bytes, list[Signature], list[Signature]]  # file, inputs, outputs


def gap(module: Module, entry: EntryName) -> str:
    """The op that has no counterpart, and the rule's line that needs it; empty if all have one."""
    names = ("infer", "learn") if entry == "all" else ("infer",) if entry == "infer" else ("learn",)
    for op in (op for name in names for op in module.entry(name).ops):
        if op.name not in KERNELS and op.name not in UPDATES and op.name != "decay_update":
            return f"{op.name} has no counterpart{_line(op)}"
    return ""


def infer_graph(module: Module, tensors: Tensors | None, seed: int) -> Built:
    """Inputs x and draws; outputs class and scores. Without ``tensors`` the state that is read is an input, too."""
    walk = _Walk(module, module.entry("infer"), tensors, seed)
    for op in walk.entry.ops:
        walk.do(op)
    walk.tell_class("scores")
    return walk.graph.model(), walk.graph.inputs, walk.graph.outputs


def train_graph(module: Module, seed: int, tensors: Tensors | None = None) -> Built:
    """Inputs x, y, rate, the state that is read, and draws; outputs class, if the rule guesses, and ``NAME.next`` of what it learns.

    ``tensors`` are what the inputs of the state are where nobody gives them: what the first step begins with.
    """
    walk = _Walk(module, module.entry("learn"), None, seed)
    if tensors is not None:
        for name in read(module, "learn"):
            walk.graph.default(title(name), np.asarray(tensors[name], np.float32))
    for op in walk.entry.ops:
        walk.do(op)
    walk.tell_class()
    walk.tell_state()
    return walk.graph.model(), walk.graph.inputs, walk.graph.outputs


def in_place(module: Module) -> set[str]:
    """States that a step may change where they are: all that reads them is needed for their change, and so comes before it.

    Of Mono-Forward these are W and b. M is not one: the error that goes to W reads it, and nothing orders that before M's own change.
    """
    ops = module.entry("learn").ops
    before: dict[str, set[int]] = {}  # by value: the ops that it is made by, directly or not
    readers: dict[str, set[int]] = {}
    found: dict[str, bool] = {}
    for i, op in enumerate(ops):
        needs = set().union(*(before.get(a, set()) for a in op.args))
        if OPS[op.name].update:
            name = op.args[0]
            found[name] = name not in found and readers.get(name, set()) <= needs
        for a in op.args:
            if a.startswith("@"):
                readers.setdefault(a, set()).add(i)
        if op.result is not None:
            before[op.result] = needs | {i}
    late = {name for name in found if any(_reads_after(ops, name))}
    return {name for name, safe in found.items() if safe} - late


def _reads_after(ops: Sequence[Op], name: str) -> list[int]:
    """Ops that read a state after its first change: they want the new one, which only another tensor holds apart."""
    first = next(i for i, op in enumerate(ops) if OPS[op.name].update and op.args[0] == name)
    return [i for i, op in enumerate(ops) if i > first and name in op.args]


def learnt(module: Module) -> list[str]:
    """The states that a step changes, in the module's order: only they leave the training graph."""
    changed = {op.args[0] for op in module.entry("learn").ops if OPS[op.name].update}
    return [state.name for state in module.state if state.name in changed]


def read(module: Module, entry: str) -> list[str]:
    """The states that an entry reads or changes, in the module's order."""
    used = {arg for op in module.entry(entry).ops for arg in op.args}
    return [state.name for state in module.state if state.name in used]


def title(name: str) -> str:
    """What a graph calls the state ``@b0.W`` or the parameter ``%x``: b0.W, x."""
    return name.lstrip("@%")


def next_title(state: str) -> str:
    return f"{title(state)}.next"


def _line(op: Op) -> str:
    return "" if op.loc is None else f" (line {op.loc.line} of the rule)"


class _Walk:
    """Writes an entry, op by op."""

    def __init__(self, module: Module, entry: Entry, tensors: Tensors | None, seed: int) -> None:
        self.module, self.entry = module, entry
        self._net = Writer(f"{module.name}-{entry.name}", seed)
        self.graph = self._net.graph
        self._types = module.types(entry)
        self._values: dict[str, Operand] = self._inputs()
        self._rates = Rates(self._net, self.graph.input("rate", "f32", ())) if entry.name == "learn" else None
        self._carried = carried(entry, self._types) if entry.name == "learn" else {}
        self._weights = {name: self._weight(name, tensors) for name in read(module, entry.name)}

    def _inputs(self) -> dict[str, Operand]:
        found: dict[str, Operand] = {}
        for name, type in self.entry.params:
            if type.is_int:
                found[name] = Label(self._net, self.graph.input(title(name), "i64", ("B",)))
            else:
                rows = self.graph.input(title(name), "f32", ("B", type.size))
                found[name] = Value(self._net, type.shape, True, "rows", {"rows": rows})
        return found

    def _weight(self, name: str, tensors: Tensors | None) -> Weight:
        type = self._types[name]
        if tensors is not None:
            return Weight(self._net, type, title(name), np.ascontiguousarray(tensors[name], np.float32))
        return Weight(self._net, type, title(name), given=self.graph.input(title(name), "f32", type.shape))

    # --- one op -----------------------------------------------------------------------------------------------------------------------

    def do(self, op: Op) -> None:
        site = Site(self._net, op)
        if OPS[op.name].update:
            self._update(site)
            return
        assert op.result is not None
        rate, index = self._carried.get(op.result), linear_in(op, self._types)
        args = [self._read(op, i) for i in range(len(op.args))]
        if rate is not None and index is not None:
            args[index] = self._scaled(op.args[index], args[index], rate)
        made = self._kernel(op)(site, *args)
        if rate is not None and index is None:
            assert self._rates is not None
            made = self._rates.scaled(as_value(made), rate)
        self._values[op.result] = made

    def _kernel(self, op: Op) -> Any:
        if op.name not in KERNELS:
            problem = f"ONNX has no counterpart of the op {op.name}{_line(op)}."
            raise ConfigError(problem, "Export with --format plan or c, or write the rule without it.")
        return KERNELS[op.name]

    def _read(self, op: Op, index: int) -> Operand:
        """An operand; a state where a value is wanted is the same for all samples."""
        name, role = op.args[index], OPS[op.name].roles[index]
        if name not in self._weights:
            return self._values[name]
        return self._weights[name] if role in ("W", "b") else self._weights[name].value()

    def _scaled(self, name: str, operand: Operand, rate: float) -> Value:
        """An error with the rate in it: brought along, or multiplied now."""
        assert self._rates is not None
        value = as_value(operand)
        return value if self._carried.get(name) == rate else self._rates.scaled(value, rate)

    def _update(self, site: Site) -> None:
        op, name = site.op, site.op.args[0]
        args = [self._read(op, i) for i in range(len(op.args))]
        assert self._rates is not None
        if op.name == "decay_update":
            made = write_decay(site, args[0], self._rates)
        else:
            args[1] = self._scaled(op.args[1], args[1], op.number("rate", 1.0))
            made = UPDATES[op.name](site, *args)
        self._weights[name] = Weight(self._net, self._types[name], title(name), given=made)

    # --- what leaves ------------------------------------------------------------------------------------------------------------------

    def tell_class(self, scores: str = "") -> None:
        """The entry's result, and what its argmax reads."""
        if self.entry.result is None:
            return
        self.graph.output(self._classes(self._values[self.entry.result]), "class", "i64", ("B",))
        op = next((op for op in self.entry.ops if op.result == self.entry.result), None)
        if scores and op is not None and op.name == "argmax":
            value = as_value(self._read(op, 0)).spread()
            self.graph.output(value.rows, scores, "f32", ("B", value.size))

    def _classes(self, found: Operand) -> str:
        net = self._net
        name = found.name if isinstance(found, Label) else net.reshape(net.node("Cast", as_value(found).rows, to=7))
        return name if found.batched else net.node("Expand", name, net.batch())

    def tell_state(self) -> None:
        for name in learnt(self.module):
            self.graph.output(self._weights[name].name, next_title(name), "f32", self._types[name].shape)
