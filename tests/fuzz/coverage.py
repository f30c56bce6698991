"""Which branches of the link, the verifier and the checkpoint the tests take: ``python -m tests.fuzz.coverage [-o JSON]``

gcc's own counts (gcov, -O0), of everything together that drives the core on this computer: inputs that the fuzzers start from and have
found, mutants of plans, power cuts, and the tests of TESTS with a core that counts. Exits with 1 if a file has less than WANTED percent.
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.firmware.host import FIRMWARE
from tests.firmware.test_verify import PLANS, field_mutants, golden
from tests.fuzz.figures import FILE, ROOT, say, store
from tests.fuzz.mutation import use_library
from tests.fuzz.targets import TARGETS, build, objects, plans, replay, write_corpus

COVERED = ("frame.c", "proto.c", "plan.c", "plan_shapes.c", "store.c")
WANTED = 95.0  # percent
FLAGS = ("--coverage", "-O0", "-DREPLAY", "-fPIC")
TESTS = (
    "tests/power",
    "tests/firmware/test_verify_reference.py",
    "tests/firmware/test_verify_maps.py",
    "tests/link/test_core_edges.py",
)


@dataclass(frozen=True)
class Branches:
    taken: int
    all: int
    missing: tuple[str, ...]  # "line: source"

    @property
    def percent(self) -> float:
        return round(100 * self.taken / self.all, 1)


def measure(folder: Path) -> dict[str, Branches]:
    core = objects("gcc", folder, *FLAGS)
    for target in TARGETS:
        replay(build("gcc", target, folder, *FLAGS, core=core), write_corpus(target, folder / f"{target}.inputs"))
    verify = build("gcc", "verify_main", folder, *FLAGS, core=core)
    mutants = [mutant for name in PLANS for mutant in field_mutants(golden(name))]
    (folder / "mutants").write_bytes(b"".join(struct.pack("<I", len(mutant)) + mutant for mutant in mutants))
    subprocess.run([verify, folder / "mutants"], capture_output=True, timeout=3600, check=True)
    power = build("gcc", "power_main", folder, *FLAGS, core=core)
    (folder / "plan").write_bytes(plans()["dense-int8"])
    for page, stride in ((4096, 640), (256, 6400)):
        command = [power, folder / "plan", "8192", str(page), "2", str(stride)]
        subprocess.run(command, capture_output=True, timeout=900, check=True)
    run_tests(folder, core)
    counts = subprocess.run(
        ["gcov", "-b", "-c", "-t", *sorted(folder.glob("*.gcda"))],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / "gcov.txt").write_text(counts.stdout)
    return branches(counts.stdout)


def run_tests(folder: Path, core: list[Path]) -> None:
    """In another process: a core counts when the process that has it ends."""
    host = ["-I" + str(FIRMWARE / part) for part in ("include", "hal", "core", "gen")] + [
        str(FIRMWARE / "ports/host/el_host.c")
    ]
    library = folder / "libelrt.so"
    command = [
        "gcc",
        "--coverage",
        "-shared",
        "-fPIC",
        "-Wl,-Bsymbolic",
        *host,
        *map(str, core),
        "-o",
        str(library),
        "-lm",
    ]
    subprocess.run(command, check=True, cwd=folder)
    program = [sys.executable, "-m", "tests.fuzz.coverage", "--library", str(library)]
    subprocess.run(program, check=True, cwd=FIRMWARE.parent, stdout=subprocess.DEVNULL)


def branches(text: str) -> dict[str, Branches]:
    """Of each covered file, from gcov's text."""
    found: dict[str, Branches] = {}
    for part in re.split(r"^ +-: +0:Source:", text, flags=re.MULTILINE)[1:]:
        name = Path(part.split("\n", 1)[0]).name
        if name not in COVERED:
            continue
        line, missing, taken, total = "", list[str](), 0, 0
        for row in part.split("\n"):
            if match := re.match(r" *[\d#=*-]+: +(\d+): *(.*)", row):
                line = f"{match[1]}: {match[2]}"
            elif match := re.match(r"branch +\d+ (?:taken (\d+)|never)", row):
                total += 1
                taken += int(match[1] or 0) > 0
                missing += [line] * (not int(match[1] or 0))
        found[name] = Branches(taken, total, tuple(missing))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-o", "--output", type=Path, default=FILE, help=f"where the figures go ({FILE.relative_to(ROOT)})"
    )
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one if not given")
    parser.add_argument("--library", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.library:
        use_library(asked.library)
        return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *TESTS]))
    with tempfile.TemporaryDirectory(prefix="edgelearn-coverage-") as name:
        folder = (asked.folder or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(folder)
    for file in COVERED:
        say(f"branches of {file}: {found[file].taken} of {found[file].all}, {found[file].percent} %")
        for line in found[file].missing:
            say(f"  not taken: {line}")
    files = {
        file: {"taken": b.taken, "all": b.all, "percent": b.percent, "missing": list(b.missing)}
        for file, b in found.items()
    }
    store(asked.output, "coverage", "python -m tests.fuzz.coverage", {"tool": "gcov, -O0", "files": files})
    return 0 if all(each.percent >= WANTED for each in found.values()) else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
