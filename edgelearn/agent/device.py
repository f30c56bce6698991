"""The answers of a board that is a program: what firmware/core/proto.c does, message for message, over an engine of this computer."""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from edgelearn.agent.engines import Engine, Engines, Shape, Watch
from edgelearn.agent.memory import Growth
from edgelearn.agent.meters import OwnMeter
from edgelearn.agent.store import Store
from edgelearn.boards import Board
from edgelearn.errors import DoesNotFitError, EdgeLearnError, VersionError
from edgelearn.host.native import verify_plan
from edgelearn.link.messages import (
    BY_NAME,
    CAP_F32,
    CAP_INT8,
    CAP_NV,
    MAX_FRAME,
    NO_LABEL,
    PHASE_EMPTY,
    PHASE_PLAN,
    PHASE_READY,
    PROTOCOL,
    RESULTS,
    TLV_ENGINE,
    TLV_POWER,
    Message,
    pack,
    pack_power,
)

OK, ERR_VERSION, ERR_CRC, ERR_SIZE, ERR_MEMORY, ERR_OPERAND = 0, -3, -4, -5, -7, -9
ERR_LABEL, ERR_PHASE, ERR_STEP, ERR_NO_NV, ERR_NV, ERR_UNKNOWN = -11, -12, -13, -14, -15, -16
_FIRMWARE = 0x000100  # major, minor, patch; as EL_FIRMWARE
_U32 = 0xFFFFFFFF
KEEP_PART = ("sample", "infer", "hello", "results")  # every other request drops a sample that is half there
_FRAME_BYTES = MAX_FRAME + 4
_ROOM = MAX_FRAME - 4 - BY_NAME["state_data"].fixed.size


@dataclass
class _Part:
    """A sample that arrives in parts."""

    of: str = ""  # the message that they belong to; "": none is awaited
    data: bytearray = field(default_factory=bytearray)
    infer_id: int = 0


@dataclass
class _Plan:
    """What runs. ``raw`` are the plan's bytes, ``written`` is a state that comes in pieces."""

    engine: Engine
    shape: Shape
    growth: Growth
    watch: Watch = field(default_factory=Watch)
    samples: int = 0
    written: bytearray | None = None
    read: bytes | None = None  # the state as it is now, while it is read in pieces

    def region(self) -> bytes | bytearray:
        """The state region, as a host may read it."""
        if self.written is not None:
            return self.written
        if self.read is None:
            self.read = self.engine.read()
        return self.read


class Device:
    """One board: its plan, its state, and what it has learnt.

    Args:
        board: what it says it is, and how much memory a plan may take.
        store: for ``save`` and ``load``; None: it has no memory of its own.
        rx_buffer: bytes that a host may send ahead.
        told: called with a line for people when a plan is taken or refused.
        meter: of this computer, for clients that ask what was used; None: it has none.
    """

    def __init__(
        self,
        board: Board,
        engines: Engines,
        store: Store | None,
        rx_buffer: int,
        told: Callable[[str], None] = lambda line: None,
        meter: OwnMeter | None = None,
    ) -> None:
        self.meter = meter
        self.board, self.boot_id = board, secrets.randbits(32) | 1
        self.bad_frames = 0
        self._engines, self._store, self._told = engines, store, told
        self._rx_buffer, self._pool = rx_buffer, min(board.target.pool, _U32)
        self._phase = PHASE_EMPTY
        self._incoming = bytearray()
        self._plan_size = self._plan_hash = 0
        self._plan: _Plan | None = None
        self._part = _Part()
        self._guesses: dict[int, int] = {}  # by step, of the last steps

    def answer(self, m: Message) -> bytes | None:
        """The frame to answer a request with; None: nothing is answered."""
        if m.name not in KEEP_PART:
            self._part.of = ""
        handler: Callable[[Message], bytes | None] = getattr(self, f"_on_{m.name}")
        try:
            return handler(m)
        except Exception as error:  # noqa: BLE001 (what came from the line must not end the agent, whatever a library makes of it)
            self._told(f"gives up plan {self._plan_hash:08x} at '{m.name}': {type(error).__name__}: {error}")
            self._forget()
            return _status(m, ERR_OPERAND)

    def forget_part(self) -> None:
        """Something came that is no request we know: it drops a half-received sample too."""
        self._part.of = ""

    @property
    def _step(self) -> int:
        return self._plan.engine.step if self._phase == PHASE_READY and self._plan else 0

    # --- who are you? -----------------------------------------------------------------------------------------------------------------

    def _on_hello(self, m: Message) -> bytes:
        ready = self._phase == PHASE_READY and self._plan is not None
        return self.hello(
            m.seq, boot_id=self.boot_id, plan_hash=0 if self._phase == PHASE_EMPTY else self._plan_hash, step=self._step,
            seed=self._plan.engine.seed & _U32 if ready and self._plan else 0, phase=self._phase, pool=self._pool,
        )  # fmt: skip

    def hello(self, seq: int, tlvs: tuple[tuple[int, bytes], ...] = (), **said: int) -> bytes:
        """Who this is; what is not ``said`` is 0."""
        caps = {"int8": CAP_INT8, "f32": CAP_F32}
        numbers = sum(caps[dtype] for dtype in self.board.dtypes)
        unknown = dict.fromkeys(("boot_id", "plan_hash", "step", "seed", "phase", "pool"), 0)
        return pack(
            "hello_r", seq, tlvs=tlvs, proto=PROTOCOL, board=self.board.id.encode(), chip=bytes(8), firmware=_FIRMWARE,
            caps=numbers | (CAP_NV if self._store else 0), max_frame=MAX_FRAME, rx_buffer=self._rx_buffer,
            **{**unknown, **said},
        )  # fmt: skip

    def _on_stats(self, m: Message) -> bytes:
        counted = {
            "stack": 0, "stack_size": 0, "link": self._rx_buffer + 2 * _FRAME_BYTES, "overruns": 0,
            "bad_frames": self.bad_frames & _U32,
        }  # fmt: skip
        if self._phase == PHASE_EMPTY or self._plan is None:
            return pack(
                "stats_r", m.seq, b"", self._power(m, 0.0), state=0, arena=0, plan=0, samples=0, busy_us=0, **counted
            )
        plan, found = self._plan, self._plan.engine.memory()
        tlvs = self._power(m, plan.watch.seconds)
        if found is None:
            tlvs = ((TLV_ENGINE, plan.engine.name.encode("ascii", "replace")[:100]), *tlvs)
        if found is None:
            kept = plan.shape.state_bytes
            found = kept, max(0, plan.growth.peak - kept)
        return pack(
            "stats_r", m.seq, tlvs=tlvs, state=found[0], arena=min(found[1], _U32), plan=self._plan_size,
            samples=plan.samples & _U32, busy_us=int(1e6 * plan.watch.seconds) & _U32, **counted,
        )  # fmt: skip

    def _power(self, m: Message, work_s: float) -> tuple[tuple[int, bytes], ...]:
        """What this computer's meter has counted, where that is asked."""
        window = dict(m.tlvs).get(TLV_POWER, b"")
        if self.meter is None or len(window) != 1:
            return ()
        return (pack_power(*self.meter.told(window[0], work_s)),)

    def left(self) -> None:
        """The client has gone: nobody asks for the meter."""
        if self.meter is not None:
            self.meter.close()

    # --- the plan ---------------------------------------------------------------------------------------------------------------------

    def _on_plan_begin(self, m: Message) -> bytes:
        size, plan_hash = m["size"], m["hash"]
        if self._phase != PHASE_EMPTY and (size, plan_hash) == (self._plan_size, self._plan_hash):
            return _status(m, OK, 1)
        if size > min(self._pool, self.board.plan_max):
            return _status(m, ERR_MEMORY)
        self._forget()
        self._plan_size, self._plan_hash, self._incoming = size, plan_hash, bytearray()
        return _status(m)

    def _forget(self) -> None:
        self._phase, self._plan = PHASE_EMPTY, None

    def _on_plan_data(self, m: Message) -> bytes:
        off, got, code = m["off"], len(self._incoming), OK
        if self._phase != PHASE_EMPTY or self._plan_size == 0:
            code = ERR_PHASE
        elif off > got or (off == got and len(m.data) > self._plan_size - off):
            code = ERR_SIZE
        elif off == got:
            self._incoming += m.data
        return _status(m, code, len(self._incoming))

    def _on_plan_end(self, m: Message) -> bytes:
        got, code = len(self._incoming), OK
        if self._phase == PHASE_EMPTY:  # else it is asked again: the plan runs already
            code = ERR_PHASE if self._plan_size == 0 else ERR_SIZE if got != self._plan_size else self._adopt()
        return _status(m, code, got)

    def _adopt(self) -> int:
        plan, growth = bytes(self._incoming), Growth()
        code = verify_plan(plan, self.board.id)
        if code == OK and int.from_bytes(plan[-4:], "little") != self._plan_hash:
            code = ERR_CRC  # whole, but not the one that was announced
        if code:
            return code
        try:
            engine, shape = self._engines.make(plan, self._pool)
        except (DoesNotFitError, MemoryError):
            return ERR_MEMORY
        except EdgeLearnError as error:  # the C core could run it, but it is not a plan as edgelearn writes them
            self._told(f"refused plan {self._plan_hash:08x}: {error.message}")
            return ERR_VERSION if isinstance(error, VersionError) else ERR_OPERAND
        self._plan, self._phase = _Plan(engine, shape, growth), PHASE_PLAN
        why = f" ({self._engines.why})" if self._engines.why else ""
        self._told(f"plan {self._plan_hash:08x}, {len(plan):,} bytes: {engine.name}{why}")
        return OK

    # --- the state --------------------------------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        """The state is whole; predictions made with another one are no longer known."""
        self._phase, self._guesses = PHASE_READY, {}

    def _on_init(self, m: Message) -> bytes:
        if self._phase == PHASE_EMPTY or self._plan is None:
            return _status(m, ERR_PHASE)
        self._plan.engine.init(m["seed"])
        self._plan.written = self._plan.read = None
        self._plan.samples, self._plan.watch = 0, Watch()
        self._ready()
        return _status(m, OK, self._step)

    def _on_state_read(self, m: Message) -> bytes:
        if self._phase == PHASE_EMPTY or self._plan is None:
            return _status(m, ERR_PHASE)
        off, region = m["off"], self._plan.region()
        if off > len(region):
            return _status(m, ERR_SIZE)
        part = bytes(region[off : off + min(m["len"], _ROOM)])
        return pack("state_data", m.seq, part, off=off, step=self._step)

    def _on_state_write(self, m: Message) -> bytes:
        if self._phase == PHASE_EMPTY or self._plan is None:
            return _status(m, ERR_PHASE)
        off, end = m["off"], m["off"] + len(m.data)
        if end > self._plan.shape.state_bytes:
            return _status(m, ERR_SIZE)
        self._phase = PHASE_PLAN  # half old, half new, until state_done
        if self._plan.written is None:
            self._plan.written = bytearray(self._plan.region())
        self._plan.written[off:end] = m.data
        return _status(m, OK, end)

    def _on_state_done(self, m: Message) -> bytes:
        if self._phase == PHASE_EMPTY or self._plan is None:
            return _status(m, ERR_PHASE)
        region = self._plan.region()
        if zlib.crc32(region) != m["crc"]:
            return _status(m, ERR_CRC, self._step)
        if self._phase != PHASE_READY:
            self._take(self._plan, bytes(region))
        return _status(m, OK, self._step)

    def _take(self, plan: _Plan, state: bytes) -> None:
        plan.engine.write(state)
        plan.written = plan.read = None
        self._ready()

    def _on_save(self, m: Message) -> bytes:
        if self._phase != PHASE_READY or self._plan is None:
            return _status(m, ERR_PHASE)
        if self._store is None:
            return _status(m, ERR_NO_NV, self._step)
        try:
            self._store.save(self._plan_hash, bytes(self._plan.region()))
        except OSError as error:
            self._told(f"cannot keep the state in {self._store.folder}: {error.strerror}")
            return _status(m, ERR_NV, self._step)
        return _status(m, OK, self._step)

    def _on_load(self, m: Message) -> bytes:
        if self._phase == PHASE_EMPTY or self._plan is None:
            return _status(m, ERR_PHASE)
        if self._store is None:
            return _status(m, ERR_NO_NV, self._step)
        found = self._store.load(self._plan_hash, self._plan.shape.state_bytes)
        if found is None:
            return _status(m, ERR_NV, self._step)
        self._take(self._plan, found)
        return _status(m, OK, self._step)

    # --- samples ----------------------------------------------------------------------------------------------------------------------

    def _on_sample(self, m: Message) -> bytes | None:
        got = self._stage_sample(m)
        return None if got == 0 else self._ack(m, min(got, OK))

    def _stage_sample(self, m: Message) -> int:
        """1: it was whole, and is learnt; 0: more is to come; else why not."""
        plan = self._plan
        if self._phase != PHASE_READY or plan is None:
            return ERR_PHASE
        if m["step"] != self._step:
            return ERR_STEP
        if m["label"] >= plan.shape.classes:
            return ERR_LABEL
        got = self._stage(m, plan.shape.input_bytes)
        if got > 0:
            self._learn(plan, m["step"], m["label"])
        return got

    def _learn(self, plan: _Plan, step: int, label: int) -> None:
        with plan.watch:
            self._guesses[step] = plan.engine.learn(bytes(self._part.data), label)
        self._guesses.pop(step - RESULTS, None)
        plan.samples += 1
        plan.read = None

    def _on_results(self, m: Message) -> bytes:
        return self._ack(m, OK if self._phase == PHASE_READY else ERR_PHASE)

    def _on_infer(self, m: Message) -> bytes | None:
        got, label = self._stage_infer(m), NO_LABEL
        if got == 0:
            return None
        if got > 0 and self._plan is not None:
            label = self._plan.engine.infer(bytes(self._part.data))
        awaited = self._part.of == "infer" and self._part.infer_id == m["id"]
        off = len(self._part.data) if awaited else 0
        return pack("result", m.seq, id=m["id"], off=off, code=min(got, OK), label=label)

    def _stage_infer(self, m: Message) -> int:
        if m["off"] == 0:
            self._part.infer_id = m["id"]
        if self._phase != PHASE_READY or self._plan is None:
            return ERR_PHASE
        return ERR_STEP if m["id"] != self._part.infer_id else self._stage(m, self._plan.shape.input_bytes)

    def _stage(self, m: Message, size: int) -> int:
        """Puts one part of a sample behind the others. 1: it is whole; 0: more is to come; negative: it does not belong there."""
        part = self._part
        if m["off"] == 0:
            part.data.clear()
        elif part.of != m.name or m["off"] != len(part.data):
            return ERR_STEP
        part.of = ""
        if len(m.data) > size - m["off"]:
            return ERR_SIZE
        part.data += m.data
        if len(part.data) == size:
            return 1
        part.of = m.name
        return 0

    def _ack(self, m: Message, code: int) -> bytes:
        """What is expected next, and what was predicted for the last steps before that."""
        step = self._step
        off = len(self._part.data) if self._part.of == "sample" else 0
        last = [self._guesses[at] for at in range(step - RESULTS, step) if at in self._guesses]
        return pack("ack", m.seq, struct.pack(f"<{len(last)}H", *last), step=step, off=off & 0xFFFF, code=code)


def _status(m: Message, code: int = OK, detail: int = 0) -> bytes:
    return pack("status", m.seq, code=code, detail=detail & _U32)
