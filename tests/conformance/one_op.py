"""A module around one op, run by the C core and by the interpreter: what does each make of the same operands?"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.host.native import NativeCore
from edgelearn.ir.core import Attr, Entry, Init, Module, Op, Slot, State
from edgelearn.ir.interp import Interpreter
from edgelearn.ir.ops import OPS, result_shape
from edgelearn.ir.types import LIMIT, NUMPY, Exp, Type
from edgelearn.ir.verify import verify
from edgelearn.passes.memory import plan_memory
from edgelearn_export.plan import encode

Array = NDArray[Any]
KINDS = {"b": "i8", "h": "i16", "w": "i16", "f": "f32"}  # of the states that an operand is made of; w is their product
INPUTS = 4


def _state(name: str, kind: str, shape: tuple[int, ...]) -> State:
    dtype = KINDS[kind]
    exp = None if dtype == "f32" else Exp(0, (name,))
    return State(f"@{name}", Type(dtype, shape, exp), Init("zeros"))


def _operand(i: int, kind: str, shape: tuple[int, ...]) -> tuple[list[State], list[Op], str, Type]:
    one = _state(f"t.a{i}", kind, shape)
    if kind != "w":
        return [one], [], one.name, one.type
    two = _state(f"t.b{i}", kind, shape)
    wide = Type("i32", shape, Exp(0, (one.name[1:], two.name[1:])))
    return [one, two], [Op("mul", (one.name, two.name), (), f"%m{i}", wide)], f"%m{i}", wide


def _result(op: Op, types: list[Type], floats: bool) -> tuple[Type, tuple[Slot, ...]]:
    """What quantize gives the op, and its slot where it sets one."""
    shape, row = result_shape(op, types), OPS[op.name]
    if op.name == "sample":
        return Type("i32", shape, Exp(0)), ()
    if floats:
        return Type("f32", shape), ()
    exp = row.exp([t.exp or Exp() for t in types], replace(op, type=Type("f32", shape)))
    dtype = types[0].dtype if row.narrow == "same" else {"acc": "i32"}.get(row.narrow, row.narrow)
    return Type(dtype, shape, exp or Exp(0, ("e",))), () if exp else (Slot("e", "computed"),)


@dataclass
class OneOp:
    """``name`` on operands of ``kinds`` and ``shapes``; what it gives is read where it lies in the arena."""

    name: str
    kinds: str
    shapes: tuple[tuple[int, ...], ...]
    attrs: dict[str, Attr]
    floats: bool = False
    narrow: str = ""  # the dtype of the result, where the pass of that name makes it less than exact
    seed: int = 5

    def __post_init__(self) -> None:
        parts = [_operand(i, kind, shape) for i, (kind, shape) in enumerate(zip(self.kinds, self.shapes, strict=True))]
        states = tuple(s for part in parts for s in part[0]) or (_state("t.a", "f" if self.floats else "h", (2,)),)
        op = Op(self.name, tuple(p[2] for p in parts), tuple(sorted(self.attrs.items())), "%r")
        self.type, own = _result(op, [p[3] for p in parts], self.floats)
        if self.narrow:
            self.type, own = Type(self.narrow, self.type.shape, Exp(0, ("m",))), (Slot("m", "moving", -8, 7),)
        ops = (*(o for p in parts for o in p[1]), replace(op, type=self.type))
        self.module = plan_memory(verify(self._module(states, ops, own)))
        self.plan = encode(self.module)
        sizes = self.module.integer("state_bytes"), self.module.integer("arena_bytes")
        self.core = NativeCore(self.plan, *sizes, self.seed)
        self.twin = Interpreter(self.module, self.seed)

    def _module(self, states: tuple[State, ...], ops: tuple[Op, ...], own: tuple[Slot, ...]) -> Module:
        slots = tuple(Slot(s.name[1:], "weight", 0, 7 if s.type.dtype == "i8" else 15) for s in states if s.type.exp)
        x = Type("f32", (INPUTS,)) if self.floats else Type("i8", (INPUTS,), Exp(-7))
        label = Type("i32", (1,), Exp(0))
        answer = Op("argmax", ("%r",), (), "%out", label)  # an entry ends in a class
        ends = (ops, "%r") if self.name == "sample" else ((*ops, answer), "%out")
        entries = Entry("learn", (("%x", x), ("%y", label)), ()), Entry("infer", (("%x", x),), *ends)
        attrs = (("classes", 2), ("drops", ""), ("dtype", "f32" if self.floats else "int8"))
        return Module("one", attrs, states, entries, (*slots, *own))

    def fill(self, draw: np.random.Generator, exps: tuple[int, int] = (-24, 4)) -> None:
        """Operands of all sizes, with zeros and limits among them."""
        for s in self.module.state:
            bits = {"f32": 20, "i8": 7, "i16": 15}[s.type.dtype]
            values = draw.standard_normal(s.type.shape) * 2.0 ** draw.integers(0, bits + 1, s.type.shape)
            values[draw.random(s.type.shape) < 0.15] = 0
            if self.floats:
                self.twin.state[s.name] = (values * 2.0**-12).astype(np.float32)
                continue
            limit = LIMIT[s.type.dtype]
            values[draw.random(s.type.shape) < 0.05] = limit * draw.choice([-1, 1])
            self.twin.state[s.name] = np.clip(np.round(values), -limit, limit).astype(NUMPY[s.type.dtype])
            self.twin.exps[s.name[1:]] = int(draw.integers(exps[0], exps[1] + 1))

    def run(self, step: int = 0) -> tuple[Array, Array]:
        """(of the C core, of the interpreter), after having compared the exponents that they leave."""
        self.twin.step = step
        self.core.write_state(state.encode(self.twin))
        x = np.zeros((1, INPUTS), np.float32 if self.floats else np.int8)
        self.core.infer(x)
        entry = self.module.entry("infer")
        expected = self.twin._run(replace(entry, result="%r"), [x[0]], count=False)
        assert expected is not None
        found = state.decode(self.module, self.core.read_state())
        assert found.exps == self.twin.exps
        return self._arena(), np.asarray(expected)

    def _arena(self) -> Array:
        """The result, where the memory pass put it."""
        (offset,) = (p.offset for p in self.module.places if (p.entry, p.value) == ("infer", "%r"))
        arena = int(self.core._context[:64].view(np.uint64)[3])  # el_t: hal, plan, state, arena
        raw = ctypes.string_at(arena + offset, self.type.nbytes)
        return np.frombuffer(raw, NUMPY[self.type.dtype]).reshape(self.type.shape)
