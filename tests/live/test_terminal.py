"""``train --live`` and ``resume --live`` on a real terminal, on a narrow one, and where there is none."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgelearn.cli import main
from edgelearn.live.terminal import no_screen
from edgelearn.runs import RunStore
from tests.live.terminal import ENTER, LEAVE, ROOT, SHOW_CURSOR, Terminal, lines, plain

LONG = ("train", "digits", "--epochs", "400", "--live")  # until somebody stops it


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "runs.sqlite"
    monkeypatch.setenv("EDGELEARN_RUNS", str(found))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return found


def frames(seen: str) -> list[str]:
    """The pictures between entering the second screen and leaving it, each from the top left corner."""
    inside = seen.partition(ENTER)[2].partition(LEAVE)[0]
    return inside.split("\x1b[H")[1:]


@pytest.mark.slow
def test_ctrl_c_gives_the_terminal_back_and_the_run_goes_on(path: Path) -> None:
    steps = "30000"  # about a second where nothing else runs: time to press a key
    with Terminal("train", "digits", "--steps", steps, "--live") as terminal:
        terminal.wait_for("found by scanning")  # so there is a checkpoint
        terminal.press(b"\x03")
        code = terminal.wait()
    with RunStore(path) as store:
        (run,) = store.list()
    if code == 0:
        pytest.fail("it was through before the key was pressed: give it more steps")
    assert code == 130
    assert run.status == "interrupted"
    assert terminal.seen.count(ENTER) == terminal.seen.count(LEAVE) == 1
    rest = terminal.seen.rpartition(LEAVE)[2]
    assert SHOW_CURSOR in terminal.seen[terminal.seen.rindex("\x1b[?25l") :]
    assert f"edgelearn resume {run.id}" in plain(rest)
    with Terminal("resume", run.id, "--live") as terminal:
        assert terminal.wait() == 0
    assert f"run {run.id}" in plain(terminal.seen.partition(LEAVE)[0])
    assert "test accuracy" in plain(terminal.seen.rpartition(LEAVE)[2])
    with RunStore(path) as store:
        resumed = (store.get(run.id).result or {})["state_sha256"]
    assert main(["train", "digits", "--steps", steps, "--json"]) == 0
    with RunStore(path) as store:
        assert (store.list()[0].result or {})["state_sha256"] == resumed


@pytest.mark.slow
def test_a_window_that_gets_narrow_is_kept_to() -> None:
    with Terminal(*LONG, columns=100, rows=30) as terminal:
        at = terminal.wait_for("found by scanning")
        terminal.resize(40, 20)
        for _ in range(3):  # what was drawn before, perhaps what was being drawn, and what is drawn now
            at = terminal.wait_for("Ctrl-C stops", at)
        terminal.press(b"\x03")
        assert terminal.wait() == 130
    drawn = frames(terminal.seen)
    assert max(len(line) for line in lines(drawn[1])) == 100
    last = lines(drawn[-1].replace("^C", ""))  # which the terminal itself echoes
    assert max(map(len, last)) <= 40
    assert len(last) <= 20
    assert any(line.startswith("accuracy ") for line in last)


def test_a_terminal_that_cannot_gets_lines() -> None:
    with Terminal("train", "digits", "--steps", "600", "--live", env={"TERM": "dumb"}) as terminal:
        assert terminal.wait() == 0
    assert "--live shows lines: TERM=dumb" in terminal.seen
    assert "step 600 of 600; " in terminal.seen
    assert not re.search(r"\x1b\[\??\d*[HhlJ]", terminal.seen)  # nothing moves the cursor or hides it


class Stream(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "env", "reason"),
    [
        (Stream(), {"TERM": "xterm"}, ""),
        (Stream(), {"TERM": "xterm", "CI": "true"}, "CI is set"),
        (Stream(), {}, "TERM= cannot"),
        (io.StringIO(), {"TERM": "xterm"}, "no terminal"),
    ],
)
def test_where_nothing_can_be_drawn(stream: io.StringIO, env: dict[str, str], reason: str) -> None:
    told = no_screen(stream, env)
    assert reason in told
    assert bool(reason) == bool(told)


def test_a_pipe_gets_lines() -> None:
    command = [sys.executable, "-m", "edgelearn.cli", "train", "digits", "--steps", "600", "--live"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "export")])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "standard error is no terminal" in done.stderr
    assert "step 600 of 600; " in done.stderr
    assert "J/sample - (" in done.stderr or " J;" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "test accuracy" in done.stdout


@pytest.mark.parametrize("words", [["train", "digits", "--live", "--json"], ["train", "digits", "--live", "--stream"]])
def test_programs_get_no_picture(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage"
    assert main(["resume", "any", "--live", "--json"]) == 2
