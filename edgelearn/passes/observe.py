"""observe: what did the network say before it learnt the sample?

The argmax of the scores that the last block's softmax reads becomes the result of ``learn``: a running accuracy on unseen samples, for
as many comparisons as there are classes. A rule without softmax has no result, and the link says so.
"""

from __future__ import annotations

from dataclasses import replace

from edgelearn.ir.core import Module, Op
from edgelearn.ir.types import Exp, Type


def observe(module: Module) -> Module:
    learn = module.entry("learn")
    last = max((i for i, op in enumerate(learn.ops) if op.name == "softmax"), default=None)
    if last is None:
        return module
    guess = Op("argmax", learn.ops[last].args, (), "%guess", Type("i32", (1,), Exp(0)), learn.ops[last].loc)
    ops = (*learn.ops[:last], guess, *learn.ops[last:])
    return module.with_entries(
        *(replace(e, ops=ops, result="%guess") if e.name == "learn" else e for e in module.entries)
    )
