"""A board in Python: the device's side of docs/link.md as a transport, with a state that shows every mistake.

Its state is ``step u32 | seed u32 | sha256 of all that was learnt, chained``: a sample lost, doubled, reordered or
mixed up changes it for good. Time does not pass: a read that finds nothing returns at once.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

from edgelearn.link.frame import Decoder, encode, wire_size
from edgelearn.link.messages import (
    MAX_FRAME,
    NO_LABEL,
    PHASE_EMPTY,
    PHASE_PLAN,
    PHASE_READY,
    PROTOCOL,
    RESULTS,
    Message,
    pack,
    unpack,
)

ERR_CRC, ERR_SIZE, ERR_LABEL, ERR_PHASE, ERR_STEP, ERR_NO_NV, ERR_UNKNOWN = -4, -5, -11, -12, -13, -14, -16
CLASSES = 10
_STATE = struct.Struct("<II32s")
STATE_BYTES = _STATE.size
_KEEP_PART = ("sample", "infer", "hello", "results")


def initial_state(seed: int) -> bytes:
    return _STATE.pack(0, seed, hashlib.sha256(struct.pack("<I", seed)).digest())


def guess(state: bytes, sample: bytes) -> int:
    return zlib.crc32(sample, zlib.crc32(state)) % CLASSES


def learnt(state: bytes, sample: bytes, label: int) -> bytes:
    """The state after one more sample."""
    step, seed, digest = _STATE.unpack(state)
    return _STATE.pack(step + 1, seed, hashlib.sha256(digest + struct.pack("<H", label) + sample).digest())


class ModelBoard:
    """A transport to itself.

    Args:
        input_bytes: size of a sample.
        rx_buffer: bytes of the receive ring, as announced; what does not fit is lost and counted in ``overruns``. Below
            a frame's size it is announced only: such a board reads frames straight from the line.
        stride: bytes that it handles per read: how far it lags behind.
    """

    name = "model"

    def __init__(
        self, input_bytes: int = 16, rx_buffer: int = 1024, max_frame: int = MAX_FRAME, stride: int = 4096
    ) -> None:
        self.input_bytes, self.rx_buffer, self.max_frame, self.stride = input_bytes, rx_buffer, max_frame, stride
        self.ring_bytes = max(
            rx_buffer, wire_size(max_frame) + 12
        )  # and a `results` request, for which the host leaves room
        self.overruns = self.samples = self.seen = 0
        self.deaf = False
        self.forgets = False  # its predictions
        self.restart()

    def restart(self) -> None:
        """Power off and on: everything in RAM is gone."""
        self.boot_id = 0
        self.plan_size = self.plan_hash = 0
        self.plan = b""
        self.phase = PHASE_EMPTY
        self.state = initial_state(0)
        self._part, self._part_of, self._infer_id = b"", "", 0
        self._guesses: list[int] = []
        self._ring = bytearray()
        self._out = bytearray()
        self._decoder = Decoder()

    @property
    def step(self) -> int:
        return int.from_bytes(self.state[:4], "little") if self.phase == PHASE_READY else 0

    # -- the transport

    def write(self, data: bytes) -> None:
        room = self.ring_bytes - len(self._ring)
        self._ring += data[:room]
        self.overruns += max(0, len(data) - room)

    def read(self, timeout: float) -> bytes:
        taken = bytes(self._ring[: self.stride])
        del self._ring[: self.stride]
        for frame in self._decoder.feed(taken):
            if not self.deaf and (message := unpack(frame)):
                self._dispatch(message)
        data, self._out = bytes(self._out), bytearray()
        return data or (self.read(timeout) if self._ring else b"")

    def reset_input(self) -> None:
        self._out.clear()

    def close(self) -> None:
        self.deaf = True

    # -- the board

    def _dispatch(self, m: Message) -> None:
        self.seen += 1
        if m.name not in _KEEP_PART:
            self._part_of = ""
        handler = getattr(self, f"_on_{m.name}", None)
        if handler is None:
            self._status(m, ERR_UNKNOWN)
        else:
            handler(m)

    def _reply(self, m: Message, name: str, data: bytes = b"", /, **fields: int | bytes) -> None:
        self._out += encode(pack(name, m.seq, data, (), **fields))

    def _status(self, m: Message, code: int = 0, detail: int = 0) -> None:
        self._reply(m, "status", code=code, detail=detail)

    def _on_hello(self, m: Message) -> None:
        self.boot_id = self.boot_id or m["nonce"] | 1
        self._reply(
            m,
            "hello_r",
            proto=PROTOCOL,
            boot_id=self.boot_id,
            board=b"model",
            chip=b"\1" * 8,
            firmware=1,
            plan_hash=self.plan_hash,
            step=self.step,
            seed=0,
            phase=self.phase,
            caps=1,
            max_frame=self.max_frame,
            rx_buffer=self.rx_buffer,
            pool=4096,
        )

    def _on_plan_begin(self, m: Message) -> None:
        if self.phase != PHASE_EMPTY and (m["size"], m["hash"]) == (self.plan_size, self.plan_hash):
            return self._status(m, 0, 1)
        self.phase, self.plan = PHASE_EMPTY, b""
        self.plan_size, self.plan_hash = m["size"], m["hash"]
        return self._status(m)

    def _on_plan_data(self, m: Message) -> None:
        if m["off"] == len(self.plan):
            self.plan += m.data
        self._status(m, ERR_SIZE if m["off"] > len(self.plan) else 0, len(self.plan))

    def _on_plan_end(self, m: Message) -> None:
        good = len(self.plan) == self.plan_size and self.plan[-4:] == self.plan_hash.to_bytes(4, "little")
        if good and self.phase == PHASE_EMPTY:
            self.phase = PHASE_PLAN
        self._status(m, 0 if good else ERR_CRC)

    def _on_init(self, m: Message) -> None:
        if self.phase == PHASE_EMPTY:
            return self._status(m, ERR_PHASE)
        self.state, self.phase, self._guesses = initial_state(m["seed"]), PHASE_READY, []
        return self._status(m)

    def _on_state_read(self, m: Message) -> None:
        if self.phase == PHASE_EMPTY:
            return self._status(m, ERR_PHASE)
        part = self.state[m["off"] : m["off"] + m["len"]]
        return self._reply(m, "state_data", part, off=m["off"], step=self.step)

    def _on_state_write(self, m: Message) -> None:
        off, end = m["off"], m["off"] + len(m.data)
        if self.phase == PHASE_EMPTY or end > STATE_BYTES:
            return self._status(m, ERR_SIZE if self.phase else ERR_PHASE)
        self.phase = PHASE_PLAN
        self.state = self.state[:off] + m.data + self.state[end:]
        return self._status(m, 0, end)

    def _on_state_done(self, m: Message) -> None:
        if zlib.crc32(self.state) != m["crc"]:
            return self._status(m, ERR_CRC)
        if self.phase != PHASE_READY:
            self.phase, self._guesses = PHASE_READY, []
        return self._status(m, 0, self.step)

    def _on_stats(self, m: Message) -> None:
        zero = dict.fromkeys(("arena", "stack", "stack_size", "link", "plan", "busy_us"), 0)
        counted = {"samples": self.samples, "overruns": self.overruns, "bad_frames": self._decoder.bad}
        self._reply(m, "stats_r", state=STATE_BYTES, **zero, **counted)

    def _on_save(self, m: Message) -> None:
        self._status(m, ERR_NO_NV)

    def _on_results(self, m: Message) -> None:
        self._ack(m, 0 if self.phase == PHASE_READY else ERR_PHASE)

    def _on_sample(self, m: Message) -> None:
        if self.phase != PHASE_READY:
            return self._ack(m, ERR_PHASE)
        if m["step"] != self.step:
            return self._ack(m, ERR_STEP)
        if m["label"] >= CLASSES:
            return self._ack(m, ERR_LABEL)
        got = self._stage(m)
        if got > 0:
            self._guesses = [*self._guesses, guess(self.state, self._part)][-RESULTS:]
            self.state = learnt(self.state, self._part, m["label"])
            self.samples += 1
        return self._ack(m, min(got, 0)) if got else None

    def _on_infer(self, m: Message) -> None:
        if m["off"] == 0:
            self._infer_id = m["id"]
        got = ERR_PHASE if self.phase != PHASE_READY else ERR_STEP if m["id"] != self._infer_id else self._stage(m)
        if got:
            label = zlib.crc32(self._part) % CLASSES if got > 0 else NO_LABEL
            off = len(self._part) if self._part_of == "infer" and m["id"] == self._infer_id else 0
            self._reply(m, "result", id=m["id"], off=off, code=min(got, 0), label=label)

    def _stage(self, m: Message) -> int:
        """1: the sample is whole; 0: more is to come; negative: refused."""
        if m["off"] == 0:
            self._part = b""
        elif self._part_of != m.name or m["off"] != len(self._part):
            return ERR_STEP
        self._part_of = ""
        if len(self._part) + len(m.data) > self.input_bytes:
            return ERR_SIZE
        self._part += m.data
        whole = len(self._part) == self.input_bytes
        self._part_of = "" if whole else m.name
        return int(whole)

    def _ack(self, m: Message, code: int) -> None:
        off = len(self._part) if self._part_of == "sample" else 0
        data = b"" if self.forgets else struct.pack(f"<{len(self._guesses)}H", *self._guesses)
        self._reply(m, "ack", data, step=self.step, off=off, code=code)
