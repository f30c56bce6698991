"""Packed readings: nothing is lost in packing, little room is taken, and very many become means."""

import math
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edgelearn import readings, runs
from edgelearn.errors import ConfigError, VersionError
from edgelearn.readings import PART, halved, merged, pack, unpack
from edgelearn.runs import RunStore
from tests.unit.test_runs import create


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.0, 1.0, 1.0],
        [-128.0, 127.0, 128.0],
        [0.1, 2.0],
        [1e300, -1e300],
        [0.5, math.inf, -math.inf],
        [2.0**-149, 1.0],
    ],
)
@pytest.mark.parametrize("steps", [range(9), range(5, 900, 100), [0, 1, 5, 6, 2**40]])
def test_what_is_packed_comes_out(values: list[float], steps: list[int]) -> None:
    given = list(zip(steps, values, strict=False))
    assert unpack(pack(given)) == given


def test_not_a_number_comes_out() -> None:
    (_, value), (_, other) = unpack(pack([(1, math.nan), (2, 0.1)]))
    assert math.isnan(value)
    assert other == 0.1


def test_ones_and_zeros_of_every_step_take_a_fraction_of_a_byte() -> None:
    draw = random.Random(0)
    raw = pack([(i, float(draw.random() < 0.9)) for i in range(PART)])
    assert len(raw) < 0.25 * PART


@pytest.mark.parametrize("at", [0, 1, 3, 8, 22, 30, -1])
def test_damage_is_found_or_gives_numbers(at: int) -> None:
    raw = bytearray(pack([(i, 0.1 * i) for i in range(100)]))
    for value in range(256):
        raw[at] = value
        try:
            assert len(unpack(bytes(raw))) <= PART
        except ValueError:
            continue


def test_a_bomb_is_not_unpacked() -> None:
    import zlib

    bomb = readings._HEAD.pack(ord("e"), ord("d"), PART, 0, 1) + zlib.compress(bytes(5_000_000), 9)
    assert len(unpack(bomb)) == PART, "no more than was said is taken"
    with pytest.raises(ValueError, match="readings in a part"):
        unpack(readings._HEAD.pack(ord("e"), ord("d"), 1 << 31, 0, 1) + zlib.compress(bytes(5_000_000), 9))


def test_a_step_that_was_learnt_again_counts_once() -> None:
    assert merged([(1, 1.0), (2, 2.0), (3, 3.0)], [(2, 5.0)]) == [(1, 1.0), (2, 5.0), (3, 3.0)]
    assert halved([(1, 1.0), (2, 5.0), (3, 3.0)]) == [(2, 3.0), (3, 3.0)]


# --- in the store -----------------------------------------------------------------------------------------------------------------


def test_a_step_takes_less_than_20_bytes(tmp_path: Path) -> None:
    """Two numbers of full precision for every step; and what a training on a board keeps of it."""
    steps, path = 20_000, tmp_path / "runs.sqlite"
    draw = random.Random(0)
    with RunStore(path) as store:
        run = create(store)
        for name in ("loss", "seconds"):
            store.log_many(run, name, [(i, draw.random()) for i in range(steps)])
    both = path.stat().st_size
    assert both < 20 * steps
    with RunStore(path) as store:
        store.log_many(run, runs.RIGHT, [(i, float(draw.random() < 0.8)) for i in range(steps)])
    assert path.stat().st_size - both < 1 * steps


def test_many_readings_become_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "LIMIT", 100_000)
    draw, given, path = random.Random(0), dict[str, list[float]](), tmp_path / "runs.sqlite"
    with RunStore(path) as store:
        run, other = create(store), create(store)
        store.log(other, 1, "loss", 0.5)
        for name in ("loss", "own"):
            given[name] = [draw.random() for _ in range(100_000)]
        for at in range(0, 100_000, 1000):
            for name, values in given.items():
                store.log_many(run, name, [(i, values[i]) for i in range(at, at + 1000)])
            store.flush()
        kept = sum(length for (length,) in store._db.execute("SELECT length(data) FROM readings WHERE run = ?", (run,)))
        assert kept <= 100_000
        curves = store.curves(run)
        assert store.metrics(other) == {"loss": ((1, 0.5),)}
    for name, values in given.items():
        curve, width = curves[name]
        assert width >= 16
        assert [step for step, _ in curve] == sorted({step for step, _ in curve})
        assert curve[-100:] == tuple((i, values[i]) for i in range(99_900, 100_000)), "the newest stay as they are"
        first = curve[0][0] + 1
        assert curve[0][1] == pytest.approx(sum(values[:first]) / first), (
            "an older one is the mean of those that it stands for"
        )
        assert sum(v for _, v in curve) / len(curve) == pytest.approx(0.5, abs=0.1)


def test_the_file_of_a_long_run_stays_under_20_mb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a twentieth of the size, for time's sake: the share that the file has beside its readings is the same."""
    monkeypatch.setattr(readings, "LIMIT", readings.LIMIT // 20)
    path, draw = tmp_path / "runs.sqlite", random.Random(0)
    with RunStore(path) as store:
        run = create(store)
        for at in range(0, 200_000, 8000):
            store.log_many(run, "loss", [(at + i, draw.random()) for i in range(8000)])
    assert 500_000 < path.stat().st_size < 1_000_000


def test_newest_and_ways_to_read(tmp_path: Path) -> None:
    with RunStore(tmp_path / "runs.sqlite") as store:
        run = create(store)
        store.log_many(run, runs.RIGHT, [(i, float(i % 2)) for i in range(3000)])
        store.log(run, 7, "loss", 0.25)
        assert store.newest(run) == {runs.RIGHT: (2999, 1.0), "loss": (7, 0.25)}
        assert store.metrics(run) == {"loss": ((7, 0.25),)}
        assert len(store.curves(run)[runs.RIGHT][0]) == 3000
        assert store.newest("nothing") == {}


@pytest.mark.parametrize("change", ["data = x'00'", "data = 'text'", "data = NULL", "width = 'x'", "name = x'00'"])
def test_damaged_readings_are_said(tmp_path: Path, change: str) -> None:
    with RunStore(tmp_path / "runs.sqlite") as store:
        run = create(store)
        store.log(run, 1, "loss", 0.5)
        store.flush()
        store._db.execute(f"UPDATE readings SET {change}")
        with pytest.raises(ConfigError, match="damaged"):
            store.curves(run)


# --- stores of other versions, and stores that are only looked at ---------------------------------------------------------------------


def test_a_row_for_each_reading_is_packed(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(";".join(runs._UPDATES[:4]))
        db.execute("PRAGMA user_version = 4")
        row = (
            "old",
            "2026",
            "",
            "mono-forward",
            "",
            "",
            "sim",
            "int8",
            0,
            b"",
            "{}",
            "finished",
            "{}",
            None,
            None,
            None,
        )
        db.execute(f"INSERT INTO runs VALUES ({','.join('?' * len(row))})", row)
        rows = [("old", name, step, None if step == 3 else step / 7) for name in ("a", "b") for step in range(3000)]
        db.executemany("INSERT INTO metrics VALUES (?,?,?,?)", rows)
    db.close()
    with pytest.raises(VersionError, match="older edgelearn") as caught:
        RunStore(path, read_only=True)
    assert "edgelearn runs" in caught.value.hint
    for _ in range(2):
        with RunStore(path) as store:
            found = store.metrics("old")
            assert list(found) == ["a", "b"]
            assert math.isnan(found["a"][3][1])
            assert [pair for pair in found["b"] if pair[0] != 3] == [(i, i / 7) for i in range(3000) if i != 3]
            tables = {name for (name,) in store._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            assert tables == {"runs", "checkpoints", "readings"}


def test_a_store_that_is_only_looked_at_is_neither_made_nor_changed(tmp_path: Path) -> None:
    path = tmp_path / "a folder #1?" / "runs.sqlite"
    with pytest.raises(ConfigError, match="There is no run store"):
        RunStore(path, read_only=True)
    assert not path.parent.exists()
    with RunStore(path) as writing:
        run = create(writing)
        writing.log(run, 1, "loss", 0.5)
        writing.flush()
        with RunStore(path, read_only=True) as reading:
            assert reading.metrics(run) == {"loss": ((1, 0.5),)}
            writing.log(run, 2, "loss", 0.25)
            writing.flush()
            assert reading.newest(run) == {"loss": (2, 0.25)}, "it sees what is written meanwhile"
            with pytest.raises(Exception, match=r"read.?only"):
                reading.finish(run, "finished", {})
            assert reading.get(run).status == "running"


# --- kill -9 --------------------------------------------------------------------------------------------------------------------------

KILLED = """
import os, random, signal, sqlite3, sys, time
from pathlib import Path
from edgelearn import readings
from edgelearn.runs import RunStore
path, times = Path(sys.argv[1]), int(sys.argv[2])
readings.LIMIT = 60_000  # so that older parts are halved all the time, too
RunStore(path).close()
draw = random.Random(5)
for turn in range(times):
    child = os.fork()
    if child == 0:
        store = RunStore(path)
        run = store.create(recipe="", rule="r", rule_text="", board="sim", dtype="f32", seed=turn, plan=b"", versions={})
        for step in range(0, 10**9, 50):
            store.log_many(run, "loss", [(i, i / 3) for i in range(step, step + 50)])
            store.checkpoint(run, step, step.to_bytes(4, "little") * 500, 1)
    time.sleep(draw.uniform(0.005, 0.15))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    with RunStore(path) as store:
        for run in store.list():
            newest, curves = store.newest_checkpoint(run.id), store.curves(run.id)
            if newest is None:
                assert not curves
                continue
            assert newest.state == newest.step.to_bytes(4, "little") * 500
            curve, width = curves["loss"]
            assert curve[-1] == (newest.step + 49, (newest.step + 49) / 3)  # in one transaction with the checkpoint
            assert all(abs(v - s / 3) <= width for s, v in curve)
print("whole", sum(1 for run in RunStore(path).list()))
"""


def test_twenty_kills_leave_the_store_whole(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "runs.sqlite"), "20"],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("whole")
    assert int(done.stdout.split()[1]) >= 10, "most of them came as far as a run"
