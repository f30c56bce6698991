"""Each way to fail has its code, one sentence and one remedy, in text and in JSON."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tty
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgelearn import boards
from edgelearn.errors import UsageError
from edgelearn.link.listen import listen
from edgelearn.paths import native
from edgelearn.session import Session
from tests.cli.conftest import ROOT, Answer, Cli, start, wait_for_step

LONG = ("train", "digits", "--epochs", "40", "--seed", "7")


def check(answer: Answer, code: int, kind: str, message: str = "") -> None:
    """The JSON object of an error, and the exit code that it names."""
    error = answer.json["error"]
    assert (answer.code, error["code"], error["kind"]) == (code, code, kind)
    assert message in error["message"]
    assert error["hint"] or code == 130
    assert answer.err == ""


def write_recipe(folder: Path, layers: str = "[16]", rule: str = "mono-forward") -> str:
    path = folder / "own.toml"
    data = f'[rule]\nname = "{rule}"\n[data]\nname = "digits"\n'
    path.write_text(f"[model]\ninput = [8, 8]\nlayers = {layers}\nclasses = 10\n{data}")
    return str(path)


def test_text_errors_go_to_stderr(cli: Cli) -> None:
    answer = cli("train", "digit")
    assert (answer.code, answer.out) == (3, "")
    assert "Did you mean 'digits'?" in answer.err


def test_1_a_bug_says_how_to_report_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(boards, "all_boards", broken)
    check(cli("boards", "--json"), 1, "bug", "ZeroDivisionError")
    assert "Traceback" not in cli("boards").err
    assert "Traceback" in cli("--debug", "boards").err


@pytest.mark.parametrize(
    "args",
    [
        ("tain", "digits"), ("train",), ("train", "digits", "--nope"), ("train", "digits", "--steps", "0"),
        ("train", "digits", "--drops", "a"), ("train", "digits", "--batch", "2"), ("show", "digits", "--stage", "x"),
        ("train", "digits", "--port", "qemu"), ("train", "digits", "--port", "nonsense"),
        ("export", "digits", "--format", "onnix"), ("bench", "accuracy", "--case", "x"), ("sim", "--listen", "x"),
    ],
)  # fmt: skip
def test_2_usage(cli: Cli, args: tuple[str, ...]) -> None:
    check(cli(*args, "--json"), 2, "usage")


def test_2_a_finished_run_is_not_resumed(cli: Cli, run_id: str) -> None:
    check(cli("resume", run_id, "--json"), 2, "usage", "finished")
    with Session("sim") as board, pytest.raises(UsageError):
        board.resume(run_id)


def test_2_remedies_can_be_typed(cli: Cli) -> None:
    assert "tcp://host:port" in cli("train", "digits", "--port", "nonsense").err
    assert "--drops none" in cli("train", "digits", "--drops", "2").err
    assert "plan, plan-c" in cli("export", "digits", "--format", "onnix").err
    assert "--dtype int8" in cli("train", "digits", "--board", "microbit", "--dtype", "f32").err


def test_3_config(cli: Cli, tmp_path: Path, run_id: str) -> None:
    check(cli("train", write_recipe(tmp_path, layers="[]"), "--json"), 3, "config", "line 3")
    check(cli("train", write_recipe(tmp_path, rule="nope"), "--json"), 3, "config")
    check(cli("train", "mnist", "--json"), 3, "config", "mnist")
    check(cli("eval", "nope", "--json"), 3, "config")
    check(cli("export", "nope", "--json"), 3, "config", "neither a recipe nor a run")


def test_4_no_board(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    check(cli("train", "digits", "--board", "microbits", "--json"), 4, "no-board")
    check(cli("train", "digits", "--board", "microbit", "--json"), 4, "no-board", "plugged in")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    check(cli("train", "digits", "--port", f"tcp://127.0.0.1:{port}", "--json"), 4, "no-board")


def test_5_two_boards_are_ambiguous(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        SimpleNamespace(device=f"/dev/tty{i}", vid=0x0D28, pid=0x0204, serial_number=str(i), description="")
        for i in (1, 2)
    ]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: found)
    check(cli("train", "digits", "--board", "microbit", "--json"), 5, "ambiguous")


def test_6_another_board_answers(cli: Cli) -> None:
    child, port = listen(boards.load("sim"), "tcp://127.0.0.1:0", Path, native("el-sim"))
    try:
        check(cli("train", "digits", "--board", "microbit", "--port", port, "--json"), 6, "wrong-board")
    finally:
        child.stop()


def test_7_a_store_of_a_newer_version(cli: Cli, run_id: str, store: Path) -> None:
    with sqlite3.connect(store) as db:
        db.execute("PRAGMA user_version = 99")
    check(cli("runs", "--json"), 7, "version")


@pytest.mark.slow
def test_8_the_board_dies_and_the_run_goes_on_elsewhere(cli: Cli) -> None:
    child, port = listen(boards.load("sim"), "tcp://127.0.0.1:0", Path, native("el-sim"))
    process = start(*LONG, "--port", port, "--stream")
    try:
        wait_for_step(process, 3000)
        child.process.kill()
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        child.stop()
    check(Answer(process.returncode, out.splitlines()[-1], ""), 8, "link-lost")
    (run,) = cli("runs", "--json").json["runs"]
    assert run["status"] == "failed"
    check(cli("resume", run["id"], "--json"), 4, "no-board", "Nobody answers")  # it remembers the way it was reached by
    resumed = cli("resume", run["id"], "--port", "sim", "--json").json
    assert resumed["state_sha256"] == uninterrupted(cli)
    assert cli("eval", run["id"], "--steps", "5").code == 0


def test_9_does_not_fit(cli: Cli, tmp_path: Path) -> None:
    answer = cli("train", write_recipe(tmp_path, layers="[400]"), "--board", "microbit", "--json")
    check(answer, 9, "does-not-fit", "largest tensors")
    first, parts, *table = answer.json["error"]["message"].splitlines()
    need, have = (int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", first))
    assert have == boards.load("microbit").ram
    assert need == sum(int(n.replace(",", "")) for n in re.findall(r"[\d,]+", parts))
    assert "plan 0" not in parts
    assert "Nothing was sent" in table[0]


def test_10_a_run_whose_plan_is_another(cli: Cli, run_id: str, store: Path) -> None:
    with sqlite3.connect(store) as db:
        db.execute("UPDATE runs SET plan = x'00'")
    check(cli("eval", run_id, "--json"), 10, "mismatch")


def test_10_a_plan_that_the_interpreter_disagrees_with(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from edgelearn.ir.interp import Interpreter

    monkeypatch.setattr(Interpreter, "infer", lambda self, x: 10)
    check(cli("export", "digits", "-o", str(tmp_path), "--verify", "--json"), 10, "mismatch", "different classes")


def test_12_the_port_is_busy(cli: Cli) -> None:
    import serial

    ours, theirs = pty.openpty()
    tty.setraw(ours)
    device = os.ttyname(theirs)
    with serial.Serial(device, exclusive=True):
        check(cli("train", "digits", "--board", "microbit", "--port", device, "--json"), 12, "port-busy")
    os.close(ours)
    os.close(theirs)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        check(cli("sim", "--listen", f"tcp://127.0.0.1:{port}", "--json"), 12, "port-busy")


def test_13_nowhere_to_store(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    check(cli("export", "digits", "-o", "/dev/null/out", "--json"), 13, "storage-full")
    monkeypatch.setenv("EDGELEARN_RUNS", "/dev/null/runs.sqlite")
    check(cli("train", "digits", "--steps", "10", "--json"), 13, "storage-full")


def test_14_no_emulator(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = cli("train", "digits", "--board", "microbit", "--port", "qemu", "--json")
    check(answer, 14, "missing-tool")


@pytest.mark.slow
def test_130_ctrl_c_and_resume_end_in_the_state_of_an_uninterrupted_run(cli: Cli) -> None:
    process = start(*LONG, "--stream")
    try:
        wait_for_step(process, 3000)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    check(Answer(process.returncode, out.splitlines()[-1], ""), 130, "interrupted", "is kept up to step")
    (run,) = cli("runs", "--json").json["runs"]
    assert run["status"] == "interrupted"
    assert 3000 <= run["steps"] < 56000
    assert cli("resume", run["id"], "--json").json["state_sha256"] == uninterrupted(cli)


NO_TYPER = """
import sys
from importlib.abc import MetaPathFinder
class Impatient(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Impatient())
from edgelearn.cli import main
sys.exit(main(["boards"]))
"""


def test_130_ctrl_c_while_it_starts(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run([sys.executable, "-c", NO_TYPER], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "edgelearn: Stopped.\n")

    def impatient() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(boards, "all_boards", impatient)
    assert cli("boards") == Answer(130, "", "edgelearn: Stopped.\n")


def uninterrupted(cli: Cli) -> str:
    """Hash of the state that ``LONG`` ends in when nothing happens."""
    return cli(*LONG, "--json").json["state_sha256"]
