"""The firmware's own link and core in this process, as a transport on a clock that is counted: a run takes milliseconds.

``edgelearn.bench.link_board`` says when each byte is where, which costs time; here only the sum of it matters, and a board can die.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.host.hal import Hal, Rx, Tx
from edgelearn.host.native import NativeCore, library
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.testing import PowerCutFlash
from edgelearn_export.plan import encode

BYTE_S = 10 / 115_200
CLASSES = 4
SAMPLES = 64  # of which a run of more steps learns each more than once
SEED = 1
RX_BUFFER = 512


@dataclass(frozen=True)
class Task:
    """A net small enough for thousands of runs, its samples, and the state after each number of steps."""

    net: Compiled
    plan: bytes
    samples: tuple[tuple[bytes, int], ...]
    states: tuple[bytes, ...]
    classes: tuple[int, ...]  # of each sample, by the last state

    @property
    def state_bytes(self) -> int:
        return len(self.states[0])

    def source(self, step: int) -> tuple[bytes, int]:
        return self.samples[step % SAMPLES]


@cache
def task(inputs: int = 16, steps: int = 40) -> Task:
    """One whose samples have ``inputs`` bytes: up to 48 go into the shortest frame whole."""
    rng = np.random.default_rng(inputs)
    x = rng.random((SAMPLES, inputs)).astype(np.float32)
    y = rng.integers(0, CLASSES, SAMPLES)
    net = compile_net(find("mono-forward"), Net(inputs, (8,), CLASSES), Calibration(x, y), "int8")
    plan, rows = encode(net.module), net.encode(x)
    twin = NativeCore(plan, net.module.integer("state_bytes"), net.module.integer("arena_bytes"), SEED)
    states = [twin.read_state()]
    for step in range(steps):
        twin.learn(rows, y, np.array([step % SAMPLES]))
        states.append(twin.read_state())
    samples = tuple((rows[i].tobytes(), int(y[i])) for i in range(SAMPLES))
    return Task(net, plan, samples, tuple(states), tuple(map(int, twin.infer(rows))))


class CoreBoard:
    """A transport to itself.

    Args:
        flash: its non-volatile memory, which outlives its power; None: it has none.
        fixed_plan: the one that is compiled in; empty: none is.

    Attributes:
        now: seconds; ``clock`` gives them to a client.
        taken, given: bytes that the core has received and sent since it was made, over all its lives.
        dies_at: power fails once ``taken + given`` is this. It is back at once, with nothing in RAM.
        lives: how often it was started.
    """

    name = "core"

    def __init__(
        self, board: str = "sim", chip: bytes = bytes(8), flash: PowerCutFlash | None = None, pool_bytes: int = 8192,
        fixed_plan: bytes = b"",
    ) -> None:  # fmt: skip
        self.now = 0.0
        self.taken = self.given = self.lives = 0
        self.dies_at: int | None = None
        self._lib: Any = library()
        hal = Hal() if flash is None else flash.hal()
        hal.board, hal.rx_buffer, hal.rx, hal.tx = board.encode(), RX_BUFFER, Rx(self._rx), Tx(self._sends)
        ctypes.memmove(hal.chip, chip, 8)
        self._hal = hal
        self._pool_bytes = pool_bytes
        self._fixed = np.frombuffer(fixed_plan, np.uint8).copy()
        self._coming, self._out = b"", bytearray()
        self.restart()

    def clock(self) -> float:
        return self.now

    def restart(self) -> None:
        """Power off and on: nothing is left in RAM, nor on the line."""
        self.lives += 1
        self._coming, self._dead = b"", False
        self._pool = np.full(self._pool_bytes, 0xA5, np.uint8)
        self._el = np.full(self._lib.el_host_context_bytes(), 0xA5, np.uint8)
        self._link = np.full(self._lib.el_host_link_bytes(), 0xA5, np.uint8)
        self._lib.el_link_init(
            self._link.ctypes.data, self._el.ctypes.data, ctypes.byref(self._hal), self._pool.ctypes.data,
            self._pool_bytes, self._fixed.ctypes.data if len(self._fixed) else None, len(self._fixed),
        )  # fmt: skip

    def unplug(self) -> None:
        """What is on the line is lost; the board goes on."""
        self._coming = b""
        self._out.clear()

    # -- the host's side

    def write(self, data: bytes) -> None:
        self._coming += data

    def read(self, timeout: float) -> bytes:
        before = self.taken + self.given
        while self._coming and not self._dead:
            self._lib.el_link_poll(self._link.ctypes.data)
        if self._dead:
            self.restart()
        data = bytes(self._out)
        self._out.clear()
        self.now += (self.taken + self.given - before) * BYTE_S if data else timeout
        return data

    def reset_input(self) -> None:
        self._out.clear()

    def close(self) -> None:
        self._coming = b""

    # -- the board's

    def _rx(self, _: int, out: int, room: int) -> int:
        part = self._coming[: self._powered(room)]
        self._coming = self._coming[len(part) :]
        self.taken += len(part)
        ctypes.memmove(out, part, len(part))
        return len(part)

    def _sends(self, _: int, at: int, count: int) -> None:
        self._tx(ctypes.string_at(at, count))

    def _tx(self, data: bytes) -> None:
        """A run of a frame's bytes leaves."""
        count = self._powered(len(data))
        self._out += data[:count]
        self.given += count

    def _powered(self, count: int) -> int:
        """How many of so many bytes still pass before the power fails."""
        if self._dead or self.dies_at is None:
            return 0 if self._dead else count
        left = self.dies_at - self.taken - self.given
        if left > count:
            return count
        self._dead, self.dies_at = True, None
        return left
