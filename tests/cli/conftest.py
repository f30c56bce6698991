"""The command line in this process, with a run store of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgelearn.cli import main

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)


Cli = Callable[..., Answer]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty run store, and no data sets but the shipped one."""
    path = tmp_path / "runs.sqlite"
    monkeypatch.setenv("EDGELEARN_RUNS", str(path))
    monkeypatch.delenv("EDGELEARN_DATA", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    return path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one command in this process."""

    def run(*args: str) -> Answer:
        code = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture
def run_id(cli: Cli) -> str:
    """A short finished run on the sim board."""
    return cli("train", "digits", "--steps", "300", "--json").json["run"]


def start(*args: str) -> subprocess.Popen[str]:
    """The command line as a process of its own, with the environment that the test set."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "export"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "edgelearn.cli", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    """Reads the progress lines of ``train --stream`` up to ``step``."""
    assert process.stdout
    for line in process.stdout:
        if json.loads(line).get("step", 0) >= step:
            return
    raise AssertionError(f"it ended before step {step}: {process.stderr.read() if process.stderr else ''}")
