from __future__ import annotations

from pathlib import Path

import pytest

from edgelearn.errors import ConfigError, LinkLostError, MismatchError
from edgelearn.link.client import Client
from edgelearn.link.replay import RecordingTransport, ReplayTransport
from edgelearn.link.transport import Transport
from edgelearn.testing.faulty_pipe import FaultyPipe
from tests.link.model_board import STATE_BYTES, ModelBoard

PLAN = b"a plan\1\2\3\4"


def session(transport: Transport, steps: int = 30) -> tuple[bytes, list[int]]:
    guesses: list[int] = []
    with Client(transport) as client:
        client.connect()
        client.send_plan(PLAN)
        client.init(5)
        client.learn(lambda step: (bytes([step] * 16), step % 10), 0, steps, lambda _, new: guesses.extend(new))
        return client.read_state(STATE_BYTES), guesses


@pytest.mark.parametrize("rate", [0.0, 5e-3])
def test_a_recorded_session_can_be_had_again_without_the_board(tmp_path: Path, rate: float) -> None:
    path = tmp_path / "session"
    first = session(RecordingTransport(FaultyPipe(ModelBoard(), rate, seed=2), path))
    assert session(ReplayTransport(path)) == first


def test_a_session_that_departs_from_its_recording_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "session"
    session(RecordingTransport(ModelBoard(), path))
    with pytest.raises(MismatchError, match="departs"):
        session(ReplayTransport(path), steps=29)
    with pytest.raises(MismatchError, match="reads where it wrote"):
        ReplayTransport(path).read(1)


def test_a_recording_ends(tmp_path: Path) -> None:
    path = tmp_path / "session"
    path.write_text("edgelearn-replay 1\n< 00\n<\n")
    replay = ReplayTransport(path)
    assert [replay.read(1), replay.read(1), replay.nonce()] == [b"\0", b"", 0]
    with pytest.raises(LinkLostError, match="ends here"):
        replay.read(1)


@pytest.mark.parametrize(
    "text", ["", "hello\n", "edgelearn-replay 1\n? 00\n", "edgelearn-replay 1\n> 0x\n", "edgelearn-replay 2\n"]
)
def test_anything_else_is_no_recording(tmp_path: Path, text: str) -> None:
    path = tmp_path / "session"
    path.write_text(text)
    with pytest.raises(ConfigError):
        ReplayTransport(path)
    with pytest.raises(ConfigError):
        ReplayTransport(tmp_path / "absent")
