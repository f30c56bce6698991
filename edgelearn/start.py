"""What a run begins with instead of its seed: the weights that another run has learnt, carried over by name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import layout as layouts
from edgelearn import state
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Init, Module, Slot, State
from edgelearn.ir.expressions import meanings
from edgelearn.ir.interp import EXP_LIMIT, Interpreter
from edgelearn.ir.types import NUMPY, Exp, Type
from edgelearn.layout import Layout
from edgelearn.passes.freeze import block_of
from edgelearn.state import Snapshot

SCHEMA = "edgelearn.start/1"
FILES = (".json", ".plan", ".state")  # of an export: any of them will do
MAX_MANIFEST = 16 << 20
_NOT_WEIGHTS = "Give a run's id, or a file that `edgelearn export RUN --format plan` wrote."


@dataclass(frozen=True)
class Start:
    """Learnt tensors and where they come from (``origin``, a few words). ``names`` are those that count, None: all.

    ``notes`` are for whoever trains on them.
    """

    origin: str
    layout: Layout
    raw: bytes
    names: frozenset[str] | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def snapshot(self) -> Snapshot:
        """Tensors and exponents.

        Raises:
            ConfigError: they cannot be what a board has learnt.
        """
        found = self.layout.decode(self.raw)
        for name, q in found.tensors.items():
            limit = (1 << self.layout.bits[name]) - 1 if name in self.layout.bits else np.inf
            if not np.isfinite(q).all() or np.abs(q.astype(np.float64)).max() > limit:
                raise ConfigError(
                    f"{self.origin}: {name[1:]} has values that are no weights: NaN, infinite or too large.",
                    "That training had diverged: start from another run.",
                )
        if any(abs(exp) > EXP_LIMIT for exp in found.exps.values()):
            raise ConfigError(f"{self.origin}: an exponent is beyond 2^{EXP_LIMIT}.", "Export the run anew.")
        return found

    @cached_property
    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tensors that count, as they are stored."""
        found = self.snapshot.tensors
        return {name: q for name, q in found.items() if self.names is None or name in self.names}

    @cached_property
    def values(self) -> dict[str, NDArray[np.float32]]:
        """The real numbers of the tensors that count."""
        return {name: np.ldexp(q.astype(np.float32), self.exponent(name)) for name, q in self.tensors.items()}

    def exponent(self, name: str) -> int:
        """Of the tensor ``name``; 0 for floats."""
        return self.snapshot.exps.get(name[1:], 0)

    @cached_property
    def moving(self) -> dict[str, int]:
        """Moving exponents by what they are the exponents of."""
        return {value: self.snapshot.exps[slot] for slot, value in self.layout.values.items()}

    def to_bytes(self) -> bytes:
        """What a run keeps: a line of JSON, then the state's bytes."""
        head = {"schema": SCHEMA, "origin": self.origin, "sha256": hashlib.sha256(self.raw).hexdigest()}
        return json.dumps({**head, **self.layout.as_dict()}).encode() + b"\n" + self.raw


def of_values(
    origin: str, values: Mapping[str, NDArray[np.float32]], classes: int = 0, notes: tuple[str, ...] = ()
) -> Start:
    """A start from real numbers by state name (``@b0.W``)."""
    states = tuple(State(name, Type("f32", v.shape), Init("zeros")) for name, v in values.items())
    layout = Layout("f32", classes, states)
    net = Interpreter(layout.module)
    net.state.update({name: np.asarray(v, np.float32) for name, v in values.items()})
    return Start(origin, layout, state.encode(net), notes=notes)


@dataclass(frozen=True)
class Whole:
    """A tensor of whole numbers in units of 2^exponent, of ``bits`` without the sign: up to 7 are int8, up to 15 int16."""

    q: NDArray[Any]
    exponent: int
    bits: int


def of_whole(origin: str, tensors: Mapping[str, Whole], classes: int = 0, notes: tuple[str, ...] = ()) -> Start:
    """A start from whole numbers by state name: a net with weights of as many bits begins with these very numbers."""
    states, slots = list[State](), list[Slot]()
    for name, whole in tensors.items():
        dtype = "i8" if whole.bits <= 7 else "i16"
        states.append(State(name, Type(dtype, whole.q.shape, Exp(0, (name[1:],))), Init("zeros")))
        slots.append(Slot(name[1:], "weight", whole.exponent, whole.bits))
    layout = Layout("int8", classes, tuple(states), tuple(slots))
    stored = {s.name: tensors[s.name].q.astype(NUMPY[s.type.dtype]) for s in states}
    snapshot = Snapshot(stored, {slot.name: slot.start for slot in slots}, {slot.name: (0, 0) for slot in slots}, 0, 0)
    return Start(origin, layout, state.pack(layout.module, snapshot), notes=notes)


def from_bytes(kept: bytes) -> Start:
    """What ``to_bytes`` wrote.

    Raises:
        ConfigError: the bytes are damaged.
    """
    head, _, raw = kept.partition(b"\n")
    found = _json(head, "The start of this run")
    if found.get("schema") != SCHEMA or found.get("sha256") != hashlib.sha256(raw).hexdigest():
        raise ConfigError("The weights that this run started from are damaged.", "Train anew.")
    return Start(str(found.get("origin")), layouts.parse(found), raw)


def read(path: Path) -> Start:
    """The weights of an exported run; ``path`` is its manifest, plan or state.

    Raises:
        ConfigError: there are none, or the files do not belong together.
    """
    manifest, file = path.with_suffix(".json"), path.with_suffix(".state")
    found = _json(_bytes(manifest, MAX_MANIFEST), str(manifest))
    if found.get("schema") != "edgelearn.manifest/1":
        raise ConfigError(f"{manifest} is no manifest of an export.", _NOT_WEIGHTS)
    sums = _sums(found, "state")
    if not sums:
        raise ConfigError(f"{manifest} names no state: nothing that was learnt is with it.", _NOT_WEIGHTS)
    if (
        path.suffix == ".plan"
        and path.is_file()
        and hashlib.sha256(_bytes(path, MAX_MANIFEST)).hexdigest() not in _sums(found, "plan")
    ):
        raise ConfigError(f"{path} is not the plan that {manifest.name} describes.", "Export the run anew.")
    read = layouts.parse(found)
    raw = _bytes(file, state.state_layout(read.module).nbytes)
    if hashlib.sha256(raw).hexdigest() not in sums:
        raise ConfigError(f"{file} is not the state that {manifest.name} describes.", "Export the run anew.")
    return Start(f"{file.name}, step {read.decode(raw).step:,}", read, raw)


def _sums(manifest: Mapping[str, object], form: str) -> set[object]:
    """SHA-256 of the manifest's files of a format."""
    return {a.get("sha256") for a in _objects(manifest.get("artifacts")) if a.get("format") == form}


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)  # a reader takes what it is told at once
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", _NOT_WEIGHTS) from error
    if len(raw) > most:
        raise ConfigError(f"{path} is larger than its manifest allows.", "Export the run anew.")
    return raw


def _json(raw: bytes, what: str) -> dict[str, object]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} is not valid JSON: {error}.", _NOT_WEIGHTS) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{what} is no JSON object.", _NOT_WEIGHTS)
    return {str(key): value for key, value in found.items()}


def _objects(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


# --- onto another net -------------------------------------------------------------------------------------------------------------


def fit(start: Start, states: Sequence[State], own: Collection[str], classes: int) -> tuple[Start, tuple[str, ...]]:
    """The part of ``start`` that a net with ``states`` takes over, and notes on what starts anew.

    Args:
        states: of the traced net, before any pass. own: names of those that its layers bring; the others are its rule's.
        classes: of the net.

    Raises:
        ConfigError: the net lacks a state that was learnt, or has it in another shape.
    """
    return _Fitting(start, states, own, classes).run()


class _Fitting:
    """Heads are the states that the rule adds to a layer: they may start anew where the classes or the last block are others."""

    def __init__(self, start: Start, states: Sequence[State], own: Collection[str], classes: int) -> None:
        self.start, self.classes = start, classes
        self.have = {name: q.shape for name, q in start.tensors.items()}
        self.want = {s.name: s.type.shape for s in states}
        self.own = {name.partition(".")[2] for name in own}

    def run(self) -> tuple[Start, tuple[str, ...]]:
        problems = [self._problem(name) for name in self.have if not self._fits(name) and not self._may_go(name)]
        if problems:
            raise ConfigError(
                f"The weights of {self.start.origin} do not fit this net: {'; '.join(problems)}.",
                "Give the net the same layers, input and rule; it may have more blocks.",
            )
        taken = frozenset(name for name in self.have if self._fits(name))
        return replace(self.start, names=taken), (*self.start.notes, *self._notes(taken))

    def _fits(self, name: str) -> bool:
        return self.want.get(name) == self.have[name]

    def _problem(self, name: str) -> str:
        have = _shape(self.have[name])
        if name not in self.want:
            return f"{name[1:]} ({have}) is not in it"
        return f"{name[1:]} is {have} there and {_shape(self.want[name])} here"

    def _may_go(self, name: str) -> bool:
        if name.partition(".")[2] in self.own:
            return False
        deeper = block_of(name) == self._last(self.have) < self._last(self.want)
        return self._other_classes(name) or (deeper and name not in self.want)

    def _other_classes(self, name: str) -> bool:
        old, have = self.start.layout.classes, self.have[name]
        want = self.want.get(name, ())
        swaps = [(a, b) for a, b in zip(have, want, strict=False) if a != b]
        return len(have) == len(want) and old != self.classes and set(swaps) == {(old, self.classes)}

    def _notes(self, taken: Collection[str]) -> list[str]:
        anew = [name for name in self.want if name not in taken]
        heads = [name[1:] for name in anew if name in self.have]
        blocks = sorted({block_of(name) for name in anew if block_of(name) > self._last(self.have)})
        lost = [name[1:] for name in anew if name not in self.have and block_of(name) not in blocks]
        gone = [name[1:] for name in self.have if name not in self.want]
        notes: list[str] = []
        if heads:
            classes = f"{self.classes} classes instead of {self.start.layout.classes}"
            notes.append(f"started anew, for {classes}: {', '.join(heads)}")
        if blocks:
            notes.append(f"started from the seed, as new blocks: {', '.join(map(str, blocks))}")
        if lost:
            notes.append(f"started from the seed, for {self.start.origin} has none: {', '.join(lost)}")
        if gone:
            notes.append(f"not used, for its block is no longer the last: {', '.join(gone)}")
        return notes

    @staticmethod
    def _last(states: Collection[str]) -> int:
        return max((block_of(name) for name in states), default=-1)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def first_state(module: Module, seed: int, starts: Sequence[Start], step: int = 0) -> bytes:
    """The state region that ``module`` starts with at ``step``: the seed's own, and over that what each of ``starts`` has.

    Numbers of equal storage are taken over as they are, with their exponent; others to nearest. Moving exponents go with their values.
    """
    net = Interpreter(module, seed, step)
    named = meanings(module)
    limits = {f"@{slot.name}": (1 << slot.bits) - 1 for slot in module.slots if slot.kind == "weight"}
    for start in starts:
        for s in module.state:
            if s.name in start.tensors:
                _put(net, s, start, limits.get(s.name, 0))
        net.exps.update({slot: start.moving[value] for slot, value in named.items() if value in start.moving})
    return state.encode(net)


def _put(net: Interpreter, s: State, start: Start, limit: int) -> None:
    """Puts one tensor into an interpreter of the new module."""
    q = start.tensors[s.name]
    if not s.type.is_int:
        net.state[s.name] = start.values[s.name]
    elif start.layout.bits.get(s.name) == limit.bit_length():
        net.state[s.name] = q.astype(NUMPY[s.type.dtype])
        net.exps[s.name[1:]] = start.exponent(s.name)
    else:
        units = np.ldexp(start.values[s.name].astype(np.float64), -net.exponent(s.type.exp))
        rounded = np.trunc(units + np.copysign(0.5, units))
        net.state[s.name] = np.clip(rounded, -limit, limit).astype(NUMPY[s.type.dtype])
