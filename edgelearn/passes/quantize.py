"""quantize: a float module becomes an integer module. No rule has a line for this; int-lowering.md has the trial behind each choice.

Values are narrowed where they are used: an op's ``roles`` in the table say to what. A narrowed value gets an exponent: fixed, where its
range is bounded whatever the data (softmax, one-hot, sign and what is made of them), else a ``moving`` slot that starts at the largest
value seen on calibration samples. Weights get a slot of their own. The same expression in ``learn`` and ``infer`` shares its slot.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Entry, Module, Op, Slot, State
from edgelearn.ir.interp import EXP_LIMIT, Interpreter, initial
from edgelearn.ir.ops import OPS
from edgelearn.ir.ops.draws import NORMAL_BOUND
from edgelearn.ir.types import BYTES, Exp, Type, exponent_for
from edgelearn.passes.simplify import dce

KIND = {"act": "i8", "vec": "i16"}
BITS = {"i8": 7, "i16": 15}
BIAS_EXP = -13  # a zero vector in state: 16 bits, range +-4
ZERO_MATRIX_HEADROOM = 4  # a zero matrix starts at 2^4 times the largest first update
CALIBRATION_SAMPLES = 200
MAX_RATE_LOG2 = 24
MAX_ELEMS = 65534  # more saturated ones than that are not counted
WIDE_BITS = 12  # of an int16 weight: what int-lowering.md found to be as good as floats


@dataclass(frozen=True)
class Calibration:
    """Where first exponents come from: samples ``x`` (N, inputs) with classes ``y`` (N,), and ``seed`` of the first weights."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    seed: int = 0
    values: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # of states that do not start from the seed
    exps: Mapping[str, int] = field(default_factory=dict)  # and their exponents, where those are known

    def first(self, s: State) -> NDArray[np.float32] | None:
        """What ``s`` starts with, None: zeros."""
        if s.name in self.values:
            return self.values[s.name]
        return None if s.init.kind == "zeros" else initial(s, self.seed, "f32", 0)


def input_exponent(x: NDArray[np.float32]) -> int:
    """Exponent at which the inputs fit int8; the maximum itself may saturate by one unit."""
    return exponent_for(float(np.abs(x).max()), 7)


def quantize_input(x: NDArray[np.floating[Any]], exponent: int) -> NDArray[np.int8]:
    """Real inputs to int8 units of 2**exponent: nearest, half away from zero, saturated to +-127."""
    q = np.asarray(x, np.float64) * 2.0**-exponent
    return np.clip(np.trunc(q + np.copysign(0.5, q)), -127, 127).astype(np.int8)


def nearest_power_of_two(rate: float) -> int:
    """log2 of the power of two nearest to ``rate`` (in the logarithm)."""
    return round(math.log2(rate))


def quantize(module: Module, calibration: Calibration, storage: Mapping[str, int] | None = None) -> Module:
    """The integer module. ``storage`` says how many bits, without sign, weights (``b0.W``) have that are not int8."""
    state, slots = _quantize_state(module, storage or {}, calibration)
    maxima = _observe_maxima(module, calibration)
    lowering = _Lowering(state, slots, maxima, input_exponent(calibration.x))
    entries = tuple(lowering.entry(e) for e in module.entries)
    lowered = replace(module, state=tuple(state.values()), entries=entries, slots=tuple(lowering.slots.values()))
    return dce(lowered).with_attrs(dtype="int8")


def _quantize_state(
    module: Module, storage: Mapping[str, int], calibration: Calibration
) -> tuple[dict[str, State], dict[str, Slot]]:
    state, slots = {}, {}
    rates = {op.args[0]: op.number("rate") for op in module.entry("learn").ops if "rate" in dict(op.attrs)}
    for s in module.state:
        bits = BITS["i16"] if len(s.type.shape) == 1 else storage.get(s.name[1:], BITS["i8"])
        start = _first_exponent(s, bits, calibration, rates.get(s.name, 1.0))
        slot = Slot(s.name[1:], "weight", start, bits)
        slots[slot.name] = slot
        state[s.name] = replace(s, type=Type("i8" if bits <= BITS["i8"] else "i16", s.type.shape, Exp(0, (slot.name,))))
    return state, slots


def _first_exponent(s: State, bits: int, calibration: Calibration, rate: float) -> int:
    """No headroom: weights can only move up, so they start low."""
    if s.name in calibration.exps:
        return calibration.exps[s.name]
    if s.name in calibration.values and calibration.values[s.name].any():
        return settled_exponent(calibration.values[s.name], bits)
    first = calibration.first(s)
    if first is not None and first.any():
        return exponent_for(float(np.abs(first).max()), bits)
    if len(s.type.shape) == 1:
        return BIAS_EXP
    return nearest_power_of_two(rate or 1.0) + ZERO_MATRIX_HEADROOM - bits


def settled_exponent(values: NDArray[np.float32], bits: int) -> int:
    """The lowest exponent at which no value saturates and not so many sit at the limit that a board would halve them."""
    exponent = max(exponent_for(float(np.abs(values).max()), bits), -EXP_LIMIT)
    units, limit = np.floor(np.ldexp(np.abs(values), -exponent) + 0.5), (1 << bits) - 1
    crowded = units.max() > limit or int((units == limit).sum()) * 100 > values.size
    return min(exponent + crowded, EXP_LIMIT)


def storage_bits(module: Module, chosen: Mapping[str, int]) -> dict[str, int]:
    """Bits of the weights that are not int8: what was chosen, else 12 for convolution kernels that are a small part of the state.

    More bits than the exact sums of a layer leave room for are not given.
    """
    sizes = {s.name: s.type.size for s in module.state if len(s.type.shape) > 1}
    found = {}
    for s in module.state:
        if s.name not in sizes:
            continue
        small = len(s.type.shape) > 2 and 8 * s.type.size <= sum(sizes.values())
        bits = chosen.get(s.name[1:], 0) or (WIDE_BITS if small else BITS["i8"])
        room = 22 - math.ceil(
            math.log2(math.prod(s.type.shape[1:]) if len(s.type.shape) != 3 else s.type.shape[0] ** 2)
        )
        if (bits := min(bits, max(room, BITS["i8"]))) > BITS["i8"]:
            found[s.name[1:]] = bits
    return found


def _observe_maxima(module: Module, calibration: Calibration) -> dict[tuple[object, ...], float]:
    """Largest magnitude of every value of ``learn`` and ``infer`` in the untrained float net, by its expression."""
    maxima: dict[tuple[object, ...], float] = {}
    for entry in module.entries:
        keys = _expressions(entry)
        net = Interpreter(module, calibration.seed)
        net.state.update(calibration.values)

        def observe(op: Op, result: Any, keys: dict[str, tuple[object, ...]] = keys) -> None:
            if op.result is not None:
                key = keys[op.result]
                maxima[key] = max(maxima.get(key, 0.0), float(np.abs(result).max()))

        net.observe = observe
        frozen = replace(entry, ops=tuple(op for op in entry.ops if not OPS[op.name].update))
        for x, y in zip(calibration.x[:CALIBRATION_SAMPLES], calibration.y[:CALIBRATION_SAMPLES], strict=True):
            net._run(frozen, [x.reshape(-1), np.array([y])][: len(entry.params)], count=False)
    return maxima


def _expressions(entry: Entry) -> dict[str, tuple[object, ...]]:
    """What each value is, so that equal ones share an exponent: in ``learn`` and ``infer``, at all moments, in all views of a sample.

    What a state makes is known by the state, whatever it was applied to; what lies over a sample (its label) changes nothing. Otherwise
    a prediction could need an exponent that nothing in ``learn`` moves.
    """
    keys: dict[str, tuple[object, ...]] = {name: (name,) for name, _ in entry.params}
    for op in entry.ops:
        if op.result is None:
            continue
        states = tuple(a for a in op.args if a.startswith("@"))
        args = states or (op.args[:1] if op.name == "overlay" else op.args)
        attrs = () if op.name == "slice" else tuple(pair for pair in op.attrs if pair[0] != "id")
        keys[op.result] = (op.name, attrs, *(keys.get(a, (a,)) for a in args))
    return keys


class _Lowering:
    """Rewrites entries to integers; holds the slots made so far."""

    def __init__(
        self, state: dict[str, State], slots: dict[str, Slot], maxima: Mapping[tuple[object, ...], float], e_x: int
    ) -> None:
        self.state, self.slots, self.maxima, self.e_x = state, slots, maxima, e_x
        self.by_key: dict[tuple[object, ...], str] = {}

    def entry(self, entry: Entry) -> Entry:
        self.keys = _expressions(entry)
        self.learning = entry.name == "learn"
        self.seen: Counter[tuple[object, ...]] = Counter()
        self.known = {s.name: s.type for s in self.state.values()}
        self.bounds: dict[str, float] = {}
        self.reach: dict[str, float] = {}
        self.narrowed: dict[tuple[str, str], str] = {}
        self.ops: list[Op] = []
        params = tuple((name, self._param(name, type)) for name, type in entry.params)
        self.known.update(params)
        for op in entry.ops:
            self._lower(op)
        return replace(entry, params=params, ops=tuple(self.ops))

    def _param(self, name: str, type: Type) -> Type:
        return Type("i32", type.shape, Exp(0)) if name == "%y" else Type("i8", type.shape, Exp(self.e_x))

    def _lower(self, op: Op) -> None:
        row = OPS[op.name]
        args = tuple(self._narrow(a, role) for a, role in zip(op.args, row.roles, strict=True))
        op = replace(op, args=args)
        if row.update:
            self.ops.append(op.with_attrs(rate_log2=_rate_exponent(op)))
            return
        assert op.result is not None and op.type is not None
        types = [self.known[a] for a in args]
        self.ops.append(replace(op, type=self._natural(op, types)))
        self.known[op.result] = self.ops[-1].type or op.type
        self._bound(op)

    def _natural(self, op: Op, types: list[Type]) -> Type:
        row = OPS[op.name]
        dtype = types[0].dtype if row.narrow == "same" else {"acc": "i32"}.get(row.narrow, row.narrow)
        exp = row.exp([t.exp or Exp() for t in types], op)
        assert op.type is not None and op.result is not None
        if exp is None:
            exp = Exp(0, (self._new_slot(f"e{op.result[1:]}", self._occurrence(op.result), "computed", 0, 0, 0),))
        return Type(dtype, op.type.shape, exp)

    def _occurrence(self, name: str) -> tuple[object, ...]:
        """A key for each time that an entry computes an expression: an earlier value may outlive a later one's exponent."""
        key = self.keys[name]
        self.seen[key] += 1
        return ("computed", self.seen[key], *key)

    def _bound(self, op: Op) -> None:
        """Interval arithmetic: the largest magnitude that the op's result can have, if that does not depend on data."""
        assert op.result is not None
        wide = {result: name for (name, _), result in self.narrowed.items()}
        args = [wide.get(a, a) for a in op.args]
        inner = [self.bounds.get(a) for a in args]  # a state has no bound
        match op.name:
            case "softmax" | "one_hot" | "sign" | "gt0" | "sub_one_hot" | "tanh" | "sigmoid":
                bound: float | None = 1.0
            case "const":
                bound = abs(op.number("value"))
            case "noise":
                bound = NORMAL_BOUND if op.attr("kind") == "normal" else 1.0
            case "relu" | "leaky_relu" | "abs" | "gate" | "mask" | "mean" | "max" | "slice":
                bound = inner[0]
            case "minimum" | "maximum" | "overlay":
                bound = None if None in inner else max(b for b in inner if b is not None)
            case "where" | "clip":  # of a clipped value only the limits count
                bound = None if None in inner[1:] else max(b for b in inner[1:] if b is not None)
            case "signs" if self._is_distribution(args[0]):
                bound = 1.0
            case "add" | "sub":
                bound = None if None in inner else sum(b for b in inner if b is not None)
            case "mul":
                self._reach(op.result, args, inner)
                bound = None if None in inner else math.prod(b for b in inner if b is not None)
            case "scale":
                bound = None if inner[0] is None else inner[0] * abs(op.number("k"))
            case _:
                bound = None
        if bound is not None:
            self.bounds[op.result] = bound

    def _reach(self, result: str, args: list[str], inner: list[float | None]) -> None:
        """How large a product may get of which one factor is bounded: that factor may be near 0 only as long as nothing is learnt."""
        for bound, other, free in ((inner[0], args[1], inner[1]), (inner[1], args[0], inner[0])):
            if bound is not None and free is None and other in self.keys:
                self.reach[result] = bound * self.maxima.get(self.keys[other], 0.0)

    def _is_distribution(self, name: str) -> bool:
        """Are these the chances of classes? A sum of them, whatever their signs, is within +-1."""
        return any(op.result == name and op.name in ("softmax", "one_hot") for op in self.ops)

    def _narrow(self, name: str, role: str) -> str:
        """The value ``name`` as ``role`` wants it; inserts a quant op at its first such use."""
        dtype = KIND.get(role)
        type = self.known[name]
        if dtype is None or BYTES[type.dtype] <= BYTES[dtype]:
            return name
        if (name, dtype) not in self.narrowed:
            result = f"{name}{'a' if dtype == 'i8' else 'v'}"
            exp = self._narrow_exp(name, dtype, type)
            self._count(exp, type.size)
            self.ops.append(Op("quant", (name,), (), result, Type(dtype, type.shape, exp)))
            self.known[result] = Type(dtype, type.shape, exp)
            self.narrowed[name, dtype] = result
        return self.narrowed[name, dtype]

    def _count(self, exp: Exp, size: int) -> None:
        """A moving exponent watches every value that shares it, in each step: that many elements."""
        slot = self.slots[exp.slots[0]] if len(exp.slots) == 1 else None
        if slot is not None and slot.kind == "moving" and self.learning:
            self.slots[slot.name] = replace(slot, elems=min(slot.elems + size, MAX_ELEMS))

    def _narrow_exp(self, name: str, dtype: str, type: Type) -> Exp:
        bits = BITS[dtype]
        if name in self.bounds:
            return Exp(exponent_for(self.bounds[name], bits))
        if name not in self.keys:
            problem = f"The state {name[1:]} has 16 bits, and is read where 8 are: as a mask, in a dot product or by a matrix."
            raise ConfigError(problem, "Compute something with it first, as in s.b + x; or learn in f32.")
        key = self.keys[name]
        largest = max(self.maxima.get(key, 1.0), self.reach.get(name, 0.0))
        if not math.isfinite(largest):
            hint = "Scale the samples down, or the weights that it starts with."
            raise ConfigError("The untrained net overflows on the first samples.", hint)
        start = min(max(exponent_for(largest, bits), -EXP_LIMIT), EXP_LIMIT)
        return Exp(0, (self._new_slot(f"{dtype}{name.replace('%', '_')}", (dtype, *key), "moving", start, bits, 0),))

    def _new_slot(self, label: str, key: tuple[object, ...], kind: str, start: int, bits: int, elems: int) -> str:
        if key not in self.by_key:
            while label in self.slots:
                label += "i"
            self.slots[label] = Slot(label, kind, start, bits, elems)
            self.by_key[key] = label
        return self.by_key[key]


def _rate_exponent(op: Op) -> int:
    log2 = nearest_power_of_two(op.number("rate"))
    if abs(log2) > MAX_RATE_LOG2:
        where = f"{op.loc.file}:{op.loc.line}: " if op.loc else ""
        hint = f"Choose one between 2^-{MAX_RATE_LOG2} and 2^{MAX_RATE_LOG2}; 0 freezes the state."
        raise ConfigError(f"{where}A rate of {op.number('rate'):g} is beyond what int8 can learn with.", hint)
    return log2


def check_rates(module: Module) -> list[str]:
    """Sentences for rates that integers had to move to a power of two: one for each rate, with all that learns at it."""
    moved: dict[str, list[str]] = {}
    for op in module.entry("learn").ops:
        if "rate_log2" in dict(op.attrs):
            log2, rate = int(op.number("rate_log2")), op.number("rate")
            if 2.0**log2 != rate:
                moved.setdefault(f"rate {rate:g} becomes 2^{log2} = {2.0**log2:g}", []).append(op.args[0][1:])
    return [f"{', '.join(dict.fromkeys(names))}: {change}" for change, names in moved.items()]


def check_watched(module: Module) -> list[str]:
    """A sentence for each value that ``predict`` narrows and ``step`` does not compute: nothing moves its exponent while training."""
    narrowed = {
        e.name: {op.type.exp.slots[0]: op for op in e.ops if op.type and op.type.exp and op.type.exp.slots}
        for e in module.entries
    }
    moving = {s.name for s in module.slots if s.kind == "moving"}
    places = {op.result: op.loc for op in module.entry("infer").ops}
    found = []
    for slot, op in narrowed["infer"].items():
        if slot in moving and slot not in narrowed["learn"]:
            loc = op.loc or places.get(op.args[0])  # a quant op stands for what it narrows
            where = f" ({loc.file}:{loc.line})" if loc else ""
            found.append(
                f"predict needs the range of a value{where} that step never computes: it is the untrained network's"
            )
    return list(dict.fromkeys(found))


def check_limits(module: Module) -> None:
    """Refuses shapes whose exact sums do not fit 32 bits.

    Raises:
        ConfigError: naming the weight.
    """
    bits = {f"@{slot.name}": slot.bits for slot in module.slots}
    for entry in module.entries:
        types = module.types(entry)
        for op in entry.ops:
            row = OPS[op.name]
            if "W" not in row.roles or row.update:
                continue
            terms = _terms(op, types[op.args[0]].shape)
            if terms << (bits[op.args[0]] + BITS[types[op.args[1]].dtype]) >= 1 << 30:
                raise ConfigError(
                    f"{op.args[0][1:]} has too many terms ({terms}) for 32-bit sums.",
                    "Use a narrower layer, fewer bits for its weights, or dtype f32.",
                )


def _terms(op: Op, W: tuple[int, ...]) -> int:
    """How many products one exact sum has."""
    adjoint = op.name.partition("_")[2] in ("t", "t_mask")
    match len(W):
        case 2:
            return W[0] if adjoint else W[1]
        case 3:
            return W[0] * W[1]
        case _:
            return (W[0] if adjoint else W[3]) * W[1] * W[2]
