"""What the passes share: walking an entry's ops while renaming results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from edgelearn.ir.core import Entry, Module, Op


def map_entries(module: Module, change: Callable[[Entry], Entry]) -> Module:
    return module.with_entries(*(change(e) for e in module.entries))


def uses(entry: Entry) -> Counter[str]:
    """How often each value is read, the entry's result included."""
    count = Counter(a for op in entry.ops for a in op.args)
    if entry.result is not None:
        count[entry.result] += 1
    return count


def renamed(entry: Entry, ops: Iterable[Op], names: dict[str, str]) -> Entry:
    """The entry with ``ops``, every operand replaced by its name in ``names`` (followed to the end)."""

    def final(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    new = tuple(replace(op, args=tuple(final(a) for a in op.args)) for op in ops)
    return replace(entry, ops=new, result=None if entry.result is None else final(entry.result))
