"""The agent's answers beside the firmware's: the same requests, in any order, must give the same frames."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgelearn import boards
from edgelearn.agent import identity
from edgelearn.agent.conversation import Busy, Conversation
from edgelearn.agent.device import Device
from edgelearn.agent.engines import CORE, CoreEngine, Engines
from edgelearn.agent.store import Store
from edgelearn.bench.link_board import Line, VirtualBoard
from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.errors import (
    ConfigError,
    DoesNotFitError,
    EdgeLearnError,
    MissingToolError,
    NotAuthorisedError,
    PortBusyError,
    UsageError,
    VersionError,
)
from edgelearn.link import token
from edgelearn.link.client import Client
from edgelearn.link.frame import Decoder, encode
from edgelearn.link.messages import MESSAGES, TLV_CHALLENGE, TLV_PROOF, Message, pack, unpack
from edgelearn.link.refusals import ERR_TOKEN
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.testing.faulty_pipe import FaultyPipe
from edgelearn_export.plan import encode as encode_plan
from edgelearn_export.plan import format as F
from tests.factory import X, Y

INPUTS, CLASSES = 64, 10
BOARD = boards.load("linux-pc")
SECRET = b"a secret of enough bytes"


@cache
def plan(dtype: str = "int8", rule: str = "mono-forward") -> bytes:
    net = compile_net(find(rule), Net(INPUTS, (8,), CLASSES), Calibration(X, Y), dtype, (40,))
    return encode_plan(net.module, BOARD.id)


def device(folder: Path | None = None, *providers: str) -> Device:
    return Device(BOARD, Engines(providers or (CORE,)), None if folder is None else Store(folder), 4096)


class Wire:
    """A conversation as a transport: what is written is answered at once."""

    name = "agent"

    def __init__(self, talk: Conversation | Busy) -> None:
        self.talk, self.out = talk, bytearray()

    def write(self, data: bytes) -> None:
        self.out += self.talk.feed(data)

    def read(self, timeout: float) -> bytes:
        data, self.out = bytes(self.out), bytearray()
        return data

    def reset_input(self) -> None:
        self.out.clear()

    def close(self) -> None:
        pass


def firmware() -> VirtualBoard:
    return VirtualBoard(BOARD.id, Line(10**9, 1 << 20, 371, 0.0), 1 << 20)


def asked(board: VirtualBoard | Wire, frames: list[bytes]) -> list[Message]:
    board.write(b"".join(map(encode, frames)))
    out = bytearray()
    while data := board.read(1.0):
        out += data
    return [m for frame in Decoder().feed(bytes(out)) if (m := unpack(frame))]


def known(message: Message) -> tuple[object, ...]:
    """What must be equal. Boot id, memory, caps and times are each board's own."""
    own = {
        "hello_r": ("boot_id", "caps", "max_frame", "rx_buffer", "pool"),
        "stats_r": ("stack", "stack_size", "link", "busy_us", "bad_frames", "overruns", "state", "arena"),
    }.get(message.name, ())
    fields = {name: value for name, value in message.fields.items() if name not in own}
    return message.name, message.seq, fields, message.data


class Host:
    """Says what a host may say, and what it may not."""

    def __init__(self, seed: int) -> None:
        self.draw, self.seq, self.step = random.Random(seed), 0, 0

    def next(self) -> list[bytes]:
        choice = self.draw.choice(["good"] * 5 + ["plan", "state", "odd", "junk", "stats", "infer", "part"])
        return self.plan() if choice == "plan" else getattr(self, f"_{choice}")()

    def _pack(self, name: str, data: bytes = b"", **fields: int) -> bytes:
        self.seq = (self.seq + 1) & 0xFF
        return pack(name, self.seq, data, (), **fields)

    def _sample(self, size: int = INPUTS) -> bytes:
        return bytes(self.draw.choice((0, 3, 40, 127)) for _ in range(size))

    def _good(self) -> list[bytes]:
        frame = self._pack("sample", self._sample(), step=self.step, off=0, label=self.draw.randrange(CLASSES))
        self.step += 1
        return [frame]

    def _part(self) -> list[bytes]:
        cut, step = self.draw.randrange(INPUTS + 4), self.draw.choice((self.step, self.step, self.step + 1))
        first = self._pack("sample", self._sample(cut), step=step, off=0, label=1)
        between = self.draw.choice([[], [], [self._pack("results")], [self._pack("stats")], self._infer()])
        rest = self.draw.choice((INPUTS - cut, INPUTS - cut, 5))
        last = self._pack("sample", self._sample(max(0, rest)), step=step, off=cut, label=1)
        return [first, *between, last]

    def _infer(self) -> list[bytes]:
        cut, one = self.draw.randrange(1, INPUTS), self.draw.randrange(3)
        other = self.draw.choice((one, one, 7))
        parts = (
            self._pack("infer", self._sample(cut), id=one, off=0),
            self._pack("infer", self._sample(INPUTS - cut), id=other, off=cut),
        )
        return list(parts)

    def _stats(self) -> list[bytes]:
        return [
            self._pack("results"),
            self._pack("state_done", crc=self.draw.randrange(3)),
            self._pack("state_read", off=self.draw.choice((0, 100, 5000)), len=self.draw.choice((0, 50, 900))),
            self._pack("stats"),
        ]

    def plan(self) -> list[bytes]:
        """Whole, or with a gap, a double or a wrong hash."""
        raw, how = plan(), self.draw.randrange(5)
        size, name = len(raw), int.from_bytes(raw[-4:], "little") ^ (how == 1)
        frames = [self._pack("plan_begin", size=size - (how == 2), hash=name)]
        for off in range(0, size, 300):
            if how == 3 and off:
                frames.append(self._pack("plan_data", raw[:10], off=0))
            if not (how == 4 and off == 300):
                frames.append(self._pack("plan_data", raw[off : off + 300], off=off))
        self.step = 0
        return [
            *frames,
            self._pack("plan_end"),
            self._pack("plan_end"),
            self._pack("init", seed=self.draw.randrange(4)),
        ]

    def _state(self) -> list[bytes]:
        """A state of step 5 in pieces, once in a while with the wrong CRC."""
        state = bytearray(first_state())
        meta = header("meta")
        state[meta : meta + 4] = struct.pack("<I", 5)
        self.step = 5
        pieces = [self._pack("state_write", bytes(state[i : i + 300]), off=i) for i in range(0, len(state), 300)]
        crc = zlib.crc32(state) ^ (self.draw.random() < 0.2)
        beyond = self._pack("state_write", b"xx", off=len(state) - 1)
        return [*pieces, beyond, self._pack("results"), self._pack("state_done", crc=crc)]

    def _odd(self) -> list[bytes]:
        """Labels, steps and lengths that do not fit."""
        sample = self._sample()
        return [
            self._pack("sample", sample, step=self.step, off=0, label=CLASSES),
            self._pack("sample", sample, step=self.step + 1, off=0, label=0),
            self._pack("sample", sample + b"x", step=self.step, off=0, label=0),
            self._pack("infer", b"", id=1, off=9),
            self._pack("load"),
            self._pack("hello", proto=0x100, nonce=self.draw.randrange(9)),
        ]

    def _junk(self) -> list[bytes]:
        """Frames that are whole and mean nothing."""
        code = self.draw.choice([m.code for m in MESSAGES] + [0, 0x20, 0x7F, 0xFF])
        body = self.draw.randbytes(self.draw.randrange(12))
        return [struct.pack("<BBH", code, self.draw.randrange(256), len(body)) + body]


@cache
def first_state() -> bytes:
    with Client(Wire(Conversation(device()))) as client:
        ready(client)
        return client.read_state(header("state_bytes"))


def header(field: str, dtype: str = "int8", rule: str = "mono-forward") -> int:
    return int.from_bytes(plan(dtype, rule)[F.offsets("header")[field] :][:4], "little")


def ready(client: Client, raw: bytes | None = None, seed: int = 1) -> None:
    client.connect(BOARD.id)
    client.send_plan(plan() if raw is None else raw)
    client.init(seed)


def samples(n: int, dtype: str = "int8") -> list[tuple[bytes, int]]:
    x = X.astype("<f4") if dtype == "f32" else (X * 127).astype(np.int8)
    return [(x[i].tobytes(), int(Y[i])) for i in range(n)]


def learn(client: Client, data: list[tuple[bytes, int]], first: int = 0) -> list[int]:
    guesses: list[int] = []
    client.learn(lambda step: data[step], first, len(data), lambda step, new: guesses.extend(new))
    return guesses


@pytest.mark.parametrize("seed", range(12))
def test_it_answers_as_the_firmware_does(seed: int) -> None:
    ours, theirs, host = Wire(Conversation(device())), firmware(), Host(seed)
    frames = host.plan() if seed else []  # one begins without a plan
    asked(ours, frames)
    asked(theirs, frames)
    for turn in range(60):
        frames = host.next()
        got, wanted = ([known(m) for m in asked(board, frames)] for board in (ours, theirs))
        assert got == wanted, (turn, [unpack(f) for f in frames])
        acks = [asked(board, [pack("results", 0)]) for board in (ours, theirs)]
        host.step = acks[1][0]["step"]


@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_it_learns_the_same_bytes_as_the_firmware(dtype: str) -> None:
    """In floats too, where the C core does both."""
    data, found = samples(60, dtype), []
    for board in (Wire(Conversation(device())), firmware()):
        with Client(board) as client:
            ready(client, plan(dtype))
            guesses = learn(client, data)
            state = client.read_state(header("state_bytes", dtype))
            stats = client.stats()
            found.append((guesses, state, client.infer([x for x, _ in data]), stats.state, stats.arena, stats.samples))
    assert found[0] == found[1]


@pytest.mark.parametrize("rule", ["mono-forward", "noprop", "drtp"])
def test_floats_learn_in_onnx_runtime(rule: str) -> None:
    """Also where a step draws, and where a fixed matrix follows from the seed."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    data, states = samples(80, "f32"), []
    for providers in ((CORE,), ("cpu",)):
        with Client(Wire(Conversation(device(None, *providers)))) as client:
            ready(client, plan("f32", rule), seed=3)
            learn(client, data[:50])
            kept = client.read_state(size := header("state_bytes", "f32", rule))
            client.init(9)  # another seed, another step: the state brings its own
            assert client.write_state(kept) == 50
            learn(client, data, 50)
            states.append(client.read_state(size))
            assert bool(client.stats().engine) == (providers == ("cpu",))
    core, onnx = (np.frombuffer(raw[:-8], "<f4") for raw in states)
    assert (np.abs(core - onnx) / np.maximum(1, np.abs(core))).max() <= 1e-5
    assert states[0][-8:] == states[1][-8:], "step and seed"


def test_over_a_bad_line() -> None:
    data = samples(150)
    clean, bad = (Wire(Conversation(device())) for _ in range(2))
    pipe = FaultyPipe(bad, 2e-3, seed=4)
    with Client(clean) as one, Client(pipe, lost_s=60) as two:
        states = []
        for client in (one, two):
            ready(client)
            guesses = learn(client, data)
            assert len(guesses) == len(data)
            states.append(client.read_state(header("state_bytes")))
    assert states[0] == states[1]
    assert pipe.faults > 20 < two.retries


# --- what is kept -----------------------------------------------------------------------------------------------------------------


def test_save_and_load(tmp_path: Path) -> None:
    data = samples(30)
    with Client(Wire(Conversation(device(tmp_path / "kept")))) as client:
        ready(client)
        with pytest.raises(ConfigError, match="holds no state"):
            client.load()
        learn(client, data)
        saved = client.read_state(header("state_bytes"))
        assert client.save() == 30
    with Client(Wire(Conversation(device(tmp_path / "kept")))) as client:  # another process, later
        ready(client)
        assert client.load() == 30
        assert client.read_state(header("state_bytes")) == saved
    (file,) = (tmp_path / "kept").iterdir()
    for damaged in (file.read_bytes()[:-1], file.read_bytes()[:-1] + b"?", b"", file.read_bytes() + b"x"):
        file.write_bytes(damaged)
        assert Store(tmp_path / "kept").load(int(file.stem, 16), len(saved)) is None


def test_a_state_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Client(Wire(Conversation(device(tmp_path / "file")))) as client:
        ready(client)
        with pytest.raises(ConfigError, match="non-volatile memory failed"):
            client.save()
    with Client(Wire(Conversation(device()))) as client:
        ready(client)
        with pytest.raises(ConfigError, match="no non-volatile memory"):
            client.save()


# --- who may come in --------------------------------------------------------------------------------------------------------------


def test_the_right_token_opens_and_a_wrong_one_does_not() -> None:
    with Client(Wire(Conversation(device(), SECRET)), token=lambda: SECRET) as client:
        ready(client)
        learn(client, samples(5))
    talk = Conversation(device(), SECRET)
    with Client(Wire(talk), token=lambda: SECRET + b"x") as client, pytest.raises(NotAuthorisedError) as caught:
        client.connect()
    assert caught.value.exit_code == 11
    assert talk.over
    with (
        Client(Wire(Conversation(device(), SECRET))) as client,
        pytest.raises(NotAuthorisedError, match="asks for a token"),
    ):
        client.connect()


def test_nothing_is_done_for_who_has_not_proved_it() -> None:
    inside = device()
    with Client(Wire(Conversation(inside))) as client:
        ready(client)
    wire = Wire(Conversation(inside, SECRET))
    requests = [m for m in MESSAGES if m.sender == "host" and m.name != "hello"]
    frames = [pack(m.name, 1, b"", (), **{name: 0 for name, _ in m.fields}) for m in requests]
    assert [(m.name, m["code"]) for m in asked(wire, frames)] == [("status", ERR_TOKEN)] * len(requests)
    (hello,) = asked(wire, [pack("hello", 1, proto=0x100, nonce=1)])
    assert [hello[name] for name in ("boot_id", "plan_hash", "step", "seed", "phase", "pool")] == [0] * 6
    challenge = dict(hello.tlvs)[TLV_CHALLENGE]
    (refused,) = asked(wire, [pack("hello", 2, proto=0x100, nonce=1, tlvs=((TLV_PROOF, challenge * 2),))])
    assert refused["code"] == ERR_TOKEN
    assert asked(wire, [pack("hello", 3, proto=0x100, nonce=1)]) == [], "one attempt each"


def test_an_answer_is_good_once() -> None:
    """Who has listened cannot say the same again."""
    first, second = Wire(Conversation(device(), SECRET)), Wire(Conversation(device(), SECRET))
    (hello,) = asked(first, [pack("hello", 1, proto=0x100, nonce=1)])
    answer = ((TLV_PROOF, token.proof(SECRET, dict(hello.tlvs)[TLV_CHALLENGE])),)
    assert asked(first, [pack("hello", 2, proto=0x100, nonce=1, tlvs=answer)])[0].name == "hello_r"
    assert asked(second, [pack("hello", 2, proto=0x100, nonce=1, tlvs=answer)])[0]["code"] == ERR_TOKEN


def test_an_older_client_says_that_it_is_too_old() -> None:
    frame = pack("hello_r", 1, tlvs=((0x82, b"x"),), board=b"", chip=b"", **dict.fromkeys(
        ("proto", "boot_id", "firmware", "plan_hash", "step", "seed", "phase", "caps", "max_frame", "rx_buffer", "pool"), 0
    ))  # fmt: skip
    with pytest.raises(VersionError, match="0x82"):
        unpack(frame)


def test_who_comes_second_is_told_so() -> None:
    with Client(Wire(Busy())) as client, pytest.raises(PortBusyError, match="another client"):
        client.connect()


@pytest.mark.parametrize(
    ("text", "mode", "problem"), [(b"short\n", 0o600, "holds 5 bytes"), (b"x" * 40, 0o644, "Others may read")]
)
def test_token_files(tmp_path: Path, text: bytes, mode: int, problem: str) -> None:
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="Cannot read the token file"):
        token.read(file)
    file.write_bytes(text)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=problem):
        token.read(file)
    file.write_bytes(SECRET + b"\n")
    file.chmod(0o600)
    assert token.read(file) == SECRET


# --- what it refuses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "engine", "mutants"), [("int8", CORE, 150), ("f32", CORE, 50), ("f32", "cpu", 50)])
def test_hostile_plans_are_refused_and_the_agent_goes_on(dtype: str, engine: str, mutants: int) -> None:
    """What the C verifier lets pass may still be no plan that can be read back."""
    if engine != CORE:
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
    draw, wire, refused = random.Random(5), Wire(Conversation(device(None, engine))), 0
    with Client(wire) as client:
        client.connect()
        for _ in range(mutants):
            body = bytearray(plan(dtype)[:-4])
            for _ in range(draw.randrange(1, 4)):
                body[draw.randrange(16, len(body))] = draw.randrange(256)
            hostile = bytes(body) + struct.pack("<I", zlib.crc32(body))
            try:
                client.send_plan(hostile)
                client.init(1)
                learn(client, samples(3, dtype))
            except EdgeLearnError:
                refused += 1
        ready(client, plan(dtype))
        assert learn(client, samples(5, dtype))
    assert mutants // 2 < refused < mutants


def test_what_a_library_breaks_on_does_not_end_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    broken = Device(BOARD, Engines((CORE,)), None, 4096, lines.append)
    with Client(Wire(Conversation(broken))) as client:
        ready(client)
        with monkeypatch.context() as patch:
            patch.setattr(CoreEngine, "learn", lambda *_: 1 // 0)
            with pytest.raises(ConfigError):
                learn(client, samples(3))
        ready(client)
        assert learn(client, samples(3))
    assert any("gives up plan" in line and "ZeroDivisionError" in line for line in lines)


def test_which_board_this_is(tmp_path: Path) -> None:
    model = tmp_path / "model"
    for text, board in (
        ("NVIDIA Jetson Orin Nano Developer Kit", "jetson-orin-nano"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
        ("Raspberry Pi 4 Model B Rev 1.4", "linux-pc"),
    ):
        model.write_bytes(text.encode() + b"\0")
        assert identity.identify(model).id == board
    assert identity.identify(tmp_path / "absent").id == "linux-pc"
    assert identity.chosen("jetson-orin-nano").is_linux


def test_what_is_too_large_is_refused_before_it_is_allotted() -> None:
    small = Device(replace(BOARD, ram=BOARD.stack + BOARD.link + 3000), Engines((CORE,)), None, 4096)
    with Client(Wire(Conversation(small))) as client:
        client.connect()
        with pytest.raises(DoesNotFitError):
            client.send_plan(bytes(4000))
        with pytest.raises(DoesNotFitError):
            client.send_plan(encode_plan(wide().module))
        client.send_plan(plan())


def wide() -> Compiled:
    """A net whose plan is small and whose state is not."""
    return compile_net(find("mono-forward"), Net(INPUTS, (100,), CLASSES), Calibration(X, Y), "int8")


def test_providers_that_are_none() -> None:
    for names in (("gpu",), ("none", "cpu"), ("",)):
        with pytest.raises(UsageError, match="no providers"):
            Engines(names)
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            with pytest.raises(MissingToolError, match="no cuda"):
                Engines(("cuda",))
