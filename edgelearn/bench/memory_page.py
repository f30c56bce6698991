"""The tables of docs/memory.md, from docs/benchmarks/memory.json.

python -m edgelearn.bench.memory_page OUT...     joins what `edgelearn bench memory -o OUT` wrote, and puts the tables into the page
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
Lines = list[list[str]]
FLOAT_WEIGHTS = 9_640  # of 64-32-10 with a bias for each class, as the lower rows count; ours has none
KB = 1000  # as in the papers whose figures stand beside ours
PEERS = (  # shared/design/peers.md, 64-32-10, state and stack over the weights as floats
    ("careful C, float backpropagation", "1.1"), ("PocketNN, integers", "3.3"), ("AIfES, floats", "3.8"),
)  # fmt: skip


def filled(page: str, rows: Sequence[Row]) -> str:
    """The page with its tables made anew."""
    for name, make in TABLES.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = marked.sub(lambda m, make=make: m[1] + make(rows) + m[2], page)
    return page


def _of(rows: Sequence[Row], case: str) -> list[Row]:
    return [row for row in rows if row["case"] == case]


def _table(heading: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    every = [list(heading), ["---"] * len(heading), *map(list, lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in every)


def _n(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _found(planned: int | None, measured: int | None) -> str:
    """One figure where the board found what was planned."""
    if measured is None:
        return f"{_n(planned)} (not run)"
    return _n(planned) if planned == measured else f"{_n(planned)}, found {_n(measured)}"


def _recipes(rows: Sequence[Row]) -> str:
    lines = [
        [row["name"], _found(row["state"], row["state_measured"]), _found(row["arena"], row["arena_measured"]),
         _n(row["stack"]), _n(row["stack_bound"]), _n(row["stack_size"]), _n(row["link_planned"]), _n(row["plan"]),
         _n(row["runtime"]), _n(row["ram"])]
        for row in _of(rows, "recipes") if row["state"] is not None
    ]  # fmt: skip
    heading = (
        "recipe and board",
        "state",
        "arena",
        "stack used",
        "at most",
        "reserved",
        "link",
        "plan",
        "flash",
        "RAM in all",
    )
    return _table(heading, lines)


def _rules(rows: Sequence[Row]) -> str:
    """What each rule takes anywhere; then, a line for each board, how much of its RAM."""
    by_rule: dict[str, dict[str, Row]] = {}
    for row in _of(rows, "rules"):
        by_rule.setdefault(row["recipe"], {})[row["board"]] = row
    own: Lines = []
    for rule, on in by_rule.items():
        known = next(row for row in on.values() if row["state"] is not None)
        own.append([f"`{rule}`, {known['net']}", _n(known["state"]), _n(known["arena"]), _n(known["plan"])])
    boards = list(dict.fromkeys(row["board"] for row in _of(rows, "rules")))
    on_board = [_board(board, [on[board] for on in by_rule.values()]) for board in boards]
    first = _table(("rule and net", "state", "arena", "plan"), own)
    return f"{first}\n{_table(('RAM in all', *(f'`{rule}`' for rule in by_rule)), on_board)}"


def _board(board: str, on: Sequence[Row]) -> list[str]:
    planned = any(row["ram"] is not None and row["agrees"] is None for row in on)
    cells = [
        "does not fit" if row["ram"] is None else _n(row["ram"]) + ("" if row["agrees"] is not False else " (!)")
        for row in on
    ]
    return [board + (" (planned)" if planned else ""), *cells]


def _flash(rows: Sequence[Row]) -> str:
    found: dict[str, dict[str, Row]] = {}
    for row in _of(rows, "flash"):
        found.setdefault(row["recipe"], {})[row["board"]] = row
    boards = list(dict.fromkeys(row["board"] for row in _of(rows, "flash")))
    heading = ["rule and net"]
    heading += [f"{board}: {part}" for board in boards for part in ("flash", "RAM in all", "stack used", "at most")]
    keys = ("runtime", "ram", "stack", "stack_bound")
    lines = [
        [f"`{rule}`, {on[boards[0]]['net']}", *(_n(on[board][key]) for board in boards for key in keys)]
        for rule, on in found.items()
    ]
    return _table(heading, lines)


def _smallest(rows: Sequence[Row]) -> str:
    lines = []
    for row in _of(rows, "smallest"):
        total = row["measured"] + row["stack"]
        lines.append([f"edgelearn int8, {row['board']}", _n(row["state"]), _n(row["arena"]), _n(row["stack"]), _n(total),
                      f"{total / FLOAT_WEIGHTS:.2f}"])  # fmt: skip
    lines += [[name, "", "", "", "", ratio] for name, ratio in PEERS]
    return _table(("64-32-10", "state", "arena", "stack used", "sum", "over float weights"), lines)


def _depth(rows: Sequence[Row]) -> str:
    found = {row["recipe"]: row for row in _of(rows, "depth")}
    lines: Lines = []
    for kind in ("dense", "conv"):
        for depth in (2, 4, 8, 16):
            ours, back = (found[f"{rule}-{depth}-{kind}"] for rule in ("mono-forward", "backprop"))
            lines.append([f"{depth} blocks, {kind}", *(_found(r["arena"], r["arena_measured"]) for r in (ours, back)),
                          _n(ours["state"]), _n(back["state"])])  # fmt: skip
    return _table(
        ("net", "arena, Mono-Forward", "arena, backpropagation", "state, Mono-Forward", "state, backpropagation"), lines
    )


_KEYWORDS = {
    "ds-cnn-by-block": "Mono-Forward, block by block",
    "ds-cnn": "Mono-Forward, all blocks at once",
    "ds-cnn-backprop": "backpropagation, ours",
}


def _keywords(rows: Sequence[Row]) -> str:
    found = {row["recipe"]: row for row in _of(rows, "keywords")}
    lines = [
        [title, _found(row["state"], row["state_measured"]), _found(row["arena"], row["arena_measured"]),
         f"{(row['state'] + row['arena']) / KB:.1f} KB", _n(row["stack"])]
        for name, title in _KEYWORDS.items() for row in (found[name],)
    ]  # fmt: skip
    return _table(("training", "state", "arena", "sum", "stack used"), lines)


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "recipes": _recipes, "rules": _rules, "flash": _flash, "smallest": _smallest, "depth": _depth, "keywords": _keywords,
}  # fmt: skip


def main(files: Sequence[str]) -> None:
    """Joins the files, if there are some, and rewrites the page in the checkout."""
    root = Path(__file__).resolve().parents[2] / "docs"
    page, figures = root / "memory.md", root / "benchmarks/memory.json"
    if files:
        found = [json.loads(Path(file).read_text(encoding="utf-8")) for file in files]
        joined = {**found[0], "rows": [row for part in found for row in part["rows"]]}
        joined["wrong"] = [sentence for part in found for sentence in part["wrong"]]
        figures.write_text(json.dumps(joined, indent=1) + "\n", encoding="utf-8")
    rows = json.loads(figures.read_text(encoding="utf-8"))["rows"]
    page.write_text(filled(page.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
