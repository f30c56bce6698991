"""Every verb does its work, and its JSON has the keys that are promised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgelearn.cli import VERBS
from edgelearn.ir.text import parse
from tests.cli.conftest import ROOT, Cli, start

TRAIN_KEYS = {"run", "board", "rule", "dtype", "steps", "accuracy", "state_sha256", "ram", "samples_per_s", "link"}
RAM_KEYS = {"state", "arena", "stack", "link", "plan", "planned", "measured"}


def test_help_names_every_verb_and_each_has_help_of_its_own(cli: Cli) -> None:
    answer = cli("--help")
    assert answer.code == 0
    for verb in VERBS:
        assert verb in answer.out
        assert "--json" in cli(verb, "--help").out


@pytest.mark.parametrize("line", ["from edgelearn.cli import main; main(['--help'])", "import edgelearn"])
def test_nothing_heavy_is_imported_before_it_is_needed(line: str) -> None:
    heavy = {"numpy", "serial", "sqlite3", "rich.progress", "rich.table", "edgelearn.job", "edgelearn.session"}
    code = f"import sys; {line}; print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert heavy.isdisjoint(done.stdout.partition("LOADED")[2].split())


def test_without_a_verb_there_is_help(cli: Cli) -> None:
    assert cli() == cli("--help")


def test_version(cli: Cli) -> None:
    assert cli("--version").out.startswith("edgelearn ")


def test_boards(cli: Cli) -> None:
    data = cli("boards", "--json").json
    assert data["schema"] == "edgelearn.boards/1"
    for board in data["boards"]:
        assert {"id", "core", "ram", "flash", "dtypes", "ports", "verified", "tools"} <= board.keys()
        assert set(board["ports"]) <= {"sim", "qemu", "serial", "tcp", "cpu", "cuda"}
    assert "microbit" in cli("boards").out


def test_train_prints_one_object_and_is_silent_on_stderr(cli: Cli) -> None:
    answer = cli("train", "digits", "--steps", "300", "--seed", "3", "--json")
    data = answer.json
    assert answer.code == 0
    assert answer.err == ""
    assert data["schema"] == "edgelearn.train/1"
    assert data.keys() >= TRAIN_KEYS
    assert data["ram"].keys() >= RAM_KEYS
    assert data["ram"]["planned"] == data["ram"]["measured"] == data["ram"]["state"] + data["ram"]["arena"]
    assert data["steps"] == 300
    assert 0.3 < data["accuracy"] <= 1


def test_training_is_reproducible_and_the_seed_matters(cli: Cli) -> None:
    first, again, other = (
        cli("train", "digits", "--steps", "200", "--seed", seed, "--json").json["state_sha256"] for seed in "112"
    )
    assert first == again != other


def test_train_flags_replace_the_recipe(cli: Cli) -> None:
    data = cli("train", "digits-tiny", "--epochs", "1", "--dtype", "f32", "--drops", "0.5,0.9", "--json").json
    assert (data["steps"], data["dtype"]) == (1400, "f32")
    recipe = cli("runs", "show", data["run"], "--json").json["recipe"]
    assert "drops = [0.5, 0.9]" in recipe


def test_stream_ends_with_the_result(cli: Cli) -> None:
    lines = [json.loads(line) for line in cli("train", "digits", "--steps", "400", "--stream").out.splitlines()]
    assert {line["schema"] for line in lines[:-1]} == {"edgelearn.train.progress/1"}
    assert lines[-2]["step"] == lines[-2]["steps"] == 400
    assert lines[-1].keys() >= TRAIN_KEYS


def test_tables_are_for_people(cli: Cli) -> None:
    answer = cli("train", "digits", "--steps", "100")
    assert "test accuracy" in answer.out
    assert "\x1b" not in answer.out
    assert answer.err == ""


ODD_RULE = """
import edgelearn as el
from edgelearn.rules.mono_forward import MonoForward

@el.rule("own-rule")
class Own(MonoForward):
    lr: float = 0.05
"""


@pytest.fixture
def odd(tmp_path: Path) -> str:
    """A recipe with a rule of its own, whose data are sorted by class and far from 1."""
    (tmp_path / "own.py").write_text(ODD_RULE)
    x = 100 * np.random.default_rng(0).normal(size=(90, 4))
    np.savez(tmp_path / "odd.npz", x=x, y=np.repeat([0, 1, 2], 30))
    model = "[model]\ninput = [4]\nlayers = [8]\nclasses = 3\n"
    (tmp_path / "odd.toml").write_text(f'{model}[rule]\nname = "own.py:Own"\n[data]\nname = "odd.npz"\n')
    return str(tmp_path / "odd.toml")


def test_odd_data_are_noted(cli: Cli, odd: str) -> None:
    rate, scale, shuffle = cli("train", odd, "--json").json["notes"]
    assert rate.startswith("b0.M, b0.W, b0.b: rate 0.05 becomes")
    assert "scale the samples" in scale
    assert "1 of 3 classes" in shuffle
    assert cli("train", odd).out.count("note: ") == cli("show", odd).out.count("note: ") == 3


def test_a_rule_is_called_by_its_own_name(cli: Cli, odd: str) -> None:
    data = cli("train", odd, "--json").json
    source = odd.replace("odd.toml", "own.py:Own")
    assert (data["rule"], data["rule_source"]) == ("own-rule", source)
    assert "own-rule (own.py)" in cli("train", odd).out.splitlines()[0]
    assert "own-rule (own.py)" in cli("show", odd).out.splitlines()[0]
    assert "own-rule (own.py)" in cli("runs", "show", data["run"]).out
    assert cli("runs", "--json").json["runs"][-1]["rule_source"] == source
    assert cli("show", "digits", "--json").json["rule_source"] is None


@pytest.mark.qemu
def test_a_run_remembers_its_port(cli: Cli) -> None:
    args = ("train", "digits-tiny", "--board", "microbit", "--port", "qemu", "--steps", "20")
    run = cli(*args, "--json").json["run"]
    assert cli("runs", "show", run, "--json").json["port"] == "qemu"
    assert cli("eval", run, "--steps", "2", "--json").json["board"] == "microbit"
    assert len(cli("infer", run, "--first", "2", "--json").json["samples"]) == 2
    assert cli("eval", run, "--board", "sim", "--steps", "2", "--json").json["board"] == "sim"


def test_lines_do_not_end_in_spaces(cli: Cli, run_id: str) -> None:
    for args in (("boards",), ("show", "digits"), ("runs",), ("runs", "show", run_id), ("eval", run_id), ("doctor",)):
        assert not [line for line in cli(*args).out.splitlines() if line != line.rstrip()], args


def test_what_to_type_next_is_never_broken(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgelearn.cli.output.program", lambda: ".venv/bin/edgelearn")
    text = cli("demo", "--steps", "60").out
    assert max(map(len, text.splitlines())) <= 80
    monkeypatch.setattr("edgelearn.cli.output.program", lambda: "../" * 30 + "edgelearn")
    last = cli("train", "digits", "--steps", "60").out.splitlines()[-1]
    assert last.startswith("Next: ")
    assert " eval " in last


def test_demo_compares_with_backpropagation(cli: Cli) -> None:
    data = cli("demo", "--steps", "2800", "--json").json
    assert data.keys() >= TRAIN_KEYS | {"accuracy_before", "backprop_accuracy"}
    assert data["accuracy_before"] < 0.4 < 0.85 < data["accuracy"]
    assert data["backprop_accuracy"] > 0.85
    text = cli("demo", "--steps", "100").out
    assert max(map(len, text.splitlines())) <= 80
    assert "edgelearn eval" in text


def test_show_prints_each_stage_so_that_it_reads_back(cli: Cli) -> None:
    data = cli("show", "digits", "--board", "microbit", "--stage", "all", "--json").json
    stages = data["stages"]
    assert next(iter(stages)) == "trace"
    assert list(stages)[-1] == "memory"
    for text in stages.values():
        assert parse(text).name == "digits"
    assert cli("show", "digits", "--stage", "fuse").out == stages["fuse"]
    assert data["ram"]["total"] < data["ram"]["board"] == 16384
    assert {"region", "name", "offset", "bytes", "type"} <= data["memory"][0].keys()
    assert data["ram"]["state"] == sum(row["bytes"] for row in data["memory"] if row["region"] == "state")
    assert data["macs"]["infer"] == 64 * 32 + 32 * 32 + 32 * 10


def test_show_without_a_stage_is_a_summary(cli: Cli) -> None:
    assert "RAM in all" in cli("show", "digits").out


def test_export_writes_a_plan_that_does_what_the_interpreter_does(cli: Cli, tmp_path: Path) -> None:
    answer = cli("export", "digits", "--format", "plan,plan-c", "-o", str(tmp_path / "out"), "--verify", "--json").json
    plan, source, header = answer["artifacts"]
    assert {"format", "entry", "dtype", "path", "bytes", "verified", "max_diff"} <= plan.keys()
    assert (plan["entry"], plan["verified"], plan["max_diff"]) == ("all", True, 0.0)
    assert Path(plan["path"]).stat().st_size == plan["bytes"]
    assert source["path"].endswith("digits_plan.c")
    assert (source["verified"], source["max_diff"]) == (True, 0.0)
    assert "el_app_plan" in Path(header["path"]).read_text()
    manifest = json.loads((tmp_path / "out/digits.json").read_text())
    assert manifest["input"] == {"shape": [8, 8], "dtype": "i8", "exponent": -7}


def test_export_of_a_run_has_its_state(cli: Cli, run_id: str, tmp_path: Path) -> None:
    data = cli("export", run_id, "-o", str(tmp_path), "--verify", "--json").json
    plan, state = data["artifacts"]
    assert plan["max_diff"] == 0
    assert plan["verified"] is True
    assert Path(state["path"]).name == f"{run_id}.state"


def test_export_in_float_stays_within_its_tolerance(cli: Cli, tmp_path: Path) -> None:
    data = cli("export", "digits", "--dtype", "f32", "-o", str(tmp_path), "--verify", "--json").json
    assert data["artifacts"][0]["max_diff"] <= 1e-5


def test_eval_counts_every_sample_once(cli: Cli, run_id: str) -> None:
    data = cli("eval", run_id, "--json").json
    confusion = np.array(data["confusion"])
    assert confusion.shape == (10, 10)
    assert confusion.sum() == data["n"] == 397
    assert data["accuracy"] == pytest.approx(np.trace(confusion) / 397)
    assert cli("eval", run_id[:-1], "--steps", "50", "--json").json["n"] == 50
    assert "taken for" in cli("eval", run_id).out


def test_eval_of_some_test_samples(cli: Cli, run_id: str) -> None:
    first, drawn, again = (
        cli("eval", run_id, "--steps", "30", *seed, "--json").json for seed in ((), ("--seed", "4"), ("--seed", "4"))
    )
    assert first["n"] == drawn["n"] == 30
    assert drawn == again
    assert drawn["confusion"] != first["confusion"]


def test_infer_by_index_and_by_number(cli: Cli, run_id: str) -> None:
    samples = cli("infer", run_id, "--index", "3", "--index", "0", "--json").json["samples"]
    assert [s["index"] for s in samples] == [3, 0]
    assert all(0 <= s["class"] < 10 and s["truth"] is not None for s in samples)
    assert len(cli("infer", run_id, "--first", "4", "--json").json["samples"]) == 4
    assert "truth" in cli("infer", run_id).out


def test_infer_takes_files_with_and_without_labels(cli: Cli, run_id: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((6, 8, 8), np.float32)
    np.savez(tmp_path / "bare.npz", x=x)
    np.savez(tmp_path / "known.npz", x=x, y=np.arange(6))
    bare, known = (
        cli("infer", run_id, "--data", str(tmp_path / f"{name}.npz"), "--json").json["samples"]
        for name in ("bare", "known")
    )
    assert [s["class"] for s in bare] == [s["class"] for s in known]
    assert [s["truth"] for s in bare] == [None] * 6
    assert [s["truth"] for s in known] == list(range(6))


def test_runs_lists_and_shows(cli: Cli, run_id: str) -> None:
    (run,) = cli("runs", "--json").json["runs"]
    assert (run["id"], run["status"], run["net"]) == (run_id, "finished", "64-32-32-10")
    assert cli("runs", "list", "--json").json["runs"] == [run]
    assert cli("runs", "show", run_id, "--json").json["checkpoint"] == 300
    assert run_id in cli("runs").out
    assert "mono-forward" in cli("runs", "show", run_id).out


def test_no_runs_yet(cli: Cli) -> None:
    assert "no runs yet" in cli("runs").out


def test_doctor_finds_this_installation_well(cli: Cli) -> None:
    answer = cli("doctor", "--json")
    data = answer.json
    assert answer.code == 0
    assert data["ok"] is True
    assert all(check["repair"] for check in data["checks"] if not check["ok"])
    assert 'ATTRS{idVendor}=="0d28"' in cli("doctor", "--udev").out


def test_doctor_passes_over_ports_that_nobody_asked_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = SimpleNamespace(device="/dev/ttyNONE", vid=None, pid=None, description="n/a")
    board = SimpleNamespace(device="/dev/ttyNONE1", vid=0x0D28, pid=0x0204, description="mbed")
    found = {"ports": [hidden]}
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: found["ports"])
    assert cli("doctor", "--json").json["checks"][-1]["detail"] == "none plugged in"
    found["ports"] = [hidden, board]
    last = cli("doctor", "--json").json["checks"][-1]
    assert (last["name"], last["detail"]) == ("/dev/ttyNONE1", "microbit or microbit-v2: no permission")


def test_doctor_says_what_is_broken(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELEARN_RUNS", "/dev/null/runs.sqlite")
    answer = cli("doctor", "--json")
    (broken,) = [check for check in answer.json["checks"] if not check["ok"] and check["needed"]]
    assert broken["name"] == "run store"
    assert answer.code == 13


@pytest.mark.parametrize("line", [(), ("--baud", "2000000", "--rx-buffer", "300")])
def test_sim_listens_until_it_is_told_to_stop(cli: Cli, line: tuple[str, ...]) -> None:
    """Also at a baud rate, where what does not fit the ring is lost."""
    import signal

    process = start("sim", "--json", *line)
    try:
        assert process.stdout
        port = json.loads(process.stdout.readline())["listen"]
        data = cli("train", "digits-tiny", "--port", port, "--steps", "50", "--json").json
        assert data["steps"] == 50
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_bench_names_its_cases_and_measures(cli: Cli, tmp_path: Path) -> None:
    names = [case["case"] for case in cli("bench", "--list", "--json").json["cases"]]
    assert names[0] == "mnist-100-50-int8"
    out = tmp_path / "bench.json"
    data = cli("bench", "accuracy", "--case", "digits-16-int8", "--seeds", "2", "-o", str(out), "--json").json
    assert [row["name"] for row in data["rows"]] == ["edgelearn int8 last", "edgelearn int8 summed", "backprop twin"]
    for row in data["rows"]:
        assert {"name", "mean", "std", "seeds", "passes", "seconds", "ram", "published"} <= row.keys()
        assert row["mean"] == pytest.approx(np.mean(row["seeds"]))
        assert row["mean"] > 0.9
    assert json.loads(out.read_text()) == data


def test_bench_imports_measures_what_users_wait_for(cli: Cli) -> None:
    """The figures are for people: a time is no test on a shared machine. What must not be imported is tested above."""
    rows = {row["name"]: row for row in cli("bench", "imports", "--starts", "2", "--json").json["rows"]}
    assert rows["edgelearn --help"]["budget"] == 0.15
    assert rows["import edgelearn"]["budget"] == 0.1
    assert all(row["seconds"] > rows["python alone"]["seconds"] / 2 for row in rows.values())


def test_a_recorded_training_can_be_had_again_without_a_board(cli: Cli, tmp_path: Path) -> None:
    log = tmp_path / "session.elog"
    first = cli("train", "digits-tiny", "--steps", "40", "--record", str(log), "--json").json
    again = cli("train", "digits-tiny", "--steps", "40", "--port", f"replay:{log}", "--json").json
    assert again["state_sha256"] == first["state_sha256"]
    refused = cli("train", "digits-tiny", "--steps", "40", "--record", str(tmp_path / "no" / "file"), "--json")
    assert refused.code == 13
