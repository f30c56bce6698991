"""``check_rule``: does a rule, the reader's or ours, do what edgelearn promises of every rule?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgelearn import job, state
from edgelearn.backends import Artifact, Source, backend
from edgelearn.compiler import DTYPES, Compiled, compile_net
from edgelearn.data import datasets
from edgelearn.data.datasets import Dataset
from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.host.native import NativeCore
from edgelearn.ir import rng
from edgelearn.ir.core import Module
from edgelearn.ir.interp import RESCALE_EVERY, Interpreter
from edgelearn.ir.ops import OPS
from edgelearn.layers import Layer
from edgelearn.nets import Net
from edgelearn.parity import prove
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import Rule, find
from edgelearn.tracing import independent

PASSES = 3  # over the digits' 1,400 training samples
GAP = 0.05  # that int8 may be below floats
SATURATED = 0.05  # of a value's elements, at the end
SAME_STEPS = 40  # compared with the interpreter, bit for bit in integers

NETS: dict[str, Net] = {
    "dense": Net((64,), (24, 16), 10),
    "conv": Net((8, 8), (Layer("conv", 6, 3, 1, 1), Layer("pool", kernel=2), Layer("conv", 8, 3, 1, 1)), 10),
    "recurrent": Net((8, 8), (Layer("recurrent", 24),), 10),
}


@dataclass(frozen=True)
class RuleReport:
    """What was measured, by (kind of net, dtype): accuracy on the digits' test set, and the largest share of a value that saturated."""

    rule: str
    accuracy: dict[tuple[str, str], float] = field(default_factory=dict)
    saturation: dict[tuple[str, str], float] = field(default_factory=dict)


def check_rule(
    name: str,
    params: Mapping[str, Any] | None = None,
    base: Path | None = None,
    kinds: Sequence[str] = ("dense",),
    passes: int = PASSES,
    least: float = 0.6,
    seed: int = 1,
) -> RuleReport:
    """Holds a rule to the promises, on small nets and the digits; takes a few seconds per kind.

    Each net must trace to the same ops twice, lower to floats and integers, do the same in the C core as in the interpreter (integers: to
    the bit), use every state that it declares, need no more memory for activations when it is deeper (4 blocks against 10), learn, lose
    little in int8, and not saturate for good.

    Args:
        name: a built-in rule, or ``file.py:Class``, relative to ``base``.
        params: of the rule; rates must be good for batch 1 on 64-24-16-10.
        kinds: of nets: dense, conv, recurrent.
        passes: over the digits' 1,400 training samples. least: accuracy on the 397 others after them; chance is 0.1.

    Raises:
        ConfigError: it breaks a promise; the message says which, and on what.
    """
    rule = find(name, dict(params or {}), base)
    data, report = datasets.load("digits"), RuleReport(name)
    if unknown := sorted(set(kinds) - set(NETS)):
        raise ConfigError(f"There is no net of kind {unknown[0]!r} to check on.", f"Choose from {', '.join(NETS)}.")
    for kind in kinds:
        _check_shape(rule, kind, data, seed)
        for dtype in DTYPES:
            _check_learning(_Trial(rule, kind, dtype, passes, seed), data, least, report)
        lost = report.accuracy[kind, "f32"] - report.accuracy[kind, "int8"]
        _promise(
            lost <= GAP,
            rule,
            kind,
            f"int8 loses {100 * lost:.1f} points against floats",
            'Give its weights more bits, say bits = {"W": 12}.',
        )
    return report


def _promise(kept: bool, rule: Rule, kind: str, broken: str, hint: str) -> None:
    if not kept:
        raise ConfigError(f"The rule {rule.name}, on a {kind} net: {broken}.", hint)


def _compiled(rule: Rule, net: Net, dtype: str, data: Dataset, seed: int, steps: int = 0) -> Compiled:
    calibration = Calibration(data.x_train.reshape(len(data.x_train), -1), data.y_train, seed)
    return compile_net(
        rule, net, calibration, dtype, job.drop_steps((0.5, 0.7, 0.8, 0.9, 0.95), steps) if steps else ()
    )


def _check_shape(rule: Rule, kind: str, data: Dataset, seed: int) -> None:
    """What can be said without training."""
    net = _net(rule, kind)
    module, again = (_compiled(rule, net, "int8", data, seed).module for _ in range(2))
    _promise(
        module == again,
        rule,
        kind,
        "tracing it twice gives different ops",
        "A rule must not draw in Python: use L.normal.",
    )
    used = {arg for entry in module.entries for op in entry.ops for arg in op.args}
    if idle := sorted({s.name for s in module.state} - used):
        _promise(
            False,
            rule,
            kind,
            f"nothing uses the state {', '.join(n[1:] for n in idle)}",
            "Declare only what step or predict reads.",
        )
    updated = {op.args[0] for op in module.entry("learn").ops if OPS[op.name].update}
    _promise(bool(updated), rule, kind, "it learns nothing", "Write s.W -= lr * L.outer(d, x).")
    local = not hasattr(rule.instance, "step_net") and not independent(rule)
    if kind == "dense" and local and not hasattr(rule.instance, "most_blocks"):
        flat, deep = (_arena(_compiled(rule, Net((64,), (32,) * n, 10), "int8", data, seed).module) for n in (4, 10))
        _promise(
            deep <= flat,
            rule,
            kind,
            f"its arena grows with depth, {flat} to {deep} bytes",
            "Keep nothing of earlier blocks.",
        )


def _net(rule: Rule, kind: str) -> Net:
    """The net of ``kind``, cut to as many blocks as the rule takes (``most_blocks``)."""
    net, most = NETS[kind], getattr(rule.instance, "most_blocks", None)
    return net if most is None else Net(net.shape, net.stack[:most], net.classes)


def _arena(module: Module) -> int:
    return module.integer("arena_bytes")


@dataclass(frozen=True)
class _Trial:
    rule: Rule
    kind: str
    dtype: str
    passes: int
    seed: int


def _check_learning(trial: _Trial, data: Dataset, least: float, report: RuleReport) -> None:
    rule, kind, dtype, seed = trial.rule, trial.kind, trial.dtype, trial.seed
    net = _compiled(rule, _net(rule, kind), dtype, data, seed, trial.passes * len(data.x_train))
    made = backend("plan")
    source = Source(rule.name, net.module, state.encode(Interpreter(net.module, seed)), "", seed)
    x, y = net.encode(data.x_train), data.y_train
    plan = Artifact(f"{rule.name}.plan", made.export(net.module, ""), "all", dtype)
    try:
        prove(made.open(plan, source), plan, source, x, y, SAME_STEPS, SAME_STEPS, strict=True)
    except EdgeLearnError as error:
        _promise(False, rule, kind, f"{dtype}: {error.message.removesuffix('.')}", error.hint)
    core = NativeCore(plan.raw, net.module.integer("state_bytes"), net.module.integer("arena_bytes"), seed)
    order = np.concatenate([rng.permutation(seed, epoch, len(x)) for epoch in range(trial.passes)])
    whole = len(order) // RESCALE_EVERY * RESCALE_EVERY - 1  # the end of a window, before it is cleared
    core.learn(x, y, order[:whole])
    often = report.saturation[kind, dtype] = _saturation(net.module, core.read_state())
    core.learn(x, y, order[whole:])
    got = report.accuracy[kind, dtype] = float((core.infer(net.encode(data.x_test)) == data.y_test).mean())
    problem = f"{dtype}: {100 * got:.1f} % after {trial.passes} passes"
    _promise(got >= least, rule, kind, problem, "Choose its rates, or mend the rule.")
    problem = f"{100 * often:.0f} % of a value's elements saturate at the end"
    _promise(often <= SATURATED, rule, kind, problem, "Bound the value, or lower the rate.")


def _saturation(module: Module, raw: bytes) -> float:
    """The largest share of saturated elements of a moving value in the last window."""
    found = state.decode(module, raw)
    return max(
        (found.stats[s.name][0] / (max(s.elems, 1) * RESCALE_EVERY) for s in module.slots if s.kind == "moving"),
        default=0.0,
    )
