"""fuse: patterns of small ops become the ops that the device has kernels for.

add(matvec(W, x), b)            -> affine(W, x, b)           relu(affine(...)) -> affine {relu=1}      conv, depthwise alike
mul(v, gt0(a))                  -> mask(v, a)                mask(matvec_t(W, d), a) -> matvec_t_mask(W, d, a)      conv_t alike
sub(p, one_hot(y))              -> sub_one_hot(p, y)         sum(mul(a, b)) -> dot(a, b)
update(b, scale(d))             -> vec_update(b, d)          and every update gets a number, which its random bits depend on
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Entry, Module, Op
from edgelearn.ir.ops import OPS, shape_text
from edgelearn.ir.types import Type
from edgelearn.passes.rewrite import map_entries, renamed, uses
from edgelearn.passes.simplify import dce

AFFINE = {"matvec": "affine", "conv": "conv_affine", "depthwise": "depthwise_affine"}
ADJOINT = ("matvec_t", "conv_t", "depthwise_t")


class _Fuser:
    """One entry; ``made`` are the ops so far by result."""

    def __init__(self, entry: Entry, vectors: set[str], types: dict[str, Type]) -> None:
        self.entry, self.vectors = entry, vectors
        self.sizes = {name: type.size for name, type in types.items()}
        self.uses: Counter[str] = uses(entry)
        self.made: dict[str, Op] = {}
        self.made_at: dict[str, int] = {}  # when, in the order of the program,
        self.updated: dict[str, int] = {}  # and when a state was changed last
        self.next_id = 0

    def run(self) -> Entry:
        ops: list[Op] = []
        for at, op in enumerate(self.entry.ops):
            for new in self.lower_update(op) if op.name == "update" else [self.rewrite(op)]:
                new = self.numbered(new)
                ops.append(new)
                if new.result is not None:
                    self.made[new.result], self.made_at[new.result] = new, at
                else:
                    self.updated[new.args[0]] = at
        return renamed(self.entry, ops, {})

    def producer(self, name: str, *kinds: str, only_use: bool = False) -> Op | None:
        op = self.made.get(name)
        if op is None or op.name not in kinds or (only_use and self.uses[name] > 1) or self.changed(name):
            return None
        return op

    def changed(self, name: str) -> bool:
        """Has a state that ``name`` was made of been updated since? What is computed later would read the new one."""
        return any(self.updated.get(arg, -1) > self.made_at[name] for arg in self.made[name].args)

    def rewrite(self, op: Op) -> Op:
        for pattern in _PATTERNS.get(op.name, ()):
            new = pattern(self, op)
            if new is not None:
                return self.rewrite(new) if new.name != op.name else new
        return op

    def numbered(self, op: Op) -> Op:
        """Ids tell updates apart, and draws: in the order of the program."""
        if "id" not in OPS[op.name].attrs:
            return op
        self.next_id += 1
        return op.with_attrs(id=self.next_id - 1)

    def add_bias(self, op: Op) -> Op | None:
        for z, b in (op.args, op.args[::-1]):
            inner = self.producer(z, *AFFINE, only_use=True)
            if inner is not None and b in self.vectors:
                return replace(inner, name=AFFINE[inner.name], args=(*inner.args, b), result=op.result, loc=op.loc)
        return None

    def relu_affine(self, op: Op) -> Op | None:
        inner = self.producer(op.args[0], *AFFINE.values(), only_use=True)
        return None if inner is None else replace(inner, result=op.result, loc=op.loc).with_attrs(relu=1)

    def mask(self, op: Op) -> Op | None:
        for v, m in (op.args, op.args[::-1]):
            inner = self.producer(m, "gt0")
            if inner is not None:
                return replace(op, name="mask", args=(v, inner.args[0]))
        return None

    def mask_transposed(self, op: Op) -> Op | None:
        inner = self.producer(op.args[0], *ADJOINT, only_use=True)
        if inner is None or op.type is None:
            return None
        fused = replace(
            inner, name=f"{inner.name}_mask", args=(*inner.args, op.args[1]), result=op.result, type=op.type, loc=op.loc
        )
        return fused.with_attrs(shape=shape_text(op.type.shape)) if len(op.type.shape) == 3 else fused

    def dot(self, op: Op) -> Op | None:
        inner = self.producer(op.args[0], "mul", only_use=True)
        if inner is None or len({self.sizes[a] for a in inner.args}) > 1:
            return None
        return replace(op, name="dot", args=inner.args)

    def sub_label(self, op: Op) -> Op | None:
        p, y = self.producer(op.args[0], "softmax"), self.producer(op.args[1], "one_hot")
        return None if p is None or y is None else replace(op, name="sub_one_hot", args=(op.args[0], y.args[0]))

    def reads(self, name: str, state: str) -> bool:
        """Is ``state`` a term of the sum ``name``? An update of it by one term must not change another."""
        made = self.made.get(name)
        terms = made.args if made is not None and made.name in ("add", "sub", "scale") else ()
        return name == state or any(self.reads(term, state) for term in terms)

    def lower_update(self, op: Op, name: str | None = None, factor: float = 1.0) -> list[Op]:
        """``state -= factor * f`` as a list of updates that kernels can do."""
        state, f = op.args[0], name or op.args[1]
        made = None if f not in self.made or self.changed(f) else self.made[f]
        if made is not None and made.name == "scale":
            return self.lower_update(op, made.args[0], factor * made.number("k"))
        if made is not None and made.name in ("add", "sub") and not self.reads(f, state):
            minus = -factor if made.name == "sub" else factor
            return self.lower_update(op, made.args[0], factor) + self.lower_update(op, made.args[1], minus)
        if factor == 0:
            return []  # a rate of 0 freezes the state
        attrs = {"rate": abs(factor), "sign": 1 if factor >= 0 else -1}
        return [Op("vec_update", (state, f), loc=op.loc).with_attrs(id=0, **attrs)]


_PATTERNS: dict[str, tuple[Callable[[_Fuser, Op], Op | None], ...]] = {
    "add": (_Fuser.add_bias,),
    "relu": (_Fuser.relu_affine,),
    "mul": (_Fuser.mask,),
    "mask": (_Fuser.mask_transposed,),
    "sub": (_Fuser.sub_label,),
    "sum": (_Fuser.dot,),
}


def fuse(module: Module) -> Module:
    """Applies the patterns of this file's docstring to every entry.

    Raises:
        ConfigError: a vector is added to a map otherwise than as the bias of a convolution.
    """
    vectors = {s.name for s in module.state if len(s.type.shape) == 1}
    fused = dce(map_entries(module, lambda e: _Fuser(e, vectors, module.types(e)).run()))
    for entry in fused.entries:
        types = fused.types(entry)
        for op in entry.ops:
            if op.name == "add" and len({len(types[a].shape) for a in op.args if types[a].size > 1}) > 1:
                where = f"{op.loc.file}:{op.loc.line}: " if op.loc else ""
                hint = "Write s.W @ x + s.b, with nothing in between."
                raise ConfigError(f"{where}A vector is added to a feature map, but not as the bias of s.W @ x.", hint)
    return fused
