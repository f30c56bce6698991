"""The contract of the command line: what every verb prints as JSON, in success and in failure, and every exit code by its own way."""

from __future__ import annotations

import inspect
import json
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgelearn import errors
from edgelearn.cli import VERBS
from tests.cli.conftest import ROOT, Cli, start
from tests.cli.schemas import ERROR, SCHEMAS, wrong

LISTENING = ("agent", "sim")  # they go on until they are stopped
SLOW = ("demo",)
# Exit codes, and where each is provoked through the real command line; those of test_exit_codes.py are named by their code.
ELSEWHERE = {11: "tests/link/test_agent_device.py"}


def arguments(run: str, out: Path) -> dict[str, tuple[str, ...]]:
    """A command of each verb that goes well."""
    return {
        "boards": ("boards",), "show": ("show", "digits-tiny", "--stage", "all"),
        "export": ("export", "digits-tiny", "-o", str(out)), "flash": ("flash", "microbit", "--dry-run", "--port", str(out)),
        "train": ("train", "digits-tiny", "--steps", "40"), "resume": ("resume", run), "eval": ("eval", run, "--steps", "20"),
        "infer": ("infer", run), "profile": ("profile", run, "--steps", "20", "--idle", "0", "--energy", "none"),
        "runs": ("runs",), "runs show": ("runs", "show", run), "runs export": ("runs", "export", "-o", str(out)),
        "report": ("report", run, "-o", str(out / "r.html"), "--stored-only"), "serve": ("serve", "--once"),
        "pair": ("pair", str(out / "my.key"), "--new"), "doctor": ("doctor",), "bench": ("bench",), "demo": ("demo", "--steps", "100"),
    }  # fmt: skip


def as_promised(printed: dict[str, Any], schema: str) -> None:
    assert printed["schema"] == f"edgelearn.{schema.split()[0]}/1"
    assert wrong(printed, SCHEMAS[schema]) == []


def test_every_verb_has_a_schema_and_a_command_for_it(tmp_path: Path) -> None:
    assert {name.split()[0] for name in SCHEMAS} == set(VERBS)
    assert {*arguments("", tmp_path), *LISTENING} == set(SCHEMAS)


@pytest.mark.parametrize("schema", [name for name in SCHEMAS if name not in (*LISTENING, *SLOW, "resume", "flash")])
def test_success_has_the_keys_that_are_promised(schema: str, cli: Cli, run_id: str, tmp_path: Path) -> None:
    if schema == "pair":
        pytest.importorskip("cryptography", reason="needs cryptography: pip install 'edgelearn[pairing]'")
    answer = cli(*arguments(run_id, tmp_path)[schema], "--json")
    assert answer.code == 0, answer
    as_promised(answer.json, schema)


@pytest.mark.qemu
def test_flash_has_the_keys_that_are_promised(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "DETAILS.TXT").write_text("a drive")
    answer = cli(*arguments("", tmp_path)["flash"], "--json")
    assert answer.code == 0, answer
    as_promised(answer.json, "flash")


def test_resume_has_the_keys_that_are_promised(cli: Cli, run_id: str, store: Path) -> None:
    with sqlite3.connect(store) as db:
        db.execute("UPDATE runs SET status = 'running', result = NULL")
    db.close()
    answer = cli("resume", run_id, "--json")
    assert answer.code == 0, answer
    as_promised(answer.json, "resume")


@pytest.mark.slow
def test_demo_has_the_keys_that_are_promised(cli: Cli, tmp_path: Path) -> None:
    as_promised(cli(*arguments("", tmp_path)["demo"], "--json").json, "demo")


@pytest.mark.parametrize(
    "line",
    [("sim",), ("agent", "--board", "linux-pc", "--listen", "tcp://127.0.0.1:0")],
    ids=LISTENING[::-1],
)
def test_who_listens_says_where(line: tuple[str, ...]) -> None:
    if line[0] == "agent":
        pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgelearn[onnx]'")
    process = start(*line, "--json")
    try:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        as_promised(told, line[0])
        assert told["listen"].startswith("tcp://127.0.0.1:"), "nobody else is let in unless that is asked for"
        process.send_signal(signal.SIGINT)
        process.wait(20)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("verb", VERBS)
def test_failure_has_the_same_keys_everywhere(verb: str, cli: Cli) -> None:
    answer = cli(verb, "--no-such-option", "--json")
    assert (answer.code, answer.err) == (2, "")
    assert answer.json["schema"] == f"edgelearn.{verb}/1"
    assert wrong(answer.json["error"], ERROR) == []
    assert answer.json["error"]["code"] == 2


def test_every_exit_code_is_provoked_and_documented() -> None:
    classes = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.EdgeLearnError)
    ]
    known = {kind.exit_code: kind.kind for kind in classes}
    assert len(known) == len(classes), "two errors share a code"
    tests = (ROOT / "tests/cli/test_exit_codes.py").read_text()
    provoked = {int(code) for code in re.findall(r"def test_(\d+)_", tests)}
    for code, file in ELSEWHERE.items():
        assert f"== {code}" in (ROOT / file).read_text()
    assert provoked | set(ELSEWHERE) == set(known)
    page = (ROOT / "docs/cli.md").read_text()
    documented = {int(code): kind for code, kind in re.findall(r"^\| (\d+) \| `([\w-]+)` \|", page, re.MULTILINE)}
    assert documented == known


HEAVY = {
    "numpy",
    "serial",
    "sqlite3",
    "onnx",
    "torch",
    "rich.table",
    "rich.progress",
    "edgelearn.job",
    "edgelearn.session",
}
HELPS = """
import io, sys
from contextlib import redirect_stdout
from edgelearn.cli import VERBS, main
for verb in ("", *VERBS):
    with redirect_stdout(io.StringIO()) as said:
        assert main([*filter(None, [verb]), "--help"]) == 0
    assert "--help" in said.getvalue()
    loaded = sorted(set(sys.argv[1:]) & set(sys.modules))
    if loaded:
        sys.exit(f"{verb or 'edgelearn'} --help imports {loaded}")
"""


def test_help_imports_nothing_that_takes_long() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELPS, *HEAVY], capture_output=True, text=True, cwd=ROOT, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
