"""``train --from``, ``--freeze`` and ``--schedule``: what they print, what they refuse, and that a killed run comes back."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelearn.errors import ConfigError, UsageError
from edgelearn.runs import RunStore
from tests.cli.conftest import Cli, start, wait_for_step


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Somebody's own 60 samples of 4 classes."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 4
    x = np.clip(rng.random((60, 8, 8)) / 2 + (y / 8)[:, None, None], 0, 1)
    np.savez(tmp_path / "own.npz", x=x, y=y)
    return str(tmp_path / "own.npz")


def test_a_run_goes_on_with_its_own_recipe_and_other_data(cli: Cli, run_id: str, data: str) -> None:
    told = cli("train", "--from", run_id[:-1], "--data", data, "--freeze", "0", "--epochs", "2", "--json").json
    assert (told["steps"], told["net"], told["freeze"]) == (96, "64-32-32-10", [0])
    assert told["from"] == f"run {run_id}, step 300"
    kept = cli("runs", "show", told["run"], "--json").json
    assert "freeze = [0]" in kept["recipe"]
    assert data in kept["recipe"]
    assert cli("eval", told["run"], "--json").json["n"] == 12
    shown = cli("train", "--from", run_id, "--steps", "50")
    assert f"from run {run_id}" in " ".join(shown.out.split())
    again = cli("train", "--from", told["run"], "--steps", "50", "--freeze", "none", "--json").json
    assert again["notes"][0] == f"started from the seed, for run {told['run']}, step 96 has none: b0.M"


def test_a_file_goes_on_as_its_run(cli: Cli, run_id: str, tmp_path: Path) -> None:
    assert cli("export", run_id, "-o", str(tmp_path), "--json").code == 0
    args = ("train", "digits", "--steps", "200", "--json")
    by_run = cli(*args, "--from", run_id).json
    for suffix in ("plan", "state", "json"):
        by_file = cli(*args, "--from", str(tmp_path / f"{run_id}.{suffix}")).json
        assert by_file["from"] == f"{run_id}.state, step 300"
        assert by_file["state_sha256"] == by_run["state_sha256"]
    manifest = json.loads((tmp_path / f"{run_id}.json").read_text())
    assert [a["path"] for a in manifest["artifacts"] if a["format"] == "state"] == [f"{run_id}.state"]


def test_from_int8_to_float_and_back(cli: Cli, run_id: str) -> None:
    floats = cli("train", "--from", run_id, "--dtype", "f32", "--epochs", "1", "--json").json
    assert (floats["dtype"], floats["accuracy"] > 0.8) == ("f32", True)
    ints = cli("train", "--from", floats["run"], "--dtype", "int8", "--steps", "300", "--json").json
    assert (ints["dtype"], ints["accuracy"] > 0.8) == ("int8", True)


def refused(cli: Cli, *args: str) -> dict[str, Any]:
    return cli("train", *args, "--json").json["error"]


def test_what_is_refused(cli: Cli, run_id: str, tmp_path: Path) -> None:
    nothing = refused(cli)
    assert (nothing["kind"], "--from RUN" in nothing["hint"]) == (UsageError.kind, True)
    assert refused(cli, "--from", "x")["message"].startswith("There is no run 'x'")
    assert refused(cli, "--from", "x.state")["kind"] == UsageError.kind
    assert "Cannot read" in refused(cli, "digits", "--from", str(tmp_path / "x.state"))["message"]
    misfit = refused(cli, "digits-tiny", "--from", run_id)
    assert misfit["kind"] == ConfigError.kind
    assert "b0.W is 32x64 there and 16x64 here" in misfit["message"]
    assert refused(cli, "digits", "--freeze", "one")["message"] == "--freeze: 'one' are no blocks."
    assert "--freeze none" in refused(cli, "digits", "--freeze", "1,0")["hint"]
    assert "no block 7" in refused(cli, "digits", "--freeze", "7")["message"]
    assert "'odd' is no schedule" in refused(cli, "digits", "--schedule", "odd")["message"]


def test_a_run_whose_rule_has_changed_needs_a_recipe(cli: Cli, tmp_path: Path) -> None:
    rule = "import edgelearn as el\nfrom edgelearn.rules.mono_forward import MonoForward\n"
    rule += '@el.rule("own")\nclass Own(MonoForward):\n    lr: float = 2**-4\n'
    (tmp_path / "own.py").write_text(rule)
    model = "[model]\ninput = [8, 8]\nlayers = [8]\nclasses = 10\n"
    (tmp_path / "own.toml").write_text(f'{model}[rule]\nname = "own.py:Own"\n[data]\nname = "digits"\n')
    recipe = str(tmp_path / "own.toml")
    run = cli("train", recipe, "--steps", "30", "--json").json["run"]
    (tmp_path / "own.py").write_text(rule + "# changed\n")
    error = refused(cli, "--from", run)
    assert "has changed" in error["message"]
    assert f"edgelearn train RECIPE --from {run}" in error["hint"]
    assert cli("train", recipe, "--from", run, "--steps", "30", "--json").json["from"] == f"run {run}, step 30"


def test_a_run_of_an_older_version_has_its_state_read_too(cli: Cli, run_id: str) -> None:
    before = cli("train", "--from", run_id, "--steps", "60", "--json").json["state_sha256"]
    with RunStore() as store:
        store._db.execute("UPDATE runs SET layout = NULL WHERE id = ?", (run_id,))
    assert cli("train", "--from", run_id, "--steps", "60", "--json").json["state_sha256"] == before
    with RunStore() as store:
        store._db.execute("UPDATE runs SET layout = '{}' WHERE id = ?", (run_id,))
    assert "does not say how" in refused(cli, "--from", run_id)["message"]


def test_block_by_block(cli: Cli, tmp_path: Path) -> None:
    args = ("train", "digits", "--schedule", "block-by-block", "--steps", "800", "--json")
    told = cli(*args).json
    assert (told["schedule"], told["health"]) == ("block-by-block", [])
    assert told["accuracy"] > 0.7
    exported = cli("export", told["run"], "-o", str(tmp_path), "--verify", "--json").json
    assert exported["artifacts"][0]["max_diff"] == 0
    assert cli("train", "--from", told["run"], "--schedule", "simultaneous", "--steps", "50", "--json").code == 0
    recipe = tmp_path / "greedy.toml"
    recipe.write_text(cli("runs", "show", told["run"], "--json").json["recipe"])
    error = cli("export", str(recipe), "-o", str(tmp_path), "--json").json["error"]
    assert "a plan for each block" in error["message"]


@pytest.mark.parametrize("step", [100, 9_000])
def test_a_killed_host_resumes_in_either_stage(cli: Cli, run_id: str, tmp_path: Path, step: int) -> None:
    """After kill -9; exports of what is there meanwhile fit together."""
    args = ("train", "digits", "--from", run_id, "--schedule", "block-by-block", "--steps", "16000")
    whole = cli(*args, "--json").json["state_sha256"]
    process = start(*args, "--stream")
    try:
        wait_for_step(process, step)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    finally:
        process.kill()
        process.communicate()
    run = cli("runs", "--json").json["runs"][0]
    assert run["status"] == "running"
    verified = cli("export", run["id"], "-o", str(tmp_path), "--verify", "--json").json
    assert verified["artifacts"][0]["max_diff"] == 0
    assert verified["artifacts"][1]["format"] == "state"
    assert cli("resume", run["id"], "--json").json["state_sha256"] == whole


def test_warnings_are_shown_at_once_and_in_the_end(cli: Cli, tmp_path: Path) -> None:
    model = "[model]\ninput = [8, 8]\nlayers = [16, 16]\nclasses = 10\n"
    (tmp_path / "hot.toml").write_text(
        f'{model}[rule]\nname = "mono-forward"\nlr = 8\n[data]\nname = "digits"\n[train]\nepochs = 1\n'
    )
    answer = cli("train", str(tmp_path / "hot.toml"))
    assert "warning: step 511: block 0 is silent: all its activations are zero." in answer.err
    assert "warning: block 0 is silent" in answer.out
    lines = [json.loads(line) for line in cli("train", str(tmp_path / "hot.toml"), "--stream").out.splitlines()]
    said = [line for line in lines[:-1] if line["health"]]
    assert said[0]["step"] == 511
    assert {"kind", "where", "message", "hint"} == said[0]["health"][0].keys()
    assert {"kind", "where", "message", "hint", "steps"} == lines[-1]["health"][0].keys()
