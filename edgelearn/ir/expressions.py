"""What the values of a lowered module are computed from: two modules may mean the same value and call it by other names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from edgelearn.ir.core import Entry, Module, Op

_NUMBERING = ("id",)  # attributes that tell ops apart and say nothing of what they compute


def narrowing(module: Module, entry: Entry) -> Iterator[tuple[str, Op]]:
    """(slot, op) for every op of ``entry`` that narrows its result to a moving exponent."""
    moving = {slot.name for slot in module.slots if slot.kind == "moving"}
    for op in entry.ops:
        exp = op.type.exp if op.type is not None else None
        if exp is not None and exp.const == 0 and len(exp.slots) == 1 and exp.slots[0] in moving:
            yield exp.slots[0], op


def ancestors(entry: Entry, op: Op) -> list[Op]:
    """``op`` and every op before it that it depends on, in order."""
    needed, found = {op.result, *op.args}, []
    for earlier in reversed(entry.ops):
        if earlier.result is not None and earlier.result in needed:
            needed.update(earlier.args)
            found.append(earlier)
    return found[::-1]


def meanings(module: Module) -> dict[str, str]:
    """For each moving slot what its value is: equal in all modules that compute it by the same ops from the same states."""
    found: dict[str, str] = {}
    for entry in module.entries:
        digests = _digests(entry)
        for slot, op in narrowing(module, entry):
            assert op.result is not None and op.type is not None
            found.setdefault(slot, f"{op.type.dtype}:{digests[op.result]}")
    return found


def _digests(entry: Entry) -> dict[str, str]:
    """A hash of each value's expression. How it is stored does not matter, nor which moment of a sequence it belongs to."""
    found = {name: name for name, _ in entry.params}
    for op in entry.ops:
        if op.result is None or op.type is None:
            continue
        args = [found.get(arg, arg) for arg in op.args]
        if op.name == "quant":
            found[op.result] = args[0]
            continue
        if "carry" in dict(op.attrs):
            args = args[:1]
        attrs = () if op.name == "slice" else tuple(pair for pair in op.attrs if pair[0] not in _NUMBERING)
        text = repr((op.name, attrs, op.type.shape, args))
        found[op.result] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found
