"""Training on this computer: the C core in this process, bit for bit the boards' arithmetic, without a link."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.data.datasets import Dataset
from edgelearn.host.native import NativeCore
from edgelearn.ir import rng
from edgelearn.job import backend, drop_steps
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import Rule

OnEpoch = Callable[[int, int, str], None]  # (samples learnt, of how many, by whom)


def silent(done: int, total: int, what: str) -> None:
    """The OnEpoch that shows nothing."""


@dataclass(frozen=True)
class HostRun:
    """A trained network in this process. ``seconds`` of wall time were spent in training."""

    compiled: Compiled
    core: NativeCore
    seconds: float

    @property
    def ram(self) -> int:
        """Bytes of state and arena."""
        return self.compiled.module.integer("state_bytes") + self.compiled.module.integer("arena_bytes")

    def accuracy(self, data: Dataset) -> float:
        """Fraction of the test set that it gets right."""
        return float((self.core.infer(self.compiled.encode(data.x_test)) == data.y_test).mean())


def compile_for_host(
    rule: Rule, net: Net, data: Dataset, dtype: str, seed: int, drops: Sequence[int] = ()
) -> tuple[Compiled, NativeCore]:
    """A rule on a net, lowered as for a board, in its first state."""
    calibration = Calibration(data.x_train.reshape(len(data.x_train), -1), data.y_train, seed)
    compiled = compile_net(rule, net, calibration, dtype, drops)
    module = compiled.module
    plan = backend("plan").export(module, "")
    return compiled, NativeCore(plan, module.integer("state_bytes"), module.integer("arena_bytes"), seed)


def train(
    rule: Rule,
    net: Net,
    data: Dataset,
    dtype: str,
    steps: int,
    seed: int,
    drops: Sequence[float] = (),
    on_epoch: OnEpoch = silent,
) -> HostRun:
    """Learns ``steps`` samples in the order that a session would send them.

    Args:
        drops: fractions of ``steps`` after which the rate halves.
    """
    compiled, core = compile_for_host(rule, net, data, dtype, seed, drop_steps(drops, steps))
    x, n = compiled.encode(data.x_train), len(data.x_train)
    started = time.perf_counter()
    for first in range(0, steps, n):
        core.learn(x, data.y_train, rng.permutation(seed, first // n, n)[: steps - first])
        on_epoch(min(first + n, steps), steps, rule.name)
    return HostRun(compiled, core, time.perf_counter() - started)
