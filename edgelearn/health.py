"""Is a run well? What its state says about that: numbers that are none any more, values that are silent or saturated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.changes import at_limit
from edgelearn.ir.core import Module, Op
from edgelearn.ir.expressions import ancestors, narrowing
from edgelearn.ir.interp import EXP_LIMIT, RESCALE_EVERY
from edgelearn.passes.freeze import block_of
from edgelearn.state import Snapshot

MIN_WINDOW = 64  # samples in a window that say something
SATURATED = 0.05  # of a value's elements in a window
AT_LIMIT = 0.2  # of a weight's elements
COUNTER_MAX = 0xFFFF  # of saturated elements in a window: more are not counted
MIN_GUESSES = 256  # before they say something
LOWER_LR = "Lower lr."
LONGER = "Lower lr, or train longer."
# What makes an error of activations: it may be zero for good reasons, such as a gate or a sample that is already right.
_ERRORS = ("gate", "mask", "sub_one_hot", "softmax", "sigmoid", "sign", "matvec_t", "conv_t", "depthwise_t")


KINDS = ("diverged", "silent", "saturated", "exponent", "limit", "chance")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``where`` is a block, state or slot, ``message`` a sentence, ``hint`` what to do."""

    kind: str  # one of KINDS
    where: str
    message: str
    hint: str = LOWER_LR


def examine(module: Module, snapshot: Snapshot, since: int = 0) -> tuple[Finding, ...]:
    """What is wrong with a state of ``module``; its windows have counted from step ``since`` on, or from their own start."""
    if module.dtype == "f32":
        return tuple(_not_finite(snapshot))
    return (
        *_values(module, snapshot, window(snapshot, since)),
        *_exponents(module, snapshot),
        *_weights(module, snapshot),
    )


def window(snapshot: Snapshot, since: int = 0) -> int:
    """How many samples the statistics in a state have seen."""
    return min(snapshot.step % RESCALE_EVERY, snapshot.step - since)


def measure(module: Module, snapshot: Snapshot, since: int = 0) -> dict[str, float]:
    """The figures behind ``examine``, by the name of their metric: shares of elements, the largest of all values or weights."""
    if module.dtype == "f32":
        return {"not_finite": float(sum(_not_finite_counts(snapshot).values()))}
    figures = {"weights_at_limit": max(at_limit(module, snapshot).values(), default=0.0)}
    if window(snapshot, since) >= MIN_WINDOW:
        shares = [value.saturated(snapshot, window(snapshot, since)) for value in _narrowed(module)]
        figures["saturation"] = max(shares, default=0.0)
    return figures


def at_chance(accuracy: float, truth: NDArray[Any]) -> tuple[Finding, ...]:
    """Is the accuracy on the test set no better than to say always the same?"""
    common, chance = commonest(truth)
    if chance == 1 or accuracy > chance:
        return ()
    always = f"always saying class {common} would be right in {100 * chance:.1f} %"
    message = f"the accuracy is {100 * accuracy:.1f} %, no better than chance: {always}."
    return (Finding("chance", "accuracy", message, LONGER),)


def guessing(right: int, known: int, truth: NDArray[Any]) -> tuple[Finding, ...]:
    """The same for the guesses that the net made before it learnt its newest samples, if they are enough to say so."""
    chance = commonest(truth)[1]
    if known < MIN_GUESSES or chance == 1 or right > chance * known:
        return ()
    message = f"{100 * right / known:.1f} % of its guesses at new samples are right, no better than chance."
    return (Finding("chance", "guesses", message, LONGER),)


def commonest(truth: NDArray[Any]) -> tuple[int, float]:
    """The class that most samples have, and their share."""
    counts = np.bincount(truth)
    return int(counts.argmax()), float(counts.max()) / len(truth)


# --- floats -----------------------------------------------------------------------------------------------------------------------


def _not_finite_counts(snapshot: Snapshot) -> dict[str, int]:
    counts = {name[1:]: int((~np.isfinite(q)).sum()) for name, q in snapshot.tensors.items()}
    return {name: count for name, count in counts.items() if count}


def _not_finite(snapshot: Snapshot) -> Iterator[Finding]:
    if counts := _not_finite_counts(snapshot):
        where = ", ".join(counts)
        total = sum(q.size for q in snapshot.tensors.values())
        message = f"training has diverged: {sum(counts.values()):,} of {total:,} weights are NaN or infinite ({where})."
        yield Finding("diverged", where, message)


# --- integers ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Value:
    """A narrowed value of ``learn``: its slot, the elements that one sample counts there, and whose it is."""

    slot: str
    elements: int
    block: str
    forward: bool  # an activation, and no error

    def saturated(self, snapshot: Snapshot, samples: int) -> float:
        """The share of its elements in the window; at least that where the counter is full."""
        return snapshot.stats[self.slot][0] / (self.elements * samples)


def _narrowed(module: Module) -> list[_Value]:
    learn = module.entry("learn")
    ops: dict[str, list[Op]] = {}
    for slot, op in narrowing(module, learn):
        ops.setdefault(slot, []).append(op)
    found: list[_Value] = []
    for slot, made in ops.items():
        before = ancestors(learn, made[0])
        blocks = [block_of(arg) for op in before for arg in op.args if arg.startswith("@")]
        block = f"block {max(blocks)}" if blocks else ""
        forward = not any(op.name.startswith(_ERRORS) for op in before)
        elements = sum(op.type.size for op in made if op.type is not None)
        found.append(_Value(slot, elements, block, forward))
    return found


def _values(module: Module, snapshot: Snapshot, samples: int) -> Iterator[Finding]:
    """What the statistics of the window say, if it is long enough."""
    if samples < MIN_WINDOW:
        return
    groups: dict[tuple[str, bool], list[_Value]] = {}
    for value in _narrowed(module):
        groups.setdefault((value.block, value.forward), []).append(value)
    for (block, forward), values in groups.items():
        if forward and block and all(snapshot.stats[value.slot][1] == 0 for value in values):
            message = f"{block} is silent: all its activations are zero."
            yield Finding("silent", block, message, "Lower lr, or train anew with another seed.")
        share = max(value.saturated(snapshot, samples) for value in values)
        if share > SATURATED:
            kind = "activations" if forward else "errors"
            message = (
                f"{100 * share:.0f} % of the {kind} of {block or 'no block'} are larger than their numbers can be."
            )
            yield Finding("saturated", f"{block} {kind}".strip(), message)


def _exponents(module: Module, snapshot: Snapshot) -> Iterator[Finding]:
    for slot in module.slots:
        if slot.kind != "computed" and abs(snapshot.exps[slot.name]) >= EXP_LIMIT:
            message = f"the exponent {slot.name} has come to its limit, 2^{snapshot.exps[slot.name]}."
            yield Finding("exponent", slot.name, message)


def _weights(module: Module, snapshot: Snapshot) -> Iterator[Finding]:
    for name, share in at_limit(module, snapshot).items():
        if share > AT_LIMIT:
            message = f"{100 * share:.0f} % of {name[1:]} are as large as its numbers can be."
            yield Finding("limit", name[1:], message)


# --- over a run -------------------------------------------------------------------------------------------------------------------


WINDOWED = ("silent", "saturated")  # findings that need a window of samples
PASSING = ("chance", "saturated", "limit")  # that a net which learns well may show for a while: exponents follow
_Key = tuple[str, str, int]


@dataclass
class Monitor:
    """What was found at each checkpoint of a run. Something counts if it is there at the end, or was there twice in a row."""

    seen: dict[_Key, tuple[Finding, int, int]] = field(default_factory=dict)  # finding, first and last step
    lasting: set[_Key] = field(default_factory=set)
    looked: dict[bool, int] = field(
        default_factory=dict
    )  # newest step at which windows (True), all else (False) were seen

    def look(self, findings: Iterable[Finding], snapshot: Snapshot, since: int = 0) -> tuple[Finding, ...]:
        """Takes down what was found at a checkpoint; returns what should be said at once."""
        told: list[Finding] = []
        for finding in findings:
            key = finding.kind, finding.where, since
            _, first, last = self.seen.get(key, (finding, -1, -1))
            again = last == self.looked.get(finding.kind in WINDOWED, -2)
            self.seen[key] = finding, first if again else snapshot.step, snapshot.step
            if again:
                self.lasting.add(key)
            if again or finding.kind not in PASSING:
                told.append(finding)
        self.looked[False] = snapshot.step
        if window(snapshot, since) >= MIN_WINDOW:
            self.looked[True] = snapshot.step
        return tuple(told)

    def report(self) -> list[dict[str, Any]]:
        """The findings that count, as the result of the run lists them."""
        return [
            vars(finding) | {"steps": [first, last]}
            for key, (finding, first, last) in self.seen.items()
            if key in self.lasting or last == self.looked.get(finding.kind in WINDOWED)
        ]
