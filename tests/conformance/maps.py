"""Modules of feature maps built by hand, one block at a time, and the arena of the C core beside the interpreter's values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.host.native import NativeCore
from edgelearn.ir.core import Entry, Init, Module, Op, Place, Slot, State
from edgelearn.ir.interp import Interpreter
from edgelearn.ir.ops import OPS
from edgelearn.ir.types import NUMPY, Exp, Type
from edgelearn.ir.verify import verify
from edgelearn.passes.memory import arena_types, plan_memory
from edgelearn_export.plan import encode

CLASSES = 3
X_EXP = -5


@dataclass
class Maps:
    """Grows a module: ``weight`` and ``value`` add to it, ``module`` ends it. Values of ``learn`` and ``infer`` are the same."""

    dtype: str
    shape: tuple[int, ...]
    draw: np.random.Generator
    state: list[State] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    types: dict[str, Type] = field(default_factory=dict)
    updates: int = 0

    def __post_init__(self) -> None:
        self.types["%x"] = Type("f32", self.shape) if self.dtype == "f32" else Type("i8", self.shape, Exp(X_EXP))
        self.types["%y"] = Type("i32", (1,), Exp())

    def weight(self, name: str, shape: tuple[int, ...], bits: int = 7) -> str:
        """A state of random values, or in floats of random floats."""
        exp = None
        if self.dtype != "f32":
            start = -(bits if bits < 15 else 7) - int(self.draw.integers(0, 3))  # 0.4 is close to the limit, or at it
            self.slots.append(Slot(name, "weight", start, bits))
            exp = Exp(0, (name,))
        dtype = "f32" if exp is None else "i8" if bits <= 7 else "i16"
        self.state.append(State(f"@{name}", Type(dtype, shape, exp), Init("normal", 0.4, len(self.state))))
        self.types[f"@{name}"] = self.state[-1].type
        return f"@{name}"

    def value(self, name: str, args: tuple[str, ...], kind: str = "i32", **attrs: Any) -> str:
        """The result of an op in ``kind``: i32 is exact, i8 and i16 have a moving exponent."""
        op = Op(name, args, tuple(sorted(attrs.items())), f"%{len(self.ops)}")
        types = [self.types[a] for a in args]
        row = OPS[name]
        exp: Exp | None = None
        if self.dtype == "f32":
            kind = "i32" if name == "argmax" else "f32"
            exp = Exp() if name == "argmax" else None
        elif row.narrow == "same":
            kind, exp = types[0].dtype, types[0].exp
        elif row.narrow != "acc":
            kind, exp = row.narrow, row.exp([t.exp or Exp() for t in types], op)
        elif kind == "i32":
            exp = row.exp([t.exp or Exp() for t in types], op)
        else:
            slot = Slot(f"m{len(self.slots)}", "moving", int(self.draw.integers(-9, -4)), 7 if kind == "i8" else 15)
            self.slots.append(replace(slot, elems=2))
            exp = Exp(0, (slot.name,))
        assert op.result is not None
        self.types[op.result] = Type(kind, row.shape([t.shape for t in types], op), exp)
        self.ops.append(replace(op, type=self.types[op.result]))
        return op.result

    def update(self, name: str, args: tuple[str, ...], **attrs: Any) -> None:
        log2 = int(self.draw.integers(-9, -4))
        sign = 1 if self.draw.random() < 0.5 else -1
        op = Op(name, args).with_attrs(id=self.updates, rate=2.0**log2, sign=sign, **attrs)
        self.ops.append(op if self.dtype == "f32" else op.with_attrs(rate_log2=log2))
        self.updates += 1

    def feed(self) -> None:
        """Lets the state depend on every narrowed value so far: what a board computes is then seen in its state."""
        for op in [op for op in self.ops if op.type is not None and op.type.dtype in ("i8", "i16")]:
            assert op.result is not None and op.type is not None
            c = self.weight(f"c{len(self.state)}", op.type.shape[-1:], 15)
            self.update("vec_update", (c, op.result))

    def error(self, shape: tuple[int, ...], name: str = "E") -> str:
        """An error of this shape, made of a state and the label, in 16 bits; half of its elements are zero."""
        of = self.weight(name, shape, 15)
        if self.dtype == "f32":
            return self.value("relu", (of,))
        one = self.value("quant", (self.value("one_hot", ("%y",), classes=1),), "i16")
        return self.value("relu", (self.value("mul", (of, one), "i16"),))

    def module(self) -> Module:
        """Ends in a guess. ``infer`` is the least that a plan needs."""
        guess = self.value("argmax", ("%x",))
        learn = Entry("learn", (("%x", self.types["%x"]), ("%y", self.types["%y"])), tuple(self.ops), guess)
        last = replace(self.ops[-1], result="%0")
        infer = Entry("infer", (("%x", self.types["%x"]),), (last,), "%0")
        attrs = (("classes", CLASSES), ("drops", "2 3"), ("dtype", self.dtype))
        return verify(Module("maps", attrs, tuple(self.state), (learn, infer), tuple(self.slots)))

    def sample(self) -> NDArray[Any]:
        if self.dtype == "f32":
            return self.draw.normal(size=self.shape).astype(np.float32)
        x = self.draw.integers(-127, 128, self.shape) * (self.draw.random(self.shape) < 0.7)
        return x.astype(np.int8)


def spread_out(module: Module) -> Module:
    """Planned memory in which no value takes the place of another, so that all can be read after a step."""
    planned = plan_memory(module)
    places, end = [p for p in planned.places if p.region == "state"], 0
    for entry in module.entries:
        at = 0
        for name, type in arena_types(module, entry).items():
            places.append(Place(entry.name, name, "arena", at))
            at += -(-type.nbytes // 4) * 4
        end = max(end, at)
    return replace(planned, places=tuple(places)).with_attrs(arena_bytes=end)


@dataclass
class Pair:
    """The C core and the interpreter with the same module, seed and samples."""

    module: Module
    seed: int = 1
    step: int = 0  # where to start from

    def __post_init__(self) -> None:
        m = self.module
        self.core = NativeCore(encode(m), m.integer("state_bytes"), m.integer("arena_bytes"), self.seed)
        self.twin = Interpreter(m, self.seed)
        self.values: dict[str, NDArray[Any]] = {}
        assert m.dtype == "f32" or self.core.read_state() == state.encode(self.twin)
        self.twin.step = self.step
        self.core.write_state(state.encode(self.twin))

    def learn(self, x: NDArray[Any], label: int) -> None:
        """One step of both; the interpreter's values are kept."""
        said = self.core.learn(x.reshape(1, -1), np.array([label]), np.array([0]))
        entry = self.module.entry("learn")
        types = self.module.types(entry)
        self.values = {"%x": x.reshape(types["%x"].shape), "%y": np.array([label], np.int32)}
        for op in entry.ops:
            self.twin._run_op(op, self.values, types, count=True)
        self.twin.step += 1
        self.twin.rescale()
        assert said[0] == self.values[entry.result or ""][0]

    def arena(self, name: str) -> NDArray[Any]:
        """What the core has at the place of a value of ``learn``."""
        types = arena_types(self.module, self.module.entry("learn"))
        (place,) = (p for p in self.module.places if (p.entry, p.value) == ("learn", name))
        start = int(self.core._context.view(np.uintp)[3]) - self.core._pool.ctypes.data  # el_t.arena
        raw = self.core._pool[start + place.offset :][: types[name].nbytes]
        return raw.view(NUMPY[types[name].dtype]).reshape(types[name].shape)

    def agree(self) -> None:
        """Every value and the whole state: integers are equal, floats to rounding."""
        for name, value in self.values.items():
            found = self.arena(name)
            if found.dtype == np.float32:
                np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-5, err_msg=name)
            else:
                np.testing.assert_array_equal(found, value, err_msg=name)
        if self.module.dtype != "f32":
            assert self.core.read_state() == state.encode(self.twin)
            return
        found = state.decode(self.module, self.core.read_state())
        for name, value in self.twin.tensors().items():
            np.testing.assert_allclose(found.tensors[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
