"""How busy is the wire? The real client and the firmware's own link and core, on a line on which time is computed.

Nothing here is measured on hardware. A byte takes ten bits; a step takes as long as its instructions, counted in QEMU, would at the
board file's clock with one instruction in each cycle, and so does what the firmware does with a byte. A real core needs more cycles than
instructions: the figures say what the protocol allows, and not how fast a board is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgelearn import boards
from edgelearn.backends import backend
from edgelearn.bench import instructions
from edgelearn.bench.instructions import widths
from edgelearn.bench.link_board import Line, VirtualBoard
from edgelearn.bench.link_costs import LinkCosts, count
from edgelearn.bench.plans import compile_plans
from edgelearn.boards import Board
from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.data import datasets
from edgelearn.data.datasets import Dataset
from edgelearn.errors import ConfigError
from edgelearn.link.client import Client
from edgelearn.link.messages import MAX_FRAME
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.training import CHECKPOINTS

NETS = ("64-32-10", "784-100-50-10")
BAUDS = (115_200, 921_600)
SAMPLES = {"digits": 400, "mnist": 100}  # that a row learns: the share is that of any longer stretch
PASSES = 10  # of a run, for the time that its checkpoints take
RULE, DTYPE, SEED = "mono-forward", "int8", 1
ROW = f"edgelearn {DTYPE}"
SLACK_S = 0.5  # that the client grants a step besides

NOTE = (
    "Computed, not measured: ten bits a byte; a step and a byte take as long as their instructions at the board's clock, "
    "one in each cycle."
)

OnRow = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Row:
    """Computed, not measured. Shares are fractions of the time in which samples are learnt; ``instructions`` are those of one step.

    Attributes:
        wire: how much of the time the line to the board carries bits.
        steps, link: how much of the time the board spends on steps, and on bytes besides waiting for the line.
        run: how much of a run's time the line to the board carries bits if its checkpoints are read, too.
        reason: why there are no figures.
    """

    name: str
    board: str
    net: str
    baud: int
    latency_ms: float
    clock: int = 0
    instructions: int | None = None
    byte_in: float | None = None
    byte_out: float | None = None
    wire: float | None = None
    steps: float | None = None
    link: float | None = None
    waits: bool | None = None  # does the board wait longer than it computes?
    samples_per_s: float | None = None
    run: float | None = None
    retries: int | None = None
    overruns: int | None = None
    reason: str = ""


def run(
    board: str,
    nets: Sequence[str] = NETS,
    bauds: Sequence[int] = BAUDS,
    latency_ms: float = 0.0,
    clock: int | None = None,
    on_row: OnRow = lambda done, total, what: None,
) -> list[Row]:
    """One row for each net and baud rate.

    Args:
        latency_ms: of a byte through the host in either direction, besides its time on the wire (USB: 1 and more).
        clock: Hz, as if another board had the same core; None: the board file's.

    Raises:
        UsageError: a net is unknown. ConfigError: the board has no bench image. MissingToolError: no compiler or emulator.
    """
    target, costs = boards.load(board), None
    target = target if clock is None else replace(target, clock=clock)
    rows: list[Row] = []
    for net in nets:
        on_row(len(rows), len(nets) * len(bauds), f"{net} on {board}")
        empty = [Row(f"{net} at {baud}", board, net, baud, latency_ms, target.clock) for baud in bauds]
        try:
            data = datasets.load(instructions.task(net).data)
            costs = costs or count(target)
            learner = _Learner(target, net, data)
        except ConfigError as error:
            rows += [replace(row, reason=error.message) for row in empty]
            continue
        rows += [learner.row(row, costs) for row in empty]
    return rows


class _Learner:
    """A net on a board, and what its step costs there."""

    def __init__(self, board: Board, net: str, data: Dataset) -> None:
        self.board, self.net, self.data = board, net, data
        self.compiled = _compiled(board, net, data)
        self.plan = backend("plan").export(self.compiled.module, board.id)
        counted_on = instructions.dataset(net)
        plans = compile_plans(net, counted_on, board, SEED)
        samples = instructions.samples(counted_on, instructions.task(net).full)
        (counted,) = instructions.run(board.id, net, plans, samples, epochs=1, seed=SEED, rows=[ROW])
        self.instructions = counted.train_epoch1

    def row(self, row: Row, costs: LinkCosts) -> Row:
        clock = self.board.clock
        ring, frame = (define(self.board, name, usual) for name, usual in (("RING_BYTES", 0), ("MAX_FRAME", MAX_FRAME)))
        line = Line(row.baud, ring, frame, self.instructions / clock, costs.byte_in / clock, costs.byte_out / clock,
                    row.latency_ms / 1000)  # fmt: skip
        x, y = self.compiled.encode(self.data.x_train), self.data.y_train
        shares = stream(self.board.id, line, self.plan, self.compiled, x, y, SAMPLES[self.data.name])
        busy = shares.steps + shares.link
        # A run reads its state CHECKPOINTS times, asking for one piece after the other: the line to the board is all but silent.
        learning = PASSES * len(y) / shares.samples_per_s
        reading = CHECKPOINTS * shares.state_s
        return replace(
            row, instructions=self.instructions, byte_in=costs.byte_in, byte_out=costs.byte_out, wire=shares.wire,
            steps=shares.steps, link=shares.link, waits=busy < 0.5, samples_per_s=shares.samples_per_s,
            run=shares.wire * learning / (learning + reading), retries=shares.retries, overruns=shares.overruns,
        )  # fmt: skip


@dataclass(frozen=True)
class Shares:
    """Of the time in which samples were learnt; ``state_s`` is how long the state took to be read."""

    wire: float
    steps: float
    link: float
    samples_per_s: float
    state_s: float
    retries: int
    overruns: int


def stream(
    board: str, line: Line, plan: bytes, compiled: Compiled, x: NDArray[np.generic], y: NDArray[np.int64], n: int
) -> Shares:
    """Learns ``n`` samples over ``line`` and says where the time went."""
    size = compiled.module.integer("state_bytes")
    there = VirtualBoard(board, line, 2 * (len(plan) + size + compiled.module.integer("arena_bytes")))
    with Client(there, worst_step_s=line.step + SLACK_S, clock=there.clock) as client:
        client.connect(board)
        client.send_plan(plan)
        client.init(SEED)
        before = (there.now, there.sent, there.computing, there.handling)
        client.learn(partial(_sample, x, y), 0, n, lambda step, guesses: None)
        end, *spent = (now - then for now, then in zip(_times(there), before, strict=True))
        began = there.now
        client.read_state(size)
        wire, steps, link = (seconds / end for seconds in spent)
        return Shares(wire, steps, link, n / end, there.now - began, client.retries, there.overruns)


def _times(there: VirtualBoard) -> tuple[float, float, float, float]:
    return there.now, there.sent, there.computing, there.handling


def _sample(x: NDArray[np.generic], y: NDArray[np.int64], step: int) -> tuple[bytes, int]:
    return x[step % len(x)].tobytes(), int(y[step % len(y)])


def _compiled(board: Board, net: str, data: Dataset) -> Compiled:
    inputs, *layers, classes = widths(net)
    calibration = Calibration(data.x_train.reshape(len(data.x_train), -1), data.y_train, SEED)
    rule = find(RULE, dict(instructions.task(net).int8))
    return compile_net(rule, Net(inputs, tuple(layers), classes), calibration, DTYPE, (), board)


def define(board: Board, name: str, usual: int) -> int:
    """A figure that the board file tells its port."""
    for item in board.defines:
        key, _, value = item.partition("=")
        if key == name:
            return int(value, 0)
    return usual
