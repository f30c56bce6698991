"""``check_backend``: does a backend, the reader's or ours, write what runs and does the same as the interpreter?

A *cell* is a rule, a kind of net, a kind of numbers and an entry, in one format. It is proved in the format's own runtime, or the backend
declares a gap and says why; there is no third way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edgelearn import state
from edgelearn.backends import ENTRIES, Artifact, Backend, EntryName, Source, backend
from edgelearn.compiler import DTYPES, Compiled, compile_net
from edgelearn.data import datasets
from edgelearn.errors import ConfigError
from edgelearn.host.native import NativeCore
from edgelearn.ir.core import Module
from edgelearn.ir.interp import Interpreter
from edgelearn.layers import Layer
from edgelearn.nets import Net
from edgelearn.parity import Proof, prove
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find

INPUTS, STEPS = 16, 5
BEFORE = 253  # samples learnt before: the steps that are compared cross the look at the exponents after 256
SEED = 1

BLOCKS: dict[str, Net] = {
    "dense": Net((64,), (24, 16), 10),
    "conv": Net((8, 8), (Layer("conv", 6, 3, 1, 1), Layer("pool", kernel=2), Layer("conv", 8, 3, 2, 1, head=1)), 10),
    "depthwise": Net(
        (8, 8),
        (Layer("conv", 6, 3, 1, 1), Layer("pool", kernel=2), Layer("depthwise", kernel=3, pad=1), Layer("conv", 8, head=1)),
        10,
    ),
    "max pool": Net((8, 8), (Layer("conv", 6, 3, 1, 1), Layer("pool", kernel=2, mode="max"), Layer("conv", 8, 3, 1, 1)), 10),
    "recurrent": Net((8, 8), (Layer("recurrent", 24),), 10),
}  # fmt: skip

# What a rule's parameters are in its row: those that are small enough for the nets, and its variants.
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "mono-forward": ("mono-forward", {}),
    "mono-forward, summed heads": ("mono-forward", {"heads": "sum"}),
    "forward-forward": ("forward-forward", {"lr": 2**-7, "temp": 2**-3}),
    "forward-forward, goodness": ("forward-forward", {"lr": 2**-7, "temp": 2**-3, "readout": "goodness"}),
    "cascaded-forward": ("cascaded-forward", {"lr": 2**-6}),
    "cascaded-forward-dfa": ("cascaded-forward-dfa", {"lr": 2**-6}),
    "noprop": ("noprop", {"lr": 2**-5}),
    "noprop-ct": ("noprop-ct", {"lr": 2**-5, "moments": 5}),
    "noprop-fm": ("noprop-fm", {"lr": 2**-7, "moments": 5}),
    "tpsgd": ("tpsgd", {}),
    "tpsgd, l2, last": ("tpsgd", {"lr": 2**-6, "loss": "l2", "when": "last"}),
    "drtp": ("drtp", {"lr": 2**-6}),
    "last-layer": ("last-layer", {"lr": 2**-4}),
    "backprop": ("backprop", {"lr": 2**-4}),
}


@dataclass(frozen=True)
class Cell:
    """``status``: ``open`` (to be proved), ``gap``, or ``refused`` (not for such layers, or no boards); the last two have a ``reason``."""

    format: str
    rule: str
    block: str
    dtype: str
    entry: EntryName
    status: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.format}-{self.rule.replace(', ', '_')}-{self.block.replace(' ', '')}-{self.dtype}-{self.entry}"


def cells(
    format: str,  # noqa: A002 (what users call it)
    rules: Sequence[str] = tuple(RULES),
    blocks: Sequence[str] = tuple(BLOCKS),
    dtypes: Sequence[str] = DTYPES,
) -> Iterator[Cell]:
    """All cells of a format, not proved yet."""
    made: Backend = backend(format)
    for rule in rules:
        for block in blocks:
            for dtype in dtypes:
                net = _compiled(rule, block, dtype)
                for entry in ENTRIES:
                    if isinstance(net, str):
                        yield Cell(format, rule, block, dtype, entry, "refused", net)
                    else:
                        why = made.gap(net.module, entry)
                        yield Cell(format, rule, block, dtype, entry, "gap" if why else "open", why)


def prove_cell(cell: Cell, inputs: int = INPUTS, steps: int = STEPS) -> Proof:
    """Runs a cell's artifact.

    Raises:
        MismatchError: it does something else than the interpreter. ConfigError: there is none, though no gap is declared.
    """
    artifact = artifact_of(cell)
    source, x, y = samples_of(cell.rule, cell.block, cell.dtype)
    return prove(backend(cell.format).open(artifact, source), artifact, source, x, y, inputs, steps)


def artifact_of(cell: Cell) -> Artifact:
    """What a cell's backend writes for it.

    Raises:
        ConfigError: nothing, though no gap is declared.
    """
    for artifact in backend(cell.format).artifacts(source_of(cell.rule, cell.block, cell.dtype)):
        if artifact.entry in (cell.entry, "all") and artifact.runs and artifact.dtype == cell.dtype:
            return artifact
    problem = f"{cell.format} writes no {cell.entry} of {cell.rule} on a {cell.block} net in {cell.dtype}"
    raise ConfigError(f"{problem}, and declares no gap.", "Say the reason in the backend's gap().")


def check_backend(
    format: str,  # noqa: A002
    rules: Sequence[str] = tuple(RULES),
    blocks: Sequence[str] = tuple(BLOCKS),
    dtypes: Sequence[str] = DTYPES,
    inputs: int = INPUTS,
    steps: int = STEPS,
) -> list[tuple[Cell, Proof | None]]:
    """Proves all cells of an installed backend; None for those that are no promise of its.

    Args:
        rules: keys of ``RULES``. blocks: keys of ``BLOCKS``.
        inputs, steps: samples that are inferred, and learnt, from a state that has learnt 253.

    Raises:
        as ``prove_cell``.
    """
    found = cells(format, rules, blocks, dtypes)
    return [(cell, prove_cell(cell, inputs, steps) if cell.status == "open" else None) for cell in found]


@cache
def _compiled(rule: str, block: str, dtype: str) -> Compiled | str:
    """The net, or why there is none."""
    name, params = RULES[rule]
    found, data = find(name, dict(params)), datasets.load("digits")
    host_only = getattr(found.instance, "host_only", "")
    net, most = BLOCKS[block], getattr(found.instance, "most_blocks", None)
    if host_only and dtype != "f32":
        return f"for the host alone: {host_only}"
    x = data.x_train.reshape(len(data.x_train), -1)
    cut = net if most is None else Net(net.shape, net.stack[:most], net.classes)
    try:
        return compile_net(found, cut, Calibration(x, data.y_train, SEED), dtype, name=f"{name}-{block}")
    except ConfigError as error:
        return error.message.removesuffix(".")


def source_of(rule: str, block: str, dtype: str) -> Source:
    """A net of the matrix that has learnt a little."""
    return samples_of(rule, block, dtype)[0]


@cache
def samples_of(rule: str, block: str, dtype: str) -> tuple[Source, Any, Any]:
    """A net that has learnt a little, and samples that it has not seen."""
    net = _compiled(rule, block, dtype)
    assert not isinstance(net, str)
    data = datasets.load("digits")
    raw = _learnt(net, net.encode(data.x_train[:BEFORE]), data.y_train[:BEFORE])
    source = Source(net.module.name, net.module, raw, "", SEED, learnt=True)
    return source, net.encode(np.concatenate([data.x_test, data.x_train])), np.concatenate([data.y_test, data.y_train])


def _learnt(net: Compiled, x: Any, y: Any) -> bytes:
    """The state after these samples; by the interpreter where no plan can hold the net."""
    module: Module = net.module
    try:
        plan = backend("plan").export(module, "")
    except ConfigError:
        judge = Interpreter(module, SEED)
        for row, label in zip(x, y, strict=True):
            judge.learn(row, int(label))
        return state.encode(judge)
    core = NativeCore(plan, module.integer("state_bytes"), module.integer("arena_bytes"), SEED)
    core.learn(x, y, np.arange(len(x)))
    return core.read_state()
