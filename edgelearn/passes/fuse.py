"""fuse: patterns of small ops become the ops that the device has kernels for.

add(matvec(W, x), b)            -> affine(W, x, b)           relu(affine(...)) -> affine {relu=1}
mul(v, gt0(a))                  -> mask(v, a)                mask(matvec_t(W, d), a) -> matvec_t_mask(W, d, a)
sub(p, one_hot(y))              -> sub_one_hot(p, y)
update(W, scale(outer(d, x)))   -> outer_update(W, d, x)     update(b, scale(d)) -> vec_update(b, d)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Entry, Module, Op
from edgelearn.passes.rewrite import map_entries, renamed, uses
from edgelearn.passes.simplify import dce


class _Fuser:
    """One entry; ``made`` are the ops so far by result."""

    def __init__(self, entry: Entry, state: set[str]) -> None:
        self.entry, self.state = entry, state
        self.uses: Counter[str] = uses(entry)
        self.made: dict[str, Op] = {}
        self.next_id = 0

    def run(self) -> Entry:
        ops: list[Op] = []
        for op in self.entry.ops:
            for new in self.lower_update(op) if op.name == "update" else [self.rewrite(op)]:
                ops.append(new)
                if new.result is not None:
                    self.made[new.result] = new
        return renamed(self.entry, ops, {})

    def producer(self, name: str, *kinds: str, only_use: bool = False) -> Op | None:
        op = self.made.get(name)
        if op is None or op.name not in kinds or (only_use and self.uses[name] > 1):
            return None
        return op

    def rewrite(self, op: Op) -> Op:
        for pattern in _PATTERNS.get(op.name, ()):
            new = pattern(self, op)
            if new is not None:
                return self.rewrite(new) if new.name != op.name else new
        return op

    def add_bias(self, op: Op) -> Op | None:
        for z, b in (op.args, op.args[::-1]):
            inner = self.producer(z, "matvec", only_use=True)
            if inner is not None and b in self.state:
                return replace(op, name="affine", args=(*inner.args, b))
        return None

    def relu_affine(self, op: Op) -> Op | None:
        inner = self.producer(op.args[0], "affine", only_use=True)
        return None if inner is None else replace(inner, result=op.result, loc=op.loc).with_attrs(relu=1)

    def mask(self, op: Op) -> Op | None:
        for v, m in (op.args, op.args[::-1]):
            inner = self.producer(m, "gt0")
            if inner is not None:
                return replace(op, name="mask", args=(v, inner.args[0]))
        return None

    def mask_transposed(self, op: Op) -> Op | None:
        inner = self.producer(op.args[0], "matvec_t", only_use=True)
        return None if inner is None else replace(op, name="matvec_t_mask", args=(*inner.args, op.args[1]))

    def sub_label(self, op: Op) -> Op | None:
        p, y = self.producer(op.args[0], "softmax"), self.producer(op.args[1], "one_hot")
        return None if p is None or y is None else replace(op, name="sub_one_hot", args=(op.args[0], y.args[0]))

    def lower_update(self, op: Op, name: str | None = None, factor: float = 1.0) -> list[Op]:
        """``state -= factor * f`` as a list of updates that kernels can do."""
        state, f = op.args[0], name or op.args[1]
        made = self.made.get(f)
        if made is not None and made.name == "scale":
            return self.lower_update(op, made.args[0], factor * made.number("k"))
        if made is not None and made.name in ("add", "sub"):
            minus = -factor if made.name == "sub" else factor
            return self.lower_update(op, made.args[0], factor) + self.lower_update(op, made.args[1], minus)
        if factor == 0:
            return []  # a rate of 0 freezes the state
        attrs = {"id": self.next_id, "rate": abs(factor), "sign": 1 if factor >= 0 else -1}
        self.next_id += 1
        if made is not None and made.name == "outer":
            return [Op("outer_update", (state, *made.args), loc=op.loc).with_attrs(**attrs)]
        return [Op("vec_update", (state, f), loc=op.loc).with_attrs(**attrs)]


_PATTERNS: dict[str, tuple[Callable[[_Fuser, Op], Op | None], ...]] = {
    "add": (_Fuser.add_bias,),
    "relu": (_Fuser.relu_affine,),
    "mul": (_Fuser.mask,),
    "mask": (_Fuser.mask_transposed,),
    "sub": (_Fuser.sub_label,),
}


def fuse(module: Module) -> Module:
    """Applies the patterns of this file's docstring to every entry.

    Raises:
        ConfigError: a matrix is updated by something that is not a sum of scaled outer products.
    """
    state = set(module.state_types())
    fused = dce(map_entries(module, lambda e: _Fuser(e, state).run()))
    for entry in fused.entries:
        types = fused.types(entry)
        for op in entry.ops:
            if op.name == "vec_update" and len(types[op.args[0]].shape) != 1:
                where = f"{op.loc.file}:{op.loc.line}: " if op.loc else ""
                raise ConfigError(
                    f"{where}The matrix {op.args[0][1:]} is updated by something that is no outer product.",
                    "Write matrix updates as sums of rate * L.outer(d, x).",
                )
    return fused
