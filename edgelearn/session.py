"""A conversation with one board, or the host, recorded in the run store: train, resume, evaluate, classify."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from edgelearn import __version__, boards, restore
from edgelearn.boards import Board
from edgelearn.device import Device, Link, Wrap, measured
from edgelearn.errors import ConfigError, UsageError
from edgelearn.job import Job, prepare
from edgelearn.link.client import Client
from edgelearn.link.discover import lasting
from edgelearn.pairing import image as paired
from edgelearn.pairing import keys
from edgelearn.recipe import Recipe
from edgelearn.restore import restore_job, unfinished
from edgelearn.results import Evaluation, Result, evaluate
from edgelearn.runs import Run, RunStore
from edgelearn.start import Start
from edgelearn.training import OnProgress, Progress, Training, check


class Session:
    """An open board. Use as a context manager: ``with edgelearn.connect("sim") as board: board.train("digits")``.

    Args:
        board: id or Board. port: how to reach it, see ``edgelearn.link.discover.open_port``; None: the board's default. The board ``host``
            is this computer; its ports are torch's devices, ``cpu`` and ``cuda``.
        wrap: puts something around the open transport, such as ``RecordingTransport`` or ``edgelearn.testing``'s ``FaultyPipe``.
        token_file: holds the secret that an agent may ask for; None: the file that EDGELEARN_TOKEN_FILE names.
        key_file: of a paired board, see docs/pairing.md; simulated and emulated boards are started with it.

    Raises:
        MissingToolError: the board is the host, and torch is not installed.
    """

    def __init__(
        self,
        board: Board | str = boards.DEFAULT,
        port: str | None = None,
        wrap: Wrap = lambda transport: transport,
        token_file: Path | None = None,
        key_file: Path | None = None,
    ) -> None:
        key = None if key_file is None else keys.read(key_file)
        found = board if isinstance(board, Board) else boards.load(board)
        self.board = found if key is None else paired.paired(found)
        self.port = port
        self.device: Device = _host(port) if self.board.is_host else Link(self.board, port, wrap, token_file, key)

    @property
    def client(self) -> Client:
        """The link to the board.

        Raises:
            UsageError: the host has none.
        """
        if not isinstance(self.device, Link):
            raise UsageError(f"{self.board.id} is this computer: there is no link to it.", "Use another board.")
        return self.device.client

    @property
    def open_to_others(self) -> bool:
        """May others than us write to it? A program that we have started has no line for them."""
        link = self.device if isinstance(self.device, Link) else None
        return link is not None and not link.private and link.client.hello.paired is None and not self.board.is_linux

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.device.close()

    def train(
        self,
        source: Job | Recipe | str | Path | None = None,
        store: RunStore | None = None,
        on_progress: OnProgress | None = None,
        evaluate_before: bool = False,
        start: str | Path | Start | None = None,
        **overrides: Any,
    ) -> Result:
        """Trains a recipe on the board and measures it on the test set.

        Args:
            source: a recipe's name, file or object, or a Job that ``edgelearn.compile`` made.
            store: where the run is recorded; None: the user's own (``edgelearn.runs.default_path``).
            on_progress: called while it learns, with a ``Progress``.
            evaluate_before: also measures the net as it is before the first sample.
            overrides: as ``edgelearn.compile``'s.
            start: a run's id, or a file that `edgelearn export RUN` wrote: the learnt weights to go on from, instead of those that the
                seed gives. With a run's id ``source`` may be left out: it is the run's own recipe then.

        Raises:
            Interrupted: Ctrl-C; the state reached is kept in the run, ``resume`` goes on from it bit for bit.
            EdgeLearnError: whatever else went wrong, with its remedy.
        """
        with _store(store) as runs:
            job = self._job(source, start, runs, overrides)
            check(job)
            run = runs.create(
                recipe=job.recipe.as_toml(), rule=job.rule_name, rule_text=job.rule.text(), board=self.board.id,
                dtype=job.compiled.dtype, seed=job.recipe.train.seed, plan=job.plans,
                versions={"edgelearn": __version__, "data": job.data_sha256}, port=self._way(),
                layout=restore.layouts(job), start=None if job.start is None else job.start.to_bytes(),
            )  # fmt: skip
            return self._training(job, runs, run, on_progress).converse(evaluate_before)

    def _job(
        self,
        source: Job | Recipe | str | Path | None,
        start: str | Path | Start | None,
        runs: RunStore,
        overrides: dict[str, Any],
    ) -> Job:
        if isinstance(source, Job):
            if start is not None or overrides:
                raise UsageError("A Job cannot be changed any more.", "Give start and overrides to edgelearn.compile.")
            return source
        if start is None:
            if source is None:
                raise UsageError("Nothing says what to train.", "Give a recipe, or start=RUN.")
            return prepare(source, self.board, **overrides)
        recipe, begin = restore.begin(source, start, runs, self.board)
        return prepare(recipe, self.board, begin, **overrides)

    def _training(self, job: Job, runs: RunStore, run: str, on_progress: OnProgress | None) -> Training:
        return Training(self.device, job, runs, run, on_progress)

    def _way(self) -> str | None:
        """How a run finds its board again."""
        return self.port if self.board.is_host else lasting(self.port)

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
            runs.reached_by(run.id, self._way())
            return self._training(job, runs, run.id, on_progress).converse()

    def load_run(self, run: Run, runs: RunStore, **overrides: Any) -> Job:
        """Puts a run's plan and newest state onto the board; ``overrides`` may name other data to test on.

        Raises:
            ConfigError: the run has no checkpoint yet.
        """
        job = restore_job(run, self.board, **overrides)
        checkpoint = runs.newest_checkpoint(run.id)
        if checkpoint is None:
            raise ConfigError(f"Run {run.id} has no checkpoint yet.", "Train it first: edgelearn train")
        self.device.put(job, checkpoint)
        return job

    def eval(self, run_id: str, store: RunStore | None = None, **overrides: Any) -> Evaluation:
        """Accuracy of a run's newest state on the test set, computed by the board.

        Args:
            run_id: or its beginning, if no other run begins so. overrides: other data to test on, as ``edgelearn.compile``'s.

        Raises:
            ConfigError: there is no such run, or it has no checkpoint yet.
        """
        with _store(store) as runs:
            return measured(self.device, self.load_run(runs.get(run_id), runs, **overrides))

    def infer(self, job: Job, x: NDArray[Any]) -> list[int]:
        """Classes, N of them, of real-valued samples by the board.

        Args:
            job: what ``load_run`` or training put there. x: (N, ...), each of the recipe's ``input`` shape; pixels are within 0..1.
        """
        return self.device.infer(job.compiled.encode(x))


def reopen(
    run: Run,
    board: str | None = None,
    port: str | None = None,
    token_file: Path | None = None,
    key_file: Path | None = None,
) -> Session:
    """The board of a run, by the way that it was trained by; ``board`` and ``port`` name others."""
    own = board in (None, run.board)
    way = port or (run.port if own else None)
    return Session(board or run.board, way, token_file=token_file, key_file=key_file)


@contextmanager
def _store(store: RunStore | None) -> Iterator[RunStore]:
    """The given store, or the user's own, closed again."""
    if store is not None:
        yield store
        return
    with RunStore() as own:
        yield own


def _host(port: str | None) -> Device:
    """This computer; torch is imported here and nowhere before."""
    from edgelearn.hostdevice import Host

    return Host(port)


def connect(
    board: Board | str = boards.DEFAULT,
    port: str | None = None,
    wrap: Wrap = lambda transport: transport,
    token_file: Path | None = None,
    key_file: Path | None = None,
) -> Session:
    """Opens a board: ``with edgelearn.connect("microbit", "qemu") as board: ...``; arguments as ``Session``'s."""
    return Session(board, port, wrap, token_file, key_file)


__all__ = [
    "Evaluation", "Progress", "Result", "Session", "check", "connect", "evaluate", "reopen", "restore_job", "unfinished",
]  # fmt: skip
