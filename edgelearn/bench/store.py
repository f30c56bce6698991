"""What the run store takes: bytes a step, the file of a very long run, a store whose writer is killed, and the time of a report."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgelearn import state
from edgelearn.errors import EdgeLearnError
from edgelearn.host.native import NativeCore
from edgelearn.job import Job, prepare
from edgelearn.runs import RIGHT, RunStore
from edgelearn.session import connect
from edgelearn.training import checkpoint_every
from edgelearn.watching import Watching

STEPS, READINGS, KILLS = 100_000, 4_000_000, 20
KILL_S = (0.0, 0.2)  # after the writer has begun
NOTE = (
    "Bytes are those of the whole file: recipe, plan, three checkpoints and index included. Watching is CPU time of this computer at all "
    "checkpoints of the run, beside the CPU time of the whole training on this side of the link; the report's is that of the command."
)
# In a process of its own, so that it can be killed: checkpoints and readings of their steps, without an end.
_WRITER = """
import sys
from pathlib import Path
from edgelearn.bench import store
store.write_for_ever(Path(sys.argv[1]))
"""

OnPart = Callable[[int, int, str], None]  # (parts done, of how many, the one that begins)


@dataclass(frozen=True)
class Row:
    """``asked`` is what ``value`` must stay under."""

    name: str
    value: float
    unit: str
    asked: float | None = None
    of: str = ""


def run(steps: int = STEPS, on_part: OnPart = lambda done, total, what: None) -> list[Row]:
    """All figures; files are written to a folder of their own."""
    parts: dict[str, Callable[[Path], list[Row]]] = {
        "training": lambda folder: training(folder, steps),
        "logging": lambda folder: logging(folder, steps),
        "a long run": lambda folder: long_run(folder, READINGS),
        "kill -9": lambda folder: kills(folder, KILLS),
    }
    rows: list[Row] = []
    for done, (name, part) in enumerate(parts.items()):
        on_part(done, len(parts), name)
        with TemporaryDirectory(prefix="edgelearn-store-") as folder:
            rows += part(Path(folder))
    return rows


def training(folder: Path, steps: int) -> list[Row]:
    """A run on the simulated board: its file, its report, and what it took to watch it."""
    file, job = folder / "runs.sqlite", prepare("digits", steps=steps)
    with RunStore(file) as store, connect("sim") as board:
        began = time.process_time()
        name = board.train(job, store).run
        spent = time.process_time() - began
    of = f"digits on sim, {steps:,} steps"
    page, seconds = _report(file, name, folder / "report.html")
    return [
        Row("the store", file.stat().st_size / steps, "bytes a step", 20, of),
        Row("the report", page, "bytes", 3_000_000, of),
        Row("edgelearn report", seconds, "s of CPU time", 5, of),
        Row("watching", 100 * watching(job) / spent, "% of CPU time", None, of),
    ]


def _report(store: Path, run: str, page: Path) -> tuple[int, float]:
    words = [sys.executable, "-m", "edgelearn.cli", "report", run, "-o", str(page)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        words, env={**os.environ, "EDGELEARN_RUNS": str(store)}, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        raise EdgeLearnError(f"The report was not written: {done.stderr.strip()[-300:]}", "Please report it.")
    return page.stat().st_size, seconds


def watching(job: Job) -> float:
    """Seconds of CPU time for the readings of all checkpoints of ``job``."""
    every, stage = checkpoint_every(job.steps), job.stages[0]
    core = NativeCore(job.plan, job.state_bytes, job.arena_bytes, job.recipe.train.seed)
    began = time.process_time()
    watch, spent, step = Watching(job, every, None, None), 0.0, 0
    spent += time.process_time() - began
    while step < job.steps:
        last = min((step + 1) // every * every + every - 1, job.steps)
        core.learn(job.x_train, job.data.y_train, job.order(step, last))
        step, found = last, state.decode(job.module, core.read_state())
        began = time.process_time()
        list(watch.readings(stage, found, True))
        spent += time.process_time() - began
    return spent


def logging(folder: Path, steps: int) -> list[Row]:
    """Two numbers of full precision for every step, logged one by one."""
    file, draw = folder / "runs.sqlite", random.Random(0)
    with RunStore(file) as store:
        run = _created(store)
        for step in range(steps):
            store.log(run, step, "loss", draw.random())
            store.log(run, step, "seconds", draw.random())
    return [Row("the store", file.stat().st_size / steps, "bytes a step", 20, f"two numbers a step, {steps:,} steps")]


def long_run(folder: Path, readings: int) -> list[Row]:
    """More numbers than a run may keep: older ones become means."""
    file, draw, at = folder / "runs.sqlite", random.Random(0), 0
    with RunStore(file) as store:
        run = _created(store)
        while at < readings:
            store.log_many(run, "loss", [(at + i, draw.random()) for i in range(10_000)])
            at += 10_000
        width = store.curves(run)["loss"][1]
    of = f"a number a step, {readings:,} steps; the oldest kept as means of {width}"
    return [Row("the store", file.stat().st_size, "bytes", 20_000_000, of)]


def kills(folder: Path, times: int) -> list[Row]:
    """Writers that are killed at random moments, one after the other, in one store."""
    file, draw, whole = folder / "runs.sqlite", random.Random(0), 0
    for _ in range(times):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(file)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        with writer.stdout as said:
            said.readline()  # it has begun
            time.sleep(draw.uniform(*KILL_S))
            writer.kill()
            writer.wait()
        whole += _whole(file)
    return [Row("whole after kill -9", whole, "stores", None, f"{times} writers killed")]


def write_for_ever(file: Path) -> None:
    with RunStore(file) as store:
        run = _created(store)
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        for step in range(0, 10**9, 50):
            store.log_many(run, RIGHT, [(i, float(i % 2)) for i in range(step, step + 50)])
            store.checkpoint(run, step, step.to_bytes(4, "little") * 1000, 1)


def _whole(file: Path) -> bool:
    """Is the file sound, and does each run end with a checkpoint and the readings of its steps?"""
    with sqlite3.connect(file) as db:
        sound = db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    with RunStore(file, read_only=True) as store:
        for run in store.list():
            newest, readings = store.newest_checkpoint(run.id), store.newest(run.id)
            sound &= (newest is None) == (not readings)
            sound &= newest is None or (RIGHT in readings and readings[RIGHT][0] == newest.step + 49)
    return sound


def _created(store: RunStore) -> str:
    return store.create(recipe="", rule="bench", rule_text="", board="sim", dtype="int8", seed=0, plan=b"", versions={})
