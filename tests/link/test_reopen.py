"""A port that goes away and comes back, and a line on which something comes that is no answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgelearn.errors import EdgeLearnError, LinkLostError, NoBoardError, PortBusyError
from edgelearn.link import discover
from edgelearn.link.client import Client
from edgelearn.link.exchange import LOST_S, NOISE
from edgelearn.link.reopen import EVERY_S, WITHIN_S, ReopeningTransport
from edgelearn.link.replay import RecordingTransport, ReplayTransport
from edgelearn.link.transport import LineReopened, Transport
from tests.link.attack import Socket
from tests.link.core_board import SEED, CoreBoard, task
from tests.link.test_transport import board, ports

IT = task(16)
TALK_S = 5e-3  # for a few bytes, however little time there is to wait for them


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Broken:
    """A port that is gone."""

    name = "port"

    def read(self, timeout: float) -> bytes:
        raise LinkLostError("It broke.")

    def write(self, data: bytes) -> None:
        raise LinkLostError("It broke.")

    def reset_input(self) -> None:
        raise LinkLostError("It broke.")

    def close(self) -> None:
        """Nothing is open."""


def opening(*ways: Transport | EdgeLearnError) -> Callable[[], Transport]:
    """Gives one after the other; the last again and again."""
    left = list(ways)

    def open_() -> Transport:
        way = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(way, EdgeLearnError):
            raise way
        return way

    return open_


def test_what_is_written_while_the_port_is_gone_is_lost_and_a_read_opens_it_again() -> None:
    clock, core = Clock(), CoreBoard()
    away = NoBoardError("There is no such port.")
    line = ReopeningTransport(opening(Broken(), away, away, core), clock=clock, sleep=clock.sleep)
    line.write(b"lost")
    line.write(b"lost too")
    with pytest.raises(LineReopened):
        line.read(1.0)
    assert (line.losses, clock.now, core.taken) == (1, 2 * EVERY_S, 0)
    line.write(b"\0")
    assert line.read(1.0) == b""
    assert core.taken == 1


@pytest.mark.parametrize(
    ("away", "error"),
    [(NoBoardError("There is no such port."), LinkLostError), (PortBusyError("It is in use."), PortBusyError)],
)
def test_a_port_that_stays_away_is_given_up_and_can_be_tried_again(
    away: EdgeLearnError, error: type[EdgeLearnError]
) -> None:
    clock = Clock()
    line = ReopeningTransport(opening(Broken(), away), clock=clock, sleep=clock.sleep)
    for times in (1, 2):
        with pytest.raises(error):
            line.read(1.0)
        assert times * WITHIN_S <= clock.now < times * (WITHIN_S + 2 * EVERY_S)


def test_the_first_opening_is_not_waited_for_and_closing_is_told() -> None:
    with pytest.raises(NoBoardError):
        ReopeningTransport(opening(NoBoardError("There is no such port.")))
    told: list[str] = []
    ReopeningTransport(opening(CoreBoard()), lambda: told.append("closed")).close()
    assert told == ["closed"]


def test_a_session_whose_port_was_gone_replays(tmp_path: Path) -> None:
    def session(transport: Transport) -> bytes:
        with Client(transport, clock=clock) as client:
            client.connect("sim")
            client.send_plan(IT.plan)
            client.init(SEED)
            client.learn(IT.source, 0, 20, lambda *_: None)
            return client.read_state(IT.state_bytes)

    path, core = tmp_path / "session", CoreBoard()
    socket, clock = Socket(core, [(900, 0.5, False), (700, 0.5, False)]), core.clock
    line = ReopeningTransport(socket.open, clock=clock, sleep=socket.sleep)
    assert session(RecordingTransport(line, path)) == IT.states[20]
    assert path.read_text().count("!\n") == socket.gone == 2
    clock = Clock()
    assert session(ReplayTransport(path)) == IT.states[20]


def test_a_board_that_was_found_is_found_again_by_its_serial_number(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_serial(device: str, baud: int) -> Transport:
        opened.append(device)
        return Broken()

    monkeypatch.setattr(discover, "open_serial", open_serial)
    monkeypatch.setattr("serial.tools.list_ports.comports", ports("/dev/ttyACM0"))
    line = discover.open_port(board(), None, Path, Path())
    moved = SimpleNamespace(device="/dev/ttyACM7", vid=0x0D28, pid=0x0204, serial_number="0")
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [*ports("/dev/ttyACM1")(), moved])
    with pytest.raises(LineReopened):
        line.read(0.0)
    assert opened == ["/dev/ttyACM0", "/dev/ttyACM7"]


class Babble:
    """A port at which something talks that knows nothing of us."""

    name = "babble"

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def read(self, timeout: float) -> bytes:
        self.now += TALK_S
        return b"Boot 1.2\r\n\0"

    def write(self, data: bytes) -> None:
        """Nobody listens."""

    def reset_input(self) -> None:
        """There is always more."""

    def close(self) -> None:
        """Nothing to let go of."""


def test_what_makes_no_sense_is_listened_to_for_twenty_seconds() -> None:
    line = Babble()
    with pytest.raises(LinkLostError, match=r"no sense.*\n.*baud rate") as caught:
        Client(line, clock=line.clock).connect()
    assert caught.value.exit_code == 8
    assert NOISE * LOST_S <= line.now < (NOISE + 2) * LOST_S
