"""The numpy interpreter: what a module *means*. Every other way to run it is tested against this one, integers bit for bit."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir import rng
from edgelearn.ir.core import Entry, Module, Op, Slot, State
from edgelearn.ir.ops import OPS, Draw, Q
from edgelearn.ir.types import LIMIT, NUMPY, Exp, Type, exponent_for, shift_round

RESCALE_EVERY = 256  # samples between two looks at the moving exponents
HALVE_EVERY = 1000  # samples between two looks at the weights
EXP_LIMIT = 40  # exponents stay within +-40
MAX_ELEMS = 65534  # a window counts up to 65535 saturated elements: of a larger value, fewer than 1/256 of them move its exponent


def initial(state: State, seed: int, dtype: str, exponent: int, limit: int | None = None) -> NDArray[Any]:
    """The first value of a state tensor; integers are in units of 2**exponent and within +-``limit``."""
    shape = state.type.shape
    if state.init.kind == "zeros":
        return np.zeros(shape, NUMPY[dtype])
    units = rng.normal_units(seed, state.init.stream, state.type.size).reshape(shape)
    if dtype == "f32":
        return (units.astype(np.float32) * np.float32(state.init.std / rng.NORMAL_STD)).astype(np.float32)
    multiplier, shift = normal_multiplier(state.init.std, exponent)
    limit = LIMIT[dtype] if limit is None else limit
    return np.clip(shift_round(units * multiplier, shift), -limit, limit).astype(NUMPY[dtype])


def _as_map(a: NDArray[Any], op: Op) -> NDArray[Any]:
    """A vector that goes element by element with a feature map takes its shape."""
    shape = op.type.shape if op.type is not None else ()
    return a.reshape(shape) if a.ndim == 1 and len(shape) == 3 and a.size == math.prod(shape) else a


def normal_multiplier(std: float, exponent: int) -> tuple[int, int]:
    """(m, s) such that round(units * m / 2^s) has standard deviation ``std`` in units of 2**exponent; m < 2^13."""
    scale = std / rng.NORMAL_STD * 2.0**-exponent
    shift = -exponent_for(scale, 13)
    return min(round(scale * 2.0**shift), (1 << 13) - 1), shift


@dataclass
class Interpreter:
    """Runs the entries of one module on its own copy of the state.

    Attributes:
        seed: of the first weights, and of all that is drawn later.
        step: samples learnt.
        state: tensors by name (``@b0.W``), as they are stored: integers in units of 2 to the power of their exponent, or float32.
        exps: exponents by slot.
        stats: of each slot's window, how many elements saturated, and the largest magnitude.
        observe: called with (op, float result) for every op of an f32 module: calibration listens there.
    """

    module: Module
    seed: int = 0
    step: int = 0
    state: dict[str, NDArray[Any]] = field(default_factory=dict)
    exps: dict[str, int] = field(default_factory=dict)
    stats: dict[str, list[int]] = field(default_factory=dict)  # slot -> [saturated, maximum] of this window
    moves: dict[str, int] = field(default_factory=dict)
    observe: Any = None

    def __post_init__(self) -> None:
        self.exps = {s.name: s.start for s in self.module.slots}
        self.stats = {s.name: [0, 0] for s in self.module.slots}
        self.moves = {s.name: 0 for s in self.module.slots}
        for s in self.module.state:
            limit = self.limit(s.type) if s.type.is_int else None
            self.state[s.name] = initial(s, self.seed, s.type.dtype, self.exponent(s.type.exp), limit)

    def exponent(self, exp: Exp | None) -> int:
        """The exponent now: its constant plus its slots."""
        return 0 if exp is None else exp.const + sum(self.exps[s] for s in exp.slots)

    def limit(self, weight: Type) -> int:
        """The largest magnitude of an integer weight: its slot says how many bits it has."""
        assert weight.exp is not None
        slot = self._slot(weight.exp)
        return LIMIT[weight.dtype] if slot is None else (1 << slot.bits) - 1

    def infer(self, x: NDArray[Any]) -> int:
        """The class of one sample, given as the entry's own numbers (int8 units or floats)."""
        result = self._run(self.module.entry("infer"), [x], count=False)
        return int(np.asarray(result).reshape(-1)[0])

    def scores(self, x: NDArray[Any]) -> NDArray[Any] | None:
        """What the prediction's argmax reads: floats, or exact integers. None if the prediction does not end with one."""
        entry = self.module.entry("infer")
        last = next((op for op in entry.ops if op.result == entry.result), None)
        if last is None or last.name != "argmax":
            return None
        before = replace(entry, ops=entry.ops[: entry.ops.index(last)], result=last.args[0])
        found = self._run(before, [x], count=False)
        return None if found is None else found.reshape(-1)

    def learn(self, x: NDArray[Any], label: int) -> int | None:
        """One training step; returns what the network said before it, if the rule computes that."""
        result = self._run(self.module.entry("learn"), [x, np.array([label])], count=True)
        self.step += 1
        self.rescale()
        return None if result is None else int(np.asarray(result).reshape(-1)[0])

    def drops(self) -> int:
        """How often the rate has halved so far."""
        return sum(self.step >= t for t in self.module.drops)

    # --- one entry ----------------------------------------------------------------------------------------------------------------

    def _run(self, entry: Entry, inputs: list[NDArray[Any]], count: bool) -> NDArray[Any] | None:
        values: dict[str, NDArray[Any]] = {}
        types = self.module.types(entry)
        for (name, type), x in zip(entry.params, inputs, strict=True):
            values[name] = np.asarray(x).reshape(type.shape).astype(NUMPY[type.dtype])
        for op in entry.ops:
            self._run_op(op, values, types, count)
        return values.get(entry.result or "")

    def _run_op(self, op: Op, values: dict[str, NDArray[Any]], types: dict[str, Type], count: bool) -> None:
        args = [_as_map(self.state[a] if a.startswith("@") else values[a], op) for a in op.args]
        if self.module.dtype == "f32":
            result = self._float(op, args)
        else:
            exact = [Q(a.astype(np.int64), self.exponent(types[n].exp)) for a, n in zip(args, op.args, strict=True)]
            result = self._integer(op, exact, types, count)
        if OPS[op.name].update:
            self.state[op.args[0]] = result
        elif op.result is not None:
            values[op.result] = result

    def _float(self, op: Op, args: list[NDArray[Any]]) -> NDArray[Any]:
        row = OPS[op.name]
        if row.update:
            return row.f32(op, *args, self.drops()).astype(np.float32)
        result = row.f32(op, *args, *self._chance(op))
        if self.observe is not None:
            self.observe(op, result)
        return result if op.type is not None and op.type.is_int else result.astype(np.float32)

    def _chance(self, op: Op) -> tuple[Draw, ...]:
        """What an op that draws needs besides its operands."""
        return (Draw(self.seed, self.step, self.drops()),) if OPS[op.name].draws else ()

    def _integer(self, op: Op, args: list[Q], types: dict[str, Type], count: bool) -> NDArray[Any]:
        row = OPS[op.name]
        if row.update:
            weight = types[op.args[0]]
            draw = Draw(self.seed, self.step, self.drops())
            return row.i32(op, *args, draw, self.limit(weight)).q.astype(NUMPY[weight.dtype])
        exact = row.i32(op, *args, *self._chance(op))
        assert op.type is not None and op.type.exp is not None
        slot = self._slot(op.type.exp)
        if slot is not None and slot.kind == "computed":
            self.exps[slot.name] = exact.e
        narrowed = row.narrow == "acc" and op.type.dtype != "i32"
        return self._narrow(exact, op.type, slot if narrowed else None, count)

    def _slot(self, exp: Exp) -> Slot | None:
        return next((s for s in self.module.slots if exp.slots == (s.name,) and exp.const == 0), None)

    def _narrow(self, exact: Q, type: Type, slot: Slot | None, count: bool) -> NDArray[Any]:
        """Brings an exact result to the unit and width of its type; counts saturation for the moving exponents."""
        q = shift_round(exact.q, self.exponent(type.exp) - exact.e)
        limit = LIMIT[type.dtype]
        if count and slot is not None and slot.kind == "moving":
            stat = self.stats[slot.name]
            stat[0] = min(stat[0] + int((np.abs(q) > limit).sum()), 65535)
            stat[1] = max(stat[1], min(int(np.abs(q).max()), limit))
        return np.clip(q, -limit, limit).astype(NUMPY[type.dtype])

    # --- moving exponents -----------------------------------------------------------------------------------------------------------

    def rescale(self) -> None:
        """The entry outside the step: moves exponents and halves weights when it is time (ARCHITECTURE.md, "Exponents")."""
        if self.step % RESCALE_EVERY == 0:
            for slot in self.module.slots:
                if slot.kind == "moving":
                    self._move(slot)
        if self.step % HALVE_EVERY == 0:
            for number, state in enumerate(self.module.state):
                if state.type.is_int:
                    self._halve(state, number)

    def _move(self, slot: Slot) -> None:
        saturated, maximum = self.stats[slot.name]
        up = saturated > min(slot.elems, MAX_ELEMS)  # more than 1/256 of the elements of 256 samples
        down = 0 < maximum < 1 << slot.bits >> 2  # a window without any value tells nothing
        move = 1 if up else -1 if down else 0
        self.exps[slot.name] = min(max(self.exps[slot.name] + move, -EXP_LIMIT), EXP_LIMIT)
        self.moves[slot.name] += abs(move)
        self.stats[slot.name] = [0, 0]

    def _halve(self, state: State, number: int) -> None:
        q = self.state[state.name].astype(np.int64)
        limit = self.limit(state.type)
        assert state.type.exp is not None
        slot = state.type.exp.slots[0]
        if int((np.abs(q) == limit).sum()) * 100 <= q.size or self.exps[slot] >= EXP_LIMIT:
            return
        bits = rng.dither(self.seed, self.step, number + rng.HALVE, 1, q.size).reshape(q.shape) >> 15
        self.state[state.name] = (q + bits >> 1).astype(NUMPY[state.type.dtype])
        self.exps[slot] += 1
        self.moves[slot] += 1

    # --- identity -------------------------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The state's tensors in order of declaration, as they are stored."""
        return {s.name: self.state[s.name] for s in self.module.state}

    def sha256(self) -> str:
        """Hash of the logical state: the same on every board that learnt the same."""
        exps = [self.exps[s.name] for s in self.module.slots if s.kind in ("weight", "moving")]
        return state_sha256(self.tensors(), exps, self.step)


def state_sha256(tensors: dict[str, NDArray[Any]], exps: list[int], step: int) -> str:
    """SHA-256 over the tensors in declaration order (row-major, little-endian, unpadded), the exponents (i8) and the step (u32)."""
    digest = hashlib.sha256()
    for q in tensors.values():
        digest.update(np.ascontiguousarray(q, q.dtype.newbyteorder("<")).tobytes())
    digest.update(np.array(exps, np.int8).tobytes())
    digest.update(np.uint32(step).astype("<u4").tobytes())
    return digest.hexdigest()
