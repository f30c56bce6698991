"""narrow: an op whose exact result is only read narrowed gives the narrowed result itself; no accumulator is kept in memory."""

from __future__ import annotations

from dataclasses import replace

from edgelearn.ir.core import Entry, Module, Op
from edgelearn.passes.rewrite import map_entries, renamed, uses

CAN_NARROW = (
    "affine", "matvec", "matvec_t", "matvec_t_mask", "mul", "scale", "sum", "mean", "dot", "signs",
    "conv", "conv_affine", "conv_t", "conv_t_mask", "depthwise", "depthwise_affine", "depthwise_t", "depthwise_t_mask",
    "pool", "unpool",
)  # fmt: skip


def narrow(module: Module) -> Module:
    return map_entries(module, _narrow)


def _narrow(entry: Entry) -> Entry:
    count = uses(entry)
    quants = {op.args[0]: op for op in entry.ops if op.name == "quant" and count[op.args[0]] == 1}
    ops: list[Op] = []
    names: dict[str, str] = {}
    for op in entry.ops:
        target = quants.get(op.result or "")
        if target is not None and op.name in CAN_NARROW:
            names[target.result or ""] = op.result or ""
            op = replace(op, type=target.type)
        if op.result not in names.values() or op.name != "quant":
            ops.append(op)
    return renamed(entry, [op for op in ops if op.result not in names], names)
