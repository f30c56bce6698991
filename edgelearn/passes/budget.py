"""budget: does it fit? Refused at compile time with the largest tensors named, never on the device."""

from __future__ import annotations

from edgelearn.errors import DoesNotFitError
from edgelearn.ir.core import Module
from edgelearn.passes.memory import arena_types
from edgelearn.target import Target

LARGEST = 6


def largest(module: Module, count: int = LARGEST) -> list[tuple[str, str, int]]:
    """(name, type, bytes) of the largest state tensors and of what has a place in the arena, scratch included, largest first."""
    rows = [(s.name[1:], str(s.type), s.type.nbytes) for s in module.state]
    for entry in module.entries:
        rows += [(f"{entry.name} {name}", str(type), type.nbytes) for name, type in arena_types(module, entry).items()]
    return sorted(rows, key=lambda row: -row[2])[:count]


def needed(module: Module, target: Target, plan_bytes: int) -> int:
    """Bytes of RAM: state, arena, plan, and what the board file sets aside for stack and link."""
    plan = 0 if target.plan_in_flash else plan_bytes
    return module.integer("state_bytes") + module.integer("arena_bytes") + plan + target.stack + target.link


def check(module: Module, target: Target, plan_bytes: int) -> None:
    """Looks whether a module and its plan fit.

    Raises:
        DoesNotFitError: they do not; the parts and the largest tensors are listed.
    """
    need = needed(module, target, plan_bytes)
    if plan_bytes > target.plan_max:
        problem = f"The plan of {module.name} has {plan_bytes:,} bytes, {target.id} takes {target.plan_max:,}."
        raise DoesNotFitError(f"{problem} Nothing was sent.", "Use fewer layers, or choose a larger board.")
    if need > target.ram:
        state, arena = module.integer("state_bytes"), module.integer("arena_bytes")
        plan = "" if target.plan_in_flash else f"plan {plan_bytes:,} + "
        parts = f"state {state:,} + arena {arena:,} + {plan}stack {target.stack:,} + link {target.link:,}"
        table = "\n".join(f"    {size:>10,}  {name:<20} {kind}" for name, kind, size in largest(module))
        raise DoesNotFitError(
            f"{module.name} needs {need:,} bytes of RAM, {target.id} has {target.ram:,}.\n"
            f"  {parts}\n  Nothing was sent. The largest tensors:\n{table}",
            "Make the widest layer narrower, or choose a larger board.",
        )
