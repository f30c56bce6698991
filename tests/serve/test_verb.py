"""``edgelearn serve`` as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from edgelearn.cli import main
from edgelearn.runs import RunStore
from tests.serve.conftest import record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def shared(learnt: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    monkeypatch.setenv("EDGELEARN_RUNS", str(learnt[0]))
    monkeypatch.setenv("NO_COLOR", "1")
    return learnt


def test_once_prints_how_all_runs_stand(shared: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--once", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "edgelearn.serve/1"
    assert told["store"] == str(shared[0])
    (run,) = told["runs"]
    assert (run["id"], run["status"], run["step"], run["steps"]) == (shared[1], "finished", 1200, 1200)
    assert run["ram"]["measured"] == run["ram"]["planned"]
    assert main(["serve", "--once"]) == 0
    assert shared[1] in capsys.readouterr().out


def test_once_of_one_run_has_its_newest_readings(shared: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", shared[1][:-1], "--once", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    with RunStore(shared[0]) as store:
        assert run["newest"]["train_accuracy"] == list(store.metrics(shared[1])["train_accuracy"][-1])
        assert run["result"]["state_sha256"] == (store.get(shared[1]).result or {})["state_sha256"]
    assert run["checkpoint"] == 1200


def test_a_run_that_goes_on_shows_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunStore(tmp_path / "runs.sqlite") as store:
        run = record(store)
        store.log(run, 512, "train_accuracy", 0.75)
        store.flush()
        assert main(["serve", "--runs", str(tmp_path), "--once", "--json"]) == 0  # the folder, while it is open
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert (told["status"], told["step"], told["train_accuracy"]) == ("running", 512, 0.75)
    assert told["accuracy"] is None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nobody", "--once"], 3), (["nobody"], 2), (["--host", "0.0.0.0"], 2), (["--host", "no.such.host.invalid"], 2),
        (["--token-file", "/dev/null/none"], 3), (["--port", "70000"], 2),
    ],
)  # fmt: skip
def test_what_is_refused(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *words, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["error"]["hint"]


def test_no_store_is_no_error_and_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--runs", str(tmp_path / "none.sqlite"), "--once"]) == 0
    assert "There are no runs yet" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_it_serves_until_ctrl_c(shared: tuple[Path, str]) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "export")])}
    command = [sys.executable, "-m", "edgelearn.cli", "serve", "--port", "0", "--json"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with urllib.request.urlopen(f"{told['listen']}runs.json", timeout=30) as answer:
            assert json.load(answer)["runs"][0]["id"] == shared[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.communicate()[1] == ""
    finally:
        process.kill()
        process.communicate()
