"""Training on this computer: the C core in this process, bit for bit the boards' arithmetic, without a link."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgelearn import state
from edgelearn.backends import backend
from edgelearn.bench.results import Checkpoint
from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.data.datasets import Dataset
from edgelearn.errors import ConfigError
from edgelearn.host.native import NativeCore
from edgelearn.ir import rng
from edgelearn.ir.core import Module
from edgelearn.ir.interp import Interpreter
from edgelearn.job import drop_steps
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import Rule

PIECE = 2000  # samples between two reports
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
    kept: Checkpoint | None = None,
) -> HostRun:
    """Learns ``steps`` samples in the order that a session would send them.

    Args:
        drops: fractions of ``steps`` after which the rate halves.
        kept: written after every epoch; where it is there already, training goes on from it.
    """
    compiled, core = compile_for_host(rule, net, data, dtype, seed, drop_steps(drops, steps))
    x, n = compiled.encode(data.x_train), len(data.x_train)
    done, seconds = _resumed(core, compiled, kept)
    while done < steps:
        started, end = time.perf_counter(), min((done // n + 1) * n, steps)
        order = rng.permutation(seed, done // n, n)[done % n : done % n + end - done]
        for piece in np.split(order, range(PIECE, len(order), PIECE)):
            core.learn(x, data.y_train, piece)
            done += len(piece)
            on_epoch(done, steps, rule.name)
        seconds += time.perf_counter() - started
        if kept is not None and done < steps:
            kept.save({"state": np.frombuffer(core.read_state(), np.uint8)}, seconds)
    return HostRun(compiled, core, seconds)


def _resumed(core: NativeCore, compiled: Compiled, kept: Checkpoint | None) -> tuple[int, float]:
    """Samples that were learnt before, and the seconds that they took."""
    found = None if kept is None else kept.load()
    if found is None:
        return 0, 0.0
    core.write_state(found[0]["state"].tobytes())
    return state.decode(compiled.module, core.read_state()).step, found[1]


def read_as(run: HostRun, rule: Rule, data: Dataset, seed: int) -> HostRun:
    """The same trained tensors and exponents under ``rule``, which differs in how it predicts.

    Raises:
        ConfigError: it keeps other state.
    """
    module = run.compiled.module
    compiled, core = compile_for_host(rule, run.compiled.net, data, module.dtype, seed, module.drops)
    trained = state.decode(module, run.core.read_state())
    read = Interpreter(compiled.module, seed)
    learns = _exponents_of(compiled.module, "learn")
    if missing := sorted(read.state.keys() - trained.tensors.keys() | learns - _exponents_of(module, "learn")):
        raise ConfigError(
            f"The two ways of reading differ in {', '.join(missing)}.", "Give each a training of its own."
        )
    read.state = {name: trained.tensors[name] for name in read.state}
    # An exponent that only predicting has never moved: it is as this way of reading has it at first.
    read.exps |= {name: trained.exps[name] for name in learns}
    read.step = trained.step
    core.write_state(state.encode(read))
    return replace(run, compiled=compiled, core=core)


def _exponents_of(module: Module, entry: str) -> set[str]:
    """Slots that an entry and the state use."""
    return {
        slot for type in module.types(module.entry(entry)).values() if type.exp is not None for slot in type.exp.slots
    }
