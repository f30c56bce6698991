"""memory: one static arena for all entries, by liveness; and the layout of the state region.

The input is at the start of the arena in every entry, because the link writes samples there. A value may take the place of an operand
that dies at its op where the kernel works element by element. What an integer kernel needs while it runs has a place for its op alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgelearn.ir.core import Entry, Module, Place
from edgelearn.ir.ops import OPS
from edgelearn.ir.types import Exp, Type

ALIGN = 4  # of every tensor in state and arena; the same for every board, so that a plan is too
IN_PLACE = ("gate", "sub_one_hot", "relu", "abs", "mask", "leaky_relu", "clip")
META_STAT_BYTES = 4  # u16 saturated, u16 maximum, per slot


def _up(n: int) -> int:
    return -(-n // ALIGN) * ALIGN


@dataclass(frozen=True)
class StateLayout:
    """Byte offsets in the state region: tensors, then step u32, seed u32, window statistics, exponents (slot 0 is the constant 0)."""

    tensors: dict[str, int]
    meta: int
    stats: int
    exps: int
    nbytes: int


def state_layout(module: Module) -> StateLayout:
    offsets, end = {}, 0
    for s in module.state:
        offsets[s.name] = end
        end = _up(end + s.type.nbytes)
    stats = end + 8
    count = len(module.slots) + 1 if module.dtype != "f32" else 0
    exps = stats + META_STAT_BYTES * count
    return StateLayout(offsets, end, stats, exps, exps + count)


def scratch_name(index: int) -> str:
    """Of what the op of that index in its entry needs while it runs."""
    return f"scratch:{index}"


def arena_types(module: Module, entry: Entry) -> dict[str, Type]:
    """Everything of ``entry`` that has a place in the arena: its values, and what its integer kernels need while they run."""
    types = module.types(entry)
    found = entry.types()
    for i, op in enumerate(entry.ops):
        scratch = OPS[op.name].scratch
        if scratch is not None and module.dtype != "f32":
            found[scratch_name(i)] = Type("i32", (scratch([types[a].shape for a in op.args]),), Exp())
    return found


def plan_memory(module: Module) -> Module:
    """Adds a place for every value; ``arena_bytes`` and ``state_bytes`` become attributes of the module."""
    layout = state_layout(module)
    places = [Place("-", name, "state", offset) for name, offset in layout.tensors.items()]
    arena = 0
    for entry in module.entries:
        found, top = _plan_entry(entry, arena_types(module, entry))
        places += [Place(entry.name, value, "arena", offset) for value, offset in found.items()]
        arena = max(arena, top)
    return replace(module, places=tuple(places)).with_attrs(arena_bytes=arena, state_bytes=layout.nbytes)


def _plan_entry(entry: Entry, types: dict[str, Type]) -> tuple[dict[str, int], int]:
    born, dies = _lifetimes(entry, types)
    where: dict[str, int] = {}
    end = 0
    for name, _ in entry.params:  # inputs first, packed from 0
        where[name] = _up(end)
        end = where[name] + types[name].nbytes
    top = end
    for i, op in enumerate(entry.ops):
        source = op.args[0] if op.args else ""
        for name in (op.result, scratch_name(i)):
            if name is None or name not in types:
                continue
            if op.name in IN_PLACE and dies.get(source) == i and _fits_in_place(types, source, name):
                where[name] = where[source]
            else:
                where[name] = _first_gap(name, types, where, born, dies)
            top = max(top, where[name] + types[name].nbytes)
    return where, top


def _fits_in_place(types: dict[str, Type], source: str, result: str) -> bool:
    return source in types and types[source].dtype == types[result].dtype and types[source].size == types[result].size


def _lifetimes(entry: Entry, types: dict[str, Type]) -> tuple[dict[str, int], dict[str, int]]:
    """Index of the op that makes each value and of the last that reads it; the result lives to the end."""
    born = {name: -1 for name, _ in entry.params}
    dies = {name: len(entry.ops) for name, _ in entry.params}  # a sample may be sent again in parts: it stays whole
    for i, op in enumerate(entry.ops):
        for arg in op.args:
            if arg in types and dies.get(arg, -1) < len(entry.ops):
                dies[arg] = i
        for name in (op.result, scratch_name(i)):
            if name is not None:
                born[name] = dies[name] = i
    if entry.result is not None:
        dies[entry.result] = len(entry.ops)
    return born, dies


def _first_gap(
    name: str, types: dict[str, Type], where: dict[str, int], born: dict[str, int], dies: dict[str, int]
) -> int:
    """The lowest aligned offset that no value alive at the same time covers."""
    busy = sorted(
        (where[other], where[other] + types[other].nbytes)
        for other in where
        if born[other] <= dies[name] and dies[other] >= born[name]
    )
    offset = 0
    for low, high in busy:
        if offset + types[name].nbytes <= low:
            break
        offset = max(offset, _up(high))
    return offset
