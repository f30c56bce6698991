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
from typing import Any

from tests.attack.warm import ROOT

FIGURES = ROOT / "docs" / "benchmarks" / "promises.json"
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
        "tests/conformance/test_boards.py::test_board_holds_the_interpreter_s_weights_in_planned_memory",
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
    return {
        "tests": list(tests), "passed": counts.get("passed", 0), "failed": counts.get("failed", 0), "errors": counts.get("error", 0),
        "skipped": counts.get("skipped", 0), "date": f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}",
    }  # fmt: skip


def main() -> int:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    told: dict[str, Any] = {
        "command": "python -m tests.attack.promises",
        "commit": commit.stdout.strip(),
        "promises": {},
    }
    for promise, tests in PROMISES.items():
        told["promises"][promise] = run(tests)
        sys.stdout.write(f"{promise}: {told['promises'][promise]}\n")
        sys.stdout.flush()
    FIGURES.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 1 if any(one["failed"] or one["errors"] or not one["passed"] for one in told["promises"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
