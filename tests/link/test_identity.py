"""Who is at the other end: the board that was meant, a version that is understood, and one client at a time."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgelearn import boards
from edgelearn.backends import backend
from edgelearn.cli import main
from edgelearn.errors import EdgeLearnError, LinkLostError, NoBoardError, PortBusyError, VersionError, WrongBoardError
from edgelearn.link import client as client_module
from edgelearn.link import hello as hello_module
from edgelearn.link import messages, refusals
from edgelearn.link.claim import claim
from edgelearn.link.client import BoardRestarted, Client
from edgelearn.link.discover import open_port
from edgelearn.link.frame import Decoder, encode
from edgelearn.link.listen import listen
from edgelearn.link.messages import TLV_REQUIRED, pack, unpack
from edgelearn.link.reopen import ReopeningTransport
from edgelearn.link.transport import Transport
from edgelearn.paths import native
from tests.link.core_board import SEED, CoreBoard, task

IT = task(16)
A, B = bytes(range(8)), bytes(range(8, 16))  # two chips
STEPS = 20

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows opens a port for one alone, and tells no pid")


def ready(board: CoreBoard, line: Transport | None = None) -> Client:
    client = Client(line or board, clock=board.clock)
    client.connect("sim")
    client.send_plan(IT.plan)
    client.init(SEED)
    return client


# --- another board (R16) ----------------------------------------------------------------------------------------------


def test_a_plan_for_another_board_is_refused_by_host_and_device() -> None:
    board = CoreBoard("sim")
    with pytest.raises(WrongBoardError, match="is 'sim', not 'microbit'") as host:
        Client(board, clock=board.clock).connect("microbit")
    client = Client(board, clock=board.clock)
    client.connect()  # a host that does not look
    with pytest.raises(WrongBoardError, match="made for another board") as device:
        client.send_plan(backend("plan").export(IT.net.module, "microbit"))
    assert (host.value.exit_code, device.value.exit_code) == (6, 6)
    assert client.connect().phase == messages.PHASE_EMPTY
    assert board.now < 1


def test_the_same_chip_with_another_plan_in_its_flash_is_refused() -> None:
    board = CoreBoard("sim", fixed_plan=IT.plan)
    client = Client(board, clock=board.clock)
    assert client.connect().plan_hash == int.from_bytes(IT.plan[-4:], "little")
    with pytest.raises(WrongBoardError, match="compiled in and differs") as caught:
        client.send_plan(task(100).plan)
    assert caught.value.exit_code == 6
    assert client.send_plan(IT.plan) is False


class Exchanged:
    """A line whose board is taken away and replaced by another before the ``at``-th write; seen by the system, or not."""

    name = "line"

    def __init__(self, first: CoreBoard, second: CoreBoard, at: int, seen: bool) -> None:
        self.board, self._second, self.at, self._seen = first, second, at, seen
        self._open = True

    def open(self) -> Exchanged:
        if not self._open:
            self._open = True
        return self

    def clock(self) -> float:
        return self.board.now

    def write(self, data: bytes) -> None:
        self.at -= 1
        if self.at == 0:
            self._second.now, self.board = self.board.now, self._second
            self._open = not self._seen
        if self._open:
            self.board.write(data)

    def read(self, timeout: float) -> bytes:
        if not self._open:
            raise LinkLostError("It broke.")
        return self.board.read(timeout)

    def reset_input(self) -> None:
        self.board.reset_input()

    def close(self) -> None:
        pass


def work(client: Client) -> None:
    client.learn(IT.source, client.step, STEPS, lambda *_: None)
    client.read_state(IT.state_bytes)
    client.infer([sample for sample, _ in IT.samples])
    client.write_state(IT.states[3])


def exchanged(at: int, seen: bool) -> tuple[WrongBoardError | None, Exchanged, float, int]:
    """Two boards, of which the second has the first's place from the ``at``-th write of some work on.

    Where the system sees that the port was gone, the second has been on: it runs the same plan, as far as the first. Where not, as when the
    wires of an adapter are moved, it has just got its power.

    Returns:
        What was raised, the line, the seconds of the work, and the bytes that the second took meanwhile.
    """
    first, second = CoreBoard(chip=A), CoreBoard(chip=B)
    if seen:
        ready(second).learn(IT.source, 0, STEPS, lambda *_: None)
    line, taken = Exchanged(first, second, 0, seen), second.taken
    client = ready(first, ReopeningTransport(line.open, clock=line.clock, sleep=lambda _: None))
    line.at, began = at, line.clock()
    found = None
    try:
        work(client)
    except WrongBoardError as error:
        found = error
    return found, line, line.clock() - began, second.taken - taken


@pytest.mark.parametrize("seen", [False, True])
def test_two_boards_that_are_exchanged_are_told_apart_wherever_it_happens(seen: bool) -> None:
    hello = len(encode(pack("hello", 1, proto=messages.PROTOCOL, nonce=1 << 31)))
    refused = 0
    for at in itertools.count(1):
        error, line, seconds, taken = exchanged(at, seen)
        if line.at > 0:  # the work was done before
            break
        assert error is not None, f"at write {at}"
        assert (A.hex() in error.message, B.hex() in error.message) == (True, True)
        assert seconds < 1.5
        if seen:  # then it has been asked who it is, and nothing else
            assert taken <= 2 * hello
            assert ready_state(line.board) == IT.states[STEPS]
        refused += 1
    print(f"\nanother board at each of {refused} writes, all refused")  # noqa: T201
    assert refused > 6


def ready_state(board: CoreBoard) -> bytes:
    client = Client(board, clock=board.clock)
    client.connect()
    return client.read_state(IT.state_bytes)


def test_without_a_chip_number_another_board_is_one_that_restarted() -> None:
    """So it gets plan and checkpoint anew, and the weights are right all the same."""
    first, second = CoreBoard(), CoreBoard()
    line = Exchanged(first, second, 0, True)
    client = Client(ReopeningTransport(line.open, clock=line.clock, sleep=lambda _: None), clock=line.clock)
    client.connect("sim")
    client.send_plan(IT.plan)
    client.init(SEED)
    line.at = 3
    with pytest.raises(BoardRestarted):
        client.learn(IT.source, 0, STEPS, lambda *_: None)


# --- another version (R17) ------------------------------------------------------------------------------------------------------------

VERSIONS = {"current": 0x0201, "previous minor": 0x0200, "previous major": 0x0104, "future": 0x0300}


class Speaking:
    """A board that says that it speaks a version of the link, with TLVs that only newer ones know."""

    name = "board"

    def __init__(self, board: CoreBoard, proto: int, tlvs: tuple[tuple[int, bytes], ...] = ()) -> None:
        self.board, self._proto, self._tlvs, self._decoder = board, proto, tlvs, Decoder()
        self.write, self.reset_input, self.close = board.write, board.reset_input, board.close

    def read(self, timeout: float) -> bytes:
        return b"".join(encode(self._own(frame)) for frame in self._decoder.feed(self.board.read(timeout)))

    def _own(self, frame: bytes) -> bytes:
        message = unpack(frame)
        if message is None or message.name != "hello_r":
            return frame
        return pack("hello_r", message.seq, tlvs=self._tlvs, **{**message.fields, "proto": self._proto})


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes this edgelearn speak another version."""

    def as_(proto: int) -> None:
        for module in (client_module, hello_module, messages, refusals):
            monkeypatch.setattr(module, "PROTOCOL", proto)

    return as_


@pytest.mark.parametrize("device", VERSIONS)
@pytest.mark.parametrize("host", VERSIONS)
def test_versions_work_together_or_say_what_to_do(host: str, device: str, speak: Callable[[int], None]) -> None:
    ours, theirs = VERSIONS[host], VERSIONS[device]
    speak(ours)
    board = CoreBoard()
    newer = ((0x7E, b"news"),) if theirs > ours else ()
    line = Speaking(board, theirs, newer)
    if ours >> 8 == theirs >> 8:
        client = ready(board, line)
        work(client)
        assert client.read_state(IT.state_bytes) == IT.states[3]
        return
    with pytest.raises(VersionError) as caught:
        ready(board, line)
    assert caught.value.exit_code == 7
    assert f"speaks version {theirs >> 8}.{theirs & 0xFF} " in caught.value.message
    assert f"speaks version {ours >> 8}.{ours & 0xFF}." in caught.value.message
    assert ("pip install -U" if theirs > ours else "firmware image") in caught.value.hint
    assert board.now < 1


def test_a_board_that_demands_what_we_do_not_know_is_refused() -> None:
    board = CoreBoard()
    with pytest.raises(VersionError, match=r"of version 1\.9 requires feature 0xfe.* speaks version 1\.0") as caught:
        ready(board, Speaking(board, 0x0109, ((TLV_REQUIRED | 0x7E, b""),)))
    assert "pip install -U" in caught.value.hint


def test_a_board_refuses_what_it_does_not_know_and_must_and_skips_what_it_may() -> None:
    board, decoder = CoreBoard(), Decoder()

    def ask(tag: int) -> messages.Message | None:
        board.write(encode(pack("hello", 9, tlvs=((tag, b"?"),), proto=messages.PROTOCOL, nonce=1)))
        return unpack(decoder.feed(board.read(1.0))[0])

    refused, known = ask(TLV_REQUIRED | 0x7E), ask(0x7E)
    assert refused is not None
    assert (refused.name, refused["code"]) == ("status", refusals.ERR_VERSION)
    assert known is not None
    assert known.name == "hello_r"


def test_a_board_that_refuses_our_hello_is_newer() -> None:
    error = refusals.other_version(0x0203)
    assert "version 2.3" in error.message
    assert "pip install -U" in error.hint
    assert "newer version" in refusals.other_version(0).message


# --- another client (R14) -------------------------------------------------------------------------------------------------------------

HOLD = """
import sys
from edgelearn import boards
from edgelearn.link.discover import open_port
line = open_port(boards.load("sim"), sys.argv[1], lambda: None, None)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold() -> Iterator[Callable[[str], int]]:
    """Has another process open a port; its pid."""
    holders: list[subprocess.Popen[str]] = []

    def start(port: str) -> int:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        return holder.pid

    yield start
    for holder in holders:
        holder.communicate()


def refused(port: str) -> EdgeLearnError:
    with pytest.raises(PortBusyError) as caught:
        open_port(boards.load("sim"), port, Path, Path())
    assert caught.value.exit_code == 12
    return caught.value


@posix
def test_the_second_client_of_a_serial_port_is_told_who_holds_it(hold: Callable[[str], int]) -> None:
    import pty

    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    os.close(theirs)
    pid = hold(name)
    assert f"{name} is in use by process {pid} (" in refused(name).message
    os.close(ours)


@posix
def test_the_second_client_of_an_address_is_told_who_holds_it(hold: Callable[[str], int]) -> None:
    board, where = listen(boards.load("sim"), "tcp://127.0.0.1:0", Path, native("el-sim"))
    try:
        pid = hold(where)
        assert f"{where} is in use by process {pid} (" in refused(where).message
        assert str(pid) in refused(where.replace("127.0.0.1", "localhost")).message
    finally:
        board.stop()


@posix
def test_the_command_line_ends_with_6_for_another_board_and_with_12_for_a_second_client(
    hold: Callable[[str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    board, where = listen(boards.load("sim"), "tcp://127.0.0.1:0", Path, native("el-sim"))
    try:
        train = ["train", "digits-tiny", "--steps", "5", "--port", where, "--json"]
        assert main([*train, "--board", "microbit"]) == 6
        assert "is 'sim', not 'microbit'" in json.loads(capsys.readouterr().out)["error"]["message"]
        pid = hold(where)
        assert main(train) == 12
        assert f"process {pid} " in json.loads(capsys.readouterr().out)["error"]["message"]
    finally:
        board.stop()


@posix
def test_an_address_is_free_again_after_its_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path))
    let_go = claim("127.0.0.1", 7000)
    with pytest.raises(PortBusyError, match=f"process {os.getpid()} "):
        claim("127.0.0.1", 7000)
    claim("127.0.0.1", 7001)()
    let_go()
    let_go()
    claim("127.0.0.1", 7000)()
    with pytest.raises(NoBoardError):
        open_port(boards.load("sim"), "tcp://127.0.0.1:1", Path, Path())
    claim("127.0.0.1", 1)()


@posix
def test_where_nothing_can_be_written_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path / "file"))
    claim("127.0.0.1", 7000)
    claim("127.0.0.1", 7000)
