"""Does an artifact, in its own runtime, do what its module means? The numpy interpreter is the judge of every format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.backends import Artifact, Rescaler, Runner, Source
from edgelearn.errors import MismatchError
from edgelearn.ir.interp import EXP_LIMIT, HALVE_EVERY, MAX_ELEMS, RESCALE_EVERY, Interpreter

TOLERANCE = {"int8": 0.0, "f32": 1e-5}  # of a float: relative, where it is larger than 1
INPUTS, STEPS = 1000, 100  # what a full proof takes


@dataclass(frozen=True)
class Proof:
    """What was run, and the largest difference that was seen: of a score, or of a number of the state."""

    worst: float
    inputs: int
    steps: int


def prove(
    runner: Any,
    artifact: Artifact,
    source: Source,
    x: NDArray[Any],
    y: NDArray[Any],
    inputs: int,
    steps: int,
    strict: bool = False,
) -> Proof:
    """Infers the first ``inputs`` samples, learns the first ``steps``, and compares with the interpreter.

    What is done between steps is compared on as many states as ``steps``.

    Args:
        x: encoded samples (N, inputs). y: (N,) classes. There are fewer where N is smaller.
        strict: of floats too, every class must be the same, and the tolerance of the state is absolute.

    Raises:
        MismatchError: they differ by more than the dtype's tolerance: 0 for integers.
    """
    judge = Interpreter(source.module, source.seed)
    if artifact.entry == "rescale":
        return Proof(_rescaling(runner, artifact, judge, source.state, steps), 0, steps)
    state.restore(judge, source.state)
    told, learnt = x[: inputs if artifact.entry != "train" else 0], x[: steps if artifact.entry != "infer" else 0]
    worst = 0.0
    if len(told):
        worst = _inference(runner, artifact, judge, told, strict)
    if len(learnt):
        worst = max(worst, _learning(runner, artifact, judge, learnt, y, strict))
    return Proof(worst, len(told), len(learnt))


def _inference(runner: Runner, artifact: Artifact, judge: Interpreter, x: NDArray[Any], strict: bool) -> float:
    classes, scores = runner.infer(x)
    meant = [judge.scores(row) for row in x]
    worst = 0.0
    if scores is not None and meant[0] is not None:
        worst = difference(np.asarray(scores), np.stack([row for row in meant if row is not None]))
        _check(artifact, worst, "the scores of a sample")
    for row, found, score in zip(x, classes, meant, strict=True):
        if int(found) != judge.infer(row) and (strict or not _close(score, TOLERANCE[artifact.dtype])):
            raise _mismatch(artifact, "they take a sample for different classes")
    return worst


def _close(score: NDArray[Any] | None, tolerance: float) -> bool:
    """Are the two best scores so near to each other that rounding may swap them?"""
    if score is None or tolerance == 0:
        return False
    second, first = np.sort(score)[-2:]
    return bool(first - second <= 2 * tolerance * max(1.0, abs(first)))


def _learning(
    runner: Runner, artifact: Artifact, judge: Interpreter, x: NDArray[Any], y: NDArray[Any], strict: bool
) -> float:
    runner.learn(x, y[: len(x)])
    for row, label in zip(x, y, strict=False):
        judge.learn(row, int(label))
    worst = _states(runner.state(), judge, strict)
    _check(artifact, worst, f"the state after {len(x)} steps")
    return worst


def _states(raw: bytes, judge: Interpreter, strict: bool) -> float:
    """The largest difference of a state region from the interpreter's."""
    found = state.decode(judge.module, raw)
    pairs = [(found.tensors[name], kept) for name, kept in judge.tensors().items()]
    for slot in judge.module.slots:
        pairs.append((np.array(found.exps[slot.name]), np.array(judge.exps[slot.name])))
        pairs.append((np.array(found.stats[slot.name]), np.array(judge.stats[slot.name])))
    pairs += [(np.array(found.step), np.array(judge.step))]
    return max(difference(a, b, strict) for a, b in pairs)


def _rescaling(runner: Rescaler, artifact: Artifact, judge: Interpreter, raw: bytes, trials: int) -> float:
    """On states in which something is due, and some in which nothing is."""
    worst = 0.0
    for trial in range(trials):
        given = _due(judge, raw, trial)
        state.restore(judge, given)
        judge.rescale()
        worst = max(worst, _states(runner.rescale(given), judge, strict=True))
        _check(artifact, worst, f"the state that follows {state.decode(judge.module, given).step} steps")
    return worst


def _due(judge: Interpreter, raw: bytes, trial: int) -> bytes:
    """A state with statistics, exponents and shares of weights at their limit on either side of what decides."""
    module, draw = judge.module, np.random.default_rng(trial)
    step = (RESCALE_EVERY, HALVE_EVERY, RESCALE_EVERY * HALVE_EVERY, 1)[trial % 4] * int(draw.integers(1, 100))
    before = state.decode(module, raw)
    exps = {s.name: int(draw.choice([-EXP_LIMIT, before.exps[s.name], EXP_LIMIT])) for s in module.slots}
    stats = {}
    for s in module.slots:
        many, quarter = min(s.elems, MAX_ELEMS), 1 << s.bits >> 2
        stats[s.name] = (int(draw.choice([0, many, many + 1])), int(draw.choice([0, max(quarter - 1, 0), quarter])))
    tensors = {s.name: _crowded(before.tensors[s.name], judge.limit(s.type), draw) for s in module.state}
    return state.pack(module, replace(before, tensors=tensors, exps=exps, stats=stats, step=step))


def _crowded(q: NDArray[Any], limit: int, draw: np.random.Generator) -> NDArray[Any]:
    """Weights of which a hundredth is at the limit, or one more."""
    found = np.clip(q, 1 - limit, limit - 1).reshape(-1)
    some = draw.permutation(q.size)[: q.size // 100 + int(draw.integers(0, 2))]
    found[some] = limit * draw.choice([-1, 1], len(some))
    return found.reshape(q.shape)


def difference(a: NDArray[Any], b: NDArray[Any], absolute: bool = False) -> float:
    """The largest difference; relative to ``b`` where that is larger than 1 and a float, unless it is to be absolute.

    Infinite where a number is missing.
    """
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    size = np.maximum(1.0, np.abs(b)) if b.dtype.kind == "f" and not absolute else 1.0
    return float((np.abs(a.astype(np.float64) - b.astype(np.float64)) / size).max(initial=0.0))


def _check(artifact: Artifact, worst: float, what: str) -> None:
    if worst > TOLERANCE[artifact.dtype]:
        raise _mismatch(artifact, f"{what} differ by {worst:g}")


def _mismatch(artifact: Artifact, what: str) -> MismatchError:
    hint = "A defect of edgelearn, or of the runtime: please report it with the recipe."
    return MismatchError(f"{artifact.file} and the interpreter disagree: {what}.", hint)
