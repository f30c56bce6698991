"""spread: the error of a head that read a map's average is never spread over the map.

It is the same at all positions of a channel, but for the mask: the updates that read it can look at the mask themselves.

u = unpool(g), v = mask(u, a), conv_update(W, v, x) -> s = scale(g, 1 / positions), conv_update_open(W, s, a, x)      depthwise alike
                               vec_update(b, v)     -> vec_update_open(b, s, a)

Only for integers: a map of errors is the largest value of such a net, twice over, for it has 16 bits.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from edgelearn.ir.core import Entry, Module, Op
from edgelearn.ir.ops.conv import count
from edgelearn.passes.rewrite import map_entries

OPEN = {"conv_update": "conv_update_open", "depthwise_update": "depthwise_update_open", "vec_update": "vec_update_open"}


def spread(module: Module) -> Module:
    return map_entries(module, _entry)


def _entry(entry: Entry) -> Entry:
    readers: dict[str, list[Op]] = defaultdict(list)
    for op in entry.ops:
        for arg in op.args:
            readers[arg].append(op)
    made = {op.result: op for op in entry.ops if op.result is not None}
    shares: dict[str, tuple[str, str]] = {}  # error of all positions -> (what every position has, mask)
    small: dict[str, Op] = {}  # unpool -> what takes its place
    for op in entry.ops:
        spread_out = made.get(op.args[0]) if op.name == "mask" and op.result is not None else None
        if spread_out is None or not _is_average(spread_out, made) or len(readers[op.args[0]]) > 1:
            continue
        assert op.result is not None and spread_out.result is not None and spread_out.type is not None
        if op.result == entry.result or not all(_can_look(reader, op.result) for reader in readers[op.result]):
            continue
        shape = (1, 1, spread_out.type.shape[2])
        kind = replace(spread_out.type, shape=shape)
        share = Op("scale", spread_out.args, (), spread_out.result, kind, spread_out.loc).with_attrs(
            k=1 / count(spread_out)
        )
        small[spread_out.result] = share
        shares[op.result] = (spread_out.result, op.args[1])
    ops = [small.get(op.result or "", _looking(op, shares)) for op in entry.ops if op.result not in shares]
    return replace(entry, ops=tuple(ops))


def _is_average(op: Op, made: dict[str, Op]) -> bool:
    """Does it spread one position over a map?"""
    if op.name != "unpool" or op.type is None:
        return False
    source = made.get(op.args[0])
    return source is not None and source.type is not None and source.type.size == op.type.shape[2]


def _can_look(op: Op, error: str) -> bool:
    return op.name in OPEN and op.args[1] == error and error not in (*op.args[:1], *op.args[2:])


def _looking(op: Op, shares: dict[str, tuple[str, str]]) -> Op:
    if op.name not in OPEN or op.args[1] not in shares:
        return op
    state, error, *rest = op.args
    return replace(op, name=OPEN[op.name], args=(state, *shares[error], *rest))
