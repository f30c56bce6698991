"""A board in this process, behind a serial line on which time is computed: the firmware's own link and core, a client's real bytes.

Time passes for bytes on the wire, ten bits each, for the steps of the board and for whatever else it does with a byte. Sending a byte
keeps the board busy until the byte is gone, as in every port. It takes bytes from its receive ring whenever it is not busy; what does
not fit the ring is lost, and counted.
"""

from __future__ import annotations

import ctypes
from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from edgelearn.host.hal import Hal, Number, Rx, Tx
from edgelearn.host.native import library
from edgelearn.link.frame import Decoder, encode
from edgelearn.link.messages import pack, unpack

BITS = 10  # of a byte on the wire: start, eight, stop


@dataclass(frozen=True)
class Line:
    """A board and its serial line. Times in seconds, sizes in bytes.

    Attributes:
        ring: the board's receive ring; max_frame: the longest frame that it takes.
        step: the time of one learnt sample. byte_in, byte_out: what the board spends on a byte received, on one sent.
        latency: how long a byte takes through the host, in either direction, besides its time on the wire.
    """

    baud: int
    ring: int
    max_frame: int
    step: float
    byte_in: float = 0.0
    byte_out: float = 0.0
    latency: float = 0.0

    @property
    def byte(self) -> float:
        """The time of a byte on the wire."""
        return BITS / self.baud


class VirtualBoard:
    """A transport to the firmware's link, with a clock of its own (``now``).

    Args:
        board: the id that it gives itself. pool_bytes: RAM for plan, state and arena.

    Attributes:
        sent, received: seconds that the wire was busy, to the board and from it.
        computing, handling: seconds that the board spent on steps, and on bytes of the link besides waiting for the wire.
        overruns: bytes that its ring lost.
    """

    name = "virtual"

    def __init__(self, board: str, line: Line, pool_bytes: int) -> None:
        self.line, self.now = line, 0.0
        self.sent = self.received = self.computing = self.handling = 0.0
        self.overruns = 0
        self._coming: deque[tuple[float, int]] = deque()  # bytes on their way to the board: (when there, which)
        self._going: deque[tuple[float, bytes]] = deque()  # and to the host
        self._wire_free = self._free = 0.0  # when wire and board are
        self._in_step = False
        self._reply = b""  # the frame that the board is sending
        self._lib: Any = library()
        self._pool = np.zeros(pool_bytes, np.uint8)
        self._el = np.zeros(self._lib.el_host_context_bytes(), np.uint8)
        self._link = np.zeros(self._lib.el_host_link_bytes(), np.uint8)
        self._hal = Hal(
            board=board.encode(), rx_buffer=line.ring, rx=Rx(self._rx), tx=Tx(self._tx), overruns=Number(lambda _: self.overruns),
            now_us=Number(self._now_us),
        )  # fmt: skip
        self._lib.el_link_init(
            self._link.ctypes.data, self._el.ctypes.data, ctypes.byref(self._hal), self._pool.ctypes.data, pool_bytes,
            None, 0,
        )  # fmt: skip

    # -- the host's side

    def clock(self) -> float:
        return self.now

    def write(self, data: bytes) -> None:
        begin = max(self.now, self._wire_free)
        there = begin + self.line.latency
        self._coming.extend((there + (i + 1) * self.line.byte, value) for i, value in enumerate(data))
        self._wire_free = begin + len(data) * self.line.byte
        self.sent += len(data) * self.line.byte

    def read(self, timeout: float) -> bytes:
        deadline = self.now + timeout
        while not self._going and self._work(deadline):
            continue
        if not self._going or self._going[0][0] > deadline:
            self.now = deadline
            return b""
        self.now = max(self.now, self._going[0][0])
        out = bytearray()
        while self._going and self._going[0][0] <= self.now:
            out += self._going.popleft()[1]
        return bytes(out)

    def reset_input(self) -> None:
        self._going.clear()

    def close(self) -> None:
        self._coming.clear()

    # -- the board's

    def _work(self, until: float) -> bool:
        """Has the board take what has arrived once it is free; False: it has nothing to do before ``until``."""
        if not self._coming:
            return False
        begin = max(self._free, self._coming[0][0])
        if begin > until:
            return False
        self._free = begin
        self._lose()
        self._lib.el_link_poll(self._link.ctypes.data)
        return True

    def _lose(self) -> None:
        """Of what came while the board was busy, only a ring full is there."""
        waiting = sum(1 for _ in takewhile(lambda byte: byte[0] <= self._free, self._coming))
        for _ in range(waiting - self.line.ring):
            del self._coming[self.line.ring]
            self.overruns += 1

    def _rx(self, _: int, out: int, room: int) -> int:
        taken = bytearray()
        while len(taken) < room and self._coming and self._coming[0][0] <= self._free:
            taken.append(self._coming.popleft()[1])
        ctypes.memmove(out, bytes(taken), len(taken))
        self._free += len(taken) * self.line.byte_in
        self.handling += len(taken) * self.line.byte_in
        return len(taken)

    def _tx(self, _: int, at: int, count: int) -> None:
        self._reply += ctypes.string_at(at, count)
        self._free += count * (self.line.byte + self.line.byte_out)
        self.handling += count * self.line.byte_out
        self.received += count * self.line.byte
        if self._reply.endswith(b"\0"):  # a frame has no other zero
            self._going.append((self._free + self.line.latency, self._own(self._reply)))
            self._reply = b""

    def _own(self, wire: bytes) -> bytes:
        """The library takes frames of any length, and says so in its first answer; this board says what its own firmware takes."""
        message = unpack(Decoder().feed(wire)[0])
        if message is None or message.name != "hello_r":
            return wire
        return encode(pack("hello_r", message.seq, **{**message.fields, "max_frame": self.line.max_frame}))

    def _now_us(self, _: int) -> int:
        """The core asks before and after each step: the time in between is the step's."""
        if self._in_step:
            self._free += self.line.step
            self.computing += self.line.step
        self._in_step = not self._in_step
        return int(self._free * 1e6) & 0xFFFFFFFF
