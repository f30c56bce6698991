"""fold, cse, dce and unused: constants combined, equal ops done once, ops and state that nobody reads dropped."""

from __future__ import annotations

from dataclasses import replace

from edgelearn.ir.core import Entry, Module, Op
from edgelearn.ir.ops import OPS
from edgelearn.passes.rewrite import map_entries, renamed


def fold(module: Module) -> Module:
    """scale(scale(v, j), k) becomes scale(v, j k); scale(v, 1) becomes v."""
    return map_entries(module, _fold)


def _fold(entry: Entry) -> Entry:
    made: dict[str, Op] = {}
    names: dict[str, str] = {}
    ops: list[Op] = []
    for op in entry.ops:
        inner = made.get(op.args[0]) if op.name == "scale" else None
        if inner is not None and inner.name == "scale" and not _is_state(inner.args[0]):
            op = replace(op, args=inner.args).with_attrs(k=op.number("k") * inner.number("k"))
        if op.result is not None and op.name == "scale" and op.number("k") == 1.0 and not _is_state(op.args[0]):
            names[op.result] = op.args[0]
            continue
        if op.result is not None:
            made[op.result] = op
        ops.append(op)
    return renamed(entry, ops, names)


def _is_state(name: str) -> bool:
    """An update may come between: what is read in its place later is another."""
    return name.startswith("@")


def cse(module: Module) -> Module:
    """An op equal to an earlier one, with no update of the state it reads in between, is replaced by it."""
    return map_entries(module, _cse)


def _cse(entry: Entry) -> Entry:
    seen: dict[tuple[object, ...], str] = {}
    versions: dict[str, int] = {}
    names: dict[str, str] = {}
    ops: list[Op] = []
    for op in entry.ops:
        args = tuple(names.get(a, a) for a in op.args)
        op = replace(op, args=args)
        if op.result is None:
            versions[args[0]] = versions.get(args[0], 0) + 1
        else:
            key = (op.name, op.attrs, op.type, tuple((a, versions.get(a, 0)) for a in args))
            if key in seen:
                names[op.result] = seen[key]
                continue
            seen[key] = op.result
        ops.append(op)
    return renamed(entry, ops, names)


def dce(module: Module) -> Module:
    """Drops ops whose result is never read."""
    return map_entries(module, _dce)


def _dce(entry: Entry) -> Entry:
    live = {entry.result}
    kept: list[Op] = []
    for op in reversed(entry.ops):
        if OPS[op.name].update or op.result in live:
            live.update(op.args)
            kept.append(op)
    return replace(entry, ops=tuple(reversed(kept)))


def drop_unused_state(module: Module) -> Module:
    """Drops state that no op names, such as the heads of frozen blocks."""
    named = {arg for e in module.entries for op in e.ops for arg in op.args}
    return replace(module, state=tuple(s for s in module.state if s.name in named))
