"""A run on a board: its stages one after the other, with checkpoints, through restarts of the board and Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgelearn import health, results, state
from edgelearn.errors import EdgeLearnError, Interrupted, LinkLostError, MismatchError
from edgelearn.health import Finding
from edgelearn.ir.interp import RESCALE_EVERY
from edgelearn.job import Job, Stage
from edgelearn.link.client import BoardRestarted, Client
from edgelearn.link.messages import NO_LABEL
from edgelearn.results import Evaluation, Result, evaluate
from edgelearn.runs import Checkpoint, RunStore

CHECKPOINTS = 20  # about so many in a run
MIN_CHECKPOINT_STEPS = 512
MAX_RESTARTS = 5  # of the board without a new checkpoint in between


@dataclass(frozen=True)
class Progress:
    """Where a run stands; ``accuracy`` is that of the network's guesses on the samples since the last report, before it learnt them.

    ``health`` are warnings about the newest checkpoint.
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


def deploy(client: Client, job: Job, checkpoint: Checkpoint | None) -> Stage:
    """Plan and first state, or the checkpoint's, onto the board; returns the stage that this is of."""
    step = 0 if checkpoint is None else checkpoint.step
    stage = job.stage_at(step)
    client.allow(job.worst_step_s)
    client.send_plan(stage.plan)
    client.init(job.recipe.train.seed)
    raw = job.state_at(step, None if checkpoint is None else checkpoint.state)
    if raw is not None:
        client.write_state(raw)
    return stage


def measured(client: Client, job: Job) -> Evaluation:
    """Accuracy of the board on the test set."""
    guesses = client.infer([row.tobytes() for row in job.x_test])
    return evaluate(np.asarray(guesses), job.data.y_test, job.data.classes)


class Training:
    """One run of ``job`` on the board at the other end of ``client``, recorded as ``run``."""

    def __init__(
        self, client: Client, job: Job, runs: RunStore, run: str, emulated: bool, on_progress: OnProgress | None
    ) -> None:
        self.client, self.job, self.runs, self.run, self.emulated = client, job, runs, run, emulated
        self.on_progress = on_progress
        self.held: Stage | None = (
            None  # the stage whose plan and state the board holds; None while they are being written
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
            if isinstance(error, LinkLostError):
                again = f"{error.hint} Then go on with: edgelearn resume {self.run}"
                raise LinkLostError(error.message, again) from error
            raise
        self.runs.finish(self.run, "finished", result)
        return Result(self.run, result["accuracy"], result)

    def _interrupted(self) -> Interrupted:
        """Keeps what the board has learnt, if it can still be had; else the newest checkpoint is what there is."""
        with suppress(EdgeLearnError, KeyboardInterrupt):
            self._keep()
        step = self._kept()
        self.runs.finish(self.run, "interrupted", {"step": step})
        return Interrupted(
            f"Stopped; run {self.run} is kept up to step {step:,} of {self.job.steps:,}.",
            f"Go on with: edgelearn resume {self.run}",
        )

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
                    self.client.connect(self.job.board.id)
                self._deploy()
                if evaluate_before and not before:
                    before["accuracy_before"] = measured(self.client, self.job).accuracy
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
        self.held = deploy(self.client, self.job, self.runs.newest_checkpoint(self.run))

    def _learn(self) -> None:
        every = checkpoint_every(self.job.steps)
        while (step := self.client.step) < self.job.steps:
            stage = self.job.stage_at(step)
            if self.held is not stage:
                self._deploy()  # the next stage, from the checkpoint that ended the one before
                continue
            last = min((step + 1) // every * every + every - 1, stage.last)
            chunk = _Counter()
            self._stream(last, chunk)
            self._keep(chunk)
            if (accuracy := chunk.accuracy()) is not None:
                self.runs.log(self.run, last, "train_accuracy", accuracy)

    def _stream(self, last: int, chunk: _Counter) -> None:
        """Sends the samples up to step ``last``."""
        first, job = self.client.step, self.job
        order = job.order(first, last)
        x, y = job.x_train, job.data.y_train

        def source(step: int) -> tuple[bytes, int]:
            index = order[step - first]
            return x[index].tobytes(), int(y[index])

        def on_ack(step: int, guesses: list[int]) -> None:
            for at, guess in enumerate(guesses, step - len(guesses)):
                if guess != NO_LABEL and at >= first:
                    chunk.known += 1
                    chunk.right += guess == y[order[at - first]]
            self.learnt += len(guesses)
            speed = self.learnt / max(time.monotonic() - self.began, 1e-9)
            self._show(replace(self.shown, step=step, accuracy=chunk.accuracy(), samples_per_s=speed))

        self.client.learn(source, first, last, on_ack)

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
        if stage is None or self.client.step == stage.first:
            return
        raw = self.client.read_state(stage.module.integer("state_bytes"))
        found = state.decode(stage.module, raw)
        if (found.step, found.seed) != (self.client.step, self.job.recipe.train.seed):
            raise MismatchError(
                f"The board's state is of step {found.step} and seed {found.seed}, not of this run.", "Resume the run."
            )
        self._examine(stage, found, chunk or _Counter())
        self.runs.checkpoint(self.run, found.step, raw, self.client.hello.boot_id)

    def _examine(self, stage: Stage, found: state.Snapshot, chunk: _Counter) -> None:
        """Says at once if something is wrong."""
        for name, value in health.measure(stage.module, found, stage.first).items():
            self.runs.log(self.run, found.step, name, value)
        guesses = health.guessing(chunk.right, chunk.known, self.job.data.y_train)
        findings = self.monitor.look((*health.examine(stage.module, found, stage.first), *guesses), found, stage.first)
        if findings != self.shown.health:
            self._show(replace(self.shown, health=findings))

    # --- results ------------------------------------------------------------------------------------------------------

    def _result(self, learnt: int) -> dict[str, Any]:
        job, seconds = self.job, time.monotonic() - self.began
        final = state.decode(job.module, self.client.read_state(job.state_bytes))
        accuracy = measured(self.client, job).accuracy
        ends = health.at_chance(accuracy, job.data.y_test)
        return {
            "run": self.run, **results.of_job(job), "accuracy": accuracy, **results.of_state(job, final),
            **results.of_board(job, self.client, self.emulated), "samples_per_s": learnt / max(seconds, 1e-9),
            "health": [*self.monitor.report(), *results.told(ends, job.steps)],
        }  # fmt: skip


def checkpoint_every(steps: int) -> int:
    """Steps between two checkpoints: whole windows, since one just before the end of a window sees all of it."""
    return -(-max(MIN_CHECKPOINT_STEPS, steps // CHECKPOINTS) // RESCALE_EVERY) * RESCALE_EVERY
