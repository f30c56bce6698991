"""The stand-alone example: builds, and learns in QEMU from its own made-up sensor, with no host attached."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgelearn import boards, images
from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.job import prepare
from tests.cli.documents import ROOT, blocks, run_shell

PAGE = "firmware/examples/sensor/README.md"
SENSOR = (ROOT / PAGE).parent
BOARDS = ("microbit", "mps2-an386")
WITH_NV = ("microbit",)
LINES = 40  # that the page shows
SECONDS, REPORTS = 30.0, 11  # the board never ends: listen to so many reports, and no longer than this
REPORT = re.compile(r"step (\d+)  right (\d+) %  ram (\d+)  stack (\d+)")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path))
    return tmp_path


def listen(board: boards.Board, elf: Path) -> list[str]:
    """Lines that the board says, up to its last report."""
    command = [*board.qemu_command(elf), "-serial", "stdio"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.decode("ascii").strip())
            if sum("right" in text for text in said) == REPORTS:
                break
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()
    return said


@pytest.mark.qemu
@pytest.mark.parametrize("board_id", BOARDS)
def test_it_learns_with_no_host(board_id: str) -> None:
    board = boards.load(board_id)
    image = images.build_app(board, SENSOR)
    said = listen(board, image.path)
    assert said[0] == "I know nothing yet"
    reports = [tuple(map(int, found.groups())) for found in map(REPORT.fullmatch, said) if found]
    assert [step for step, *_ in reports] == [100 * (i + 1) for i in range(REPORTS)]
    assert all(right > 90 for _, right, *_ in reports[2:])
    job = prepare(SENSOR / "gestures.toml", board)
    for _, _, ram, stack in reports:
        assert job.state_bytes <= ram <= job.state_bytes + job.arena_bytes
        assert 0 < stack <= image.stack_bound <= image.stack
    assert {"a shake", "a circle", "a lift"} <= set(said)
    assert ("saved" in said) == (board_id in WITH_NV)


def without_stack(said: str) -> list[str]:
    """Lines less the bytes of stack, which are another compiler's to choose."""
    return [line.partition("  stack")[0] for line in said.splitlines()]


@pytest.mark.qemu
def test_the_page_says_what_is_printed() -> None:
    (block,) = [b for b in blocks(PAGE, "sh") if "qemu-system-arm" in b.text]
    (shown,) = blocks(PAGE, "text")
    said = without_stack(run_shell(block.text, ROOT).stdout)
    assert len(said) == LINES
    assert said[: len(shown.text.splitlines())] == without_stack(shown.text)


@pytest.mark.qemu
def test_a_plan_of_ones_own_takes_the_place_of_gestures(tmp_path: Path) -> None:
    (tmp_path / "firmware").symlink_to(ROOT / "firmware")
    (block,) = [b for b in blocks(PAGE, "sh") if "edgelearn export" in b.text]
    done = run_shell(block.text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_file()
    header = tmp_path / "my-app/gestures_plan.h"
    header.write_text(header.read_text().replace("EL_APP_INPUTS 48", "EL_APP_INPUTS 64"))
    with pytest.raises(EdgeLearnError, match="another number of readings"):
        images.build_app(boards.load("microbit"), tmp_path / "my-app")


@pytest.mark.qemu
def test_an_application_brings_only_its_kernels_and_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    board = boards.load("microbit")
    image = images.build_app(board, SENSOR)
    assert image.text + image.data < images.build(board).text
    monkeypatch.setattr(images, "compile_into", None)
    assert images.build_app(board, SENSOR) == image


def test_refusals_name_the_folder_and_the_file(tmp_path: Path) -> None:
    board = boards.load("microbit")
    with pytest.raises(ConfigError, match="no C file"):
        images.build_app(board, tmp_path)
    (tmp_path / "plan.c").touch()
    with pytest.raises(ConfigError, match=r"plan\.c of its own"):
        images.build_app(board, tmp_path)


def test_the_data_and_the_compiled_plan_are_up_to_date() -> None:
    subprocess.run([sys.executable, str(SENSOR / "make_data.py"), "--check"], check=True, timeout=60)
