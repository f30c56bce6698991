"""What each block of a net would say by itself, while it learns: ``predict`` of the net that ends with it, with its weights of the moment.

It is worked out on this computer, by the C core or for the host by torch, from the states that a run keeps anyway: the board knows nothing
of it, and no byte of the run depends on it. The samples are always the same ones of the training split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.backends import backend
from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.host.native import NativeCore
from edgelearn.ir.core import Entry, Module
from edgelearn.ir.expressions import meanings, narrowing
from edgelearn.ir.ops import OPS
from edgelearn.job import Job, Stage
from edgelearn.nets import Net
from edgelearn.passes.pipeline import lower
from edgelearn.passes.quantize import Calibration
from edgelearn.state import Snapshot
from edgelearn.tracing import trace_first

NAME = "block_accuracy"  # of the readings: block_accuracy/b0
SAMPLES = 300
FEWEST = 100  # samples that say something,
POINTS = 4  # and points that are a curve
SHARE = 0.03  # of the multiplications of the run
HANDLING = 50_000  # multiplications that the host could do while it sends a sample and takes its answer
MOST = 8  # blocks that are drawn

T = TypeVar("T")
Answers = Callable[[Snapshot, NDArray[Any]], NDArray[Any]]  # (state, encoded samples) -> classes


@dataclass(frozen=True)
class Cut:
    """The net that ends with ``block``, counted from 0 among those that learn. ``moving`` are its exponents by those of the whole net.

    It is lowered together with all that the run learns, since values share exponents by what they are computed from.
    """

    block: int
    module: Module
    moving: Mapping[str, str]

    @property
    def macs(self) -> int:
        types = self.module.types(infer := self.module.entry("infer"))
        return sum(OPS[op.name].macs([types[a].shape for a in op.args], op) for op in infer.ops)

    def snapshot(self, whole: Snapshot) -> Snapshot:
        """What it has of the state of the whole net."""
        exps = {
            slot.name: whole.exps.get(self.moving.get(slot.name, slot.name), slot.start) for slot in self.module.slots
        }
        tensors = {s.name: whole.tensors[s.name] for s in self.module.state}
        return Snapshot(tensors, exps, {slot.name: (0, 0) for slot in self.module.slots}, whole.step, whole.seed)


def cut(job: Job, stage: Stage, block: int) -> Cut:
    """The net of ``stage`` that ends with ``block``.

    Raises:
        ConfigError: a block has no answer of its own there.
    """
    traced, whole = stage.compiled.stages[0][1], stage.module
    if block + 1 == blocks_of_rule(stage.compiled.net):
        return Cut(block, whole, {slot.name: slot.name for slot in whole.slots})
    first = traced.with_entries(traced.entry("learn"), _first_blocks(job, stage, block + 1))
    bits = {slot.name: slot.bits for slot in whole.slots if slot.kind == "weight"}
    made = lower(first, whole.dtype, _calibration(job), bits)[-1][1]
    kept = {s.name for s in whole.state}
    if missing := [s.name[1:] for s in made.state if s.name not in kept]:
        raise ConfigError(f"the run keeps no {', '.join(missing)}.", "There is nothing to do about it.")
    known = {value: slot for slot, value in meanings(whole).items()}
    moving = {slot: known.get(value, "") for slot, value in meanings(made).items()}
    used = {slot for slot, _ in narrowing(made, made.entry("infer"))}
    if any(not moving[slot] for slot in used):
        raise ConfigError("it needs the range of a value that the whole net never computes.", "")
    return Cut(block, made, moving)


def _first_blocks(job: Job, stage: Stage, blocks: int) -> Entry:
    """The answer of the first blocks, with the reason in short where they have none."""
    try:
        return trace_first(job.rule, stage.compiled.net, blocks)
    except ConfigError as error:
        said = error.message.splitlines()[0].partition(": ")[2] or error.message
        raise ConfigError(f"predict cannot do without the others: {said}.", error.hint) from error


def _calibration(job: Job) -> Calibration:
    """One sample, the one that sets the inputs' unit: every other exponent is the run's."""
    x = job.data.x_train.reshape(len(job.data.x_train), -1)
    at = max((int(x.argmax()), int(x.argmin())), key=lambda flat: abs(float(x.flat[flat]))) // x.shape[1]
    return Calibration(x[at : at + 1], job.data.y_train[at : at + 1], job.recipe.train.seed)


# --- who answers --------------------------------------------------------------------------------------------------------------------


def in_core(made: Cut) -> Answers:
    """The C core on this computer.

    Raises:
        ConfigError: no plan can hold the net.
    """
    module = made.module
    core = NativeCore(backend("plan").export(module, ""), module.integer("state_bytes"), module.integer("arena_bytes"))

    def answers(whole: Snapshot, rows: NDArray[Any]) -> NDArray[Any]:
        core.write_state(state.pack(module, made.snapshot(whole)))
        return core.infer(rows)

    return answers


def in_torch(made: Cut, device: str) -> Answers:
    """torch, on the device that learns."""
    from edgelearn.host.torch_net import TorchNet

    net = TorchNet(made.module, 0, device)

    def answers(whole: Snapshot, rows: NDArray[Any]) -> NDArray[Any]:
        net.load(made.snapshot(whole).tensors)
        net.step = whole.step
        return net.infer(rows)

    return answers


# --- over a run ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """Which samples are asked about, at which checkpoints: at every ``stride``-th. No sample: ``reason`` says why."""

    samples: int
    stride: int
    reason: str = ""


def planned(job: Job, macs: int, every: int) -> Plan:
    """As many samples as SHARE of the run's work pays for, at checkpoints that are ``every`` steps apart."""
    budget = SHARE * job.steps * (job.macs("learn") + (0 if job.board.is_host else HANDLING))
    checkpoints = math.ceil(job.steps / every)
    have = min(SAMPLES, len(job.data.x_train))
    samples = min(have, int(budget / checkpoints / max(macs, 1)))
    fewest = min(FEWEST, have)
    if samples >= fewest:
        return Plan(samples, 1)
    points = int(budget / max(macs, 1) / fewest)
    if points >= POINTS:
        return Plan(fewest, math.ceil(checkpoints / points))
    share = fewest * min(POINTS, checkpoints) * macs / max(budget, 1) * SHARE
    return Plan(
        0, 1, f"{POINTS} readings of {fewest} samples would take {100 * share:.2g} % of the run's multiplications"
    )


class Probes:
    """The blocks' own answers over a run. ``told`` is what the run's result says of them; nothing here can fail a run.

    Args:
        every: steps between two checkpoints. device: of torch, where the host learns.
    """

    def __init__(self, job: Job, every: int, device: str | None = None) -> None:
        self.job, self.every, self.device = job, every, device
        self._stage: Stage | None = None
        self._asked: list[tuple[int, Answers]] = []
        self._rows = np.empty(0, np.int64)
        self._plan = Plan(0, 1)
        self._reasons: dict[str, str] = {}
        self._answered: set[str] = set()  # at some checkpoint

    @property
    def told(self) -> dict[str, Any]:
        reasons = {block: reason for block, reason in self._reasons.items() if block not in self._answered}
        return {"samples": len(self._rows), "of": len(self.job.data.x_train), "reasons": reasons}

    def look(self, stage: Stage, found: Snapshot) -> dict[str, float]:
        """Accuracy of each block by itself, by the name of its reading; empty where it is not asked."""
        if stage is not self._stage:
            self._enter(stage)
        left_out = math.ceil(found.step / self.every) % self._plan.stride and found.step < self.job.steps
        if not self._asked or left_out:
            return {}
        x, truth = self.job.x_train[self._rows], self.job.data.y_train[self._rows]
        said = {block: self._tried(block, partial(answers, found, x)) for block, answers in self._asked}
        right = {
            f"b{block}": float((classes == truth).mean()) for block, classes in said.items() if classes is not None
        }
        self._answered |= {"all", *right}
        return {f"{NAME}/{block}": share for block, share in right.items()}

    def _enter(self, stage: Stage) -> None:
        """Makes the nets of a stage."""
        self._stage, self._asked = stage, []
        cuts: list[Cut] = []
        self._plan = planned(self.job, self.job.macs("infer"), self.every)  # the last block alone: is there any point?
        if not self._plan.reason:
            made = [self._tried(block, partial(cut, self.job, stage, block)) for block in _chosen(stage)]
            cuts = [found for found in made if found is not None]
            self._plan = planned(self.job, sum(found.macs for found in cuts), self.every)
        if self._plan.reason:
            self._reasons["all"] = self._plan.reason
            return
        n = len(self.job.data.x_train)
        self._rows = np.linspace(0, n - 1, self._plan.samples).astype(np.int64)
        who = in_core if self.device is None else partial(in_torch, device=self.device)
        asked = [(found.block, self._tried(found.block, partial(who, found))) for found in cuts]
        self._asked = [(block, answers) for block, answers in asked if answers is not None]

    def _tried(self, block: int, make: Callable[[], T]) -> T | None:
        """What ``make`` gives; None where it fails, whatever the reason is: a curve is not worth a run."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001
            said = error.message if isinstance(error, EdgeLearnError) else f"{type(error).__name__}: {error}"
            self._reasons[f"b{block}"] = said.removesuffix(".")
            return None


def blocks_of_rule(net: Net) -> int:
    """How many blocks a rule sees."""
    return sum(layer.kind != "pool" for layer in net.stack) - len(net.features)


def _chosen(stage: Stage) -> list[int]:
    """All blocks, or MOST of them at even distances, the last one too."""
    blocks = blocks_of_rule(stage.compiled.net)
    return sorted({round(i * (blocks - 1) / max(min(blocks, MOST) - 1, 1)) for i in range(min(blocks, MOST))})
