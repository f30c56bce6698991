"""The long runs behind docs/reliability.md: ``python -m tests.fuzz.soak [--seconds 600] [--streams 5000000] [--keep]``.

Fuzzes both targets, damages frames in every way that two bits can and at random, cuts the power, and stores figures (figures.py).
``--keep`` adds inputs that reach something new to tests/fuzz/corpus. Exits with 1 if anything was found.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from edgelearn.host.native import verify_plan
from edgelearn.link import messages
from edgelearn.link.frame import encode
from tests.firmware import test_verify_reference, test_verify_time
from tests.firmware.host import FIRMWARE, compile_host
from tests.firmware.test_verify import golden
from tests.fuzz import damage
from tests.fuzz.figures import CUTS, FILE, ROOT, say, store
from tests.fuzz.targets import CORE, SANITIZERS, TARGETS, build, clang, fuzz, keep, write_corpus
from tests.power.test_checkpoint import LARGE, plan

LARGEST_KEPT = 1024  # bytes of an input that is kept
MOST_KEPT = 150
COMMAND = "python -m tests.fuzz.soak"
MEDIUM = 24  # bytes on the line, of frames in which three bits are turned


def damaged_frames(folder: Path, noise: int, file: Path) -> int:
    """Every flip of one and two bits in frames short and as long as they get, of three in short ones, and noise; what went wrong."""
    program = damage.build(folder)
    short, longest = damage.every_message(32), damage.every_message(messages.MAX_FRAME, seed=1)
    brief = [frame for frame in short if len(encode(frame)) <= MEDIUM]
    rows: list[dict[str, Any]] = []
    for what, frames, how, number in (
        ("every bit of every message, short and as long as it gets", [*short, *longest], "flips", 1),
        ("every pair of bits of every message, with 32 bytes of data", short, "flips", 2),
        ("every pair of bits of every message, as long as it gets", longest, "flips", 2),
        (f"every three bits of frames up to {MEDIUM} bytes on the line", brief, "flips", 3),
        (
            "one to eight bytes changed, lost, doubled, swapped, put in, or the rest cut off",
            [*short, *longest],
            "noise",
            noise,
        ),
    ):
        found = damage.damage(program, frames, how, number, every=10_007)
        differs = sum(damage.taken_by_python(line, frames) != taken for taken, line in found.sample)
        rows.append({"what": what, "streams": found.streams, "wrong": found.wrong, "lost": found.lost,
                     "python": len(found.sample), "python_differs": differs})  # fmt: skip
        say(
            f"frames, {what}: {found.streams:,} streams, {found.wrong} wrong, {found.lost} lost; Python differs in {differs}"
        )
    store(file, "frames", f"{COMMAND} --only frames --streams {noise}", {"rows": rows})
    return sum(row["wrong"] + row["lost"] + row["python_differs"] for row in rows)


def power_cuts(folder: Path, file: Path) -> int:
    """What tests/power/test_checkpoint.py tries, with more of the bits that stick; lost states."""
    program, plan_file = folder / "power", folder / "plan"
    compile_host(program, [FIRMWARE / "tests/power_main.c", *CORE], "-lm")
    plan_file.write_bytes(plan(LARGE))
    done = subprocess.run(
        [program, plan_file, "8192", "1024", "0", "8"], capture_output=True, text=True, timeout=3600, check=True
    )
    rows = (line.split(": ") for line in done.stdout.splitlines())
    found = {name: list(map(int, numbers.split(", "))) for name, numbers in rows}
    say(done.stdout)
    store(file, "power", f"{COMMAND} --only power", {"figures": found})
    return sum(sum(found[name][1:]) for name in CUTS) + found["rules"][0]


def verified(folder: Path, file: Path) -> int:
    """How many damaged plans get the code that the rules say, and what 64 KiB of a plan take; answers that differ."""
    plans: dict[str, Any] = {}
    for name in test_verify_reference.PLANS:
        answers = [(verify_plan(*case), code) for case, code in test_verify_reference.cases(name)]
        wrong = sum(answer != code for answer, code in answers)
        plans[name] = {"plans": len(answers), "accepted": sum(answer == 0 for answer, _ in answers), "wrong": wrong}
    time: dict[str, Any] = {}
    for name in test_verify_time.MOST_MS:
        large = test_verify_time.grown(golden(name), test_verify_time.LARGE)
        counted, _ = test_verify_time.instructions(large, folder)
        time[name] = {
            "bytes": len(large),
            "instructions": counted,
            "estimated_ms": round(test_verify_time.milliseconds(counted), 1),
        }
    say(f"verifier: {plans} {time}")
    store(file, "verifier", f"{COMMAND} --only verifier", {"plans": plans, "time": time})
    return sum(row["wrong"] for row in plans.values())


def fuzzed(compiler: str, target: str, folder: Path, seconds: int, keeping: bool) -> dict[str, Any]:
    program = build(compiler, target, folder, *SANITIZERS, "-fsanitize=fuzzer")
    write_corpus(target, folder / f"{target}.corpus")
    found = fuzz(program, folder / f"{target}.corpus", seconds, folder / f"{target}.work")
    say(f"{target}: {seconds} s, {found.runs:,} inputs, {found.edges:,} edges, exit {found.code}")
    if found.code:
        say(found.log[-4000:])
    if keeping:
        keep_new(program, target, folder)
    return {
        "target": target,
        "seconds": seconds,
        "runs": found.runs,
        "edges": found.edges,
        "findings": int(found.code != 0),
    }


def keep_new(program: Path, target: str, folder: Path) -> None:
    """Of what was found, the fewest small inputs that reach all that is reached."""
    merged = folder / f"{target}.merged"
    merged.mkdir()
    sources = [folder / f"{target}.corpus", folder / f"{target}.work"]
    subprocess.run([program, "-merge=1", merged, *sources], capture_output=True, timeout=1800, check=False)
    small = sorted((f for f in merged.iterdir() if f.stat().st_size <= LARGEST_KEPT), key=lambda f: f.stat().st_size)
    keep(target, small[:MOST_KEPT])
    say(f"{target}: {len(small[:MOST_KEPT])} inputs in the corpus")


def main() -> int:
    parser = argparse.ArgumentParser(description="The long runs behind docs/reliability.md.")
    parser.add_argument("--seconds", type=int, default=600, help="of fuzzing, per target")
    parser.add_argument("--streams", type=int, default=5_000_000, help="of noise")
    parser.add_argument("--keep", action="store_true", help="add new inputs to tests/fuzz/corpus")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one if not given")
    parser.add_argument("--only", choices=("frames", "power", "verifier", "fuzzing"))
    parser.add_argument(
        "-o", "--output", type=Path, default=FILE, help=f"where the figures go ({FILE.relative_to(ROOT)})"
    )
    asked = parser.parse_args()
    say(f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d %H:%M} UTC")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="edgelearn-soak-") as name:
        folder = asked.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if asked.only in (None, "frames"):
            bad += damaged_frames(folder, asked.streams, asked.output)
        if asked.only in (None, "power"):
            bad += power_cuts(folder, asked.output)
        if asked.only in (None, "verifier"):
            bad += verified(folder, asked.output)
        if asked.only in (None, "fuzzing"):
            bad += all_fuzzed(folder, asked.seconds, asked.keep, asked.output)
    return 1 if bad else 0


def all_fuzzed(folder: Path, seconds: int, keeping: bool, file: Path) -> int:
    compiler = clang()
    if compiler is None:
        say("No clang with libFuzzer: apt-get install clang")
        return 1
    with ThreadPoolExecutor(len(TARGETS)) as pool:  # each is a process of its own
        rows = list(pool.map(lambda target: fuzzed(compiler, target, folder, seconds, keeping), TARGETS))
    store(file, "fuzzing", f"{COMMAND} --only fuzzing --seconds {seconds}", {"clang": compiler, "rows": rows})
    return sum(row["findings"] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
