"""SECURITY.md and the promises of the README: each sentence names tests, and these exist and are collected."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.attack.promises import FIGURES, PROMISES
from tests.attack.warm import ROOT

_ITEM = re.compile(r"^(\d+)\. (.*?)(?=^\d+\. |\Z)", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"`(tests/[\w/]+\.py::\w+)`")


def invariants() -> dict[int, str]:
    """The numbered sentences, with all that belongs to each."""
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    part = page.partition("## What holds")[2].partition("\n## ")[0]
    return {int(number): text for number, text in _ITEM.findall(part)}


def defined(test: str) -> bool:
    file, name = test.split("::")
    path = ROOT / file
    return path.is_file() and re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


def test_invariants_are_numbered_without_gaps() -> None:
    assert list(invariants()) == list(range(1, len(invariants()) + 1))
    assert len(invariants()) >= 15


@pytest.mark.parametrize("number", invariants())
def test_an_invariant_is_held_by_tests_that_exist(number: int) -> None:
    tests = _TEST.findall(invariants()[number])
    assert tests, f"invariant {number} names no test"
    assert [test for test in tests if not defined(test)] == []


def test_all_tests_that_are_named_are_collected() -> None:
    """A test that pytest does not find, for its name, a wrong marker or an import that fails, holds nothing."""
    named = sorted(
        {test for text in invariants().values() for test in _TEST.findall(text)} | set(sum(PROMISES.values(), ()))
    )
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *named]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    found = {line.partition("[")[0] for line in done.stdout.splitlines() if line.startswith("tests/")}
    assert {name.partition("[")[0] for name in named} <= found


def test_the_front_page_promises_what_is_tested() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    part = page.partition("## What holds")[2].partition("\n## ")[0]
    for promise, tests in PROMISES.items():
        (line,) = [line for line in part.splitlines() if promise in line]
        assert {test.split("::")[0] for test in tests} & set(re.findall(r"\((tests/[\w/.]+)\)", line)), line
    assert len([line for line in part.splitlines() if line.startswith("- ")]) == len(PROMISES)


def test_the_last_run_of_each_promise_went_well() -> None:
    """What `python -m tests.attack.promises` wrote."""
    told = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert set(told["promises"]) == set(PROMISES)
    for promise, run in told["promises"].items():
        assert set(run["tests"]) == set(PROMISES[promise])
        assert run["passed"] > 0
        assert (run["failed"], run["errors"]) == (0, 0)
