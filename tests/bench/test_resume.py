"""A bench that is killed goes on where its last checkpoint was, and ends in the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgelearn.bench import accuracy
from edgelearn.bench.accuracy import Options
from edgelearn.bench.results import Checkpoint, Key
from edgelearn.errors import ConfigError
from tests.bench import tiny

ROOT = Path(__file__).resolve().parents[2]
EPOCH = 1400
needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="PyTorch is an extra: pip install 'edgelearn[torch]'"
)

# Measures a case, and stops moving where it is to be killed: a test that kills a moving process tests another thing each time.
CHILD = """
import sys, time
from pathlib import Path
from edgelearn.bench import accuracy
from tests.bench import tiny
case, out, seeds, seed, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
def report(done, total, what):
    if f"seed {seed} " in what and done >= step:
        print("here", flush=True)
        time.sleep(600)
accuracy.run(tiny.CASES[case], seeds, options=accuracy.Options(out=out, on_epoch=report))
"""


def kill(case: str, out: Path, seeds: int, seed: int, step: int) -> None:
    """Runs a case in a process of its own and kills it at a step of a seed."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "export")])
    command = [sys.executable, "-c", CHILD, case, str(out), str(seeds), str(seed), str(step)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
    assert said == "here\n"


def go_on(case: str, out: Path, seeds: int) -> tuple[list[float], list[tuple[str, int]]]:
    """The accuracies, and the reports of what was still to learn."""
    reports: list[tuple[str, int]] = []
    how = Options(out=out, on_epoch=lambda done, total, what: reports.append((what.split(",")[1].split()[1], done)))
    (row,) = accuracy.run(tiny.CASES[case], seeds, options=how)
    return row.seeds, reports


def test_several_seeds_in_the_core(tmp_path: Path) -> None:
    kill("long", tmp_path, seeds=3, seed=2, step=3 * EPOCH)
    names = sorted(file.name for file in (tmp_path / "long").iterdir())
    assert names == ["core.seed1.json", "core.seed2.checkpoint.npz"]
    written = (tmp_path / "long/core.seed1.json").stat().st_mtime_ns
    seeds, reports = go_on("long", tmp_path, 3)
    # Two epochs of seed 2 were kept, the third was under way; seed 1 was done, seed 3 not begun.
    assert reports == [("2", 3 * EPOCH), ("2", 4 * EPOCH), *(("3", k * EPOCH) for k in range(1, 5))]
    assert (tmp_path / "long/core.seed1.json").stat().st_mtime_ns == written
    assert not list(tmp_path.rglob("*.npz"))
    assert seeds == go_on("long", tmp_path / "whole", 3)[0]


@needs_torch
@pytest.mark.parametrize(("case", "at_least"), [("torch", 0.1), ("bptt", 0.4)])  # mirrored, shifted digits are hard
def test_torch_in_the_middle_of_an_epoch(case: str, at_least: float, tmp_path: Path) -> None:
    kill(case, tmp_path, seeds=1, seed=1, step=2 * EPOCH + 700)
    assert [file.suffix for file in (tmp_path / case).iterdir()] == [".npz"]
    seeds, reports = go_on(case, tmp_path, 1)
    assert 2 * EPOCH < reports[0][1] <= 2 * EPOCH + 100
    assert reports[-1][1] == 4 * EPOCH
    assert seeds == go_on(case, tmp_path / "whole", 1)[0]
    assert seeds[0] > at_least


@needs_torch
def test_on_features_that_are_worked_out_again(tmp_path: Path) -> None:
    """Every digit is there twice, as itself and mirrored; two passes over both."""
    kill("frozen", tmp_path, seeds=1, seed=1, step=2 * EPOCH + 700)
    seeds, reports = go_on("frozen", tmp_path, 1)
    assert 2 * EPOCH < reports[0][1] <= 2 * EPOCH + 100
    assert reports[-1][1] == 4 * EPOCH
    assert seeds == go_on("frozen", tmp_path / "whole", 1)[0]
    assert seeds[0] > 0.8


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    def checkpoint(**settings: int) -> Checkpoint:
        return Checkpoint(tmp_path / "x.npz", Key("c", "r", 1), settings, "data")

    assert checkpoint(lr=1).load() is None
    checkpoint(lr=1).save({"a/b": np.arange(3)}, 2.5)
    found = checkpoint(lr=1).load()
    assert found is not None
    assert (found[0]["a/b"].tolist(), list(found[0]), found[1]) == ([0, 1, 2], ["a/b"], 2.5)
    with pytest.raises(ConfigError, match="other settings or data") as caught:
        checkpoint(lr=2).load()
    assert "--again" in caught.value.hint
    (tmp_path / "x.npz").write_bytes(b"PK")
    with pytest.raises(ConfigError, match="cannot be read"):
        checkpoint(lr=1).load()
    checkpoint(lr=1).clear()
    assert checkpoint(lr=1).load() is None


def test_the_time_of_both_parts_is_counted(tmp_path: Path) -> None:
    kill("long", tmp_path, seeds=1, seed=1, step=2 * EPOCH)
    (file,) = tmp_path.rglob("*.npz")
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    np.savez(file, **{**kept, "seconds": np.float64(1000.0)})
    (row,) = accuracy.run(tiny.LONG, 1, options=Options(out=tmp_path))
    assert 1000 < row.seconds < 1100
