"""A conversation with one board: who it is, its plan and state, and samples streamed to it exactly once."""

from __future__ import annotations

import secrets
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from edgelearn.errors import (
    ConfigError,
    EdgeLearnError,
    MismatchError,
    NotAuthorisedError,
    WrongBoardError,
)
from edgelearn.link import token as tokens
from edgelearn.link.exchange import LOST_S, SLOW_S, Exchange
from edgelearn.link.hello import BoardRestarted as BoardRestarted
from edgelearn.link.hello import Hello as Hello
from edgelearn.link.hello import Stats as Stats
from edgelearn.link.hello import demand_same, numbers, read_hello
from edgelearn.link.messages import (
    BY_NAME,
    MIN_FRAME,
    NO_LABEL,
    PHASE_EMPTY,
    PROTOCOL,
    TLV_CHALLENGE,
    TLV_ENGINE,
    TLV_MARKER,
    TLV_POWER,
    TLV_PROOF,
    Message,
    pack,
    unpack_power,
)
from edgelearn.link.paired import Pairing
from edgelearn.link.refusals import (
    ERR_LOCKED,
    ERR_PHASE,
    ERR_STEP,
    ERR_VERSION,
    OK,
    other_version,
    refusal,
)
from edgelearn.link.replay import ReplayTransport
from edgelearn.link.transport import Transport
from edgelearn.link.window import Position, Source, Window
from edgelearn.pairing.keys import Key

OnAck = Callable[[int, list[int]], None]  # (the board's step, predictions of the newly learnt samples, oldest first)


class Client:
    """The host's end of the link.

    Args:
        transport: the way to the board; the client closes it.
        worst_step_s: the longest that the board takes to learn one sample; all timeouts grow by it.
        lost_s: seconds of silence after which the link is given up; a line on which something comes gets four times that.
        clock: seconds that only ever grow; another one for a line on which time is computed.
        token: gives the secret that an agent may ask for; None: there is none.
        key: of a paired board; None: the board must be open, or only telemetry is read.

    Every call raises LinkLostError after that time, BoardRestarted when the board started anew in between, and the
    EdgeLearnError that fits the board's code when it refuses.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        worst_step_s: float = 0.0,
        lost_s: float = LOST_S,
        clock: Callable[[], float] = time.monotonic,
        token: Callable[[], bytes | None] = lambda: None,
        key: Key | None = None,
    ) -> None:
        self._token = token
        self._link = Exchange(transport, worst_step_s, lost_s, clock, self._check_boot)
        self._pairing = Pairing(self._link, key)
        self._hello: Hello | None = None
        self._next_id = 0
        self.step = 0  # samples learnt by the board's state, as last heard

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the port."""
        self._link.transport.close()

    def allow(self, worst_step_s: float) -> None:
        """Grows all timeouts by the longest that the board takes to learn one sample of the plan to come."""
        self._link.allow(worst_step_s)

    @property
    def bytes_tx(self) -> int:
        """Encoded bytes sent."""
        return self._link.bytes_tx

    @property
    def bytes_rx(self) -> int:
        """Bytes received."""
        return self._link.bytes_rx

    @property
    def retries(self) -> int:
        """How often something had to be sent again."""
        return self._link.retries

    @property
    def hello(self) -> Hello:
        """What the board said when we connected."""
        if self._hello is None:
            raise ConfigError("Nobody has said hello to the board yet.", "Call connect() first.")
        return self._hello

    def connect(self, board: str | None = None) -> Hello:
        """Says hello, for up to 5 s (opening a port may have reset the board, which then needs up to 3).

        Raises:
            WrongBoardError: it is not ``board``.
            VersionError: it speaks another version of the link.
            NotAuthorisedError: board and key do not belong together.
        """
        self._link.transport.reset_input()
        self._link.pace.limit(MIN_FRAME)
        hello = self._ask_hello()
        if board is not None and hello.board != board:
            raise WrongBoardError(
                f"The board at {self._link.transport.name} is '{hello.board}', not '{board}'.",
                f"Use --board {hello.board}, or choose another port with --port.",
            )
        demand_same(self._hello, hello, self._link.transport.name)
        self._pairing.open(hello.paired, hello.board.encode().ljust(16, b"\0"), hello.chip, hello.max_frame)
        self._link.pace.limit(hello.max_frame)
        self._hello = hello
        self.step = hello.step
        return hello

    def send_plan(self, plan: bytes) -> bool:
        """Gives the board a plan; False if it ran this very plan already, and kept its state.

        Raises:
            WrongBoardError, DoesNotFitError, VersionError, ConfigError: the board refuses it.
        """
        plan_hash = int.from_bytes(plan[-4:], "little")
        if self._pairing.overhead and not self._runs(plan_hash) and (code := self._pairing.sign(plan)) != OK:
            raise self._refusal(code, "plan_sign")
        if self._command("plan_begin", size=len(plan), hash=plan_hash, every=SLOW_S)["detail"] == 1:
            return False
        off = 0
        while off < len(plan):
            off = self._piece("plan_data", plan, off)
        self._command("plan_end", every=SLOW_S)
        return True

    def _runs(self, plan_hash: int) -> bool:
        """Does the board run this plan now?"""
        hello = self._ask_hello()
        return hello.phase != PHASE_EMPTY and hello.plan_hash == plan_hash

    def init(self, seed: int) -> None:
        """Makes the initial state from ``seed``; the board stands at step 0."""
        self._command("init", seed=seed, every=SLOW_S)
        self.step = 0

    def learn(self, source: Source, first: int, last: int, on_ack: OnAck) -> int:
        """Has the board learn the samples of steps ``first`` to ``last - 1``, each exactly once; returns its step.

        Args:
            source: step -> (sample bytes, label); asked again for a step when the sample got lost on the way.
            on_ack: called in order with the board's new step and the predictions of the newly learnt samples (what
                the network said before it learnt them; ``NO_LABEL`` where unknown).

        After KeyboardInterrupt (passed on once the board has answered) the client is usable, and ``step`` right.
        """
        window = self._window(source, first, last, "sample", _sample)
        self._drop_half_sample()
        try:
            self._locate(window, on_ack)
            self._stream(window, lambda m: self._learnt(window, m, on_ack), lambda: self._locate(window, on_ack))
        except KeyboardInterrupt:
            self._link.unsettle()
            self._locate(window, on_ack)
            raise
        return self.step

    def infer(self, samples: Sequence[bytes]) -> list[int]:
        """What the board takes each sample for."""
        labels: dict[int, int] = {}
        first_id = self._next_id
        self._next_id += len(samples)
        while missing := [i for i in range(len(samples)) if i not in labels]:
            self._infer_round(samples, missing, first_id, labels)
        return [labels[i] for i in range(len(samples))]

    def read_state(self, size: int) -> bytes:
        """The ``size`` raw bytes of the board's state region."""
        state = bytearray()
        while len(state) < size:
            reply = self._read_piece(len(state), size - len(state))
            if not reply.data or reply["off"] != len(state):
                raise MismatchError(
                    f"The board's state ends after {len(state)} of {size} bytes.", "Send the plan to the board again."
                )
            if reply["step"] != self.step:
                problem = f"The board's state is of step {reply['step']}, not {self.step}."
                raise MismatchError(problem, "Something else has changed it: resume the run.")
            state += reply.data[: size - len(state)]
        return bytes(state)

    def write_state(self, state: bytes) -> int:
        """Replaces the board's state region; returns the step that the new state stands at."""
        off = 0
        while off < len(state):
            off = self._piece("state_write", state, off)
        self.step = self._command("state_done", crc=zlib.crc32(state), every=SLOW_S)["detail"]
        return self.step

    def stats(self) -> Stats:
        """Memory used and counters."""
        reply = self._command("stats")
        engine = dict(reply.tlvs).get(TLV_ENGINE, b"")
        return Stats(**numbers(reply), engine=engine.decode("ascii", "replace"))

    def power(self, window: int) -> tuple[dict[str, int], str] | None:
        """What a meter in the board's supply has counted (``messages.POWER``), and which it is; None: the board tells of none.

        Args:
            window: 0..255; another one than before begins a new peak.
        """
        reply = self._command("stats", tlvs=((TLV_POWER, bytes((window & 0xFF,))),), every=SLOW_S)
        value = dict(reply.tlvs).get(TLV_POWER)
        return None if value is None else unpack_power(value)

    def marker(self, what: int) -> bool:
        """Has the board's marker pin do one of ``messages.MARKER_*``; False: there is no such pin."""
        reply = self._command("stats", tlvs=((TLV_MARKER, bytes((what,))),))
        return TLV_MARKER in dict(reply.tlvs)

    def save(self) -> int:
        """Writes the state to the board's own non-volatile memory; returns its step."""
        return self._command("save", every=SLOW_S)["detail"]

    def load(self) -> int:
        """Reads the state back from the board's own non-volatile memory; returns its step."""
        self.step = self._command("load", every=SLOW_S)["detail"]
        return self.step

    # -- requests

    def _ask_hello(self) -> Hello:
        transport = self._link.transport
        nonce = transport.nonce() if isinstance(transport, ReplayTransport) else secrets.randbits(32)
        reply = self._link.ask("hello", proto=PROTOCOL, nonce=nonce)
        challenge = dict(reply.tlvs).get(TLV_CHALLENGE)
        if challenge is not None:
            proof = tokens.proof(self._secret(), challenge)
            reply = self._link.ask("hello", tlvs=((TLV_PROOF, proof),), proto=PROTOCOL, nonce=nonce)
        if reply.name != "hello_r":
            raise other_version(reply["detail"]) if reply["code"] == ERR_VERSION else refusal(reply["code"], "hello")
        return read_hello(reply)

    def _secret(self) -> bytes:
        found = self._token()
        if found is None:
            hint = f"Name the file with its token: --token-file FILE, or {tokens.VARIABLE}."
            raise NotAuthorisedError(f"The board at {self._link.transport.name} asks for a token.", hint)
        return found

    def _command(
        self,
        name: str,
        data: bytes = b"",
        /,
        *,
        every: float = 0.0,
        tlvs: tuple[tuple[int, bytes], ...] = (),
        **fields: int,
    ) -> Message:
        return self._accepted(self._link.ask(name, data, every=every, tlvs=tlvs, **fields), name)

    def _accepted(self, reply: Message, what: str) -> Message:
        code = reply.fields.get("code", OK)
        if code != OK and isinstance(code, int):
            raise self._refusal(code, what)
        return reply

    def _piece(self, name: str, data: bytes, off: int) -> int:
        """Sends what goes into a frame of ``data`` from ``off`` on; returns where the board has it up to."""

        def frame(seq: int) -> bytes:
            return pack(name, seq, data[off : off + self._room(name)], off=off)

        return self._accepted(self._link.ask_again(name, frame), name)["detail"]

    def _read_piece(self, off: int, most: int) -> Message:
        def frame(seq: int) -> bytes:
            return pack("state_read", seq, off=off, len=min(self._room("state_data"), most))

        return self._accepted(self._link.ask_again("state_read", frame), "state_read")

    def _refusal(self, code: int, what: str) -> EdgeLearnError:
        if code in (ERR_PHASE, ERR_STEP, ERR_LOCKED):  # as a board answers that has just started
            self._check_boot()
        return self._pairing.locked_out() if code == ERR_LOCKED else refusal(code, what)

    def _check_boot(self) -> None:
        """Is it still the board that we connected to, without a restart in between?"""
        before, hello = self.hello, self._ask_hello()
        demand_same(self._hello, hello, self._link.transport.name)
        if hello.boot_id != before.boot_id:
            self._hello = hello
            self.step = hello.step
            raise BoardRestarted(hello)

    def _room(self, name: str) -> int:
        """Data bytes that fit a frame of this message now."""
        return self._link.pace.frame - _overhead(name) - self._pairing.overhead

    # -- streams

    def _window(
        self, source: Source, first: int, last: int, name: str, frame: Callable[[int, int, int, int, bytes], bytes]
    ) -> Window:
        link = self._link
        header, credit = _overhead(name) + self._pairing.overhead, self.hello.rx_buffer

        def sealed(seq: int, index: int, off: int, label: int, part: bytes) -> bytes:
            return link.seal(frame(seq, index, off, label, part))

        return Window(source, first, last, frame=sealed, header=header, next_seq=link.next_seq, credit=credit)

    def _stream(self, window: Window, answer: Callable[[Message], None], locate: Callable[[], None]) -> None:
        """Sends until the board has everything. ``locate`` finds out where the board stands and rewinds the window."""
        link = self._link
        heard = moved = link.clock()
        while not window.done:
            mark = window.mark
            if wire := window.fill(link.pace.frame):
                link.send(wire)
                heard = link.clock()
            if window.starved:
                locate()
            elif (messages := link.receive(link.wait)) is None:
                link.missed()
                self._check_boot()
                locate()
            else:
                for message in messages:
                    answer(message)
            now = link.clock()
            if window.mark > mark:
                link.pace.arrived(now - heard)
                heard = moved = now
            else:
                link.check(moved)

    def _lost(self, window: Window, position: Position) -> None:
        """The board noticed a gap: go on at what it expects."""
        self._link.retries += 1
        self._link.pace.lost()
        window.rewind(position)

    def _drop_half_sample(self) -> None:
        """Parts of a sample from an earlier, interrupted call must not be completed by ours."""
        if self._command("results")["off"]:
            self.stats()  # uses the arena

    def _locate(self, window: Window, on_ack: OnAck) -> None:
        ack = self._command("results")
        if not window.sent(ack["step"]):
            self._astray(window, ack["step"])
        self._advance(window, ack, on_ack)
        window.rewind((ack["step"], ack["off"]))

    def _learnt(self, window: Window, ack: Message, on_ack: OnAck) -> None:
        code = ack.fields.get("code", OK)
        if ack.name == "ack" and code in (OK, ERR_STEP):
            if window.sent(ack["step"]):
                self._advance(window, ack, on_ack)
            elif window.owns(ack.seq):
                self._astray(window, ack["step"])
            if code == ERR_STEP and window.owns(ack.seq):
                self._lost(window, (ack["step"], ack["off"]))
        elif code != OK and window.owns(ack.seq):
            raise self._refusal(ack["code"], "sample")

    def _advance(self, window: Window, ack: Message, on_ack: OnAck) -> None:
        news = window.accept((ack["step"], ack["off"]))
        self.step = ack["step"]
        if news:
            on_ack(self.step, _predictions(ack.data, news))

    def _astray(self, window: Window, step: int) -> None:
        self._check_boot()
        raise ConfigError(
            f"The board stands at step {step}, the session at step {window.base[0]}.",
            "Restore the checkpoint that belongs to this session: edgelearn resume",
        )

    def _infer_round(self, samples: Sequence[bytes], missing: list[int], first_id: int, labels: dict[int, int]) -> None:
        """Asks for every missing one once; results that get lost stay missing."""
        place = {(first_id + i) & 0xFFFFFFFF: k for k, i in enumerate(missing)}
        ids = list(place)

        def frame(seq: int, k: int, off: int, label: int, part: bytes) -> bytes:
            return pack("infer", seq, part, id=ids[k], off=off)

        def answer(message: Message) -> None:
            k = place.get(message["id"], -1) if message.name == "result" else -1
            code = message.fields.get("code", OK)
            if k >= 0 and code == OK:
                labels[missing[k]] = message["label"]
                window.accept((k + 1, 0))
            elif code != OK and window.owns(message.seq):
                if code != ERR_STEP:
                    raise self._refusal(message["code"], "infer")
                self._lost(window, (k, message["off"]) if k == window.base[0] else (window.base[0], 0))

        window = self._window(lambda k: (samples[missing[k]], 0), 0, len(missing), "infer", frame)
        self._stream(window, answer, lambda: self._infer_barrier(window))

    def _infer_barrier(self, window: Window) -> None:
        """The answer to any request shows that the board has read all before it. (`results` leaves the arena alone.)"""
        starved = window.starved
        self._command("results")
        window.drained()
        if not starved:
            window.rewind(window.base)


def _sample(seq: int, step: int, off: int, label: int, part: bytes) -> bytes:
    return pack("sample", seq, part, step=step, off=off, label=label)


def _overhead(name: str) -> int:
    return 4 + BY_NAME[name].fixed.size


def _predictions(data: bytes, news: int) -> list[int]:
    """The last ``news`` of the u16 in ``data``; NO_LABEL for those that the board has forgotten."""
    known = [label for (label,) in struct.iter_unpack("<H", data[: len(data) & ~1])][-news:]
    return [NO_LABEL] * (news - len(known)) + known
