"""The long runs behind "The line" of docs/reliability.md: ``python -m tests.link.soak [--runs 10000] [-o FILE]``.

What tests/link/test_attack.py does some hundred times, thousands of times. Writes docs/benchmarks/reliability-link.json, and the page;
``--page`` puts what stands there into the page, and runs nothing. Exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from edgelearn import __version__
from edgelearn.testing.power_cut import PowerCutFlash
from tests.link.attack import (
    INPUTS,
    RATES,
    Outcome,
    boundaries,
    many_pulls,
    over_a_bad_line,
    over_a_dying_line,
    unplugged,
    with_resets,
)

ROOT = Path(__file__).resolve().parents[2]
FIGURES, PAGE = ROOT / "docs/benchmarks/reliability-link.json", ROOT / "docs/reliability.md"
SCHEMA = "edgelearn.reliability.link/1"
COLUMNS = ("fault", "runs", "faults", "wrong weights", "ended with exit 8", "repetitions", "longest")
PULLS = 100  # of a cable, in one run

Row = dict[str, Any]


def rows(runs: int) -> Iterable[Row]:
    for rate in RATES:
        share = -(-runs // len(RATES))
        yield summary(f"{rate:.2%} of all bytes damaged", [over_a_bad_line(rate, seed) for seed in range(share)])
    for rate in (0.0, *RATES[:1]):
        dying = [over_a_dying_line(rate, seed) for seed in range(runs // 10)]
        yield summary(f"the line dies, {rate:.0%} of its bytes damaged before", [one for one in dying if one.code])
    for own, whose in ((False, "host"), (True, "board")):
        yield summary(f"a reset at both ends of each answer, checkpoints of the {whose}", at_answers(own))
        yield summary(f"one to three resets at any byte, checkpoints of the {whose}", at_random(own, runs // 10))
    for power, what in ((False, "stays on"), (True, "restarts")):
        pulled = [unplugged(*many_pulls(PULLS, seed, power)) for seed in range(max(1, runs // 500))]
        waits = [wait for _, socket in pulled for wait in socket.waits]
        row = summary(f"unplugged {PULLS} times, the board {what}", [outcome for outcome, _ in pulled])
        yield row | {"resumed_s": max(waits)}


def at_answers(own: bool) -> list[Outcome]:
    return [_reset([at], inputs, own) for inputs in INPUTS for at in boundaries(inputs, own)[0][:-1]]


def at_random(own: bool, runs: int) -> list[Outcome]:
    draw = Random(f"resets {own}")
    most = {inputs: boundaries(inputs, own)[1] for inputs in INPUTS}
    which = [INPUTS[n % 2] for n in range(runs)]
    return [_reset(draw.choices(range(1, most[i]), k=1 + n % 3), i, own) for n, i in enumerate(which)]


def _reset(deaths: list[int], inputs: int, own: bool) -> Outcome:
    return with_resets(deaths, inputs, PowerCutFlash() if own else None)


def summary(fault: str, outcomes: Sequence[Outcome]) -> Row:
    def total(of: Callable[[Outcome], float]) -> int:
        return int(sum(map(of, outcomes)))

    return {
        "fault": fault, "runs": len(outcomes), "faults": total(lambda o: o.faults), "wrong": total(lambda o: not o.right),
        "lost": total(lambda o: o.code == 8), "repetitions": total(lambda o: o.retries),
        "longest_s": round(max(o.seconds for o in outcomes), 3), "shrunk": total(lambda o: o.shortest),
    }  # fmt: skip


def stamp() -> dict[str, Any]:
    """When, of what, by which command."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    return {
        "schema": SCHEMA, "date": f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}", "commit": commit.stdout.strip(),
        "changed_since": bool(changed.stdout.strip()), "command": shlex.join(["python", "-m", "tests.link.soak", *sys.argv[1:]]),
        "versions": {"edgelearn": __version__, "python": platform.python_version(), "numpy": np.__version__},
    }  # fmt: skip


def filled(page: str, found: Mapping[str, Any]) -> str:
    """The page with the table of these figures."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(_cells, found["rows"])]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    changed = " and what was not committed then" if found["changed_since"] else ""
    made = f"{found['date']}, commit {found['commit']}{changed}: `{found['command']}`.\n\n{table}"
    return re.sub(
        r"(<!-- reliability-link -->\n).*?(<!-- /reliability-link -->)",
        lambda m: m[1] + made + m[2],
        page,
        flags=re.DOTALL,
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    back = f", {row['resumed_s']:.2f} s after it was back at most" if "resumed_s" in row else ""
    numbers = [f"{row[key]:,}" for key in ("runs", "faults", "wrong", "lost", "repetitions")]
    return [row["fault"], *numbers, f"{row['longest_s']:.1f} s{back}"]


def main() -> int:
    parser = argparse.ArgumentParser(description="The long runs over bad lines.")
    parser.add_argument("--runs", type=int, default=10_000, help="over bad lines; of the others a tenth")
    parser.add_argument("-o", "--out", type=Path, default=FIGURES)
    parser.add_argument("--page", action="store_true", help="only put the figures into docs/reliability.md")
    asked = parser.parse_args()
    if not asked.page:
        made: list[Row] = []
        for row in rows(asked.runs):
            made.append(row)
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
        asked.out.write_text(json.dumps(stamp() | {"rows": made}, indent=2) + "\n", encoding="utf-8")
    found = json.loads(asked.out.read_text(encoding="utf-8"))
    if asked.out == FIGURES:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    return 1 if any(row["wrong"] for row in found["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
