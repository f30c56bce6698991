"""Paired boards from end to end: the sim board, a bad line, the emulated micro:bit, and boards that cannot be paired."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgelearn import boards, build, images
from edgelearn.boards import Board
from edgelearn.cli import main
from edgelearn.errors import ConfigError, NotAuthorisedError
from edgelearn.link.children import SimTransport
from edgelearn.link.client import Client
from edgelearn.link.transport import Transport
from edgelearn.pairing import image, keys
from edgelearn.runs import RunStore
from edgelearn.session import Session
from edgelearn.testing.faulty_pipe import FaultyPipe

STEPS = 200
ALL = boards.all_boards()


def trained(board: str, port: str | None, key_file: Path | None, **given: object) -> dict[str, object]:
    with Session(board, port, key_file=key_file, **given) as session, RunStore() as store:  # type: ignore[arg-type]
        return session.train("digits-tiny", store, steps=STEPS).data


def test_a_paired_board_learns_what_an_open_one_does(key_file: Path) -> None:
    assert trained("sim", None, key_file)["state_sha256"] == trained("sim", None, None)["state_sha256"]


@pytest.mark.parametrize("rate", [1e-3, 1e-4])
def test_on_a_bad_line_too(key_file: Path, rate: float) -> None:
    def wrap(inner: Transport) -> Transport:
        return FaultyPipe(inner, seed=7, rate=rate)

    assert trained("sim", None, key_file, wrap=wrap)["state_sha256"] == trained("sim", None, None)["state_sha256"]


def test_a_board_that_restarts_gets_another_session(key_file: Path, key: keys.Key) -> None:
    """Killed and started anew in the middle of a run."""
    deaths, writes = {30, 60}, [0]

    class Mortal:
        name = "mortal"

        def __init__(self, inner: Transport) -> None:
            self.inner = inner

        def write(self, data: bytes) -> None:
            writes[0] += 1
            if writes[0] in deaths:
                self.inner.close()
                self.inner = SimTransport(image.sim_program(), ["--board", "sim"], image.key_bytes(key))
            self.inner.write(data)

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    found = trained("sim", None, key_file, wrap=Mortal)
    assert writes[0] > max(deaths)
    assert found["state_sha256"] == trained("sim", None, None)["state_sha256"]


def test_an_open_board_is_refused_by_who_wants_a_paired_one(key: keys.Key) -> None:
    from edgelearn.paths import native

    with (
        Client(SimTransport(native("el-sim"), ["--board", "sim"]), key=key) as client,
        pytest.raises(NotAuthorisedError, match="is open"),
    ):
        client.connect("sim")


def test_the_verbs_say_who_may_write(
    key_file: Path, key: keys.Key, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "digits-tiny", "--steps", "20", "--record", str(tmp_path / "r"), "--key", str(key_file)]) == 2
    assert main(["doctor", "sim", "--port", "sim"]) == 0
    assert "open" in capsys.readouterr().out
    assert main(["doctor", "sim", "--port", "sim", "--key", str(key_file)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"paired with key {key.id}" in said
    assert "forgets that without power" in said
    assert main(["doctor", "--port", "sim"]) == 2
    assert main(["flash", "arduino-uno", "digits-tiny", "--key", str(key_file), "--dry-run"]) == 3
    assert "less than 16 KB" in capsys.readouterr().err


def test_a_board_that_others_can_reach_says_that_it_is_open(key_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from edgelearn.link import listen
    from edgelearn.paths import native

    sims = {False: (native("el-sim"), b""), True: (image.sim_program(), image.key_bytes(keys.read(key_file)))}
    for is_paired, (program, secret) in sims.items():
        child, where = listen.listen(boards.load("sim"), "tcp://127.0.0.1:0", Path, program, (), secret)
        with_key = ["--key", str(key_file)] if is_paired else []
        try:
            assert main(["train", "digits-tiny", "--steps", "20", "--port", where, *with_key]) == 0
            said = capfd.readouterr().out
            assert ("The board is open" in said) is not is_paired
            assert main(["train", "digits-tiny", "--steps", "20", "--port", where]) == (11 if is_paired else 0)
            capfd.readouterr()
        finally:
            child.stop()


@pytest.mark.qemu
@pytest.mark.slow
def test_the_emulated_microbit(image_key_file: Path) -> None:
    """A Cortex-M0 with 16 KB of RAM checks the signature, within the stack that its image has."""
    found = trained("microbit", "qemu", image_key_file)
    assert found["state_sha256"] == trained("sim", None, None)["state_sha256"]
    ram = found["ram"]
    assert isinstance(ram, dict)
    assert ram["stack"] <= ram["stack_bound"] <= ram["stack_size"]
    with Session("microbit", "qemu", key_file=image_key_file) as session:
        assert session.client.hello.paired is not None
        assert session.client.hello.paired.kept


@pytest.mark.qemu
@pytest.mark.slow
def test_a_paired_image_leaves_what_the_compiler_counts_on(image_key_file: Path) -> None:
    board = boards.load("microbit")
    made = images.build_paired(board, keys.read(image_key_file))
    assert image.paired(board).target.pool <= made.pool_bytes
    assert made.stack_bound <= made.stack


@pytest.mark.parametrize("board", ALL, ids=lambda b: b.id)
def test_each_board_can_be_paired_or_says_why_not(board: Board) -> None:
    reason = image.gap(board)
    if reason:
        with pytest.raises(ConfigError, match="cannot be paired"):
            image.paired(board)
    elif board.family != "sim":
        assert image.paired(image.paired(board)) == image.paired(board)
        assert image.DEFINE in image.paired(board).defines
    if board.ram < image.LEAST_RAM:
        assert reason


def test_default_images_have_nothing_of_it() -> None:
    for family in build.FAMILIES:
        assert not [file for file in build.sources(family) if "pairing" in file.parts or "monocypher" in file.name]
    assert not [board for board in ALL if image.DEFINE in board.defines]
