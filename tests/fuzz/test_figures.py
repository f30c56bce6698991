"""docs/reliability.md says what docs/benchmarks/reliability-core.json says, and that is what was to be reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.firmware.test_verify_time import MOST_MS
from tests.fuzz.coverage import COVERED, branches
from tests.fuzz.coverage import WANTED as BRANCHES
from tests.fuzz.figures import CUTS, FILE, PAGE, filled
from tests.fuzz.mutants import of_c, of_python
from tests.fuzz.mutation import EQUIVALENT, ROOT, TESTS, mutants_of
from tests.fuzz.mutation import WANTED as SCORE

STREAMS = 20_000_000


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def test_the_tables_of_the_page_are_those_of_the_figures(parts: dict[str, Any]) -> None:
    page = PAGE.read_text()
    assert filled(page, parts) == page, "python -m tests.fuzz.figures"


def test_what_was_to_be_reached(parts: dict[str, Any]) -> None:
    frames = parts["frames"]["rows"]
    assert sum(row["streams"] for row in frames) >= STREAMS
    assert not any(row["wrong"] or row["lost"] or row["python_differs"] for row in frames)
    power = parts["power"]["figures"]
    assert (power["single"][0], power["double"][0]) == (210, 44_100)
    assert not any(sum(power[name][1:]) for name in CUTS) and power["rules"] == [0]
    verifier = parts["verifier"]
    assert not any(row["wrong"] for row in verifier["plans"].values())
    assert all(row["estimated_ms"] <= MOST_MS[name] <= 50 for name, row in verifier["time"].items())
    assert not any(row["findings"] for row in parts["fuzzing"]["rows"])
    assert all(parts["coverage"]["files"][file]["percent"] >= BRANCHES for file in COVERED)
    assert all(parts["mutation"]["files"][file]["score"] >= SCORE for file in TESTS)


def test_the_page_says_how_many_rules_and_boards_agree() -> None:
    rows = [
        row for row in json.loads((ROOT / "docs/benchmarks/memory.json").read_text())["rows"] if row["case"] == "rules"
    ]
    agree = sum(row["agrees"] is True for row in rows)
    assert f"of {len(rows)} pairs of rule and board {agree} were run and agree" in PAGE.read_text()
    assert not any(row["agrees"] is False for row in rows)


def test_every_equivalent_is_a_mutant_of_today() -> None:
    """A reason for a line that has changed since says nothing."""
    known = {mutant.key for file in TESTS for mutant in mutants_of(file)}
    assert json.loads(EQUIVALENT.read_text()).keys() <= known


@pytest.mark.parametrize("file", TESTS)
def test_no_two_mutants_are_one(file: str) -> None:
    mutants, source = mutants_of(file), (ROOT / file).read_text()
    assert len({mutant.key for mutant in mutants}) == len(mutants) == len({mutant.source for mutant in mutants}) > 50
    assert source not in {mutant.source for mutant in mutants}


def test_mutants_of_c() -> None:
    source = "int f(int a, int *b) {\n  if (a < 2 && !b) return EL_OK;\n  g(a);\n  return a * 3;\n}\n"
    changes = {mutant.change for mutant in of_c("f.c", source)}
    assert changes >= {
        "< -> <=",
        "2 -> 3",
        "2 -> 1",
        "&& -> ||",
        "! -> nothing",
        "EL_OK -> -1",
        "g(a) -> nothing",
        "* -> /",
    }
    assert "a < 2 && !b -> !(a < 2 && !b)" in changes
    assert all(mutant.source.count("int *b") == 1 for mutant in of_c("f.c", source))


def test_mutants_of_python() -> None:
    source = "def f(a):\n    a.x = 1\n    if a.x <= 2 or a.y:\n        return a.x + 1\n    return None\n"
    changes = {mutant.change for mutant in of_python("f.py", source)}
    assert changes >= {
        "LtE -> Lt",
        "Or -> And",
        "Add -> Sub",
        "1 -> 2",
        "1 -> 0",
        "a.x = 1 -> nothing",
        "condition -> not condition",
    }
    assert "return value -> return None" in changes


def test_branches_are_read_from_gcov(tmp_path: Path) -> None:
    text = """        -:    0:Source:/somewhere/core/frame.c
        4:   10:  if (a && b) c();
branch  0 taken 3 (fallthrough)
branch  1 taken 1
branch  2 taken 0
    #####:   11:  if (d) e();
branch  0 never executed
        -:    0:Source:/somewhere/other.c
branch  0 taken 0
"""
    (found,) = branches(text).values()
    assert (found.taken, found.all) == (2, 4)
    assert found.missing == ("10: if (a && b) c();", "11: if (d) e();")
    assert found.percent == 50.0
