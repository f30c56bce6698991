"""Runs against the C core over lines that damage, die, or lose their board, and what came of them: for the suite and for the soak.

Time is counted, so that a run takes milliseconds and a dead line no longer than a living one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from edgelearn.errors import ConfigError, EdgeLearnError, LinkLostError, NoBoardError
from edgelearn.link.client import BoardRestarted, Client
from edgelearn.link.messages import MIN_FRAME
from edgelearn.link.reopen import ReopeningTransport
from edgelearn.testing.faulty_pipe import KINDS, FaultyPipe
from edgelearn.testing.power_cut import PowerCutFlash
from tests.link.core_board import SEED, CoreBoard, Task, task

RATES = (1e-2, 1e-3, 1e-4)
INPUTS = (16, 100)  # bytes of a sample: one that fits the shortest frame, one that comes in parts
STEPS = 30
EVERY = 8  # steps between two checkpoints
LONGEST_S = 300.0  # of a run, counted: what takes longer hangs


@dataclass(frozen=True)
class Outcome:
    """``right``: state and answers are those of the clean run. ``error``: how it ended instead, "" if it did not.

    ``seconds`` are counted; of a dead line they are those from its death to the end.
    """

    right: bool
    error: str
    code: int
    seconds: float
    retries: int
    faults: int
    silent: float = 0.0  # seconds since the board was last heard
    shortest: bool = False  # had the host shrunk its frames as far as they go?


def over_a_bad_line(rate: float, seed: int, kinds: Sequence[str] = KINDS) -> Outcome:
    """One whole conversation: plan, state, samples, answers; ``seed`` also says which net."""
    it = task(INPUTS[seed % 2])
    board = CoreBoard()
    pipe = FaultyPipe(board, rate, kinds, seed)
    client = Client(pipe, clock=board.clock)
    try:
        right = conversation(client, it) and board.now < LONGEST_S
        error, code = "", 0
    except EdgeLearnError as failure:
        right, error, code = False, str(failure), failure.exit_code
    shortest = client._link.pace.frame == MIN_FRAME
    return Outcome(right, error, code, board.now, client.retries, pipe.faults, shortest=shortest)


def conversation(client: Client, it: Task) -> bool:
    client.connect("sim")
    client.send_plan(it.plan)
    client.init(SEED)
    client.learn(it.source, 0, STEPS, lambda *_: None)
    state = client.read_state(it.state_bytes)
    return state == it.states[STEPS] and client.write_state(state) == STEPS


class Dying(FaultyPipe):
    """A line over which nothing passes from the ``cut_at``-th call on, either way."""

    def __init__(self, board: CoreBoard, rate: float, seed: int, cut_at: int) -> None:
        super().__init__(board, rate, KINDS, seed)
        self._board, self._calls, self._cut_at = board, 0, cut_at
        self.cut_after = self.heard = 0.0

    def read(self, timeout: float) -> bytes:
        self._count()
        data = super().read(timeout)
        self.heard = self._board.now if data else self.heard
        return data

    def write(self, data: bytes) -> None:
        self._count()
        super().write(data)

    def _count(self) -> None:
        self._calls += 1
        if self._calls == self._cut_at:
            self.cut, self.cut_after = True, self._board.now


def over_a_dying_line(rate: float, seed: int) -> Outcome:
    """The line dies somewhere; a run that was through before is no longer one of those."""
    it = task(INPUTS[seed % 2])
    board = CoreBoard()
    pipe = Dying(board, rate, seed, Random(seed).randrange(1, 60))
    client = Client(pipe, clock=board.clock)
    try:
        right, error, code = conversation(client, it), "", 0
        right = right and not pipe.cut
    except LinkLostError as failure:
        right, error, code = pipe.cut, str(failure), failure.exit_code
    now = board.now
    return Outcome(right, error, code, now - pipe.cut_after, client.retries, pipe.faults, now - pipe.heard)


class Trainer:
    """A training that goes on from its newest checkpoint whenever the board has started anew, as edgelearn/training.py does.

    Args:
        flash: the checkpoints are the board's own, in there; None: they are the host's.
    """

    def __init__(self, client: Client, it: Task, flash: PowerCutFlash | None = None, steps: int = STEPS) -> None:
        self.client, self.it, self.own, self.steps = client, it, flash is not None, steps
        self.kept: bytes | None = None
        self.restarts = 0

    def run(self) -> bytes:
        """The last state."""
        self.client.connect("sim")
        while True:
            try:
                self._begin()
                while self.client.step < self.steps:
                    self.client.learn(self.it.source, self.client.step, self._next(), lambda *_: None)
                    self._keep()
                return self.client.read_state(self.it.state_bytes)
            except BoardRestarted:
                self.restarts += 1
                self.client.connect("sim")

    def _next(self) -> int:
        return min(self.steps, (self.client.step // EVERY + 1) * EVERY)

    def _begin(self) -> None:
        self.client.send_plan(self.it.plan)
        if self.own:
            try:
                self.client.load()
            except ConfigError:  # nothing was saved yet
                self.client.init(SEED)
            return
        self.client.init(SEED)
        if self.kept is not None:
            self.client.write_state(self.kept)

    def _keep(self) -> None:
        if self.own:
            self.client.save()
        else:
            self.kept = self.client.read_state(self.it.state_bytes)


def with_resets(deaths: Sequence[int], inputs: int, flash: PowerCutFlash | None = None) -> Outcome:
    """A training whose board loses its power after each of so many bytes, counted from the last loss."""
    it = task(inputs)
    board = MortalBoard(deaths, flash)
    client = Client(board, clock=board.clock)
    trainer = Trainer(client, it, flash)
    try:
        right, error, code = trainer.run() == it.states[STEPS], "", 0
    except EdgeLearnError as failure:
        right, error, code = False, str(failure), failure.exit_code
    return Outcome(right, error, code, board.now, client.retries, board.lives - 1)


class MortalBoard(CoreBoard):
    """Its power fails after each of so many bytes that it takes or gives, counted from the last time."""

    def __init__(self, deaths: Sequence[int], flash: PowerCutFlash | None = None) -> None:
        self._deaths = list(deaths)
        super().__init__(flash=flash)

    def restart(self) -> None:
        super().restart()
        if self._deaths:
            self.dies_at = self.taken + self.given + self._deaths.pop(0)


class Listening(CoreBoard):
    """Writes down after how many bytes it begins to answer, and after how many it has: a step lies before each ack."""

    def __init__(self, flash: PowerCutFlash | None = None) -> None:
        self.frames: list[int] = []
        self._within = False
        super().__init__(flash=flash)

    def _tx(self, data: bytes) -> None:
        if not self._within:
            self.frames.append(self.taken + self.given)
        super()._tx(data)
        self._within = not data.endswith(b"\0")
        if not self._within:
            self.frames.append(self.taken + self.given)


def boundaries(inputs: int, own: bool) -> tuple[list[int], int]:
    """Where a training over a good line begins and ends its answers, and how many bytes it moves in all."""
    flash = PowerCutFlash() if own else None
    board = Listening(flash)
    Trainer(Client(board, clock=board.clock), task(inputs), flash).run()
    return board.frames, board.taken + board.given


class Socket:
    """Where a board is plugged in: a cable that is pulled after each of so many bytes, and put back after so many seconds.

    Args:
        pulls: (bytes, seconds, does the board lose its power?), one after the other.

    Attributes:
        gone: how often it was pulled. waits: seconds from each time that it was back to the board's next word.
    """

    def __init__(self, board: CoreBoard, pulls: Sequence[tuple[int, float, bool]]) -> None:
        self.board, self.gone = board, 0
        self.waits: list[float] = []
        self._pulls = deque(pulls)
        self._moved = 0
        self._back_at: float | None = None  # None: it is plugged in, and has spoken since

    def open(self) -> Cable:
        if self._back_at is not None and self.board.now < self._back_at:
            raise NoBoardError("There is no such port.", "")
        return Cable(self)

    def sleep(self, seconds: float) -> None:
        self.board.now += seconds

    def moves(self, count: int) -> None:
        """So many bytes go over the cable; it may be pulled by then.

        Raises:
            LinkLostError: it is.
        """
        self._moved += count
        if self._pulls and self._moved >= self._pulls[0][0]:
            _, seconds, power = self._pulls.popleft()
            self._moved, self._back_at = 0, self.board.now + seconds
            self.gone += 1
            self.board.unplug()
            if power:
                self.board.restart()
            raise LinkLostError("The connection broke.", "")

    def spoken(self) -> None:
        """The board says something."""
        if self._back_at is not None:
            self.waits.append(self.board.now - self._back_at)
            self._back_at = None


class Cable:
    """One connection to the board: once broken it stays so."""

    name = "cable"

    def __init__(self, socket: Socket) -> None:
        self._socket, self._which = socket, socket.gone

    def read(self, timeout: float) -> bytes:
        self._demand()
        data = self._socket.board.read(timeout)
        if data:
            self._socket.moves(len(data))
            self._socket.spoken()
        return data

    def write(self, data: bytes) -> None:
        self._demand()
        self._socket.moves(len(data))
        self._socket.board.write(data)

    def reset_input(self) -> None:
        self._demand()
        self._socket.board.reset_input()

    def close(self) -> None:
        pass

    def _demand(self) -> None:
        if self._socket.gone != self._which:
            raise LinkLostError("The connection broke.", "")


def unplugged(pulls: Sequence[tuple[int, float, bool]], steps: int) -> tuple[Outcome, Socket]:
    """A training whose board is pulled out and put back; ``faults`` are how often it was."""
    it = task(INPUTS[0], steps)
    board = CoreBoard()
    socket = Socket(board, pulls)
    line = ReopeningTransport(socket.open, clock=board.clock, sleep=socket.sleep)
    client = Client(line, clock=board.clock)
    trainer = Trainer(client, it, steps=steps)
    try:
        right, error, code = trainer.run() == it.states[steps], "", 0
    except EdgeLearnError as failure:
        right, error, code = False, str(failure), failure.exit_code
    return Outcome(right, error, code, board.now, client.retries, socket.gone), socket


def many_pulls(times: int, seed: int, power: bool) -> tuple[list[tuple[int, float, bool]], int]:
    """``times`` of them, and how many steps a run needs to meet them all. Without power a board must have time to get a plan again."""
    draw = Random(seed)
    least, most = (2000, 4000) if power else (1, 700)
    pulls = [(draw.randrange(least, most), draw.uniform(0, 3), power) for _ in range(times)]
    return pulls, times * most // 60
