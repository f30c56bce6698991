"""observe: what did the network say before it learnt the sample?

The argmax of the scores that the last block's softmax reads becomes the result of ``learn``: a running accuracy on unseen samples, for
as many comparisons as there are classes. Only scores count that no update of this step has touched. A rule without such a softmax has
no result, and the link says so.
"""

from __future__ import annotations

from dataclasses import replace

from edgelearn.ir.core import Module, Op
from edgelearn.ir.types import Exp, Type


def observe(module: Module) -> Module:
    learn = module.entry("learn")
    last = _last_untouched_softmax(learn.ops)
    if last is None:
        return module
    guess = Op("argmax", learn.ops[last].args, (), "%guess", Type("i32", (1,), Exp(0)), learn.ops[last].loc)
    ops = (*learn.ops[:last], guess, *learn.ops[last:])
    return module.with_entries(
        *(replace(e, ops=ops, result="%guess") if e.name == "learn" else e for e in module.entries)
    )


def _last_untouched_softmax(ops: tuple[Op, ...]) -> int | None:
    updated: set[str] = set()
    touched: set[str] = set()  # values that depend on a state after its update
    found = None
    for i, op in enumerate(ops):
        if op.result is None:
            updated.add(op.args[0])
        elif updated.intersection(op.args) or touched.intersection(op.args):
            touched.add(op.result)
        elif op.name == "softmax":
            found = i
    return found
