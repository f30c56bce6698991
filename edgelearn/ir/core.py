"""The IR: a module is state, exponent slots and entries; an entry is a list of ops in SSA form. All frozen, all printable."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgelearn.ir.types import Type

Attr = int | float | str
Attrs = tuple[tuple[str, Attr], ...]


@dataclass(frozen=True)
class Loc:
    """Where in the user's rule an op comes from."""

    file: str
    line: int


@dataclass(frozen=True)
class Op:
    """``%result = name(args) {attrs}``. Arguments are ``%value`` or ``@state``; updates have no result."""

    name: str
    args: tuple[str, ...]
    attrs: Attrs = ()
    result: str | None = None
    type: Type | None = None
    loc: Loc | None = field(default=None, compare=False)

    def attr(self, key: str, default: Attr | None = None) -> Attr:
        value = dict(self.attrs).get(key, default)
        if value is None:
            raise KeyError(f"{self.name} has no attribute {key}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        return float(self.attr(key, default))

    def with_attrs(self, **attrs: Attr) -> Op:
        return replace(self, attrs=tuple(sorted({**dict(self.attrs), **attrs}.items())))


@dataclass(frozen=True)
class Init:
    """How a state tensor starts: ``zeros``, or ``normal`` with standard deviation ``std``, drawn from stream ``stream``."""

    kind: str
    std: float = 0.0
    stream: int = 0


@dataclass(frozen=True)
class State:
    """A tensor that outlives a step; ``name`` is ``@block.symbol``."""

    name: str
    type: Type
    init: Init


@dataclass(frozen=True)
class Slot:
    """An exponent that lives at run time.

    kind ``weight`` (moves when its tensor is halved), ``moving`` (follows the range of a narrowed value of ``elems`` elements and
    ``bits`` magnitude bits) or ``computed`` (set by the op that aligns two values). ``start`` is its first value.
    """

    name: str
    kind: str
    start: int = 0
    bits: int = 0
    elems: int = 0


@dataclass(frozen=True)
class Entry:
    """A function of the module: ``learn`` or ``infer``."""

    name: str
    params: tuple[tuple[str, Type], ...]
    ops: tuple[Op, ...]
    result: str | None = None

    def types(self) -> dict[str, Type]:
        known = dict(self.params)
        known.update((op.result, op.type) for op in self.ops if op.result is not None and op.type is not None)
        return known


@dataclass(frozen=True)
class Place:
    """Where the memory pass put a value: byte offset in the ``state`` or ``arena`` region."""

    entry: str
    value: str
    region: str
    offset: int


@dataclass(frozen=True)
class Module:
    """Everything the compiler knows; passes map modules to modules."""

    name: str
    attrs: Attrs
    state: tuple[State, ...]
    entries: tuple[Entry, ...]
    slots: tuple[Slot, ...] = ()
    places: tuple[Place, ...] = ()

    def entry(self, name: str) -> Entry:
        """``"infer"`` or ``"learn"``."""
        return next(e for e in self.entries if e.name == name)

    def state_types(self) -> dict[str, Type]:
        """Types of the state by name."""
        return {s.name: s.type for s in self.state}

    def types(self, entry: Entry) -> dict[str, Type]:
        """Types of all values that an entry can read, by name."""
        return {**self.state_types(), **entry.types()}

    def attr(self, key: str, default: Attr | None = None) -> Attr:
        """An attribute; KeyError where there is none, and no default."""
        value = dict(self.attrs).get(key, default)
        if value is None:
            raise KeyError(f"module {self.name} has no attribute {key}")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """An attribute that is a whole number, such as ``state_bytes``."""
        return int(self.attr(key, default))

    def with_attrs(self, **attrs: Attr) -> Module:
        """This module with these attributes beside, or instead of, its own."""
        return replace(self, attrs=tuple(sorted({**dict(self.attrs), **attrs}.items())))

    def with_entries(self, *entries: Entry) -> Module:
        """This module with other entries."""
        return replace(self, entries=tuple(entries))

    @property
    def dtype(self) -> str:
        """``int8`` or ``f32``."""
        return str(self.attr("dtype", "f32"))

    @property
    def drops(self) -> tuple[int, ...]:
        """Steps at which the learning rate halves."""
        return tuple(int(t) for t in str(self.attr("drops", " ")).split())
