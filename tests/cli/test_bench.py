"""``edgelearn bench accuracy`` as it is typed: choices, folders, files, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgelearn.cli import progress
from tests.cli.conftest import Cli

CASE = ("bench", "accuracy", "--case", "digits-16-int8")
KEYS = {
    "name", "mean", "std", "seeds", "passes", "seconds", "ram", "published", "rate",  # of old
    "seed_numbers", "rule", "net", "dtype", "engine", "batch", "optimizer", "ram_of", "stopping", "rate_by", "source",
    "against", "gap",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_rows_seeds_and_files(cli: Cli, tmp_path: Path, own_cache: Path) -> None:
    answer = cli(*CASE, "--seeds", "2", "--markdown", tmp_path / "a.md", "-o", tmp_path / "a.json", "--json").json
    assert (answer["schema"], answer["case"]) == ("edgelearn.bench/1", "digits-16-int8")
    assert {key for row in answer["rows"] for key in row} == KEYS
    assert [len(row["seeds"]) for row in answer["rows"]] == [2, 2, 2]
    assert min(row["mean"] for row in answer["rows"]) > 0.93
    assert json.loads((tmp_path / "a.json").read_text()) == answer
    page = (tmp_path / "a.md").read_text()
    assert all(f"| {row['name']} | {100 * row['mean']:.2f} |" in page for row in answer["rows"])
    assert len(list((own_cache / "bench/digits-16-int8").glob("*.seed?.json"))) == 6
    some = cli(*CASE, "--rows", "back*", "--seeds", "2,1", "--json").json["rows"]
    assert [row["seeds"] for row in some] == [answer["rows"][2]["seeds"][::-1]]
    assert some[0]["seed_numbers"] == [2, 1]
    assert cli(*CASE, "--dtype", "f32", "--seeds", "2,", "--json").json["rows"][0]["seed_numbers"] == [2]
    assert "backprop twin" in cli(*CASE, "--seeds", "1").out


def test_a_board_and_a_folder(cli: Cli, tmp_path: Path, own_cache: Path) -> None:
    args = (*CASE, "--rows", "edgelearn int8 last", "--seeds", "1", "--out", tmp_path / "out", "--json")
    here, there = cli(*args).json["rows"], cli(*args, "--board", "sim").json["rows"]
    assert here[0]["seeds"] == there[0]["seeds"]
    assert there[0]["engine"] == "board sim"
    names = {path.name for path in (tmp_path / "out").rglob("*.json")}
    assert names == {"edgelearn-int8-last.seed1.json", "edgelearn-int8-last.sim.seed1.json"}
    assert not own_cache.exists()


def test_choosing(cli: Cli, tmp_path: Path) -> None:
    args = (*CASE, "--choose", "--rows", "backprop twin", "--rates", "0.03125,0.001")
    (row,) = cli(*args, "--json", "-o", tmp_path / "c.md").json["rows"]
    assert (row["name"], row["rates"], row["best"]) == ("backprop twin", [0.03125, 0.001], 0.03125)
    assert row["validation"][0] > row["validation"][1]
    assert "0.03125, 0.001" in (tmp_path / "c.md").read_text()
    assert "best" in cli(*args).out


def test_progress_is_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    seen: list[tuple[int, int, str]] = []
    monkeypatch.setattr(progress, "bar", lambda title, quiet: nullcontext(lambda *at: seen.append(at)))
    cli(*CASE, "--rows", "*last", "--seeds", "1")
    assert seen[0] == (1400, 21000, "edgelearn int8 last, seed 1 (1 of 1 trainings)")
    assert seen[-1][0] == 21000


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--case", "digits-16-int9"), "Did you mean 'digits-16-int8'?"),
        (("--rows", "backprob"), "has no row 'backprob'"),
        (("--rows", "backprop twin", "--dtype", "int8"), "No chosen row"),
        (("--seeds", "none"), "'none' are no seeds"),
        (("--seeds", "0"), "too few"),
        (("--seeds", ","), "too few"),
        (("--seeds", "-1,2"), "-1 is no seed"),
        (("--rates", "0.1"), "--rates is for --choose"),
        (("--choose", "--rates", "x"), "'x' are no numbers"),
        (("--choose", "--rates", "-1"), "-1.0 is no rate"),
        (("--choose", "--board", "sim"), "in this process"),
        (("--choose", "--markdown", "x.md"), "makes no table"),
        (("--rows", "backprop twin", "--board", "microbit"), "can learn on microbit"),
    ],
)
def test_refusals(cli: Cli, args: tuple[str, ...], said: str) -> None:
    answer = cli(*CASE, *args)
    assert answer.code == 2
    assert said in answer.err
    assert "\n  -> " in answer.err


def test_other_refusals(cli: Cli, tmp_path: Path) -> None:
    assert cli("bench", "accuracy", "--case", "mnist-cnn-int8").code == 3  # no data
    assert cli(*CASE, "--board", "nope").code == 4
    (tmp_path / "file").write_text("")
    answer = cli(*CASE, "--seeds", "1", "--out", tmp_path / "file")
    assert (answer.code, "--out" in answer.err) == (13, True)
    answer = cli(*CASE, "--seeds", "1", "--markdown", tmp_path / "no/such.md")
    assert (answer.code, "--markdown" in answer.err) == (13, True)


def test_list_names_the_cases(cli: Cli) -> None:
    cases = {case["case"]: case for case in cli("bench", "--list", "--json").json["cases"]}
    assert cases.keys() >= {"digits-16-int8", "mnist-mlp-f32", "cifar10-cnn-f32", "passes-mnist"}
    assert cases["digits-16-int8"]["recipe"] == "digits-tiny"
    assert cases["mnist-mlp-f32"] | {"names": []} == {
        "bench": "accuracy", "case": "mnist-mlp-f32", "recipe": None, "data": "mnist", "names": [],
    }  # fmt: skip
    assert "mnist-cnn-int8" in cli("bench", "--list").out
