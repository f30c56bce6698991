"""What the bytes of a state region are, as JSON: whoever has both can read what a run has learnt without compiling it again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgelearn import state
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Init, Module, Slot, State
from edgelearn.ir.expressions import meanings
from edgelearn.ir.types import Type
from edgelearn.state import Snapshot

MAX_STATES = MAX_SLOTS = 0xFFFF
MAX_SIZE = 1 << 31
MAX_BITS = 15
_STATE_NAME = re.compile(r"b\d{1,5}\.\w{1,100}")
_SLOT_KINDS = ("weight", "moving", "computed")


@dataclass(frozen=True)
class Layout:
    """Tensors and exponents of a state region, in order. ``values`` says of each moving exponent what it is the exponent of."""

    dtype: str
    classes: int
    state: tuple[State, ...]
    slots: tuple[Slot, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, module: Module) -> Layout:
        classes = int(dict(module.attrs).get("classes", 0))
        return cls(module.dtype, classes, module.state, module.slots, meanings(module))

    @property
    def bits(self) -> dict[str, int]:
        """Magnitude bits of each integer tensor, by its name."""
        found = {f"@{slot.name}": slot.bits for slot in self.slots if slot.kind == "weight"}
        return {s.name: found.get(s.name, 0) for s in self.state if s.type.is_int}

    def decode(self, raw: bytes) -> Snapshot:
        """The tensors and exponents in ``raw``.

        Raises:
            MismatchError: it has another size.
        """
        return state.decode(self.module, raw)

    @property
    def module(self) -> Module:
        """A module that has this state, and does nothing."""
        return Module("layout", (("dtype", self.dtype),), self.state, (), self.slots)

    def as_dict(self) -> dict[str, Any]:
        """The JSON object that ``parse`` reads; a part of the manifest that `edgelearn export` writes."""
        slots = [{"name": s.name, "kind": s.kind, "bits": s.bits, "value": self.values.get(s.name)} for s in self.slots]
        states = [{"name": s.name[1:], "type": str(s.type), "bytes": s.type.nbytes} for s in self.state]
        return {"dtype": self.dtype, "classes": self.classes, "state": states, "slots": slots}


def parse(found: Mapping[str, Any]) -> Layout:
    """The layout in a JSON object that anybody may have written.

    Raises:
        ConfigError: it is none.
    """
    try:
        states, slots = _list(found["state"], MAX_STATES), _list(found["slots"], MAX_SLOTS)
        read = Layout(
            _one_of(found["dtype"], ("int8", "f32")),
            _number(found["classes"], 0xFFFF),
            tuple(_state(item) for item in states),
            tuple(_slot(item) for item in slots),
            {item["name"]: item["value"] for item in slots if isinstance(item.get("value"), str)},
        )
        _check(read)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"This is no description of a state: {error}.", "Export the run anew.") from error
    return read


def _check(layout: Layout) -> None:
    """Every name once, every exponent known, every tensor of the layout's own numbers.

    Raises:
        ValueError: it is not so.
    """
    slots = {slot.name for slot in layout.slots}
    if len({s.name for s in layout.state}) != len(layout.state) or len(slots) != len(layout.slots):
        raise ValueError("a name appears twice")
    for s in layout.state:
        exp = s.type.exp
        if s.type.is_int != (layout.dtype == "int8") or s.type.is_int != (exp is not None):
            raise ValueError(f"{s.type} in a state of {layout.dtype}")
        if exp is not None and (exp.const != 0 or exp.slots != (s.name[1:],) or s.name[1:] not in slots):
            raise ValueError(f"{s.name[1:]} has an exponent of another")


def _state(item: Any) -> State:
    type = Type.parse(_text(item["type"], 500))
    if not 1 <= len(type.shape) <= 4 or not 1 <= type.size <= MAX_SIZE:
        raise ValueError(f"a tensor of shape {type.shape}")
    if not _STATE_NAME.fullmatch(name := _text(item["name"], 200)):
        raise ValueError(f"a state called {name!r}")
    if type.dtype == "i32":
        raise ValueError("a state of 32-bit integers")
    return State(f"@{name}", type, Init("zeros"))


def _slot(item: Any) -> Slot:
    kind = _one_of(item["kind"], _SLOT_KINDS)
    return Slot(_text(item["name"], 200), kind, 0, _number(item["bits"], MAX_BITS))


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("a list is missing or too long")
    return value


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise ValueError(f"{str(value)[:20]!r} is no name")
    return value


def _number(value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{str(value)[:20]!r} is no number up to {most}")
    return value


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{str(value)[:20]!r} is none of {', '.join(choices)}")
    return value
