"""The same client against the real firmware, in the sim board."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgelearn.errors import ConfigError, MissingToolError
from edgelearn.link.children import SimTransport
from edgelearn.link.client import Client
from edgelearn.link.transport import Transport
from edgelearn.paths import native
from edgelearn.testing.faulty_pipe import FaultyPipe


@pytest.fixture
def sim() -> Iterator[Transport]:
    try:
        program = native("el-sim")
    except MissingToolError as error:
        pytest.skip(f"el-sim is not built: {error.message}")
    transport = SimTransport(program, ["--board", "sim"])
    yield transport
    transport.close()


def test_the_firmware_answers(sim: Transport) -> None:
    client = Client(sim)
    assert client.connect("sim").step == 0
    assert client.stats().bad_frames == 0
    with pytest.raises(ConfigError, match="no plan"):
        client.send_plan(bytes(1000))
    with pytest.raises(ConfigError, match="no plan"):
        client.learn(lambda step: (bytes(4), 0), 0, 1, lambda *_: None)


def test_the_firmware_answers_over_a_bad_line(sim: Transport) -> None:
    client = Client(FaultyPipe(sim, 3e-3, seed=1))
    client.connect()
    for _ in range(100):
        client.stats()
    assert client.retries > 0
