"""The long attacks on the host.

``python -m tests.attack.soak [--kills 200] [--modules 10000] [--seconds 600] [--steps 200000] [--only PART]``

Prints what it does, writes the figures to docs/benchmarks/reliability-host.json, where those of parts that were not run stay, and exits
with 1 if anything was found.
"""

from __future__ import annotations

import argparse
import datetime
import errno
import json
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from edgelearn import __version__
from tests.attack import fuzzing, long_run, modules_soak
from tests.attack.killing import integrity, killed, same, uninterrupted
from tests.attack.targets import TARGETS
from tests.attack.test_no_room import REASONS, TRAIN, check_message, check_store
from tests.attack.warm import ROOT, Fault, Warm

FIGURES = ROOT / "docs" / "benchmarks" / "reliability-host.json"
KILLS_A_RUN = 10
Told = dict[str, Any]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def kills(asked: argparse.Namespace) -> Told:
    """Runs that are killed ten times each, at random moments."""
    random, found, wrong, damaged, early = Random(asked.seed), 0, 0, 0, 0
    runs = 0
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        store = folder / "store" / "runs.sqlite"
        with Warm(folder, {"EDGELEARN_RUNS": str(store)}) as warm:
            whole = uninterrupted(warm)
            while found < asked.kills:
                shutil.rmtree(store.parent, ignore_errors=True)
                done = killed(warm, store, random, whole.seconds, min(KILLS_A_RUN, asked.kills - found))
                found, runs = found + done.kills, runs + 1
                early += done.progress.count(None)
                wrong += not same(done.result, whole.json)
                damaged += integrity(store) != "ok"
                if runs % 5 == 0:
                    say(f"kills: {found}, {wrong} runs with other weights, {damaged} damaged stores")
    return {
        "kills": found, "before_the_first_checkpoint": early, "runs": runs, "other_weights": wrong, "damaged_stores": damaged,
        "found": wrong + damaged,
    }  # fmt: skip


def room(asked: argparse.Namespace) -> Told:
    """A run that cannot change any file any more from each of its changes on, for each reason."""
    tried = stopped = 0
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        store = folder / "store" / "runs.sqlite"
        with Warm(folder, {"EDGELEARN_RUNS": str(store)}) as warm:
            counted = warm.run(*TRAIN, fault=Fault(str(store.parent), 0, 0))
            for at in range(1, counted.changes + 1):
                shutil.rmtree(store.parent, ignore_errors=True)
                ended = warm.run(*TRAIN, fault=Fault(str(store.parent), at, REASONS[at % len(REASONS)]))
                tried += 1
                if ended.code:
                    check_message(ended, store)
                    check_store(warm, store, counted.json["state_sha256"])
                    stopped += 1
            say(f"no room: {tried} places, {stopped} runs stopped with exit code 13 and went on later")
    reasons = [errno.errorcode[number] for number in REASONS]
    return {"places": tried, "stopped_and_went_on": stopped, "reasons": reasons, "found": 0}


def files(asked: argparse.Namespace) -> Told:
    """Hostile files, each kind for so many seconds."""
    keep = ROOT / "build" / "hostile"
    keep.mkdir(parents=True, exist_ok=True)
    told: Told = {"seconds_each": asked.seconds, "kinds": {}}
    for kind in TARGETS:
        one = fuzzing.tried(kind, None, asked.seconds, asked.seed, keep)
        say(f"{kind}: {one.files:,} files, {one.refused:,} refused, {len(one.wrong)} wrong {one.skipped}")
        for wrong in one.wrong:
            say(wrong)
        told["kinds"][kind] = {
            "files": one.files, "refused": one.refused, "slowest_s": round(one.slowest_s, 2), "grown_mib": round(one.grown_mib, 1),
            "wrong": len(one.wrong), **({"skipped": one.skipped} if one.skipped else {}),
        }  # fmt: skip
    told["files"] = sum(one["files"] for one in told["kinds"].values())
    told["found"] = sum(one["wrong"] for one in told["kinds"].values())
    return told


def modules(asked: argparse.Namespace) -> Told:
    """Random modules through every pass."""
    done = modules_soak.run(asked.modules, asked.seed)
    say(
        f"modules: {done.modules:,} in floats, {done.integer_modules:,} in integers, {len(done.wrong)} changed by a pass"
    )
    return {
        "modules": done.modules, "integer_modules": done.integer_modules, "passes_compared": done.passes, "refused": done.refused,
        "inexact_left_out": done.inexact, "found": len(done.wrong),
    }  # fmt: skip


def noise(asked: argparse.Namespace) -> Told:
    """A long run over a line that damages bytes."""
    done = long_run.run(asked.steps, asked.seed)
    say(f"long run: {done}")
    return done


PARTS: dict[str, Callable[[argparse.Namespace], Told]] = {
    "kills": kills, "room": room, "files": files, "modules": modules, "noise": noise,
}  # fmt: skip


def about(command: list[str]) -> Told:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "date": f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d %H:%M} UTC", "commit": commit.stdout.strip(),
        "command": " ".join(["python", "-m", "tests.attack.soak", *command]),
        "versions": {
            "edgelearn": __version__, "python": platform.python_version(), "numpy": np.__version__, "sqlite": sqlite3.sqlite_version,
        },
    }  # fmt: skip


def keep(part: str, told: Told) -> None:
    """Writes one part; the others stay, also those that another process has written meanwhile."""
    figures: Told = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {"schema": "edgelearn.reliability-host/1"}
    FIGURES.write_text(json.dumps({**figures, part: told}, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="The long attacks on the host.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--modules", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=600, help="of hostile files, for each kind")
    parser.add_argument("--steps", type=int, default=200_000, help="of the long run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=PARTS, action="append", help="may be given again")
    asked = parser.parse_args()
    bad = 0
    for part in asked.only or PARTS:
        told = PARTS[part](asked)
        bad += told["found"]
        keep(part, {**about(sys.argv[1:]), **told})
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
