"""One training conversation with one board, recorded in the run store: train, resume, evaluate, classify."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgelearn import __version__, boards, images, state
from edgelearn import recipe as recipes
from edgelearn.boards import Board
from edgelearn.errors import ConfigError, EdgeLearnError, Interrupted, LinkLostError, MismatchError, UsageError
from edgelearn.job import Job, prepare
from edgelearn.link.children import QemuTransport
from edgelearn.link.client import BoardRestarted, Client
from edgelearn.link.discover import lasting, open_port
from edgelearn.link.messages import NO_LABEL
from edgelearn.link.transport import Transport
from edgelearn.paths import native
from edgelearn.recipe import Recipe
from edgelearn.rules import source_text
from edgelearn.runs import Checkpoint, Run, RunStore

CHECKPOINTS = 20  # about so many in a run
MIN_CHECKPOINT_STEPS = 500
MAX_RESTARTS = 5  # of the board without a new checkpoint in between


@dataclass(frozen=True)
class Progress:
    """Where a run stands; ``accuracy`` is that of the network's guesses on the samples since the last report, before it learnt them."""

    step: int
    steps: int
    accuracy: float | None
    samples_per_s: float


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Evaluation:
    """Accuracy on ``n`` samples; ``confusion[true][guessed]`` counts them."""

    accuracy: float
    n: int
    confusion: list[list[int]]


@dataclass(frozen=True)
class Result:
    """What a finished run was like; ``data`` is the object that ``train --json`` prints."""

    run: str
    accuracy: float
    data: dict[str, Any]


@dataclass
class _Counter:
    """Samples, guesses and time since a point, for progress."""

    steps: int = 0
    right: int = 0
    known: int = 0
    started: float = field(default_factory=time.monotonic)

    def accuracy(self) -> float | None:
        return self.right / self.known if self.known else None


class Session:
    """An open board. Use as a context manager: ``with edgelearn.connect("sim") as board: board.train("digits")``.

    Args:
        board: id or Board. port: how to reach it, see ``edgelearn.link.discover.open_port``; None: the board's default.
        wrap: puts something around the open transport, such as ``RecordingTransport`` or ``edgelearn.testing``'s ``FaultyPipe``.
    """

    def __init__(
        self,
        board: Board | str = boards.DEFAULT,
        port: str | None = None,
        wrap: Callable[[Transport], Transport] = lambda transport: transport,
    ) -> None:
        self.board = board if isinstance(board, Board) else boards.load(board)
        self.port = port
        transport = open_port(self.board, port, lambda: images.build(self.board).path, _sim())
        self.emulated = isinstance(transport, QemuTransport)
        self.client = Client(wrap(transport))
        try:
            self.client.connect(self.board.id)
        except BaseException:
            self.client.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    # --- training -----------------------------------------------------------------------------------------------------

    def train(
        self,
        source: Job | Recipe | str | Path,
        store: RunStore | None = None,
        on_progress: OnProgress | None = None,
        evaluate_before: bool = False,
        **overrides: Any,
    ) -> Result:
        """Trains a recipe from its seed on the board and measures it on the test set.

        Raises:
            Interrupted: Ctrl-C; the state reached is kept in the run, ``resume`` goes on from it bit for bit.
            EdgeLearnError: whatever else went wrong, with its remedy.
        """
        job = source if isinstance(source, Job) else prepare(source, self.board, **overrides)
        with _store(store) as runs:
            run = runs.create(
                recipe=job.recipe.as_toml(), rule=job.rule_name, rule_text=job.rule.text(), board=self.board.id,
                dtype=job.compiled.dtype, seed=job.recipe.train.seed, plan=job.plan,
                versions={"edgelearn": __version__, "data": job.data_sha256}, port=lasting(self.port),
            )  # fmt: skip
            return self._converse(job, runs, run, None, on_progress, evaluate_before)

    def resume(self, run_id: str, store: RunStore | None = None, on_progress: OnProgress | None = None) -> Result:
        """Goes on with an interrupted run from its newest checkpoint; ends in the state that it would have had anyway.

        Raises:
            UsageError: the run is finished. ConfigError: there is none, or its rule's file has changed.
        """
        with _store(store) as runs:
            run = unfinished(runs, run_id)
            job = restore_job(run)
            if run.board != self.board.id:
                raise ConfigError(f"Run {run.id} is on board {run.board}.", f"Resume it with --board {run.board}.")
            runs.reached_by(run.id, lasting(self.port))
            return self._converse(job, runs, run.id, runs.newest_checkpoint(run.id), on_progress)

    def _converse(
        self,
        job: Job,
        runs: RunStore,
        run: str,
        checkpoint: Checkpoint | None,
        on_progress: OnProgress | None,
        evaluate_before: bool = False,
    ) -> Result:
        """Deploys, learns and measures; whatever ends that early is recorded in the run before it is passed on."""
        try:
            self._deploy(job, checkpoint)
            before = self._evaluate(job).accuracy if evaluate_before else None
            counter, first = _Counter(), self.client.step

            def work() -> dict[str, Any]:
                self._learn(job, runs, run, counter, on_progress)
                return self._result(job, run, time.monotonic() - counter.started, job.steps - first, before)

            result = self._through_restarts(job, runs, run, work)
        except KeyboardInterrupt:
            raise self._interrupted(job, runs, run) from None
        except EdgeLearnError as error:
            with suppress(EdgeLearnError):  # the run store itself may be what failed
                runs.finish(run, "failed", {"error": error.message})
            if isinstance(error, LinkLostError):
                raise LinkLostError(error.message, f"{error.hint} Then go on with: edgelearn resume {run}") from error
            raise
        runs.finish(run, "finished", result)
        return Result(run, result["accuracy"], result)

    def _interrupted(self, job: Job, runs: RunStore, run: str) -> Interrupted:
        """Keeps what the board has learnt, if it can still be had; else the newest checkpoint is what there is."""
        with suppress(EdgeLearnError, KeyboardInterrupt):
            self._keep(job, runs, run)
        checkpoint = runs.newest_checkpoint(run)
        step = 0 if checkpoint is None else checkpoint.step
        runs.finish(run, "interrupted", {"step": step})
        return Interrupted(
            f"Stopped; run {run} is kept up to step {step:,} of {job.steps:,}.", f"Go on with: edgelearn resume {run}"
        )

    def _through_restarts(
        self, job: Job, runs: RunStore, run: str, work: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Does ``work``, and does it again from the newest checkpoint each time that the board restarted meanwhile.

        Raises:
            BoardRestarted: too often without getting any further.
        """
        restarts, reached, lost = 0, 0, False
        while True:
            try:
                if lost:
                    self.client.connect(self.board.id)
                    self._deploy(job, runs.newest_checkpoint(run))
                    lost = False
                return work()
            except BoardRestarted:
                newest = runs.newest_checkpoint(run)
                step = 0 if newest is None else newest.step
                restarts = 1 if step > reached else restarts + 1
                reached, lost = step, True
                if restarts > MAX_RESTARTS:
                    raise

    def _learn(self, job: Job, runs: RunStore, run: str, counter: _Counter, on_progress: OnProgress | None) -> None:
        every = max(MIN_CHECKPOINT_STEPS, job.steps // CHECKPOINTS)
        while self.client.step < job.steps:
            last = min((self.client.step // every + 1) * every, job.steps)
            chunk = _Counter()
            self._stream(job, last, chunk, counter, on_progress)
            self._keep(job, runs, run)
            if (accuracy := chunk.accuracy()) is not None:
                runs.log(run, last, "train_accuracy", accuracy)

    def _stream(self, job: Job, last: int, chunk: _Counter, whole: _Counter, on_progress: OnProgress | None) -> None:
        """Sends the samples up to step ``last``."""
        first = self.client.step
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
            whole.steps += len(guesses)
            if on_progress is not None:
                speed = whole.steps / max(time.monotonic() - whole.started, 1e-9)
                on_progress(Progress(step, job.steps, chunk.accuracy(), speed))

        self.client.learn(source, first, last, on_ack)

    def _deploy(self, job: Job, checkpoint: Checkpoint | None) -> None:
        """Plan and first state, or the checkpoint's, onto the board."""
        self.client.allow(job.worst_step_s)
        self.client.send_plan(job.plan)
        self.client.init(job.recipe.train.seed)
        if checkpoint is not None:
            self.client.write_state(checkpoint.state)

    def _keep(self, job: Job, runs: RunStore, run: str) -> None:
        """Pulls the state into the run, so that going on never needs the board to have stayed powered.

        Raises:
            MismatchError: what the board holds is no state of this run.
        """
        raw = self.client.read_state(job.state_bytes)
        found = state.decode(job.module, raw)
        if (found.step, found.seed) != (self.client.step, job.recipe.train.seed):
            raise MismatchError(
                f"The board's state is of step {found.step} and seed {found.seed}, not of this run.", "Resume the run."
            )
        runs.checkpoint(run, found.step, raw, self.client.hello.boot_id)

    # --- results ------------------------------------------------------------------------------------------------------

    def _result(self, job: Job, run: str, seconds: float, learnt: int, before: float | None) -> dict[str, Any]:
        final = state.decode(job.module, self.client.read_state(job.state_bytes))
        evaluation = self._evaluate(job)
        stats = self.client.stats()
        planned = job.state_bytes + job.arena_bytes
        result: dict[str, Any] = {
            "run": run, "board": self.board.id, "emulated": self.emulated,
            "rule": job.rule_name, "rule_source": job.rule_source,
            "dtype": job.compiled.dtype, "steps": job.steps,
            "seed": job.recipe.train.seed, "net": str(job.compiled.net), "accuracy": evaluation.accuracy,
            "state_sha256": final.sha256(job.module),
            "ram": {
                "state": stats.state, "arena": stats.arena, "stack": stats.stack, "stack_size": stats.stack_size,
                "stack_bound": images.build(self.board).stack_bound if self.emulated else None,
                "link": stats.link, "plan": stats.plan, "planned": planned, "measured": stats.state + stats.arena,
            },
            "samples_per_s": learnt / max(seconds, 1e-9), "board_us_per_sample": stats.busy_us / max(stats.samples, 1),
            "link": {
                "bytes_tx": self.client.bytes_tx, "bytes_rx": self.client.bytes_rx, "retries": self.client.retries,
                "overruns": stats.overruns, "bad_frames": stats.bad_frames,
            },
            "exponents": {s.name: [s.start, final.exps[s.name]] for s in job.module.slots},
            "notes": list(job.notes),
        }  # fmt: skip
        if before is not None:
            result["accuracy_before"] = before
        return result

    def _evaluate(self, job: Job) -> Evaluation:
        guesses = self.client.infer([row.tobytes() for row in job.x_test])
        return evaluate(np.asarray(guesses), job.data.y_test, job.data.classes)

    def load_run(self, run: Run, runs: RunStore, **overrides: Any) -> Job:
        """Puts a run's plan and newest state onto the board; ``overrides`` may name other data to test on.

        Raises:
            ConfigError: the run has no checkpoint yet.
        """
        job = restore_job(run, self.board, **overrides)
        checkpoint = runs.newest_checkpoint(run.id)
        if checkpoint is None:
            raise ConfigError(f"Run {run.id} has no checkpoint yet.", "Train it first: edgelearn train")
        self._deploy(job, checkpoint)
        return job

    def eval(self, run_id: str, store: RunStore | None = None, **overrides: Any) -> Evaluation:
        """Accuracy of a run's newest state on the test set, computed by the board."""
        with _store(store) as runs:
            return self._evaluate(self.load_run(runs.get(run_id), runs, **overrides))

    def infer(self, job: Job, x: NDArray[Any]) -> list[int]:
        """Classes of real-valued samples (N, ...), by the board; ``job`` is what ``load_run`` or training put there."""
        return self.client.infer([row.tobytes() for row in job.compiled.encode(x)])


def reopen(run: Run, board: str | None = None, port: str | None = None) -> Session:
    """The board of a run, by the way that it was trained by; ``board`` and ``port`` name others."""
    own = board in (None, run.board)
    return Session(board or run.board, port or (run.port if own else None))


def unfinished(runs: RunStore, run_id: str) -> Run:
    """The run ``run_id``, if there is something to go on with.

    Raises:
        UsageError: it is finished. ConfigError: there is none.
    """
    run = runs.get(run_id)
    if run.status == "finished":
        raise UsageError(f"Run {run.id} is finished.", f"Measure it with: edgelearn eval {run.id}")
    return run


def evaluate(guesses: NDArray[Any], truth: NDArray[Any], classes: int) -> Evaluation:
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, np.minimum(guesses, classes - 1)), 1)
    return Evaluation(float((guesses == truth).mean()), len(truth), confusion.tolist())


def restore_job(run: Run, board: Board | None = None, **overrides: Any) -> Job:
    """The job of a stored run, compiled again from the recipe that it kept.

    Raises:
        ConfigError: the rule's file has changed. MismatchError: this edgelearn makes another plan of the recipe.
    """
    recipe = recipes.parse(run.recipe, Path(f"{run.id}.toml"))
    if source_text(recipe.rule.name) != run.rule_text:  # before anything of that file is run
        raise ConfigError(
            f"The rule {run.rule} has changed since run {run.id}.", "Put the old file back, or train anew."
        )
    job = prepare(recipe, board or run.board)
    if run.versions.get("data", job.data_sha256) != job.data_sha256:
        raise ConfigError(
            f"The training data have changed since run {run.id}.", "Put the old data back, or train anew."
        )
    if job.board.id == run.board and job.plan != run.plan:
        raise MismatchError(
            f"Run {run.id}, made by edgelearn {run.versions.get('edgelearn', '?')}, does not compile to its plan any more.",
            "Go on with the edgelearn and the data that it was made with, or train anew.",
        )
    if overrides:
        other = prepare(recipe, board or run.board, **overrides)
        job = Job(job.recipe, job.board, job.rule, other.data, job.compiled, job.plan, job.steps)
    return job


@contextmanager
def _store(store: RunStore | None) -> Iterator[RunStore]:
    """The given store, or the user's own, closed again."""
    if store is not None:
        yield store
        return
    with RunStore() as own:
        yield own


def _sim() -> Path:
    return native("el-sim")


def connect(
    board: Board | str = boards.DEFAULT,
    port: str | None = None,
    wrap: Callable[[Transport], Transport] = lambda transport: transport,
) -> Session:
    """Opens a board: ``with edgelearn.connect("microbit", "qemu") as board: ...``; arguments as ``Session``'s."""
    return Session(board, port, wrap)


__all__ = ["Evaluation", "Progress", "Result", "Session", "connect", "evaluate", "reopen", "restore_job", "unfinished"]
