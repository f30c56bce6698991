"""What the device does between steps, as a graph: exponents that follow their values, and weights that are halved when they saturate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgelearn.backends import Signature, Source
from edgelearn.ir.core import Slot
from edgelearn.ir.core import State as StateTensor
from edgelearn.ir.interp import EXP_LIMIT, HALVE_EVERY, MAX_ELEMS, RESCALE_EVERY
from edgelearn.ir.types import LIMIT
from edgelearn_export.onnx.graph import Graph
from edgelearn_export.onnx.integers_values import Integers

PERCENT = 100  # a weight tensor is halved when more than one element in as many is at its limit


def due(step: int) -> bool:
    """Is there anything to do after ``step`` steps?"""
    return step % RESCALE_EVERY == 0 or step % HALVE_EVERY == 0


def rescale_graph(source: Source) -> tuple[bytes, tuple[Signature, ...], tuple[Signature, ...]]:
    """``step`` (how many have been done), ``exps``, ``stats`` of the window and the state to the same, each as ``NAME.next``.

    ``halve<number>`` are integers from 0 to 65535 that decide how each weight is rounded when it is halved. At other steps than those at
    which the device does something, nothing changes.
    """
    module, graph = source.module, Graph(f"{source.name}.rescale")
    n, size = Integers(graph), (len(module.slots),)
    graph.input("step", "i64", ())
    graph.input("exps", "i64", size)
    graph.input("stats", "i64", (*size, 2))
    moved, ended = _moved(n, module.slots), _ended(n, module.slots)
    exps = {s.name: n.node("Gather", moved, n.constant([i])) for i, s in enumerate(module.slots)}
    bits = {s.name: s.bits for s in module.slots}
    for number, s in enumerate(module.state):
        _halve(n, s, number, exps, bits)
    graph.output(n.node("Concat", *exps.values(), axis=0), "exps.next", "i64", size)
    cleared = n.where(n.node("Unsqueeze", ended, n.constant([1])), 0, "stats")
    graph.output(cleared, "stats.next", "i64", (*size, 2))
    return graph.model(), tuple(graph.inputs), tuple(graph.outputs)


def _every(n: Integers, period: int) -> str:
    return n.once("Equal", n.once("Mod", "step", n.constant(period)), n.constant(0))


def _ended(n: Integers, slots: Sequence[Slot]) -> str:
    """Whose window ends with this step."""
    return n.once("And", n.graph.constant(np.array([s.kind == "moving" for s in slots])), _every(n, RESCALE_EVERY))


def _moved(n: Integers, slots: Sequence[Slot]) -> str:
    """Exponents after the window: one up where more than 1/256 of the elements saturated, one down where all were small."""
    elements = n.constant([min(s.elems, MAX_ELEMS) for s in slots])
    quarter = n.constant([1 << s.bits >> 2 for s in slots])
    saturated, largest = (n.node("Gather", "stats", n.constant(i), axis=1) for i in (0, 1))
    down = n.node("And", n.node("Greater", largest, 0), n.node("Less", largest, quarter))
    move = n.where(n.node("Greater", saturated, elements), 1, n.where(down, -1, 0))
    limited = n.clip(n.node("Add", "exps", move), -EXP_LIMIT, EXP_LIMIT)
    return n.where(_ended(n, slots), limited, "exps")


def _halve(n: Integers, s: StateTensor, number: int, exps: dict[str, str], bits: dict[str, int]) -> None:
    """w becomes (w + random bit) >> 1, and its exponent one more, if too many weights are at their limit."""
    t = s.type
    assert t.exp is not None
    name, slot = s.name.removeprefix("@"), t.exp.slots[0]
    weights = n.cast(n.graph.input(name, t.dtype, t.shape), "i32")
    draw = n.graph.input(f"halve{number}", "i32", t.shape)
    limit = (1 << bits[slot]) - 1 if len(t.exp.slots) == 1 and t.exp.const == 0 else LIMIT[t.dtype]
    at_limit = n.cast(n.node("Equal", n.node("Abs", weights), limit, held="i32"), "i64")
    often = n.node("Greater", n.node("Mul", n.node("ReduceSum", at_limit, keepdims=0), PERCENT), t.size)
    room = n.node("Less", exps[slot], EXP_LIMIT)
    change = n.node("And", n.node("And", often, _every(n, HALVE_EVERY)), room)
    bit = n.node("Div", draw, 1 << 15, held="i32")
    half = n.node("Div", n.node("Add", n.node("Add", weights, bit), 1 << 16, held="i32"), 2, held="i32")
    halved = n.node("Sub", half, 1 << 15, held="i32")
    n.graph.output(n.cast(n.node("Where", change, halved, weights), t.dtype), f"{name}.next", t.dtype, t.shape)
    exps[slot] = n.node("Add", exps[slot], n.cast(change, "i64"))
