"""el-sim as a process: how it is reached, how it ends, what it loses and what it keeps."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgelearn.link import messages
from edgelearn.link.messages import Message
from tests.firmware.host import FIRMWARE, LINK, compile_host, decode, encode, fake_plan

pytestmark = pytest.mark.skipif(os.name != "posix", reason="el-sim is POSIX")
HELLO = messages.pack("hello", 1, proto=messages.PROTOCOL, nonce=40)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [*LINK, FIRMWARE / "core/power.c", *sorted((FIRMWARE / "ports/sim").glob("*.c"))]
    return compile_host(tmp_path_factory.mktemp("sim") / "el-sim", sources)


class Line:
    """The host's end of a pty or socket."""

    def __init__(self, port: str) -> None:
        self._socket: socket.socket | None = None
        if port.startswith("tcp://"):
            host, number = port.removeprefix("tcp://").split(":")
            self._socket = socket.create_connection((host, int(number)))
            self.fd = self._socket.fileno()
        else:
            self.fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self._rest = b""

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.fd, data) :]

    def read(self, seconds: float = 3) -> Message | None:
        """The next message, None when none comes in time."""
        end = time.monotonic() + seconds
        while b"\0" not in self._rest:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                return None
            self._rest += os.read(self.fd, 65536)
        raw, _, self._rest = self._rest.partition(b"\0")
        return decode(raw)

    def ask(self, name: str, data: bytes = b"", /, **fields: int) -> Message:
        self.write(encode(messages.pack(name, 1, data, (), **fields)))
        reply = self.read()
        assert reply is not None
        return reply

    def deploy(self) -> None:
        plan = fake_plan()
        self.ask("plan_begin", size=len(plan), hash=int.from_bytes(plan[-4:], "little"))
        self.ask("plan_data", plan, off=0)
        assert self.ask("plan_end")["code"] == 0
        assert self.ask("init", seed=9)["code"] == 0

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        else:
            os.close(self.fd)


@contextmanager
def running(program: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process and the port that it printed."""
    process = subprocess.Popen([program, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().decode().split()[1]
    finally:
        process.stdin.close()
        assert process.wait(3) in (0, -signal.SIGTERM)


@pytest.fixture(params=[("--pty",), ("--tcp", "127.0.0.1:0")], ids=["pty", "tcp"])
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


def test_it_answers_and_can_be_left_and_met_again(program: Path, way: tuple[str, ...]) -> None:
    with running(program, *way, "--board", "toy", "--pool", "8192", "--rx-buffer", "700") as (_, port):
        for nonce in (40, 50):
            line = Line(port)
            reply = line.ask("hello", proto=messages.PROTOCOL, nonce=nonce)
            assert (reply["boot_id"], reply["pool"], reply["rx_buffer"]) == (41, 8192, 700)
            assert reply.fields["board"] == b"toy".ljust(16, b"\0")
            line.close()


@pytest.mark.parametrize("end", [lambda p: p.terminate(), lambda p: p.stdin.close()], ids=["sigterm", "stdin"])
def test_it_ends(program: Path, way: tuple[str, ...], end: Callable[[subprocess.Popen[bytes]], None]) -> None:
    with running(program, *way) as (process, _):
        end(process)
        process.wait(3)


def test_without_a_baud_rate_nothing_is_lost(program: Path, way: tuple[str, ...]) -> None:
    with running(program, *way, "--rx-buffer", "64") as (_, port):
        line = Line(port)
        for _ in range(20):
            line.write(encode(HELLO) * 10)
            assert [line.read() is not None for _ in range(10)] == [True] * 10
        assert line.ask("stats")["overruns"] == 0


def test_at_a_baud_rate_time_passes(program: Path, way: tuple[str, ...]) -> None:
    with running(program, *way, "--baud", "9600") as (_, port):
        line, start = Line(port), time.monotonic()
        frame = encode(HELLO)
        line.write(frame * 10)
        assert all(line.read() for _ in range(10))
        assert time.monotonic() - start >= 0.9 * len(frame) * 10 * 10 / 9600


def test_what_overflows_is_dropped_and_counted(program: Path, way: tuple[str, ...]) -> None:
    with running(program, *way, "--baud", "50000000", "--rx-buffer", "24") as (_, port):
        line = Line(port)
        line.write(encode(HELLO) * 200)
        while line.read(0.3):
            pass
        line.write(b"\0")
        assert line.ask("stats")["overruns"] > 1000


def test_the_stack_is_measured(program: Path, way: tuple[str, ...]) -> None:
    with running(program, *way) as (_, port):
        line = Line(port)
        line.deploy()
        stats = line.ask("stats")
        assert 0 < stats["stack"] < stats["stack_size"] <= 65536


def test_memory_outlives_the_process(program: Path, way: tuple[str, ...], tmp_path: Path) -> None:
    flash = tmp_path / "flash.bin"
    with running(program, *way, "--nv", str(flash)) as (process, port):
        line = Line(port)
        line.deploy()
        assert line.ask("load")["code"] == -15  # EL_ERR_NV: nothing there yet
        assert line.ask("sample", bytes(16), step=0, off=0, label=1)["step"] == 1
        assert line.ask("save").fields == {"code": 0, "detail": 1}
        process.kill()
        process.wait(3)
        process.returncode = 0
    assert set(flash.read_bytes()[4096:]) == {0xFF}
    with running(program, *way, "--nv", str(flash)) as (_, port):
        line = Line(port)
        line.deploy()
        assert line.ask("load").fields == {"code": 0, "detail": 1}


WRONG = (("--baud", "x"), ("--pool", "0"), ("--tcp", "nowhere"), ("--board", "x" * 17), ("y",))


@pytest.mark.parametrize("options", WRONG)
def test_wrong_options_are_refused(program: Path, options: tuple[str, ...]) -> None:
    assert subprocess.run([program, *options], stdin=subprocess.DEVNULL, capture_output=True).returncode == 2
