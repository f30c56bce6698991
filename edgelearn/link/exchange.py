"""One question, one answer: frames over a transport, repeated until they are answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgelearn.errors import VersionError
from edgelearn.link.frame import Decoder, encode
from edgelearn.link.messages import Message, pack, unpack
from edgelearn.link.pace import Pace
from edgelearn.link.refusals import silence
from edgelearn.link.transport import Transport

LOST_S = 5.0  # without any progress
SLOW_S = 1.0  # between repetitions of what takes a board long, or wears its flash

_REPLIES = {"hello": "hello_r", "state_read": "state_data", "stats": "stats_r", "results": "ack"}


class Exchange:
    """Frames, sequence numbers, repetition and counters. ``bytes_*`` count encoded bytes, ``retries`` all repetitions.

    Args:
        worst_step_s: the longest that the board may be deaf, because it learns a sample.
        lost_s: seconds without progress after which the link is given up.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        transport: Transport,
        worst_step_s: float = 0.0,
        lost_s: float = LOST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        self.clock = clock
        self.lost_s = lost_s
        self.worst_step_s = worst_step_s
        self.pace = Pace()
        self.decoder = Decoder()
        self.bytes_tx = self.bytes_rx = self.retries = 0
        self._seq = 0
        self._unclean = True  # half a frame may stand on the line
        self._repeated = -1  # seq of the last answered request that was sent more than once

    def allow(self, worst_step_s: float) -> None:
        """The board may be deaf for so long from now on."""
        self.worst_step_s = worst_step_s

    @property
    def patience(self) -> float:
        """Seconds without progress after which the link is given up."""
        return self.lost_s + self.worst_step_s

    @property
    def wait(self) -> float:
        """Seconds after which an answer is overdue."""
        return self.pace.wait + self.worst_step_s

    def next_seq(self) -> int:
        """The next sequence number, 0..255."""
        self._seq = (self._seq + 1) & 0xFF
        return self._seq

    def send(self, wire: bytes) -> None:
        """Sends encoded frames, after a zero byte if the line may hold half a frame."""
        data = b"\0" + wire if self._unclean else wire
        self._unclean = False
        self.bytes_tx += len(data)
        self.transport.write(data)

    def unsettle(self) -> None:
        """Something was lost or broken off: the next frame is sent after a zero byte."""
        self._unclean = True

    def receive(self, timeout: float) -> list[Message] | None:
        """The messages that the next chunk completes, perhaps none; None: nothing came for ``timeout`` seconds.

        Time is judged by empty reads alone, so that a replayed session takes the same way as the recorded one.
        """
        data = self.transport.read(max(0.0, timeout))
        if not data:
            return None
        self.bytes_rx += len(data)
        return [message for frame in self.decoder.feed(data) if (message := unpack(frame))]

    def ask(
        self,
        name: str,
        data: bytes = b"",
        /,
        *,
        every: float = 0.0,
        tlvs: tuple[tuple[int, bytes], ...] = (),
        **fields: int,
    ) -> Message:
        """Sends a request until it is answered; the answer may be a refusal (``status`` with a negative code).

        Args:
            every: seconds between repetitions; 0: as the line's pace suggests.

        Raises:
            LinkLostError: no answer for 5 s (plus the worst step).
            VersionError: the answer is none to this request.
        """
        seq = self.next_seq()
        wire = encode(pack(name, seq, data, tlvs, **fields))
        sent = self.clock()
        reply, attempts = self._attempt(seq, wire, every), 1
        while reply is None:
            if self.clock() - sent > self.patience:
                raise silence(self.transport.name, self.patience)
            self.missed()
            reply, attempts = self._attempt(seq, wire, every), attempts + 1
        if attempts > 1:
            self._repeated = seq
        elif not every:
            self.pace.arrived(self.clock() - sent)
        if reply.name not in (_REPLIES.get(name), "status"):
            raise VersionError(
                f"The board answers '{name}' with '{reply.name}'.",
                "Write the current firmware image to it; docs/boards.md says how.",
            )
        return reply

    def missed(self) -> None:
        """An answer is overdue: counts it and slows down."""
        self.retries += 1
        self.pace.lost()
        self.unsettle()

    def _attempt(self, seq: int, wire: bytes, every: float) -> Message | None:
        self.send(wire)
        overdue = self.clock() + (every + self.worst_step_s if every else self.wait)
        while (messages := self.receive(overdue - self.clock())) is not None:
            for message in messages:
                if message.seq == seq:
                    return message
                if message.seq == self._repeated:
                    self._repeated = -1
                    self.pace.hurried()
        return None
