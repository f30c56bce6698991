"""Firmware images: built, measured, cached, and alive in QEMU."""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edgelearn import boards, images
from edgelearn.errors import ConfigError, MissingToolError, StorageFullError
from edgelearn.link import messages
from tests import emulated
from tests.firmware.host import decode, encode

ROUND_TRIPS = 300
RING_INDICES = 8  # bytes of the ring that hold no data


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path))
    monkeypatch.setattr(images, "PACKAGED", tmp_path / "packaged")
    return tmp_path


@pytest.mark.parametrize("board_id", emulated.params(emulated.BUILT, pytest.mark.slow))
def test_an_image_fits_its_board_file(board_id: str) -> None:
    board = boards.load(board_id)
    image = images.build(board)
    assert image.text + image.data <= board.flash - board.nv
    assert image.stack == board.stack
    assert image.stack_bound <= board.stack
    assert image.stack_bound > 0
    assert image.data + image.bss <= board.link
    assert board.target.pool <= image.pool_bytes <= board.ram - image.stack - image.data - image.bss


@pytest.mark.qemu
def test_an_image_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = boards.load("microbit")
    first = images.build(board)
    monkeypatch.setattr(images, "compile_into", None)
    assert images.build(board) == first
    assert [path.name for path in (cache / "images").iterdir()] == [first.path.parent.name]


@pytest.mark.qemu
def test_a_packaged_image_is_used_while_it_fits_the_sources(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images.main(["microbit"])
    board = boards.load("microbit")
    monkeypatch.setenv("PATH", "")  # no compiler is needed any more
    assert images.build(board).path == cache / "packaged" / "microbit.elf"
    manifest = cache / "packaged" / "microbit.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "source_hash": "old"}))
    with pytest.raises(MissingToolError):
        images.build(board)


@pytest.mark.usefixtures("cache")
def test_without_a_compiler_one_line_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingToolError) as caught:
        images.build(boards.load("microbit"))
    assert caught.value.hint == "sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"


def test_the_sim_board_has_no_image() -> None:
    with pytest.raises(ConfigError, match="family 'sim'"):
        images.build(boards.load("sim"))


@pytest.mark.qemu
def test_a_cache_that_cannot_be_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").touch()
    monkeypatch.setenv("EDGELEARN_CACHE", str(cache / "file"))
    with pytest.raises(StorageFullError, match="Cannot write"):
        images.build(boards.load("microbit"))


def test_flags_are_part_of_the_hash() -> None:
    board = boards.load("microbit")
    assert images.source_hash(board) != images.source_hash(replace(board, dtypes=("int8", "f32")))
    assert images.source_hash(board) == images.source_hash(boards.load("microbit"))


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("board_id", emulated.params(("microbit", "mps2-an386")))
def test_it_answers_in_qemu_within_its_bounds(board_id: str) -> None:
    board = boards.load(board_id)
    image = images.build(board)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = f"tcp:127.0.0.1:{server.getsockname()[1]},nodelay=on"
        process = subprocess.Popen([*board.qemu_command(image.path), "-serial", port], stdin=subprocess.DEVNULL)
        try:
            server.settimeout(20)
            line, _ = server.accept()
            line.settimeout(20)
            _talk(line, image)
        finally:
            process.kill()
            process.wait()


def _talk(line: socket.socket, image: images.Image) -> None:
    stream = line.makefile("rb")

    def ask(name: str, seq: int, **fields: int) -> messages.Message:
        line.sendall(encode(messages.pack(name, seq, b"", (), **fields)))
        raw = b""
        while not raw.endswith(b"\0"):
            raw += stream.read(1)
        return decode(raw[:-1])

    for seq in range(ROUND_TRIPS):
        reply = ask("hello", seq, proto=messages.PROTOCOL, nonce=8)
        assert (reply.seq, reply["boot_id"], reply["pool"]) == (seq & 255, 9, image.pool_bytes)
    stats = ask("stats", 1)
    assert (stats["overruns"], stats["bad_frames"]) == (0, 0)
    assert stats["stack_size"] == image.stack
    assert 0 < stats["stack"] <= image.stack_bound
    assert stats["link"] == image.link_bytes - RING_INDICES
