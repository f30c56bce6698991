"""One question, one answer: frames over a transport, repeated until they are answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgelearn.errors import VersionError
from edgelearn.link.frame import Decoder, encode
from edgelearn.link.messages import Message, pack, unpack
from edgelearn.link.pace import Pace
from edgelearn.link.refusals import noise, silence
from edgelearn.link.transport import LineReopened, Transport

LOST_S = 5.0  # without a single byte: the line is dead
_TICK = 1e-6  # of a clock that is counted: what is left of the patience may be too little to move it
NOISE = 4  # times that, without any progress, though bytes do come
SLOW_S = 1.0  # between repetitions of what takes a board long, or wears its flash

_REPLIES = {"hello": "hello_r", "state_read": "state_data", "stats": "stats_r", "results": "ack", "pair": "pair_r"}


class Exchange:
    """Frames, sequence numbers, repetition and counters. ``bytes_*`` count encoded bytes, ``retries`` all repetitions.

    A line that is silent is dead sooner than one on which something arrives, however damaged: many a frame is lost on a bad line.

    Args:
        worst_step_s: the longest that the board may be deaf, because it learns a sample.
        lost_s: seconds of silence after which the link is given up.
        clock: seconds that only ever grow.
        reopened: called when the port was gone and is back, before anything else is sent: the board may be another one.
    """

    def __init__(
        self,
        transport: Transport,
        worst_step_s: float = 0.0,
        lost_s: float = LOST_S,
        clock: Callable[[], float] = time.monotonic,
        reopened: Callable[[], None] = lambda: None,
    ) -> None:
        self.transport = transport
        self.reopened = reopened
        self.seal: Callable[[bytes], bytes] = lambda frame: frame  # what a paired board wants of the frames to it
        self.clock = clock
        self.lost_s = lost_s
        self.worst_step_s = worst_step_s
        self.pace = Pace()
        self.decoder = Decoder()
        self.bytes_tx = self.bytes_rx = self.retries = 0
        self._seq = 0
        self._unclean = True  # half a frame may stand on the line
        self._repeated = -1  # seq of the last answered request that was sent more than once
        self._silent = clock()  # since when nothing has come, though something was sent
        self._overdue = False  # is an answer?
        self._was_gone = False  # the port, and nobody has looked who is there now

    def allow(self, worst_step_s: float) -> None:
        """The board may be deaf for so long from now on."""
        self.worst_step_s = worst_step_s

    @property
    def patience(self) -> float:
        """Seconds of silence after which the link is given up."""
        return self.lost_s + self.worst_step_s

    def check(self, moved: float) -> None:
        """Is there still hope? ``moved``: when there was progress.

        Raises:
            LinkLostError: there is none.
        """
        now = self.clock()
        if now - self._silent > self.patience - _TICK:
            self._overdue = False
            raise silence(self.transport.name, self.patience)
        if now - moved >= NOISE * self.patience:
            self._overdue = False
            raise noise(self.transport.name, NOISE * self.patience)

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
        if not self._overdue:
            self._silent = self.clock()
        self.bytes_tx += len(data)
        self.transport.write(data)

    def unsettle(self) -> None:
        """Something was lost or broken off: the next frame is sent after a zero byte."""
        self._unclean = True

    def receive(self, timeout: float) -> list[Message] | None:
        """The messages that the next chunk completes, perhaps none; None: nothing came for ``timeout`` seconds.

        Time is judged by empty reads alone, so that a replayed session takes the same way as the recorded one.
        """
        left = self._silent + self.patience - self.clock()
        try:
            data = self.transport.read(max(0.0, min(timeout, left)))
        except LineReopened:
            self._was_gone = True
            self._silent = self.clock()
            self.decoder = Decoder()
            return None
        if not data:
            return None
        self._silent = self.clock()
        self.bytes_rx += len(data)
        frames = self.decoder.feed(data)
        self._overdue = self._overdue and not frames
        return [message for frame in frames if (message := unpack(frame))]

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
            LinkLostError: no answer for 5 s (plus the worst step), or four times that where other bytes come.
            VersionError: the answer is none to this request.
        """
        return self.ask_again(name, lambda seq: pack(name, seq, data, tlvs, **fields), every)

    def ask_again(self, name: str, frame: Callable[[int], bytes], every: float = 0.0) -> Message:
        """``ask``, with a frame that is made anew for each repetition: ``frame`` is given its number. So it may shrink with the pace."""
        seq = self.next_seq()
        sent = self.clock()
        reply, attempts = self._attempt(seq, encode(self.seal(frame(seq))), every), 1
        while reply is None:
            self.check(sent)
            self.missed()
            if name != "hello":  # which asks who is there
                self.look()
            reply, attempts = self._again(name, seq, encode(self.seal(frame(seq))), every), attempts + 1
        if name == "hello":
            self._was_gone = False
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

    def look(self) -> None:
        """Has the port been gone? Then whoever is there now must be asked who it is."""
        gone, self._was_gone = self._was_gone, False
        if gone:
            self.reopened()

    def missed(self) -> None:
        """An answer is overdue: counts it and slows down."""
        self.retries += 1
        self._overdue = True
        self.pace.lost()
        self.unsettle()

    def _again(self, name: str, seq: int, wire: bytes, every: float) -> Message | None:
        """Another attempt, with a short question behind it: a board says nothing to a damaged frame, and would seem dead on a bad line."""
        if name in ("hello", "results"):
            return self._attempt(seq, wire, every)
        probe = self.next_seq()
        return self._attempt(seq, wire + encode(pack("results", probe)), every, probe)

    def _attempt(self, seq: int, wire: bytes, every: float, probe: int = -1) -> Message | None:
        """The answer; None where none came in time, or that to the ``probe`` behind the request, which is answered after it."""
        self.send(wire)
        overdue = self.clock() + (every + self.worst_step_s if every else self.wait)
        while (messages := self.receive(overdue - self.clock())) is not None:
            for message in messages:
                if message.seq == seq:
                    return message
                if message.seq == probe:
                    return None
                if message.seq == self._repeated:
                    self._repeated = -1
                    self.pace.hurried()
            if self.clock() - overdue > self.patience:  # something talks without end
                return None
        return None
