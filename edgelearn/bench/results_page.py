"""Tables of docs/benchmarks.md from the files in docs/benchmarks, as text between ``<!-- name -->`` and ``<!-- /name -->``.

Each function takes that folder. ``edgelearn bench figures`` puts them into the page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from edgelearn.bench import energy_page
from edgelearn.bench.cases import CASES

Row = Mapping[str, Any]
COUNTS = ("learn, first pass", "mean of 5", "fifth pass", "infer")
_COUNT_KEYS = ("train_epoch1", "train_mean", "train", "infer")
SHIPPED = ("digits-16-int8", "digits-32-32-int8", "mnist-100-50-int8-1pass", "mnist-100-50-int8")
_CORES = {
    "microbit": "microbit, Cortex-M0, no FPU",
    "mps3-an547": "mps3-an547, Cortex-M55, Helium",
}


def load(path: Path) -> Any:
    """The object in a file of JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def table(heading: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Rows in Markdown."""
    top = f"{_line(heading)}|{'---|' * len(heading)}\n"
    return top + "".join(map(_line, lines))


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells) + "\n"


def spread(fractions: Sequence[float]) -> str:
    """Mean and standard deviation, in percent."""
    values = [100 * value for value in fractions]
    return f"{mean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f} (one seed)"


# --- instructions -------------------------------------------------------------------------------------------------------------------


def instructions(folder: Path) -> str:
    """On the Cortex-M4F, for each net."""
    made: list[str] = []
    for net in ("64-32-10", "64-32-32-10", "784-128-10"):
        rows = load(folder / f"instructions-{net}.json")["rows"]
        lines = [
            [_said(row["name"]), *_counts(row), f"{row['ram']:,}", f"{row['stack']:,}", f"{row['code']:,}",
             f"{100 * row['accuracy']:.2f} %"]
            for row in rows
        ]  # fmt: skip
        made.append(table((net, *COUNTS, "RAM", "stack", "code", "accuracy"), lines))
    return "\n".join(made)


def cores(folder: Path) -> str:
    """The same net on other cores."""
    lines = [
        [_CORES[board], row["name"], *_counts(row)]
        for board in _CORES
        for row in load(folder / f"instructions-{board}-64-32-10.json")["rows"]
    ]
    return table(("board", "row", *COUNTS), lines)


def _said(name: str) -> str:
    return name.replace("f32 careful", "f32, careful").replace("f32 plain", "f32, plain")


def _counts(row: Row) -> list[str]:
    return [f"{row[key]:,}" for key in _COUNT_KEYS]


# --- accuracy -----------------------------------------------------------------------------------------------------------------------


def accuracy(folder: Path) -> str:
    """The shipped recipes, and each seed of them."""
    lines: list[list[str]] = []
    seeds: list[list[str]] = []
    for case in SHIPPED:
        last, summed, twin = load(folder / f"{case}.json")["rows"]
        published = "" if last["published"] is None else f"{100 * last['published']:.2f}"
        lines.append([f"`{case}`, {last['net']}", f"{last['passes']:g}", *(spread(r["seeds"]) for r in (last, summed, twin)),
                      published, f"{last['ram']:,}", f"{twin['ram']:,}"])  # fmt: skip
        for row in (last, summed, twin):
            seeds.append(
                [f"`{case}`", row["name"], f"{row['rate']:g}", ", ".join(f"{100 * a:.2f}" for a in row["seeds"])]
            )
    heading = ("case", "passes", "edgelearn int8, last", "edgelearn int8, summed", "backprop twin, f32",
               "published, integer only", "RAM, int8", "RAM, twin")  # fmt: skip
    return table(heading, lines) + "\n" + table(("case", "row", "rate", "seeds 1 to 5"), seeds)


def rules(folder: Path) -> str:
    """Every rule, in integers on the emulated micro:bit, in floats here."""
    board = {row["rule"]: row for row in load(folder / "microbit/digits-rules-int8.json")["rows"]}
    here = load(folder / "digits-rules-int8.json")["rows"]
    floats = {row["rule"]: row for row in here if row["dtype"] == "f32"}
    _same(board, {row["rule"]: row for row in here if row["dtype"] == "int8"})
    lines = [
        [f"`{rule}`", _net(row), spread(row["seeds"]), spread(floats[rule]["seeds"]),
         f"{100 * (row['mean'] - floats[rule]['mean']):+.2f}", f"{row['ram']:,}", f"{floats[rule]['ram']:,}"]
        for rule, row in board.items()
    ]  # fmt: skip
    heading = (
        "rule",
        "net",
        "int8, micro:bit",
        "the same rule in f32",
        "beside floats",
        "RAM, int8",
        "RAM, f32",
    )
    return table(heading, lines)


def _same(board: Mapping[str, Row], here: Mapping[str, Row]) -> None:
    """What the page says of the board: the same accuracy for each rule and seed, to the last digit."""
    assert {rule: row["seeds"] for rule, row in board.items()} == {rule: row["seeds"] for rule, row in here.items()}


def _net(row: Row) -> str:
    hidden = {"noprop": 16, "noprop-ct": 24, "noprop-fm": 24}.get(row["rule"])
    net = row["net"].rpartition("-")[0]  # without the classes
    return net if hidden is None else f"{net}, hidden {hidden}"


def recurrent(folder: Path) -> str:
    """A digit read row by row."""
    rows = load(folder / "digits-rows-rnn-int8.json")["rows"]
    lines = [[row["name"], spread(row["seeds"]), _gap(row["gap"])] for row in rows]
    return table(("", "accuracy", "beside backpropagation through time"), lines)


def _gap(gap: float | None) -> str:
    return "" if gap is None else f"{100 * gap:+.2f}"


# --- from a file for each seed ------------------------------------------------------------------------------------------------------


def mnist_cnn(folder: Path) -> str:
    return _of_results(folder, "mnist-cnn-int8", ram=True)


def mnist_mlp(folder: Path) -> str:
    return _of_results(folder, "mnist-mlp-f32")


def cifar10(folder: Path) -> str:
    return _of_results(folder, "cifar10-cnn-f32")


def _of_results(folder: Path, case: str, ram: bool = False) -> str:
    """The rows of a case that were measured; how each rate was found stands in the case."""
    found = seeds_of(folder / "results" / case)
    lines: list[list[str]] = []
    for row in CASES[case].rows:
        if row.name not in found:
            continue
        runs, beside = found[row.name], found.get(row.against, {})
        both = sorted(runs.keys() & beside.keys())
        gap = f"{100 * (mean(_acc(runs, both)) - mean(_acc(beside, both))):+.2f} (seeds: {len(both)})" if both else ""
        bar = "" if row.published is None else f"{100 * row.published.accuracy:.2f}, {row.published.source}"
        rate = (
            f"{_rate(row.rate)}, {'by validation' if row.rate_by == 'validation' else 'nobody has searched around it'}"
        )
        line = [
            row.name,
            f"{row.passes:g} x {row.batch}",
            spread(_acc(runs, sorted(runs))),
            str(len(runs)),
            rate,
            gap,
            bar,
        ]
        lines.append([*line, f"{next(iter(runs.values()))['ram']:,}"] if ram else line)
    heading = ["row", "passes x batch", "accuracy", "seeds", "rate", "beside backpropagation", "published"]
    return table([*heading, "RAM"] if ram else heading, lines)


def _rate(rate: float) -> str:
    power = math.log2(rate)
    return f"2^{power:.0f}" if power == round(power) else f"{rate:g}"


def seeds_of(folder: Path) -> dict[str, dict[int, Row]]:
    """Results by row and seed."""
    found: dict[str, dict[int, Row]] = {}
    for file in sorted(folder.glob("*.json")):
        told = load(file)
        found.setdefault(told["row"], {})[told["seed"]] = told["result"]
    return found


def _acc(runs: Mapping[int, Row], seeds: Sequence[int]) -> list[float]:
    return [runs[seed]["accuracy"] for seed in seeds]


# --- this computer ------------------------------------------------------------------------------------------------------------------


def throughput(folder: Path) -> str:
    """Training, inference and export, as the run has them."""
    told = load(folder / "throughput.json")
    lines = [
        [row["name"], "" if row["batch"] is None else str(row["batch"]), _time(row["us"]),
         f"{row['per_second']:,.0f}" if row["batch"] else "", "" if row["ratio"] is None else f"{row['ratio']:.2f}x"]
        for row in told["rows"] if not row["reason"]
    ]  # fmt: skip
    shown = table(("", "batch", "CPU time of a call", "a second", "ratio"), lines)
    return f"{shown}\n{told['note']} {_three_runs(folder)}\n"


def _three_runs(folder: Path) -> str:
    """How far the ratios of training differ between the runs."""
    found: dict[int, list[float]] = {}
    for name in ("throughput", "throughput-2", "throughput-3"):
        for row in load(folder / f"{name}.json")["rows"]:
            if row["name"] == "edgelearn, ONNX Runtime" and row["ratio"] is not None:
                found.setdefault(row["batch"], []).append(row["ratio"])
    spans = [f"{min(ratios):.2f} to {max(ratios):.2f} at batch {batch}" for batch, ratios in found.items()]
    return f"In the three runs edgelearn beside PyTorch's backpropagation has {', '.join(spans)}."


def _time(us: float) -> str:
    return f"{us / 1e6:.2f} s" if us >= 1e6 else f"{us / 1e3:.2f} ms" if us >= 1e3 else f"{us:.1f} us"


def store(folder: Path) -> str:
    """What the run store takes."""
    told = load(folder / "store.json")
    lines = [
        [row["of"], row["name"], f"{row['value']:,.4g} {row['unit']}" if row["value"] < 1000 else f"{row['value']:,} {row['unit']}",
         "" if row["asked"] is None else f"under {row['asked']:,}"]
        for row in told["rows"]
    ]  # fmt: skip
    return table(("of", "", "measured", "asked"), lines) + f"\n{told['date']}, {told['versions']}. {told['note']}\n"


def energy(folder: Path) -> str:
    """Rules beside backpropagation, on every device that has a file."""
    return energy_page.table(energy_page.stored(folder))
