"""A run on a board, or on the host: its stages one after the other, with checkpoints, through restarts of the board and Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from edgelearn import health, results, state
from edgelearn.device import Device, Outcomes, measured
from edgelearn.errors import (
    EdgeLearnError,
    Interrupted,
    LinkLostError,
    MismatchError,
    StorageFullError,
    UsageError,
)
from edgelearn.health import Finding
from edgelearn.ir.interp import RESCALE_EVERY
from edgelearn.job import Job, Stage
from edgelearn.link.client import BoardRestarted
from edgelearn.results import Result
from edgelearn.runs import RIGHT, RunStore
from edgelearn.trainspec import TrainSpec
from edgelearn.watching import Watching

CHECKPOINTS = 20  # about so many in a run
MIN_CHECKPOINT_STEPS = 512
MAX_RESTARTS = 5  # of the board without a new checkpoint in between


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: samples learnt, of ``steps``.
        accuracy: share of right guesses on the samples since the last report, before they were learnt; None: there were none.
        samples_per_s: learnt, over the link.
        health: warnings about the newest checkpoint.
    """

    step: int
    steps: int
    accuracy: float | None
    samples_per_s: float
    health: tuple[Finding, ...] = ()


OnProgress = Callable[[Progress], None]


@dataclass
class _Counter:
    """Guesses between two checkpoints."""

    right: int = 0
    known: int = 0

    def accuracy(self) -> float | None:
        return self.right / self.known if self.known else None


def check(job: Job) -> None:
    """Can the recipe be learnt on the job's board? Asked before anything is recorded; that it compiles says less.

    Raises:
        UsageError: the board does not learn so.
    """
    if job.board.is_host:
        from edgelearn import hostdevice

        return hostdevice.check(job)
    train = job.recipe.train
    if job.closed_form is not None:
        hint = 'Use --board host, or loss = "mse".'
        raise UsageError("The closed form solves for its heads with all samples at once; a board sees one.", hint)
    if train.batch != 1:
        raise UsageError(
            f"A board updates after every sample; the batch is {train.batch}.", "Use batch = 1, or --board host."
        )
    if train.optimizer != TrainSpec.optimizer:
        problem = f"A board takes the rule's own steps; the optimizer is {train.optimizer}."
        raise UsageError(problem, f'Use optimizer = "{TrainSpec.optimizer}", or --board host.')
    if train.augment != TrainSpec.augment:
        problem = f"A board learns samples as they are; the augmentation is {train.augment}."
        raise UsageError(problem, f'Use augment = "{TrainSpec.augment}", or --board host.')
    return None


class Training:
    """One run of ``job`` on ``device``, recorded as ``run``."""

    def __init__(self, device: Device, job: Job, runs: RunStore, run: str, on_progress: OnProgress | None) -> None:
        self.device, self.job, self.runs, self.run = device, job, runs, run
        self.on_progress = on_progress
        self.held: Stage | None = (
            None  # the stage whose plan and state the device holds; None while they are being written
        )
        self.monitor = health.Monitor()
        self.shown = Progress(0, job.steps, None, 0.0)
        self.began, self.learnt = 0.0, 0  # when learning began, and samples learnt since

    def converse(self, evaluate_before: bool = False) -> Result:
        """Deploys, learns and measures; whatever ends that early is recorded in the run before it is passed on."""
        try:
            result = self._through_restarts(evaluate_before)
        except KeyboardInterrupt:
            raise self._interrupted() from None
        except EdgeLearnError as error:
            with suppress(EdgeLearnError):  # the run store itself may be what failed
                self.runs.finish(self.run, "failed", {"error": error.message})
            if isinstance(error, (LinkLostError, StorageFullError)):
                again = f"{error.hint} Then go on with: edgelearn resume {self.run}"
                kind = LinkLostError if isinstance(error, LinkLostError) else type(error)
                raise kind(error.message, again) from error
            raise
        self.runs.finish(self.run, "finished", result)
        return Result(self.run, result["accuracy"], result)

    def _interrupted(self) -> Interrupted:
        """Keeps what the device has learnt, if it can still be had; else the newest checkpoint is what there is."""
        with suppress(EdgeLearnError, KeyboardInterrupt):
            self._keep()
        step = self._kept()
        self.runs.finish(self.run, "interrupted", {"step": step})
        return Interrupted(
            f"Stopped; run {self.run} is kept up to step {step:,} of {self.job.steps:,}.",
            f"Go on with: edgelearn resume {self.run}",
        )

    @cached_property
    def _watching(self) -> Watching:
        """Made when the first new checkpoint comes: the newest one of the run is still the one before."""
        newest, torch_device = self.runs.newest_checkpoint(self.run), getattr(self.device, "device", None)
        return Watching(self.job, checkpoint_every(self.job.steps), newest, torch_device)

    def _through_restarts(self, evaluate_before: bool) -> dict[str, Any]:
        """The whole work, and again from the newest checkpoint each time that the board restarted meanwhile.

        Raises:
            BoardRestarted: too often without getting any further.
        """
        restarts, reached, first = 0, 0, self._kept()
        before: dict[str, Any] = {}
        while True:
            try:
                if restarts:
                    self.device.reopen(self.job)
                self._deploy()
                if evaluate_before and not before:
                    before["accuracy_before"] = measured(self.device, self.job).accuracy
                self.began = self.began or time.monotonic()
                self._learn()
                return self._result(self.job.steps - first) | before
            except BoardRestarted:
                step = self._kept()
                restarts = 1 if step > reached else restarts + 1
                reached = step
                if restarts > MAX_RESTARTS:
                    raise

    def _kept(self) -> int:
        """The step of the newest checkpoint; 0 where there is none."""
        newest = self.runs.newest_checkpoint(self.run)
        return 0 if newest is None else newest.step

    # --- learning -----------------------------------------------------------------------------------------------------

    def _deploy(self) -> None:
        self.held = None
        self.held = self.device.put(self.job, self.runs.newest_checkpoint(self.run))

    def _learn(self) -> None:
        every = checkpoint_every(self.job.steps)
        while (step := self.device.step) < self.job.steps:
            stage = self.job.stage_at(step)
            if self.held is not stage:
                self._deploy()  # the next stage, from the checkpoint that ended the one before
                continue
            last = min((step + 1) // every * every + every - 1, stage.last)
            chunk = _Counter()
            self._stream(last, chunk)
            self._keep(chunk)
            if (accuracy := chunk.accuracy()) is not None:
                self.runs.log(self.run, self.device.step, "train_accuracy", accuracy)

    def _stream(self, last: int, chunk: _Counter) -> None:
        """Learns the samples up to step ``last``."""

        def told(step: int, learnt: int, right: int, known: int, outcomes: Outcomes) -> None:
            self.runs.log_many(self.run, RIGHT, outcomes)
            chunk.known += known
            chunk.right += right
            self.learnt += learnt
            speed = self.learnt / max(time.monotonic() - self.began, 1e-9)
            self._show(replace(self.shown, step=step, accuracy=chunk.accuracy(), samples_per_s=speed))

        self.device.learn(self.job, last, told)

    def _show(self, progress: Progress) -> None:
        self.shown = progress
        if self.on_progress is not None:
            self.on_progress(progress)

    def _keep(self, chunk: _Counter | None = None) -> None:
        """Pulls the state into the run, so that going on never needs the board to have stayed powered.

        Where a stage begins there is nothing to keep: its first state follows from the checkpoint before it. ``chunk`` counts what was
        guessed since the last checkpoint.

        Raises:
            MismatchError: what the board holds is no state of this run.
        """
        stage = self.held
        if stage is None or self.device.step == stage.first:
            return
        raw, moments = self.device.read(stage.module)
        found = state.decode(stage.module, raw)
        if (found.step, found.seed) != (self.device.step, self.job.recipe.train.seed):
            raise MismatchError(
                f"The board's state is of step {found.step} and seed {found.seed}, not of this run.", "Resume the run."
            )
        self._examine(stage, found, chunk or _Counter())
        self.runs.checkpoint(self.run, found.step, raw, self.device.boot_id, moments)

    def _examine(self, stage: Stage, found: state.Snapshot, chunk: _Counter) -> None:
        """Says at once if something is wrong."""
        for name, value in self._watching.readings(stage, found, probed=bool(chunk.known)):
            self.runs.log(self.run, found.step, name, value)
        guesses = health.guessing(chunk.right, chunk.known, self.job.data.y_train)
        findings = self.monitor.look((*health.examine(stage.module, found, stage.first), *guesses), found, stage.first)
        if findings != self.shown.health:
            self._show(replace(self.shown, health=findings))

    # --- results ------------------------------------------------------------------------------------------------------

    def _result(self, learnt: int) -> dict[str, Any]:
        job, seconds = self.job, time.monotonic() - self.began
        final = state.decode(job.module, self.device.read(job.module)[0])
        tested = measured(self.device, job)
        ends = health.at_chance(tested.accuracy, job.data.y_test)
        return {
            "run": self.run, **results.of_job(job), "accuracy": tested.accuracy, "confusion": tested.kept,
            "blocks": self._watching.blocks, **results.of_state(job, final), **self.device.costs(job),
            "samples_per_s": learnt / max(seconds, 1e-9),
            "health": [*self.monitor.report(), *results.told(ends, job.steps)],
        }  # fmt: skip


def checkpoint_every(steps: int) -> int:
    """Steps between two checkpoints: whole windows, since one just before the end of a window sees all of it."""
    return -(-max(MIN_CHECKPOINT_STEPS, steps // CHECKPOINTS) // RESCALE_EVERY) * RESCALE_EVERY
