from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgelearn.errors import (
    AmbiguousBoardError,
    LinkLostError,
    MissingToolError,
    NoBoardError,
    PortBusyError,
    UsageError,
)
from edgelearn.link import discover
from edgelearn.link.children import QemuTransport, SimTransport
from edgelearn.link.client import Client
from edgelearn.link.transport import StreamTransport, TcpTransport, open_serial, split_address
from tests.link.model_board import STATE_BYTES, ModelBoard

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
MIB = 1 << 20


@pytest.fixture
def echo() -> Iterator[str]:
    """A TCP server that sends back all that it read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_echo, args=(server,), daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


def _echo(server: socket.socket) -> None:
    peer, _ = server.accept()
    with peer:
        while data := peer.recv(65536):
            peer.sendall(data)


def test_both_sides_may_write_more_than_the_line_holds(echo: str) -> None:
    transport = TcpTransport(echo)
    data = os.urandom(8 * MIB)
    transport.write(data)  # a blocking write would wait for an echo that nobody reads
    got = bytearray()
    while len(got) < len(data):
        got += transport.read(5)
    assert got == data
    assert transport.read(0.01) == b""
    transport.close()


def test_the_end_of_the_connection_is_a_lost_link() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = TcpTransport(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        server.accept()[0].close()
        with pytest.raises(LinkLostError, match="broke"):
            transport.read(5)
    transport.close()
    with pytest.raises(LinkLostError):
        transport.read(0)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoBoardError, match="Nobody answers"):
        TcpTransport(f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["tcp://", "tcp://host", "tcp://host:", "tcp://host:x", "tcp://host:0"])
def test_no_address(address: str) -> None:
    with pytest.raises(UsageError):
        split_address(address)


def test_addresses() -> None:
    assert split_address("tcp://[::1]:55") == ("::1", 55)
    assert split_address("tcp://:55") == ("127.0.0.1", 55)


@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    import pty
    import tty

    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    name = os.ttyname(theirs)
    os.close(theirs)
    yield ours, name
    os.close(ours)


@posix
def test_a_serial_port_carries_bytes_and_is_ours_alone(pty: tuple[int, str]) -> None:
    ours, name = pty
    port = open_serial(name)
    port.write(b"\0\3\x11\x13")
    assert os.read(ours, 10) == b"\0\3\x11\x13"
    os.write(ours, b"\r\n\xff")
    assert port.read(1) == b"\r\n\xff"
    os.write(ours, b"old")
    time.sleep(0.02)
    port.reset_input()
    assert port.read(0.01) == b""
    with pytest.raises(PortBusyError, match=f"process {os.getpid()} "):
        open_serial(name)
    port.close()
    open_serial(name).close()


@posix
def test_a_board_behind_a_pty_learns_thousands_of_samples(pty: tuple[int, str]) -> None:
    ours, name = pty
    board = ModelBoard(64, 4096)
    thread = threading.Thread(target=_serve, args=(ours, board), daemon=True)
    samples = [(os.urandom(64), step % 10) for step in range(2000)]
    with Client(open_serial(name)) as client:
        thread.start()  # not before: to read from a pty whose other side nobody has open is an error
        client.connect()
        client.send_plan(b"plan\1\2\3\4")
        client.init(0)
        assert client.learn(lambda step: samples[step], 0, 2000, lambda *_: None) == 2000
        assert len(client.read_state(STATE_BYTES)) == STATE_BYTES
    board.close()
    thread.join(5)


def _serve(fd: int, board: ModelBoard) -> None:
    while not board.deaf:
        try:
            board.write(os.read(fd, 4096))
        except OSError:  # the client has closed its side
            return
        while out := board.read(0):
            os.write(fd, out)


def test_no_such_device() -> None:
    with pytest.raises(NoBoardError, match="Cannot open"):
        open_serial("/dev/ttyNONE" if os.name == "posix" else "COM250")


FAKE_SIM = """#!{python}
import os, socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    print(f"port tcp://127.0.0.1:{{server.getsockname()[1]}}", flush=True)
    peer, _ = server.accept()
peer.sendall(str(os.getpid()).encode())
if "--die" in sys.argv:
    sys.exit("out of luck")
sys.stdin.read()
"""


@pytest.fixture
def sim(tmp_path: Path) -> Path:
    program = tmp_path / "el-sim"
    program.write_text(FAKE_SIM.format(python=sys.executable))
    program.chmod(0o755)
    return program


def _gone(pid: int, within: float = 5.0) -> bool:
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # no such process any more
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@posix
def test_the_sim_board_runs_in_its_own_group_and_ends_with_its_transport(sim: Path) -> None:
    transport = SimTransport(sim)
    pid = int(transport.read(5))
    assert transport.pid == pid
    assert os.getpgid(pid) == pid != os.getpgid(0)
    transport.close()
    transport.close()
    assert _gone(pid)


@posix
def test_a_sim_board_that_dies_is_quoted(sim: Path) -> None:
    transport = SimTransport(sim, ["--die"])
    transport.read(5)
    with pytest.raises(LinkLostError, match=r"exit status 1.*out of luck"):
        transport.read(5)
    transport.close()
    sim.write_text(f"#!{sys.executable}\nimport sys; sys.exit('no luck')")
    with pytest.raises(LinkLostError, match=r"did not start.*no luck"):
        SimTransport(sim)


def test_the_sim_board_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError):
        SimTransport(tmp_path / "el-sim")


FAKE_QEMU = """#!{python}
import os, socket, sys, time
if "broken" in sys.argv:
    sys.exit("unsupported machine")
options = dict(o.split("=") for o in sys.argv[sys.argv.index("-chardev") + 1].split(",") if "=" in o)
link = socket.create_connection((options["host"], int(options["port"])))
link.sendall(str(os.getpid()).encode())
time.sleep(60)
"""


@pytest.fixture
def qemu(tmp_path: Path) -> str:
    program = tmp_path / "qemu-system-fake"
    program.write_text(FAKE_QEMU.format(python=sys.executable))
    program.chmod(0o755)
    return str(program)


@posix
def test_qemu_ends_with_its_transport(qemu: str, tmp_path: Path) -> None:
    transport = QemuTransport([qemu, "-M", "board"])
    pid = int(transport.read(5))
    assert os.getpgid(pid) == transport.pid != os.getpgid(0)
    transport.close()
    assert _gone(pid)


@posix
def test_qemu_does_not_outlive_a_killed_host(qemu: str, tmp_path: Path) -> None:
    import signal
    import subprocess

    script = (
        "from edgelearn.link.children import QemuTransport\n"
        f"t = QemuTransport([{qemu!r}, '-M', 'board']); print(t.read(5).decode(), flush=True); t.read(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as host:
        assert host.stdout
        pid = int(host.stdout.readline())
        host.send_signal(signal.SIGKILL)
    assert _gone(pid)


@posix
def test_qemu_that_does_not_start_is_quoted(qemu: str) -> None:
    with pytest.raises(LinkLostError, match=r"did not start.*unsupported machine"):
        QemuTransport([qemu, "-M", "broken"])
    with pytest.raises(MissingToolError, match="not installed"):
        QemuTransport(["qemu-system-none", "-M", "board"])


def board(**changes: object) -> Any:
    plain = {"id": "microbit", "ports": ("qemu", "serial"), "usb": ("0d28:0204",), "baud": 115200}
    return SimpleNamespace(**{**plain, "qemu_machine": "microbit", "is_linux": False, **changes})


def ports(*devices: str) -> Callable[[], list[Any]]:
    other = SimpleNamespace(device="/dev/ttyS0", vid=None, pid=None, serial_number=None)
    ours = [SimpleNamespace(device=d, vid=0x0D28, pid=0x0204, serial_number=d[-1]) for d in devices]
    return lambda: [other, *ours]


def test_boards_are_found_by_their_usb_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serial.tools.list_ports.comports", ports("/dev/ttyACM0"))
    assert discover.find_port(board()) == "/dev/ttyACM0"
    monkeypatch.setattr("serial.tools.list_ports.comports", ports())
    with pytest.raises(NoBoardError, match="--port qemu"):
        discover.open_port(board(), None, Path, Path())
    monkeypatch.setattr("serial.tools.list_ports.comports", ports("/dev/ttyACM0", "/dev/ttyACM1"))
    with pytest.raises(AmbiguousBoardError, match="--port /dev/ttyACM1"):
        discover.find_port(board())


def test_a_port_that_the_board_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--port sim"):
        discover.open_port(board(), "sim", Path, Path())
    with pytest.raises(UsageError, match="--port qemu"):
        discover.open_port(board(qemu_machine=""), "qemu", Path, Path())


def test_what_is_no_port_is_answered_with_the_forms() -> None:
    for port in ("nonsense", "SIM", "tcp:5000", "ttyACM0"):
        with pytest.raises(UsageError, match="no port") as caught:
            discover.open_port(board(), port, Path, Path())
        assert "replay:FILE" in caught.value.hint


def test_only_ways_that_last_are_remembered() -> None:
    assert [discover.lasting(p) for p in ("sim", "qemu", "tcp://a:1")] == ["sim", "qemu", "tcp://a:1"]
    assert [discover.lasting(p) for p in (None, "/dev/ttyACM0", "COM3", "replay:x")] == [None] * 4


@posix
def test_open_port_understands_every_way(sim: Path, echo: str, pty: tuple[int, str], tmp_path: Path) -> None:
    recording = tmp_path / "session"
    recording.write_text("edgelearn-replay 1\n")
    names = {None: "sim", "sim": "sim", echo: echo, pty[1]: pty[1], f"replay:{recording}": f"replay:{recording}"}
    for port, name in names.items():
        transport = discover.open_port(board(ports=("sim", "qemu")), port, Path, sim)
        assert isinstance(transport, StreamTransport) or transport.name == name
        transport.close()
