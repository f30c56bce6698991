"""The first page that a newcomer reads: what it tells to type works, and prints what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.documents import blocks, run_shell, text

PAGE = "docs/first-run.md"
TRAIN, LOOK, SHOW = (block.text for block in blocks(PAGE, "sh") if block.note == "run")
# What differs from computer to computer, and from run to run.
_OWN = re.compile(r"[\d.,]+/s|[\d.,]+ [um]?s\b|\d{8}-\d{4}-\w{3}|[\d,]+ B +(?:of [\d,]+|sent;.*)|\s+")
_RUN = re.compile(r"\d{8}-\d{4}-\w{3}")


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the page's first command was typed, and what it printed."""
    folder = tmp_path_factory.mktemp("first")
    return folder, _typed(TRAIN, folder)


def _typed(script: str, folder: Path) -> str:
    done = run_shell(f"export EDGELEARN_RUNS={folder}/runs.sqlite\n{script}", folder, timeout_s=300)
    assert done.returncode == 0, f"{script}{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_screen_is_what_is_printed(printed: tuple[Path, str]) -> None:
    """To the last bit of what was learnt, but for times, ids, and what depends on the computer's own frames."""
    (shown,) = [block.text for block in blocks(PAGE, "text") if block.note == "screen"]
    assert "state 0a281dcf" in shown
    assert _OWN.sub(" ", shown).split() == _OWN.sub(" ", printed[1].split("\nNext:")[0]).split()


@pytest.mark.slow
def test_the_rest_can_be_typed(printed: tuple[Path, str]) -> None:
    folder, screen = printed
    (run,) = _RUN.findall(screen.split("\nNext:")[0])
    out = _typed(LOOK.replace("RUN", run) + SHOW, folder)
    assert "97.0 % right of 397 test samples" in out
    assert "16,384" in out
    assert (folder / "report.html").is_file()


def test_each_line_of_the_screen_is_explained() -> None:
    (shown,) = [block.text for block in blocks(PAGE, "text") if block.note == "screen"]
    told = re.findall(r"^\| ([^|]+?) \| .* \|$", text(PAGE), re.MULTILINE)
    labels = [found[1] for line in shown.splitlines() if (found := re.match(r" (\w[\w, ]*?)  ", line))]
    assert labels[-1] == "run"
    assert told[2:] == [*labels[:-1], "run, state"]


def test_the_board_page_promises_the_same_state() -> None:
    assert "`state 0a281dcf`" in text("docs/hardware.md")
