"""The run store: nothing lost by a kill, nothing trusted, every failure with its exit code."""

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edgelearn import runs
from edgelearn.errors import ConfigError, StorageFullError, UsageError, VersionError
from edgelearn.runs import RunStore


def create(store: RunStore, board: str = "sim") -> str:
    return store.create(
        recipe="[model]",
        rule="mono-forward",
        rule_text="class Rule: ...",
        board=board,
        dtype="int8",
        seed=7,
        plan=b"\0plan",
        versions={"edgelearn": "0.1.0"},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "runs.sqlite"


def test_a_run_reads_back(path: Path) -> None:
    with RunStore(path) as store:
        run = create(store)
        store.finish(run, "finished", {"accuracy": 0.97})
    with RunStore(path) as store:
        found = store.get(run)
        assert re.fullmatch(r"\d{8}-\d{4}-[a-z2-9]{3}", run)
        assert (found.rule_hash, found.plan, found.seed) == (runs.text_hash("class Rule: ..."), b"\0plan", 7)
        assert (found.status, found.result, found.versions) == (
            "finished",
            {"accuracy": 0.97},
            {"edgelearn": "0.1.0"},
        )
        assert store.list() == (found,)


def test_the_path_comes_from_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELEARN_RUNS", str(path))
    RunStore().close()
    assert path.is_file()


def test_newest_first_and_by_prefix(path: Path) -> None:
    with RunStore(path) as store:
        with pytest.raises(ConfigError, match="no run 'x'") as none_yet:
            store.get("x")
        assert "train" in none_yet.value.hint
        first, second = create(store), create(store, "microbit")
        assert [run.id for run in store.list()] == [second, first]
        with pytest.raises(UsageError, match="2 runs begin with '20'"):
            store.get("20")
        with pytest.raises(ConfigError) as caught:
            store.get("19")
        assert first in caught.value.hint
        assert second in caught.value.hint
        with pytest.raises(ConfigError):
            store.get("%")


def test_metrics_are_batched_and_replaced_by_a_replay(path: Path) -> None:
    with RunStore(path) as store:
        run = create(store)
        for step in range(2 * runs.BATCH + 3):
            store.log(run, step, "loss", 1.0)
        store.log(run, 1, "loss", 0.5)
        store.log(run, 2, "loss", math.nan)
        store.log(run, 0, "accuracy", 1)
        found = store.metrics(run)
    assert list(found) == ["accuracy", "loss"]
    assert len(found["loss"]) == 2 * runs.BATCH + 3
    assert found["loss"][1] == (1, 0.5)
    assert math.isnan(found["loss"][2][1])


def test_the_newest_checkpoints_stay(path: Path) -> None:
    with RunStore(path) as store:
        run, other = create(store), create(store)
        assert store.newest_checkpoint(run) is None
        store.checkpoint(other, 1, b"other", 1)
        for step in range(0, 1000, 100):
            store.checkpoint(run, step, bytes([step // 100]), 5)
        assert store.newest_checkpoint(run) == runs.Checkpoint(900, 5, b"\x09")
        assert store.newest_checkpoint(other) == runs.Checkpoint(1, 1, b"other")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM checkpoints").fetchone() == (runs.KEEP + 1,)


def test_a_damaged_checkpoint_is_passed_over(path: Path) -> None:
    with RunStore(path) as store:
        run = create(store)
        store.checkpoint(run, 1, b"one", 0)
        store.checkpoint(run, 2, b"two", 0)
        store.checkpoint(run, 3, b"three", 0)
        with sqlite3.connect(path) as db:
            db.execute("UPDATE checkpoints SET state = x'00' WHERE step = 3")
            db.execute("UPDATE checkpoints SET state = 'text' WHERE step = 2")
        db.close()
        assert store.newest_checkpoint(run) == runs.Checkpoint(1, 0, b"one")


KILLED = """
import os, sys
from pathlib import Path
from edgelearn.runs import RunStore
store = RunStore(Path(sys.argv[1]))
run = store.create(recipe="", rule="r", rule_text="", board="sim", dtype="f32", seed=0, plan=b"", versions={})
for step in range(10**9):
    store.log(run, step, "loss", step)
    if step % 10 == 0:
        store.checkpoint(run, step, step.to_bytes(4, "little") * 1000, 1)
        os.write(1, b"%d\\n" % step)
"""


def test_kill_9_loses_nothing_that_was_stored(path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert child.stdout is not None
    with child.stdout as lines:
        reported = [int(lines.readline()) for _ in range(20)]
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        reported += [int(line) for line in lines if line.endswith(b"\n")]
    with RunStore(path) as store:
        (run,) = store.list()
        newest = store.newest_checkpoint(run.id)
        assert newest is not None
        assert newest.step >= reported[-1]
        assert newest.state == newest.step.to_bytes(4, "little") * 1000
        assert [step for step, _ in store.metrics(run.id)["loss"]] == list(range(newest.step + 1))
        assert run.status == "running"
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_full_disk_leaves_the_store_whole(path: Path) -> None:
    with RunStore(path) as store:
        run = create(store)
        store.checkpoint(run, 1, b"old", 0)
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        store.log(run, 2, "loss", 0.5)
        with pytest.raises(StorageFullError, match="Cannot write 100064 bytes") as caught:
            store.checkpoint(run, 2, bytes(100_000), 0)
        assert caught.value.exit_code == 13
        assert "Free some space" in caught.value.hint
        newest = store.newest_checkpoint(run)
        assert newest == runs.Checkpoint(1, 0, b"old")
        assert store.metrics(run) == {"loss": ((2, 0.5),)}, "what waited must not be lost with the failed transaction"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "runs.sqlite", tmp_path):
        with pytest.raises(StorageFullError) as caught:
            RunStore(path)
        assert "EDGELEARN_RUNS" in caught.value.hint
        assert "space" not in caught.value.hint


@pytest.mark.parametrize("raw", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 2000])
def test_not_a_store(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "runs.sqlite"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="no run store, or damaged"):
        RunStore(path)
    assert path.read_bytes() == raw


@pytest.mark.parametrize(
    "change",
    [
        "versions = '[' ",
        "versions = '[]'",
        "seed = 'x'",
        "result = '3'",
        "rule = x'00ff'",
        "plan = 'text'",
        "start = 'text'",
        "layout = '3'",
        "layout = x'00'",
    ],
)
def test_rows_of_other_types_are_damage(path: Path, change: str) -> None:
    with RunStore(path) as store:
        run = create(store)
        with sqlite3.connect(path) as db:
            db.execute(f"UPDATE runs SET {change}")
        db.close()
        with pytest.raises(ConfigError, match="damaged"):
            store.get(run)


def test_a_store_of_the_first_format_opens(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.executescript(runs._SCHEMA + "PRAGMA user_version = 1;")
        row = ("old", "2026", "", "mono-forward", "", "", "sim", "int8", 0, b"", "{}", "finished", "{}")
        db.execute("INSERT INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", row)
    db.close()
    for _ in range(2):
        with RunStore(path) as store:
            assert store.get("old").port is None
    with RunStore(path) as store:
        store.reached_by("old", "qemu")
        assert store.get("old").port == "qemu"
        assert store.get(create(store)).port is None
        assert (store.get("old").start, store.get("old").layout) == (None, None)


def test_what_a_run_began_with_is_kept(path: Path) -> None:
    with RunStore(path) as store:
        known = {"recipe": "", "rule": "r", "rule_text": "", "board": "sim", "dtype": "f32", "seed": 0, "plan": b""}
        run = store.create(**known, versions={}, layout={"stages": [1]}, start=b"\0weights")
        assert (store.get(run).start, store.get(run).layout) == (b"\0weights", {"stages": [1]})


def test_what_an_optimizer_remembers_is_kept_and_guarded(path: Path) -> None:
    with RunStore(path) as store:
        run = create(store)
        store.checkpoint(run, 1, b"one", 0, b"moments")
        assert store.newest_checkpoint(run) == runs.Checkpoint(1, 0, b"one", b"moments")
        store.checkpoint(run, 2, b"two", 0)
        assert store.newest_checkpoint(run) == runs.Checkpoint(2, 0, b"two", None)
        for damage in ("x'00'", "'text'", "NULL"):
            store.checkpoint(run, 3, b"three", 0, b"moments")
            store._db.execute(f"UPDATE checkpoints SET moments = {damage} WHERE step = 3")
            assert store.newest_checkpoint(run) == runs.Checkpoint(2, 0, b"two", None)


def test_a_newer_format_is_refused(path: Path) -> None:
    RunStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(VersionError):
        RunStore(path)


def test_two_processes_may_share_it(path: Path) -> None:
    with RunStore(path) as one, RunStore(path) as two:
        first, second = create(one), create(two)
        assert {run.id for run in one.list()} == {first, second}
