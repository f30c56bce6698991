"""The state region's bytes, as a board holds them: reading them as tensors and writing an interpreter's state in the same layout."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import MismatchError
from edgelearn.ir.core import Module
from edgelearn.ir.interp import Interpreter, state_sha256
from edgelearn.ir.types import NUMPY
from edgelearn.passes.memory import META_STAT_BYTES, state_layout


@dataclass(frozen=True)
class Snapshot:
    """A decoded state: tensors by name, exponents by slot name, window statistics by slot, step and seed."""

    tensors: dict[str, NDArray[Any]]
    exps: dict[str, int]
    stats: dict[str, tuple[int, int]]
    step: int
    seed: int

    def sha256(self, module: Module) -> str:
        """Hash of the logical state: equal on every board that learnt the same."""
        kept = [self.exps[s.name] for s in module.slots if s.kind in ("weight", "moving")]
        return state_sha256(self.tensors, kept, self.step)


def decode(module: Module, raw: bytes) -> Snapshot:
    """Reads the raw state region of ``module``.

    Raises:
        MismatchError: it has another size.
    """
    layout = state_layout(module)
    if len(raw) != layout.nbytes:
        raise MismatchError(
            f"The state has {len(raw)} bytes instead of {layout.nbytes}.", "It belongs to another plan: train again."
        )
    tensors = {}
    for s in module.state:
        dtype = np.dtype(NUMPY[s.type.dtype]).newbyteorder("<")
        tensors[s.name] = np.frombuffer(raw, dtype, s.type.size, layout.tensors[s.name]).reshape(s.type.shape)
    step, seed = struct.unpack_from("<II", raw, layout.meta)
    exps = {s.name: struct.unpack_from("<b", raw, layout.exps + i)[0] for i, s in enumerate(module.slots, 1)}
    stats = {
        s.name: struct.unpack_from("<HH", raw, layout.stats + META_STAT_BYTES * i)
        for i, s in enumerate(module.slots, 1)
    }
    return Snapshot(tensors, exps, {k: (v[0], v[1]) for k, v in stats.items()}, step, seed)


def encode(net: Interpreter) -> bytes:
    """An interpreter's state in the layout that boards use."""
    stats = {name: (seen, most) for name, (seen, most) in net.stats.items()}
    return pack(net.module, Snapshot(net.state, net.exps, stats, net.step, net.seed))


def pack(module: Module, snapshot: Snapshot) -> bytes:
    """The raw state region of ``module``: what ``decode`` reads."""
    layout = state_layout(module)
    raw = bytearray(layout.nbytes)
    for s in module.state:
        q = snapshot.tensors[s.name]
        raw[layout.tensors[s.name] : layout.tensors[s.name] + s.type.nbytes] = q.astype(
            q.dtype.newbyteorder("<")
        ).tobytes()
    struct.pack_into("<II", raw, layout.meta, snapshot.step, snapshot.seed)
    for i, s in enumerate(module.slots, 1):
        struct.pack_into("<HH", raw, layout.stats + META_STAT_BYTES * i, *snapshot.stats[s.name])
        struct.pack_into("<b", raw, layout.exps + i, snapshot.exps[s.name])
    return bytes(raw)


def restore(net: Interpreter, raw: bytes) -> None:
    """Puts a raw state into an interpreter of the same module."""
    snapshot = decode(net.module, raw)
    net.state = {name: q.copy() for name, q in snapshot.tensors.items()}
    net.exps = dict(snapshot.exps)
    net.stats = {name: list(pair) for name, pair in snapshot.stats.items()}
    net.step, net.seed = snapshot.step, snapshot.seed
