"""``--board host``: what is printed and refused, and that a run that was killed or stopped ends where it would have."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, start, wait_for_step

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch: pip install 'edgelearn[torch]'")
HOST = ("train", "digits", "--board", "host", "--dtype", "f32")
LONG = (*HOST, "--epochs", "50", "--batch", "16", "--optimizer", "momentum", "--schedule", "block-by-block")


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Here and in a child alike, so that sums are in the same order."""
    torch: Any = pytest.importorskip("torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@needs_torch
def test_a_run_of_the_host_goes_everywhere(cli: Cli, tmp_path: Path) -> None:
    trained = (*HOST, "--steps", "4200", "--batch", "8", "--scale", "sum", "--device", "cpu", "--json")
    data = cli(*trained).json
    assert (data["board"], data["device"], data["batch"], data["scale"]) == ("host", "cpu", 8, "sum")
    assert data["accuracy"] > 0.9
    run = data["run"]
    for board in ("host", "sim"):
        told = cli("eval", run, "--board", board, "--json").json
        assert (told["board"], told["accuracy"]) == (board, pytest.approx(data["accuracy"], abs=1e-4))
    assert len(cli("infer", run, "--first", "3", "--json").json["samples"]) == 3
    assert cli("runs", "show", run, "--json").json["port"] == "cpu"
    plan, kept = cli("export", run, "-o", str(tmp_path), "--verify", "--json").json["artifacts"]
    assert plan["max_diff"] <= 1e-5
    ints = cli("train", "--from", run, "--dtype", "int8", "--board", "sim", "--steps", "200", "--json").json
    assert (ints["dtype"], ints["from"], ints["accuracy"] > 0.9) == ("int8", f"run {run}, step 4,200", True)
    again = cli(*HOST, "--from", kept["path"], "--steps", "100", "--json").json
    assert again["from"] == f"{run}.state, step 4,200"


@needs_torch
def test_tables_are_for_people(cli: Cli) -> None:
    answer = cli(*HOST, "--steps", "300", "--batch", "30", "--optimizer", "momentum")
    assert "batches of 30, on cpu" in answer.out
    assert "RAM on a board" in answer.out
    assert "RAM measured" not in answer.out
    assert answer.err == ""
    lines = [json.loads(line) for line in cli(*HOST, "--steps", "300", "--batch", "30", "--stream").out.splitlines()]
    assert lines[-2]["step"] == lines[-2]["steps"] == lines[-1]["steps"] == 300


@needs_torch
@pytest.mark.slow
def test_a_killed_host_resumes(cli: Cli, one_thread: None) -> None:
    """In the second block, in the middle of a pass."""
    whole = cli(*LONG, "--json").json["state_sha256"]
    process = start(*LONG, "--stream")
    try:
        wait_for_step(process, 40_000)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    finally:
        process.kill()
        process.communicate()
    run = cli("runs", "--json").json["runs"][0]
    assert run["status"] == "running"
    assert 0 < cli("runs", "show", run["id"], "--json").json["checkpoint"] < 70_000
    assert cli("resume", run["id"], "--device", "cpu", "--json").json["state_sha256"] == whole


@needs_torch
@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint(cli: Cli, one_thread: None) -> None:
    whole = cli(*LONG, "--json").json["state_sha256"]
    process = start(*LONG, "--stream")
    try:
        wait_for_step(process, 5_000)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130, out + err
    told = json.loads(out.splitlines()[-1])["error"]
    run = cli("runs", "--json").json["runs"][0]
    assert (run["status"], told["hint"]) == ("interrupted", f"Go on with: edgelearn resume {run['id']}")
    assert cli("runs", "show", run["id"], "--json").json["checkpoint"] >= 5_000
    assert cli("resume", run["id"], "--json").json["state_sha256"] == whole


def test_without_torch_the_extra_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [n for n in sys.modules if n.startswith("edgelearn.host.") or n == "edgelearn.hostdevice"]:
        monkeypatch.delitem(sys.modules, name)
    answer = cli(*HOST, "--steps", "10", "--json")
    assert (answer.code, answer.json["error"]["kind"]) == (14, "missing-tool")
    assert "pip install 'edgelearn[torch]'" in answer.json["error"]["hint"]
    check = next(check for check in cli("doctor", "--json").json["checks"] if check["name"] == "PyTorch")
    assert (check["ok"], check["needed"]) == (False, False)
    assert "edgelearn[torch]" in check["repair"]
    assert cli("runs", "--json").json["runs"] == []


@needs_torch
def test_boards_and_doctor_know_the_host(cli: Cli) -> None:
    (host,) = [board for board in cli("boards", "--json").json["boards"] if board["id"] == "host"]
    assert (host["dtypes"], host["ports"], host["tools"]) == (["f32"], ["cpu", "cuda"], {"torch": True})
    check = next(check for check in cli("doctor", "--json").json["checks"] if check["name"] == "PyTorch")
    assert check["ok"]
    assert "cpu" in check["detail"]


DFA = '[model]\ninput = [8, 8]\nlayers = [8]\nclasses = 10\n[rule]\nname = "cascaded-forward-dfa"\n[data]\nname = "digits"\n'


@pytest.mark.parametrize(
    ("args", "code", "said", "remedy"),
    [
        (("train", "digits", "--board", "host"), 3, "does not compute in int8", "--board sim"),
        (("train", "digits", "--batch", "8"), 2, "the batch is 8", "--board host"),
        (("train", "digits", "--optimizer", "adam"), 2, "the optimizer is adam", "--board host"),
        (("train", "digits", "--augment", "flip-crop"), 2, "the augmentation is flip-crop", "--board host"),
        (("train", "digits", "--scale", "max"), 2, "--scale: 'max' is no scale", "mean, sum"),
        (("train", "digits", "--device", "cuda"), 2, "sim is no device of torch", "--board host"),
        ((*HOST, "--device", "cpu", "--port", "cpu"), 2, "both given", "--device alone"),
        ((*HOST, "--record", "x.elog"), 2, "no conversation to record", "--record"),
        (("train", "dfa.toml", "--board", "microbit"), 3, "line 6: the rule cascaded-forward-dfa is not for boards", "--board host"),
        (("export", "dfa.toml", "--board", "microbit"), 3, "every activation must be kept", "--board sim"),
        (("bench", "accuracy", "--case", "digits-16-int8", "--board", "host"), 2, "their engine is torch", "--board"),
        (("bench", "instructions", "--board", "host"), 3, "no image for it", "mps2-an386"),
        (("sim", "--board", "host"), 2, "neither simulated nor emulated", "edgelearn boards"),
    ],
)  # fmt: skip
def test_what_is_refused(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], code: int, said: str, remedy: str
) -> None:
    if "host" in args and code == 2 and args[0] == "train":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dfa.toml").write_text(DFA)
    answer = cli(*args, "--json")
    error = answer.json["error"]
    assert answer.code == code
    assert said in error["message"]
    assert remedy in error["hint"]
    assert cli("runs", "--json").json["runs"] == []
