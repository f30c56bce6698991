"""The Arduino library: its sketches, compiled as the IDE compiles them and run on QEMU's Uno."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgelearn import __version__, arduino, images
from edgelearn.backends import WritesFiles, backend
from edgelearn.boards import Board
from edgelearn.errors import StorageFullError
from edgelearn.job import prepare
from edgelearn.link import listen
from edgelearn.session import connect
from tests.firmware import arduino_build

HERE = Path(__file__).resolve().parent
FOR_QEMU = (HERE.parents[1] / "firmware/ports/avr/multiply.c", HERE / "arduino_qemu.cpp")
ON_UNO = [
    pytest.mark.qemu("avr-"),
    pytest.mark.slow,
    pytest.mark.skipif(bool(arduino_build.missing()), reason=f"needs {arduino_build.missing()}"),
]
STEPS = 200


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return arduino.write(tmp_path / "libraries")


def on_uno(test: Callable[..., None]) -> Callable[..., None]:
    for mark in ON_UNO:
        test = mark(test)
    return test


def test_the_library_is_whole(library: Path) -> None:
    properties = (library / "library.properties").read_text()
    assert f"version={__version__}\n" in properties
    assert "dot_a_linkage=true" in properties, "a sketch's own kernel table must take the place of the library's"
    names = [file.name.lower() for file in (library / "src").iterdir()]
    assert len(names) == len(set(names)), "some file systems do not tell a from A"
    every = {file.relative_to(library / "src").as_posix() for file in library.rglob("src/**/*.[ch]")}
    for file in library.rglob("*.[ch]"):
        for name in re.findall(r'#include "([^"]+)"', file.read_text()):
            found = (file.parent / name).resolve()
            assert found.is_file() or name in every, f"{file.name} includes {name}, which is not in the library"


def test_an_older_library_is_replaced(library: Path) -> None:
    (library / "src/old.c").touch()
    assert arduino.write(library.parent) == library
    assert not (library / "src/old.c").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFullError, match="Cannot write"):
        arduino.write(tmp_path / "file")


@on_uno
def test_a_sketch_learns_from_its_sensor(library: Path, tmp_path: Path) -> None:
    elf = arduino_build.build(library / "examples/LearnFromSensor", [library], tmp_path / "build", extra=FOR_QEMU)
    command = ["timeout", "-k", "1", "8", "qemu-system-avr", "-M", "uno", "-display", "none", "-monitor", "none"]
    said = subprocess.run(
        [*command, "-serial", "stdio", "-bios", elf],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    first, *later = [int(percent) for percent in re.findall(r"step \d+  right (\d+) %", said)]
    assert "ram 1010" in said, "state and arena as planned"
    assert first < 100
    assert max(later) >= 97


@on_uno
def test_a_computer_trains_a_sketch_over_its_stream(library: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "app.toml"
    shipped = prepare("digits-tiny", "arduino-uno").recipe.path.read_text()
    recipe.write_text(shipped.replace("layers = [16]", "layers = [8]"))  # Arduino's core has its share of 2 KB
    job = prepare(recipe, "arduino-uno", steps=STEPS)
    sketch = library / "examples/SerialTrainer"
    made = backend("plan-c")
    assert isinstance(made, WritesFiles)
    for name, raw in made.files(job.module, job.board.id, images.PLAN_NAME).items():
        (sketch / name).write_bytes(raw)
    # The emulator sends faster than any line: a frame must fit the ring.
    elf = arduino_build.build(sketch, [library], tmp_path / "build", ["-DSERIAL_RX_BUFFER_SIZE=128"], FOR_QEMU)
    with emulated(elf, job.board) as port, connect(job.board, port) as board:
        assert board.client.hello.phase == 1, "the board knows its plan"
        result = board.train(job).data
    with connect("sim") as sim:
        assert sim.train(prepare(recipe, "sim", steps=STEPS)).data["state_sha256"] == result["state_sha256"]
    assert result["ram"]["measured"] == result["ram"]["planned"]
    assert 0 < result["ram"]["stack"] < result["ram"]["stack_size"]


@contextmanager
def emulated(elf: Path, board: Board) -> Iterator[str]:
    """The address of an emulated board with this image."""
    child, address = listen.listen(board, "tcp://127.0.0.1:0", lambda: elf, Path())
    try:
        yield address
    finally:
        child.stop()
