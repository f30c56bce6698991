"""The figures of README.md, from the files in docs/benchmarks. ``edgelearn bench figures`` puts them there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgelearn.bench.results_page import Row, load, seeds_of, spread, table

MOST_LOST = 1.0  # points that a rule may lose to integers; the page says so of all


def results(folder: Path) -> str:
    """The two tables, and what stands below them."""
    return f"{_accuracy(folder)}\n{_instructions(folder)}\n{_rules(folder)} {_maps(folder)}\n\n{_said(folder)}\n"


def _accuracy(folder: Path) -> str:
    lines: list[list[str]] = []
    for case, before in (("mnist-100-50-int8", "MNIST"), ("mnist-100-50-int8-1pass", "")):
        last, summed, twin = load(folder / f"{case}.json")["rows"]
        bar = f" (published, integer only: {100 * last['published']:.2f})" if last["published"] else ""
        name = (
            f"{before}, {last['net']}, {last['passes']:g} passes, last head / sum of both{bar}"
            if before else f"the same after {last['passes']:g} pass"
        )  # fmt: skip
        lines.append([name, f"{spread(last['seeds'])} / {spread(summed['seeds'])} %", f"{spread(twin['seeds'])} %"])
    digits, twin = _digits_on_board(folder)
    ram = _board_ram(folder)
    lines.append(
        [f"digits, {digits['net']}, {digits['passes']:g} passes, learnt on the emulated micro:bit in {ram:,} bytes of its RAM, plan, "
         "stack and link included", f"{spread(digits['seeds'])} %", f"{spread(twin['seeds'])} %"]
    )  # fmt: skip
    heading = ("test accuracy, mean and standard deviation of 5 seeds", "edgelearn int8", "backprop f32, its best rate")
    return table(heading, lines)


def _digits_on_board(folder: Path) -> tuple[Row, Row]:
    """Of the recipe's net, learnt over the link of the emulated board; and its twin in floats."""
    board = load(folder / "microbit/digits-rules-int8.json")["rows"]
    twin = load(folder / "digits-32-32-int8.json")["rows"][-1]
    return next(row for row in board if row["rule"] == "mono-forward"), twin


def _board_ram(folder: Path) -> int:
    rows = load(folder / "memory.json")["rows"]
    (found,) = [row for row in rows if row["case"] == "recipes" and row["name"] == "digits on microbit"]
    return found["ram"]


def _instructions(folder: Path) -> str:
    told = load(folder / "instructions-64-32-10.json")
    rows = {row["name"]: row for row in told["rows"]}
    shown = {
        "edgelearn int8": "edgelearn int8", "backprop f32, careful C": "backprop f32 careful C",
        "backprop f32, plain C": "backprop f32 plain C",
    }  # fmt: skip
    found: list[dict[str, Any]] = [rows[name] for name in shown.values()]
    lines = [
        ["learn: first pass / mean of 5 / fifth pass",
         *(f"{r['train_epoch1']:,} / {r['train_mean']:,} / {r['train']:,}" for r in found)],
        ["infer", *(f"{r['infer']:,}" for r in found)],
        ["RAM to train it: state and arena, bytes", *(f"{r['ram']:,}" for r in found)],
    ]  # fmt: skip
    return table((f"Cortex-M4F, {told['net']}, instructions a sample", *shown), lines)


def _rules(folder: Path) -> str:
    rows = [row for row in load(folder / "digits-rules-int8.json")["rows"] if row["dtype"] == "int8"]
    assert all(-100 * row["gap"] < MOST_LOST for row in rows)
    number = {9: "Nine", 10: "Ten", 11: "Eleven", 12: "Twelve"}[len(rows)]
    return f"{number} rules learn the digits on the emulated micro:bit, in integers, none more than a point below itself in floats."


def _maps(folder: Path) -> str:
    found = seeds_of(folder / "results/mnist-cnn-int8")
    int8, floats = (
        [run["accuracy"] for run in found[f"mono-forward {name}"].values()] for name in ("int8 last", "f32")
    )
    return (
        f"A convolutional net of 59,112 weights, all in int8 and int16, learns MNIST to {spread(int8)} % (10 passes, {len(int8)} seeds; "
        f"in floats {100 * sum(floats) / len(floats):.2f})."
    )


def _said(folder: Path) -> str:
    uno = next(row for row in load(folder / "memory.json")["rows"] if row["name"] == "digits-tiny on arduino-uno")
    return (
        "With one hidden layer Mono-Forward *is* backpropagation: the second table compares arithmetic; "
        "[docs/benchmarks.md](docs/benchmarks.md#instructions) has deeper nets. A compiled-in plan and its kernels take at most 10 KiB of "
        f"flash on a Cortex-M0, which a test holds. A Uno learns {uno['net']} in its {uno['ram']:,} bytes."
    )
