"""docs/benchmarks/reliability-core.json, and the tables of docs/reliability.md that are made of it.

``python -m tests.fuzz.figures`` writes the tables anew. The figures come from tests.fuzz.soak, .coverage and .mutation.
"""

from __future__ import annotations

import datetime
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILE, PAGE = ROOT / "docs/benchmarks/reliability-core.json", ROOT / "docs/reliability.md"
Part = Mapping[str, Any]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def machine() -> dict[str, str]:
    """When, of what and with what a figure was made."""
    return {
        "date": f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}",
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "machine": platform.platform(),
        "python": platform.python_version(),
        "compiler": _said("cc", "--version"),
    }


def _said(*command: str) -> str:
    """The first line of what a program says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.partition("\n")[0].strip()


def store(file: Path, part: str, command: str, found: Part) -> None:
    """Puts one part of the figures into the file, in place of an older one."""
    parts = json.loads(file.read_text()) if file.exists() else {}
    parts[part] = {**machine(), "command": command, **found}
    file.write_text(json.dumps(dict(sorted(parts.items())), indent=1) + "\n")


def filled(page: str, parts: Mapping[str, Part]) -> str:
    """The page with its tables made anew."""
    for name, make in TABLES.items():
        marked = re.compile(rf"(<!-- reliability-{name} -->\n).*?(<!-- /reliability-{name} -->)", re.DOTALL)
        text = make(parts[name])
        page = marked.sub(lambda m, text=text: m[1] + text + m[2], page)
    return page


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], part: Part) -> str:
    lines = [list(heading), ["---"] * len(heading), *map(list, rows)]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{text}\n{part['date']}, on {part['commit']}: `{part['command']}`\n"


def _n(value: int) -> str:
    return f"{value:,}"


def _power(part: Part) -> str:
    rows = [[words, _n(part["figures"][name][0]), _n(sum(part["figures"][name][1:]))] for name, words in CUTS.items()]
    return _table(("fault", "tries", "state lost"), rows, part)


CUTS = {
    "single": "one cut, 70 operations x 3",
    "double": "two cuts, 210 x 210",
    "every place of the ring": "one cut, at every place of a ring of eight, the empty flash included",
    "wrap": "saves and cuts while the sequence number wraps",
    "bad pages": "each page in turn fails to erase, fails to program, or forgets",
    "stuck bits": "a bit sticks at 0 or at 1, every eighth of the flash",
    "turned bits": "a bit of the newest slot turns, each of them; the state before is loaded",
}


def _frames(part: Part) -> str:
    rows = [[row["what"], _n(row["streams"]), str(row["wrong"]), str(row["lost"])] for row in part["rows"]]
    totals = [sum(row[key] for row in part["rows"]) for key in ("streams", "wrong", "lost")]
    rows.append(["**in all**", f"**{_n(totals[0])}**", str(totals[1]), str(totals[2])])
    python = f"{sum(row['python_differs'] for row in part['rows'])} of {_n(sum(row['python'] for row in part['rows']))}"
    rows.append(["the decoder in Python takes something else, of the sample", "", python, ""])
    return _table(("damage", "streams", "taken for a frame that was never sent", "second good frame lost"), rows, part)


def _verifier(part: Part) -> str:
    rows = [
        [name, _n(row["plans"]), _n(row["accepted"]), str(row["wrong"]), *_time(part["time"].get(name))]
        for name, row in part["plans"].items()
    ]
    heading = (
        "plan",
        "damaged",
        "of these accepted",
        "answers that differ",
        "instructions for 64 KiB",
        "estimated, at 133 MHz",
    )
    return _table(heading, rows, part)


def _time(row: Part | None) -> tuple[str, str]:
    return (_n(row["instructions"]), f"{row['estimated_ms']} ms") if row else ("", "")


def _fuzzing(part: Part) -> str:
    rows = [
        [f"`{row['target']}`", f"{row['seconds']} s", _n(row["runs"]), _n(row["edges"]), str(row["findings"])]
        for row in part["rows"]
    ]
    return _table(("", "time", "inputs", "edges", "found"), rows, part)


def _coverage(part: Part) -> str:
    rows = [
        [f"`{file}`", f"{row['taken']} of {row['all']}", f"{row['percent']} %"] for file, row in part["files"].items()
    ]
    return _table(("file", "branches taken", ""), rows, part)


def _mutation(part: Part) -> str:
    rows = [
        [f"`{file}`", _n(row["mutants"]), _n(row["killed"]), f"{row['score']} %", str(row["equivalent"]), _n(row["of"])]
        for file, row in part["files"].items()
    ]
    return _table(("file", "mutants tried", "noticed", "score", "equivalent, not counted", "drawn from"), rows, part)


TABLES: dict[str, Callable[[Part], str]] = {
    "power": _power, "frames": _frames, "verifier": _verifier, "fuzzing": _fuzzing, "coverage": _coverage, "mutation": _mutation,
}  # fmt: skip


def main() -> int:
    PAGE.write_text(filled(PAGE.read_text(), json.loads(FILE.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
