"""Would the tests notice a mistake? ``python -m tests.fuzz.mutation [--only FILE] [--sample N] [--work FOLDER] [-o JSON]``

Changes verifier, checkpoint and frames in one place at a time (mutants.py) and runs their tests, until one of them fails. A mutant of which
the compiler makes the same code as of the original is no mutant; one that no test notices is listed. What was found is kept in the folder
``--work``, so that a run can be ended and taken up again. Equivalents, which no test could notice, are in equivalent.json with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgelearn.host import native
from tests.firmware import host
from tests.firmware.host import FIRMWARE
from tests.fuzz.figures import FILE, ROOT, say, store
from tests.fuzz.mutants import Mutant, of_c, of_python

EQUIVALENT = Path(__file__).with_name("equivalent.json")
INCLUDES = [f"-I{FIRMWARE / folder}" for folder in ("include", "hal", "core", "gen")]
COMPILE = ("cc", "-c", "-std=c11", "-O1", "-fPIC", "-w", "-ffp-contract=off", *INCLUDES)
COMMAND = "python -m tests.fuzz.mutation"
WANTED = 80.0  # percent
KILLED, TIMEOUT, SURVIVED, SAME, STILLBORN = "killed", "timeout", "survived", "same code", "does not compile"
COUNTED = (KILLED, TIMEOUT, SURVIVED)
LEAST_SECONDS, MOST_SECONDS = 4, 900  # of the processor; of the clock

_RULES = "tests/firmware/test_verify_reference.py"
_IMAGE = "tests/firmware/test_verify_maps.py::test_a_compiled_in_image_refuses_what_it_has_no_function_for"
TESTS = {
    "firmware/core/plan.c": (_RULES, _IMAGE, "tests/link/test_core_edges.py"),
    "firmware/core/plan_shapes.c": (_RULES, _IMAGE),
    "firmware/core/store.c": (
        "tests/power/test_refusals.py",
        "tests/power/test_power_cut_flash.py",
        "tests/power/test_checkpoint.py::test_a_state_that_ends_within_a_word",  # every pair of cuts, of a small state
    ),
    "firmware/core/frame.c": ("tests/firmware/test_frame_proto.py", "tests/link/test_damage.py"),
    "edgelearn/link/frame.py": ("tests/link/test_frame.py", "tests/link/test_damage.py"),
}


@dataclass(frozen=True)
class Found:
    mutant: Mutant
    outcome: str


# --- one mutant


class Builder:
    """The core as objects, so that a mutant costs one compilation and a link."""

    def __init__(self, work: Path) -> None:
        self.work = work
        sources = [
            *sorted((FIRMWARE / "core").glob("*.c")),
            FIRMWARE / "gen/el_kernels_all.c",
            FIRMWARE / "ports/host/el_host.c",
        ]
        (work / "objects").mkdir(parents=True, exist_ok=True)
        self.objects = {source: work / "objects" / f"{source.stem}.o" for source in sources}
        for source, out in self.objects.items():
            subprocess.run([*COMPILE, source, "-o", out], check=True, cwd=work)
        self.codes: set[bytes] = set()

    def mutated(self, source: Path, text: str) -> str:
        """Makes the library ``mutant.so`` and says nothing, or why there is none."""
        changed, out = self.work / source.name, self.work / f"mutant-{source.stem}.o"
        changed.write_text(text)
        done = subprocess.run([*COMPILE, changed, "-o", out], capture_output=True, check=False, cwd=self.work)
        if done.returncode:
            return STILLBORN
        if out.read_bytes() in (self._original(source), *self.codes):
            return SAME
        self.codes.add(out.read_bytes())
        self.link(source, out, "mutant.so")
        return ""

    @functools.cache  # noqa: B019 - one builder lives as long as the program
    def _original(self, source: Path) -> bytes:
        same, out = self.work / source.name, self.work / f"original-{source.stem}.o"
        same.write_text(source.read_text())
        subprocess.run([*COMPILE, same, "-o", out], check=True, cwd=self.work)
        return out.read_bytes()

    def link(self, source: Path, mutant: Path, name: str) -> Path:
        """The library. A process knows a library by its name: one that has loaded it does not look again."""
        host.STAND_INS.clear()
        host.STAND_INS.update({**self.objects, source: mutant})
        host.STAND_INS.pop(FIRMWARE / "ports/host/el_host.c")
        objects = [mutant, *(out for each, out in self.objects.items() if each != source)]
        command = ["cc", "-shared", "-Wl,-Bsymbolic", *map(str, objects), "-o", str(self.work / name), "-lm"]
        subprocess.run(command, check=True)
        return self.work / name


def use_library(file: Path) -> None:
    """From now on this process calls the core in ``file``."""
    native.native = lambda name: file
    native.library.cache_clear()


def use_module(name: str, file: Path) -> None:
    """From now on this process imports ``file`` as the module ``name``; whoever has imported it already does so again."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent, _, last = name.rpartition(".")
    setattr(importlib.import_module(parent), last, module)


def run_tests(tests: Sequence[str], work: Path, name: str) -> int:
    command = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", f"--basetemp={work / name}", *tests]
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return int(pytest.main(command))


def judged(prepare: Callable[[], None], tests: Sequence[str], work: Path, seconds: float) -> str:
    """Runs the tests in a process of its own, which a mutant may crash or keep for ever."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
            signal.alarm(MOST_SECONDS)
            prepare()
            code = run_tests(tests, work, "mutant")
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # programs that it had started
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL):
        return TIMEOUT
    return SURVIVED if status == 0 else KILLED


# --- all of them


def mutants_of(file: str) -> list[Mutant]:
    source = (ROOT / file).read_text()
    return of_c(file, source) if file.endswith(".c") else of_python(file, source)


def sampled(mutants: list[Mutant], size: int | None, seed: int) -> list[Mutant]:
    """A larger sample of the same seed holds a smaller one."""
    drawn = list(mutants)  # in this order also where all are tried, so that a run may end early
    random.Random(seed).shuffle(drawn)
    return drawn[:size]


def known(log: Path) -> dict[str, str]:
    lines = log.read_text().splitlines() if log.exists() else []
    return {row["key"]: row["outcome"] for row in map(json.loads, lines)}


def try_all(file: str, mutants: Iterable[Mutant], builder: Builder, again: bool, until: float) -> list[Found]:
    """``again``: those that were not noticed are tried once more, and first: tests may have been added. None is begun after ``until``."""
    log, tests = builder.work / f"{Path(file).name}.jsonl", TESTS[file]
    before = known(log)
    if again:
        missed = {key for key, outcome in before.items() if outcome == SURVIVED}
        before = {key: outcome for key, outcome in before.items() if key not in missed}
        mutants = sorted(mutants, key=lambda mutant: mutant.key not in missed)
    seconds = None
    found: list[Found] = []
    for number, mutant in enumerate(mutants):
        outcome = before.get(mutant.key)
        if outcome is None and time.monotonic() > until:
            continue
        if outcome is None:
            seconds = seconds or baseline(file, tests, builder)
            outcome = outcome_of(mutant, tests, builder, seconds)
            with log.open("a") as out:
                out.write(json.dumps({"key": mutant.key, "outcome": outcome}) + "\n")
            if outcome == SURVIVED:
                say(f"  not noticed: {file}:{mutant.line}: {mutant.text}: {mutant.change} #{mutant.number}")
        found.append(Found(mutant, outcome))
        if number % 50 == 49:
            say(f"  {file}: {number + 1} tried")
    return found


def baseline(file: str, tests: Sequence[str], builder: Builder) -> float:
    """The tests pass without a mutant, and take so long; a mutant has three times as much."""
    if file.endswith(".c"):
        source = ROOT / file
        use_library(builder.link(source, builder.objects[source], "baseline.so"))
    before = 0.0
    for _ in range(2):  # the first one also makes what all the others share
        before = spent()
        if run_tests(tests, builder.work, "baseline"):
            raise SystemExit(f"{file}: its tests fail as it is: {' '.join(tests)}")
    return LEAST_SECONDS + 3 * (spent() - before)


def spent() -> float:
    """Seconds of the processor, of this process and those that it has started."""
    return sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def outcome_of(mutant: Mutant, tests: Sequence[str], builder: Builder, seconds: float) -> str:
    if mutant.file.endswith(".c"):
        refused = builder.mutated(ROOT / mutant.file, mutant.source)
        return refused or judged(lambda: use_library(builder.work / "mutant.so"), tests, builder.work, seconds)
    changed = builder.work / Path(mutant.file).name
    changed.write_text(mutant.source)
    name = mutant.file.removesuffix(".py").replace("/", ".")

    def prepare() -> None:
        use_module(name, changed)
        for loaded in [each for each in sys.modules if each.startswith("tests.") and each != __name__]:
            del sys.modules[loaded]

    return judged(prepare, tests, builder.work, seconds)


def figures(found: Sequence[Found], reasons: dict[str, str]) -> dict[str, Any]:
    counted = [each for each in found if each.outcome in COUNTED and each.mutant.key not in reasons]
    killed = sum(each.outcome != SURVIVED for each in counted)
    return {
        "mutants": len(counted),
        "killed": killed,
        "score": round(100 * killed / len(counted), 1) if counted else None,
        "equivalent": sum(each.outcome == SURVIVED and each.mutant.key in reasons for each in found),
        "no_mutants": sum(each.outcome not in COUNTED for each in found),
        "survivors": [each.mutant.key for each in counted if each.outcome == SURVIVED],
    }


def known_files(output: Path) -> dict[str, Any]:
    """The figures of all files, of which one is to be made anew."""
    parts = json.loads(output.read_text()) if output.exists() else {}
    return dict(parts.get("mutation", {}).get("files", {}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[Path(file).name for file in TESTS], help="this file alone")
    parser.add_argument("--sample", type=int, help="so many mutants of each file, drawn with --seed; all if not given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=ROOT / "build/mutation", help="where to work, and what is known")
    parser.add_argument(
        "--minutes", type=float, default=1e6, help="begin no mutant after so many; 0: what is known already"
    )
    parser.add_argument("--again", action="store_true", help="try again what was not noticed")
    parser.add_argument(
        "-o", "--output", type=Path, default=FILE, help=f"where the figures go ({FILE.relative_to(ROOT)})"
    )
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    reasons = json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else {}
    builder, started = Builder(asked.work.resolve()), time.monotonic()
    until = started + 60 * asked.minutes
    files = known_files(asked.output) if asked.only else {}
    for file in TESTS:
        if asked.only in (None, Path(file).name):
            every = mutants_of(file)
            chosen = sampled(every, asked.sample, asked.seed)
            files[file] = {**figures(try_all(file, chosen, builder, asked.again, until), reasons), "of": len(every)}
            row = files[file]
            say(f"{file}: {row['killed']} of {row['mutants']} killed, {row['score']} %, {row['equivalent']} equivalent")
    store(asked.output, "mutation", COMMAND, {"sample": asked.sample, "seed": asked.seed, "files": files})
    shutil.rmtree(asked.work / "mutant", ignore_errors=True)
    say(f"{time.monotonic() - started:.0f} s")
    return 0 if all(row["score"] is None or row["score"] >= WANTED for row in files.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
