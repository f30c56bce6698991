"""The agent as a program of its own: over TCP and over a terminal, killed, asked for a token, and asked by two at once."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgelearn import state
from edgelearn.cli import main
from edgelearn.errors import LinkLostError, NotAuthorisedError, PortBusyError, UsageError, WrongBoardError
from edgelearn.job import Job, prepare
from edgelearn.link.client import Client
from edgelearn.link.transport import TcpTransport
from edgelearn.runs import RunStore
from edgelearn.session import Progress, Session
from edgelearn.testing.faulty_pipe import FaultyPipe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an agent serves a Linux board")
STEPS = 1000
START_S = 60


@dataclass
class Agent:
    """A running one. ``port`` is what --port wants."""

    process: subprocess.Popen[str]
    port: str

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


Start = Callable[..., Agent]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Agent] = []

    def run(listen: str = "tcp://127.0.0.1:0", *args: str, board: str = "linux-pc") -> Agent:
        command = [sys.executable, "-m", "edgelearn.cli", "agent", "--listen", listen, "--board", board, *args]
        process = subprocess.Popen(
            [*command, "--state-dir", str(tmp_path / "kept"), "--json"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], START_S)
        assert ready, "the agent does not start"
        said = json.loads(process.stdout.readline())
        running.append(Agent(process, said.get("listen", "")))
        return running[-1]

    yield run
    for agent in running:
        agent.process.kill()
        agent.process.wait()
        if agent.process.stdout:
            agent.process.stdout.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore(tmp_path / "runs.sqlite") as runs:
        yield runs


@cache
def job(board: str = "linux-pc", dtype: str = "int8") -> Job:
    return prepare("digits", board, steps=STEPS, seed=2, dtype=dtype)


def clean(dtype: str, runs: RunStore) -> bytes:
    """The state that the same run reaches on the simulated board."""
    with Session("sim") as board:
        result = board.train(job("sim", dtype), runs)
    return newest(runs, result.run)


def newest(runs: RunStore, run: str) -> bytes:
    found = runs.newest_checkpoint(run)
    assert found is not None
    return found.state


def floats(raw: bytes) -> np.ndarray:
    return np.concatenate([t.reshape(-1) for t in state.decode(job(dtype="f32").module, raw).tensors.values()])


# --- learning -------------------------------------------------------------------------------------------------------------------------


def test_integers_over_tcp_end_in_the_same_bytes(start: Start, store: RunStore) -> None:
    agent = start()
    with Session("linux-pc", agent.port) as board:
        result = board.train(job(), store)
    assert newest(store, result.run) == clean("int8", store)
    assert result.data["ram"]["planned"] == result.data["ram"]["measured"], "found by scanning, as on every board"
    with Session("linux-pc", agent.port) as board:  # the next client, another connection
        assert board.eval(result.run, store).accuracy == result.accuracy


def test_floats_over_tcp_end_close_to_the_same(start: Start, store: RunStore) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    agent = start("tcp://127.0.0.1:0", "--providers", "cpu")
    with Session("linux-pc", agent.port) as board:
        result = board.train(job(dtype="f32"), store)
    ours, theirs = floats(newest(store, result.run)), floats(clean("f32", store))
    assert (np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))).max() <= 1e-5
    assert "ONNX Runtime" in result.data["ram"]["reason"]


def test_over_a_terminal_that_is_closed_and_opened_again(
    start: Start, store: RunStore, terminals: tuple[str, str]
) -> None:
    near, far = terminals
    start(far)
    with Session("linux-pc", near) as board:
        result = board.train(job(), store)
    assert newest(store, result.run) == clean("int8", store)
    with Session("linux-pc", near) as board:
        assert board.eval(result.run, store).accuracy == result.accuracy


@pytest.fixture
def terminals() -> Iterator[tuple[str, str]]:
    """Two terminals, each of which reads what the other writes, as the ends of a serial line do."""
    pairs = [os.openpty() for _ in range(2)]
    masters = [master for master, _ in pairs]
    stop, wake = os.pipe()

    def relay() -> None:
        while True:
            ready, _, _ = select.select([*masters, stop], [], [])
            if stop in ready:
                return
            for master in ready:
                os.write(masters[1 - masters.index(master)], os.read(master, 4096))

    thread = threading.Thread(target=relay)
    thread.start()
    yield os.ttyname(pairs[0][1]), os.ttyname(pairs[1][1])
    os.write(wake, b"x")
    thread.join()
    for fd in (stop, wake, *(fd for pair in pairs for fd in pair)):
        os.close(fd)


def test_over_a_bad_line(start: Start, store: RunStore) -> None:
    with Session("linux-pc", start().port, wrap=lambda inner: FaultyPipe(inner, 1e-3, seed=7)) as board:
        result = board.train(job(), store)
    assert newest(store, result.run) == clean("int8", store)
    assert result.data["link"]["retries"] > 0, "the line was not bad at all"


# --- what goes wrong ------------------------------------------------------------------------------------------------------------------


def test_an_agent_that_is_killed_is_gone_on_with(start: Start, store: RunStore) -> None:
    agent = start()

    def kill(at: Progress) -> None:
        if at.step > STEPS * 3 // 4:
            agent.kill()

    with Session("linux-pc", agent.port) as board, pytest.raises(LinkLostError) as caught:
        board.train(job(), store, kill)
    assert caught.value.exit_code == 8
    (run,) = store.list()
    assert f"edgelearn resume {run.id}" in caught.value.hint
    kept = store.newest_checkpoint(run.id)
    assert kept is not None
    assert 0 < kept.step < STEPS
    with Session("linux-pc", start(agent.port).port) as board:
        board.resume(run.id, store)
    assert newest(store, run.id) == clean("int8", store)


def test_the_second_client_is_told_and_the_first_is_not_disturbed(start: Start, store: RunStore) -> None:
    agent = start()
    refused: list[type[BaseException]] = []

    def intrude(at: Progress) -> None:
        if not refused:
            with pytest.raises(PortBusyError, match=f"process {os.getpid()} ") as caught:
                Session("linux-pc", agent.port)
            assert caught.value.exit_code == 12
            with pytest.raises(PortBusyError, match="another client"), Client(TcpTransport(agent.port)) as stranger:
                stranger.connect()  # from another computer, which knows nothing of our processes
            refused.append(caught.type)

    with Session("linux-pc", agent.port) as board:
        result = board.train(job(), store, intrude)
    assert refused
    assert newest(store, result.run) == clean("int8", store)


def test_a_client_that_only_listens_holds_nobody_up(start: Start) -> None:
    agent = start()
    host, port = agent.port.removeprefix("tcp://").split(":")
    with Client(TcpTransport(agent.port)) as client:
        client.connect()
        silent = [socket.create_connection((host, int(port))) for _ in range(20)]
        assert client.stats().samples == 0
        for stream in silent:
            stream.close()
    with Client(TcpTransport(agent.port)) as client:
        assert client.connect().board == "linux-pc"


def test_junk_and_a_flood_do_not_end_it(start: Start) -> None:
    agent = start()
    host, port = agent.port.removeprefix("tcp://").split(":")
    for junk in (os.urandom(100_000), b"GET / HTTP/1.1\r\n\r\n", b"\0" * 10_000, b"\x01" * 100_000):
        with socket.create_connection((host, int(port))) as stream:
            stream.sendall(junk)
    time.sleep(0.1)
    with Client(TcpTransport(agent.port)) as client:
        client.connect()
        assert client.stats().bad_frames > 0


def test_the_wrong_board_is_named(start: Start) -> None:
    agent = start(board="jetson-orin-nano")
    with pytest.raises(WrongBoardError, match="is 'jetson-orin-nano', not 'raspberry-pi-5'"):
        Session("raspberry-pi-5", agent.port)
    with Session("jetson-orin-nano", agent.port) as board:
        assert board.client.hello.pool == 8_589_934_592 - 6_442_450_944 - 8_388_608


def test_a_token(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for file in (right, wrong):
        file.touch(0o600)
        file.write_text(f"{file.name} and long enough\n")
    agent = start("tcp://127.0.0.1:0", "--token-file", str(right))
    with pytest.raises(NotAuthorisedError, match="asks for a token") as caught:
        Session("linux-pc", agent.port)
    assert caught.value.exit_code == 11
    with pytest.raises(NotAuthorisedError, match="another one"):
        Session("linux-pc", agent.port, token_file=wrong)
    monkeypatch.setenv("EDGELEARN_TOKEN_FILE", str(right))
    with Session("linux-pc", agent.port) as board:
        assert board.client.hello.boot_id


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        (("--listen", "tcp://0.0.0.0:0"), 2, "everybody on the network"),
        (("--listen", "tcp://[::]:0"), 2, "everybody on the network"),
        (("--listen", "tcp://127.0.0.1"), 2, "no address"),
        (("--listen", "somewhere"), 2, "no place to listen"),
        (("--listen", "/dev/none"), 4, "Cannot open /dev/none"),
        (("--listen", "/dev/none", "--token-file", "x"), 2, "takes no token"),
        (("--token-file", "/none"), 3, "Cannot read the token file"),
        (("--board", "microbit"), 2, "does not run Linux"),
        (("--providers", "gpu"), 2, "no providers"),
    ],
)
def test_what_it_does_not_begin_with(
    args: tuple[str, ...], code: int, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (main(["agent", *args]), problem in (said := capsys.readouterr().err)) == (code, True), said


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["agent", "--listen", f"tcp://127.0.0.1:{taken.getsockname()[1]}"]) == 12
    assert "Cannot listen" in capsys.readouterr().err


def test_without_a_port_the_agent_is_named() -> None:
    with pytest.raises(UsageError, match="jetson-orin-nano is reached by its agent") as caught:
        Session("jetson-orin-nano")
    assert "edgelearn agent --listen" in caught.value.hint
    with pytest.raises(UsageError, match="cannot be reached with --port qemu"):
        Session("jetson-orin-nano", "qemu")
