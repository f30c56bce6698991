"""The promises of the front page and the tests that hold them.

``python -m tests.attack.promises`` runs these and writes when they last did into docs/benchmarks/promises.json. It takes some minutes, and
needs the cross compilers and QEMU.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.attack.warm import ROOT

FIGURES = ROOT / "docs" / "benchmarks" / "promises.json"
COMMAND = "python -m tests.attack.promises"
PROMISES: dict[str, tuple[str, ...]] = {
    "Training state survives power loss at any flash operation": (
        "tests/power/test_checkpoint.py::test_no_cut_loses_a_state",
        "tests/power/test_power_cut_flash.py::test_a_cut_at_every_operation_leaves_old_or_new",
    ),
    "A hostile plan cannot touch memory outside its arena": (
        "tests/firmware/test_verify_guard.py::test_what_is_accepted_stays_between_its_guard_pages",
        "tests/firmware/test_verify.py::test_what_is_accepted_stays_within_its_memory",
    ),
    "int8 training is bit-identical on host and device": (
        "tests/conformance/test_core_equals_interpreter.py::test_int8_is_equal_byte_for_byte",
        # one board of each kind; the suite has all of them
        "tests/conformance/test_boards.py::test_board_holds_the_interpreter_s_weights_in_planned_memory[sim]",
        "tests/conformance/test_boards.py::test_board_holds_the_interpreter_s_weights_in_planned_memory[microbit]",
        "tests/conformance/test_boards.py::test_board_holds_the_interpreter_s_weights_in_planned_memory[virt-rv32]",
    ),
    "Nothing is allocated after start": (
        "tests/firmware/test_core_shape.py::test_the_core_needs_nothing_but_memory_functions",
        "tests/firmware/test_core_shape.py::test_an_int8_image_has_no_float_and_no_heap",
    ),
    "An energy figure is never invented": (
        "tests/energy/test_meters.py::test_nvml_on_a_jetson_is_no_zero",
        "tests/energy/test_meters.py::test_a_counter_that_stands_still",
        "tests/energy/test_meters.py::test_samples_that_are_missing",
        "tests/energy/test_meters.py::test_a_clock_that_was_set",
    ),
}


def run(tests: tuple[str, ...]) -> dict[str, Any]:
    """Runs them; nothing may be skipped for want of an emulator."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    env = {**os.environ, "EDGELEARN_REQUIRE_QEMU": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    counts = {
        word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout.splitlines()[-1])
    }
    if done.returncode:
        sys.stdout.write(done.stdout[-3000:])
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "tests": list(tests), "passed": counts.get("passed", 0), "failed": counts.get("failed", 0), "errors": counts.get("error", 0),
        "skipped": counts.get("skipped", 0), "commit": commit.stdout.strip(), "date": f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}",
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all, or those whose numbers are given, and writes each when it is done."""
    names = list(PROMISES)
    numbers = [int(word) - 1 for word in (sys.argv[1:] if argv is None else argv)] or range(len(names))
    bad = False
    for promise in (names[number] for number in numbers):
        done = run(PROMISES[promise])
        bad |= bool(done["failed"] or done["errors"] or not done["passed"])
        sys.stdout.write(f"{promise}: {done}\n")
        keep(promise, done)
    return int(bad)


def keep(promise: str, done: dict[str, Any]) -> None:
    """Writes one; the others stay."""
    told = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {"promises": {}}
    found = {**told["promises"], promise: done}
    kept = {name: found[name] for name in PROMISES if name in found}
    FIGURES.write_text(json.dumps({"command": COMMAND, "promises": kept}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
