"""Does a plan, run by the C core, do what its module means? The numpy interpreter is the judge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.errors import MismatchError
from edgelearn.host.native import NativeCore
from edgelearn.ir.core import Module
from edgelearn.ir.interp import Interpreter

TOLERANCE = {"int8": 0.0, "f32": 1e-5}


def compare(
    module: Module, plan: bytes, x: NDArray[Any], y: NDArray[Any], learn: int, seed: int = 0, raw: bytes | None = None
) -> float:
    """The largest difference in the state after inferring all of ``x`` and learning its first ``learn`` samples.

    Args:
        x: encoded samples (N, inputs). y: (N,) classes.
        raw: the state to start from; None: the one that ``seed`` gives.

    Raises:
        MismatchError: a class or the state differs by more than the dtype's tolerance (0 for integers).
    """
    core = NativeCore(plan, module.integer("state_bytes"), module.integer("arena_bytes"), seed)
    judge = Interpreter(module, seed)
    if raw is not None:
        core.write_state(raw)
        state.restore(judge, raw)
    if core.infer(x).tolist() != [judge.infer(row) for row in x]:
        raise _mismatch(module, "they take a sample for different classes")
    core.learn(x, y, np.arange(learn))
    for row, label in zip(x[:learn], y[:learn], strict=True):
        judge.learn(row, int(label))
    worst = _difference(state.decode(module, core.read_state()), judge)
    if worst > TOLERANCE[module.dtype]:
        raise _mismatch(module, f"the states differ by {worst:g} after {learn} steps")
    return worst


def _difference(snapshot: state.Snapshot, judge: Interpreter) -> float:
    pairs = [(snapshot.tensors[name], kept) for name, kept in judge.tensors().items()]
    pairs += [(np.array(snapshot.exps[name]), np.array(kept)) for name, kept in judge.exps.items()]
    return max(float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) for a, b in pairs)


def _mismatch(module: Module, what: str) -> MismatchError:
    hint = "A defect of edgelearn: please report it with the recipe."
    return MismatchError(f"The C core and the interpreter disagree on {module.name}: {what}.", hint)
