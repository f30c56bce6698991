"""What a run learns on: a board behind a link here, this computer in ``hostdevice``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgelearn import images, results
from edgelearn.boards import Board
from edgelearn.errors import UsageError
from edgelearn.ir.core import Module
from edgelearn.job import Job, Stage, image_of
from edgelearn.link import token
from edgelearn.link.children import QemuTransport
from edgelearn.link.client import Client
from edgelearn.link.discover import open_port
from edgelearn.link.messages import NO_LABEL
from edgelearn.link.reopen import ReopeningTransport
from edgelearn.link.transport import Transport
from edgelearn.pairing import image as paired
from edgelearn.pairing.keys import Key
from edgelearn.paths import native
from edgelearn.runs import Checkpoint

Outcomes = Sequence[tuple[int, int]]  # (step, 1: the guess at its sample was right, or 0)
Told = Callable[
    [int, int, int, int, Outcomes], None
]  # (step, samples learnt since the last call, guesses that were right, of how many, one by one where the device tells them so)
Wrap = Callable[[Transport], Transport]


class Device(Protocol):
    """What a run learns on. ``step`` is the step of the state that it holds."""

    @property
    def step(self) -> int: ...
    @property
    def boot_id(self) -> int: ...

    def reopen(self, job: Job) -> None:
        """Reaches it again after it has restarted."""
        ...

    def put(self, job: Job, checkpoint: Checkpoint | None) -> Stage:
        """Has it hold the checkpoint's state, or the run's first; returns the stage that this is of."""
        ...

    def learn(self, job: Job, last: int, told: Told) -> None:
        """Learns the samples up to step ``last``; a device that learns in batches may go on to the end of the batch."""
        ...

    def read(self, module: Module) -> tuple[bytes, bytes | None]:
        """The state that it holds, and what else it needs to go on from there."""
        ...

    def infer(self, rows: NDArray[Any]) -> list[int]:
        """Classes of encoded samples (N, inputs)."""
        ...

    def costs(self, job: Job) -> dict[str, Any]:
        """Memory, time and bytes, for the result of a run."""
        ...

    def close(self) -> None: ...


def sim_with(key: Key | None, board: Board, port: str | None) -> tuple[Path, bytes]:
    """The program of the sim board, and what it must be told before it starts: the paired one gets its keys."""
    if key is None or "sim" not in board.ports or port not in (None, "sim"):
        return native("el-sim"), b""
    return paired.sim_program(), paired.key_bytes(key)


class Link:
    """A board at the other end of a link.

    An emulated one whose plan is compiled in boots when it is known what it shall learn: ``put`` gives it the image.

    Args:
        port: how to reach it, see ``edgelearn.link.discover.open_port``. wrap: puts something around the open transport.
        token_file: holds the secret that an agent may ask for; None: EDGELEARN_TOKEN_FILE does.
        key: of a paired board; simulated and emulated ones are started with it.
    """

    def __init__(
        self, board: Board, port: str | None, wrap: Wrap, token_file: Path | None = None, key: Key | None = None
    ) -> None:
        self.emulated = False
        self.private = True  # a program that we have started, or a recording
        self._token_file = token_file
        self._key = key
        self._stack_bound = 0  # of an emulated board's image
        self._board, self._port, self._wrap = board, port, wrap
        self._client: Client | None = None
        self._booted = b""  # the plan in the image that was booted for it
        if not self._boots_late:
            self._open(lambda: images.build(board) if key is None else images.build_paired(board, key))

    @property
    def _boots_late(self) -> bool:
        return self._board.has_plan and self._port == "qemu"

    @property
    def client(self) -> Client:
        """The conversation.

        Raises:
            UsageError: the board waits for its image.
        """
        if self._client is None:
            problem = f"The emulated {self._board.id} has not booted: its plan is compiled in, and none was named yet."
            raise UsageError(problem, "Train a recipe on it, or load a run.")
        return self._client

    def _open(self, image: Callable[[], images.Image]) -> None:
        self.close()

        def built() -> Path:
            made = image()
            self._stack_bound = made.stack_bound
            return made.path

        transport = open_port(self._board, self._port, built, *sim_with(self._key, self._board, self._port))
        self.emulated = isinstance(transport, QemuTransport)
        self.private = not isinstance(transport, ReopeningTransport)
        self._client = Client(self._wrap(transport), token=lambda: token.own(self._token_file), key=self._key)
        try:
            self._client.connect(self._board.id)
        except BaseException:
            self.close()
            raise

    def _boot(self, stage: Stage) -> None:
        """Has an emulated board run the image with this stage's plan."""
        if self._boots_late and self._booted != stage.plan:
            self._open(lambda: image_of(self._board, stage.module))
            self._booted = stage.plan

    @property
    def step(self) -> int:
        return self.client.step

    @property
    def boot_id(self) -> int:
        return self.client.hello.boot_id

    def reopen(self, job: Job) -> None:
        self.client.connect(job.board.id)

    def put(self, job: Job, checkpoint: Checkpoint | None) -> Stage:
        step = 0 if checkpoint is None else checkpoint.step
        stage = job.stage_at(step)
        self._boot(stage)
        self.client.allow(job.worst_step_s)
        self.client.send_plan(stage.plan)
        self.client.init(job.recipe.train.seed)
        raw = job.state_at(step, None if checkpoint is None else checkpoint.state)
        if raw is not None:
            self.client.write_state(raw)
        return stage

    def learn(self, job: Job, last: int, told: Told) -> None:
        first = self.client.step
        order = job.order(first, last)
        x, y = job.x_train, job.data.y_train

        def source(step: int) -> tuple[bytes, int]:
            index = order[step - first]
            return x[index].tobytes(), int(y[index])

        def on_ack(step: int, guesses: list[int]) -> None:
            outcomes = [
                (at, int(guess == y[order[at - first]]))
                for at, guess in enumerate(guesses, step - len(guesses))
                if guess != NO_LABEL and at >= first
            ]
            told(step, len(guesses), sum(right for _, right in outcomes), len(outcomes), outcomes)

        self.client.learn(source, first, last, on_ack)

    def read(self, module: Module) -> tuple[bytes, bytes | None]:
        return self.client.read_state(module.integer("state_bytes")), None

    def infer(self, rows: NDArray[Any]) -> list[int]:
        return self.client.infer([row.tobytes() for row in rows])

    def costs(self, job: Job) -> dict[str, Any]:
        return results.of_board(job, self.client, self.emulated, self._stack_bound)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def measured(device: Device, job: Job) -> results.Evaluation:
    """Accuracy of what the device holds on the test set."""
    guesses = np.asarray(device.infer(job.x_test))
    return results.evaluate(guesses, job.data.y_test, job.data.classes)
