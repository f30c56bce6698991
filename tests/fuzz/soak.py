"""The long runs behind docs/reliability.md: ``python -m tests.fuzz.soak [--seconds 600] [--streams 5000000] [--keep]``.

Fuzzes both targets, damages frames in every way that two bits can and at random, and prints figures and the branch coverage of the corpus.
``--keep`` adds inputs that reach something new to tests/fuzz/corpus. Exits with 1 if anything was found.
"""

from __future__ import annotations

import argparse
import datetime
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from edgelearn.link import messages
from edgelearn.link.frame import encode
from tests.firmware.test_verify import PLANS, field_mutants, golden
from tests.fuzz import damage
from tests.fuzz.targets import SANITIZERS, TARGETS, build, clang, fuzz, keep, objects, plans, replay, write_corpus

COVERED = ("frame.c", "proto.c", "plan.c", "plan_shapes.c", "store.c")
LARGEST_KEPT = 1024  # bytes of an input that is kept
MOST_KEPT = 150
MEDIUM = 24  # bytes on the line, of frames in which three bits are turned


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def damaged_frames(folder: Path, noise: int) -> int:
    """Every flip of one and two bits in frames short and as long as they get, of three in short ones, and noise; what went wrong."""
    program = damage.build(folder)
    short, longest = damage.every_message(32), damage.every_message(messages.MAX_FRAME, seed=1)
    brief = [frame for frame in short if len(encode(frame)) <= MEDIUM]
    total = damage.Damage(0, 0, 0, ())
    for what, frames, how, number in (
        ("1 bit", [*short, *longest], "flips", 1),
        ("3 bits", brief, "flips", 3),
        ("noise", [*short, *longest], "noise", noise),
        ("2 bits, short frames", short, "flips", 2),
        ("2 bits, the longest frames", longest, "flips", 2),
    ):
        found = damage.damage(program, frames, how, number, every=10_007)
        wrong = sum(damage.taken_by_python(line, frames) != taken for taken, line in found.sample)
        say(
            f"frames, {what}: {found.streams:,} streams, {found.wrong} wrong frames, {found.lost} lost more than one; "
            f"Python differs in {wrong} of {len(found.sample):,}"
        )
        total += damage.Damage(found.streams, found.wrong + wrong, found.lost, ())
    say(f"frames: {total.streams:,} streams in all, {total.wrong} wrong, {total.lost} lost")
    return total.wrong + total.lost


def fuzzed(compiler: str, target: str, folder: Path, seconds: int, keeping: bool) -> int:
    program = build(compiler, target, folder, *SANITIZERS, "-fsanitize=fuzzer")
    write_corpus(target, folder / f"{target}.corpus")
    found = fuzz(program, folder / f"{target}.corpus", seconds, folder / f"{target}.work")
    say(f"{target}: {seconds} s, {found.runs:,} inputs, {found.edges:,} edges, exit {found.code}")
    if found.code:
        say(found.log[-4000:])
    if keeping:
        keep_new(program, target, folder)
    return found.code


def keep_new(program: Path, target: str, folder: Path) -> None:
    """Of what was found, the fewest small inputs that reach all that is reached."""
    merged = folder / f"{target}.merged"
    merged.mkdir()
    sources = [folder / f"{target}.corpus", folder / f"{target}.work"]
    subprocess.run([program, "-merge=1", merged, *sources], capture_output=True, timeout=1800, check=False)
    small = sorted((f for f in merged.iterdir() if f.stat().st_size <= LARGEST_KEPT), key=lambda f: f.stat().st_size)
    keep(target, small[:MOST_KEPT])
    say(f"{target}: {len(small[:MOST_KEPT])} inputs in the corpus")


def coverage(folder: Path) -> None:
    """Branches of the core's files that starting inputs, corpus, mutants of plans and power cuts take together, by gcov."""
    flags = ("--coverage", "-O0", "-DREPLAY")
    core = objects("gcc", folder, *flags)
    for target in TARGETS:
        program = build("gcc", target, folder, *flags, core=core)
        replay(program, write_corpus(target, folder / f"{target}.inputs"))
    verify = build("gcc", "verify_main", folder, *flags, core=core)
    mutants = [mutant for name in PLANS for mutant in field_mutants(golden(name))]
    (folder / "mutants").write_bytes(b"".join(struct.pack("<I", len(mutant)) + mutant for mutant in mutants))
    subprocess.run([verify, folder / "mutants"], capture_output=True, timeout=3600, check=True)
    power = build("gcc", "power_main", folder, *flags, core=core)
    (folder / "plan").write_bytes(plans()["dense-int8"])
    subprocess.run([power, folder / "plan", "4096", "1024", "2", "640"], capture_output=True, timeout=600, check=True)
    command = ["gcov", "-b", "-c", "-t", *sorted(folder.glob("*.gcda"))]
    out = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    (folder / "gcov.txt").write_text(out.stdout)
    for name, (some, all_) in sorted(_branches(out.stdout).items()):
        say(f"branches of {name}: {some} of {all_}, {100 * some / all_:.1f} %")


def _branches(text: str) -> dict[str, tuple[int, int]]:
    """(taken, all) of each covered file in gcov's text form."""
    found: dict[str, tuple[int, int]] = {}
    for part in re.split(r"^ +-: +0:Source:", text, flags=re.MULTILINE)[1:]:
        name = Path(part.split("\n", 1)[0]).name
        if name in COVERED:
            counts = re.findall(r"^branch +\d+ (?:taken (\d+)|never executed)", part, re.MULTILINE)
            found[name] = (sum(int(count or 0) > 0 for count in counts), len(counts))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="The long runs behind docs/reliability.md.")
    parser.add_argument("--seconds", type=int, default=600, help="of fuzzing, per target")
    parser.add_argument("--streams", type=int, default=5_000_000, help="of noise")
    parser.add_argument("--keep", action="store_true", help="add new inputs to tests/fuzz/corpus")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one if not given")
    parser.add_argument("--only", choices=("frames", "coverage", *TARGETS))
    asked = parser.parse_args()
    say(f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d %H:%M} UTC")
    compiler, bad = clang(), 0
    with tempfile.TemporaryDirectory(prefix="edgelearn-soak-") as name:
        folder = asked.folder or Path(name)
        if asked.only in (None, "frames"):
            bad += damaged_frames(folder, asked.streams)
        for target in TARGETS:
            if asked.only in (None, target):
                if compiler is None:
                    say("No clang with libFuzzer: apt-get install clang")
                    return 1
                bad += fuzzed(compiler, target, folder, asked.seconds, asked.keep)
        if asked.only in (None, "coverage"):
            coverage(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
