"""What learning has changed between two checkpoints, and what it has no room left to change: a few shares of each tensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgelearn.ir.core import Module
from edgelearn.state import Snapshot

CHANGED, MOVED, LIMIT = "changed", "moved", "limit"  # what readings are called: changed/b0.W
MOST = 48  # tensors that are looked at, the largest


def measure(module: Module, before: Snapshot | None, now: Snapshot) -> dict[str, float]:
    """Readings of each tensor, by their names.

    ``changed`` is the share of its elements that are no longer what they were, ``moved`` the sum of all changes as a share of the sum
    of all magnitudes, ``limit`` the share of integers that are as large as they can be.
    """
    found: dict[str, float] = {}
    limits = at_limit(module, now)
    for name in _largest(now):
        label = name[1:]
        if name in limits:
            found[f"{LIMIT}/{label}"] = limits[name]
        if before is not None and name in before.tensors and before.tensors[name].shape == now.tensors[name].shape:
            old, new = _values(before, name), _values(now, name)
            found[f"{CHANGED}/{label}"] = float((old != new).mean())
            found[f"{MOVED}/{label}"] = _moved(old, new)
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _moved(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    with np.errstate(invalid="ignore", over="ignore"):  # weights that are no numbers are a finding of their own
        whole = float(np.abs(new).sum())
        return float(np.abs(new - old).sum()) / whole if whole else 0.0


def at_limit(module: Module, snapshot: Snapshot) -> dict[str, float]:
    """The share of each integer weight's elements that are as large as they can be."""
    bits = {f"@{slot.name}": slot.bits for slot in module.slots if slot.kind == "weight"}
    return {
        s.name: float((np.abs(snapshot.tensors[s.name].astype(np.int64)) >= (1 << bits[s.name]) - 1).mean())
        for s in module.state
        if s.name in bits
    }


def _largest(snapshot: Snapshot) -> list[str]:
    names = list(snapshot.tensors)
    kept = set(sorted(names, key=lambda name: -snapshot.tensors[name].size)[:MOST])
    return [name for name in names if name in kept]


def _values(snapshot: Snapshot, name: str) -> NDArray[np.float64]:
    """Real numbers: an exponent may have moved, too."""
    return np.ldexp(snapshot.tensors[name].astype(np.float64), snapshot.exps.get(name[1:], 0))
