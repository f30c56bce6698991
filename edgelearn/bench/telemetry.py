"""What a meter costs a training step: guest instructions of the same net with the board's meter, and without.

python -m edgelearn.bench.telemetry            counts, writes docs/benchmarks/telemetry.json and the table of docs/energy.md
python -m edgelearn.bench.telemetry --page     the table alone

The core's own work is counted: looking at the clock before and after a step, and what is made of a reading. Reading the chip itself costs
nothing here, since QEMU has no such chip: at a bus of 400 kHz it takes about 0.4 ms, once in a period.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgelearn import __version__, images
from edgelearn.bench import counts, instructions
from edgelearn.bench.instructions import Bench, Row
from edgelearn.bench.plans import compile_plans
from edgelearn.boards import Board, load
from edgelearn.data.datasets import Dataset
from edgelearn.errors import ConfigError

FIGURES = Path(__file__).resolve().parents[2] / "docs/benchmarks/telemetry.json"
PAGE = FIGURES.parents[1] / "energy.md"
BOARD, NET, EPOCHS, SEED = "mps2-an386", "64-32-10", 5, 1
ROW = "edgelearn int8"
PERIODS_US = {"off": 0, "period 20 ms": 20_000, "period 1 ms": 1000}  # 0: no meter, but the same clock
METERED, WIRING = "microbit", ("INA219", "SHUNT_MOHM=100", "SCL_PIN=0", "SDA_PIN=30", "MARKER_PIN=3")
LIMIT = 0.02  # of a step, that a meter may cost


def run(
    board: str = BOARD, net: str = NET, epochs: int = EPOCHS, names: Sequence[str] = tuple(PERIODS_US)
) -> dict[str, Any]:
    """Counts a step without a meter, and with one that may be read so often.

    Raises:
        MissingToolError: the cross compiler or QEMU is not installed. ConfigError: the board has no bench image.
    """
    target, data = load(board), instructions.dataset(net)
    plans = compile_plans(net, data, target, SEED)
    found = {name: _count(board, net, plans, data, epochs, PERIODS_US[name]) for name in names}
    off = found["off"]
    return {
        "schema": "edgelearn.bench/1", "case": "telemetry", "board": board, "net": net, "edgelearn": __version__,
        "compiler": counts.compiler(target), "date": date.today().isoformat(),
        "command": "python -m edgelearn.bench.telemetry", "reading_costs": "nothing: not counted",
        "rows": [
            {
                "name": name, "period_us": PERIODS_US[name], "train": row.train, "train_mean": row.train_mean,
                "added": row.train_mean / off.train_mean - 1, "added_last_pass": row.train / off.train - 1,
                "code": row.code, "ram": row.ram, "stack": row.stack, "accuracy": row.accuracy,
            }
            for name, row in found.items()
        ],
    }  # fmt: skip


def flash(board: str = METERED, defines: Sequence[str] = WIRING) -> dict[str, Any]:
    """Bytes of the firmware's image as it is shipped, and with a meter and a marker pin."""
    plain = load(board)
    metered = replace(plain, defines=(*plain.defines, *defines))
    sizes = [image.text + image.data for image in (images.build(plain), images.build(metered))]
    return {"board": board, "defines": list(defines), "shipped": sizes[0], "metered": sizes[1]}


def _count(board: str, net: str, plans: dict[str, str], data: Dataset, epochs: int, period_us: int) -> Row:
    samples = instructions.samples(data, instructions.task(net).full)
    with TemporaryDirectory(prefix="edgelearn-bench-") as folder:
        defines = (f"-DBENCH_METER={period_us}", f'-DEL_BOARD_ID="{board}"', *_clock(load(board)))
        return Bench(load(board), net, plans, samples, Path(folder), epochs, SEED, defines=defines).measure(ROW)


def _clock(board: Board) -> list[str]:
    """Where the board's port reads its microseconds.

    Raises:
        ConfigError: it is not of the family whose clock the bench reads.
    """
    found = [f"-DEL_{define}u" for define in board.defines if define.startswith("FPGA=")]
    if not found:
        raise ConfigError(f"A meter's cost is not counted on board '{board.id}'.", "Choose mps2-an386.")
    return found


def filled(page: str, told: Mapping[str, Any]) -> str:
    """The page with its table made anew."""
    lines = [
        "| meter | instructions a step | more | in the last pass |",
        "|---|---|---|---|",
        *map(_line, told["rows"]),
    ]
    sizes = told["flash"]
    said = f"\nFlash of `{sizes['board']}`: {sizes['shipped']:,} bytes as shipped, {sizes['metered']:,} with an INA219 and a pin.\n"
    made = "\n".join(lines) + "\n" + said
    return re.sub(
        r"(<!-- telemetry -->\n).*?(<!-- /telemetry -->)", lambda m: m[1] + made + m[2], page, flags=re.DOTALL
    )


def _line(row: Mapping[str, Any]) -> str:
    more = [f"{100 * row[key]:.1f} %" for key in ("added", "added_last_pass")] if row["period_us"] else ["", ""]
    return f"| {row['name']} | {row['train_mean']:,} | {more[0]} | {more[1]} |"


def main(arguments: Sequence[str]) -> None:
    """Counts, unless only the page is to be made, and rewrites the files of the checkout."""
    if arguments != ["--page"]:
        told: dict[str, Any] = {**run(), "flash": flash()}
        FIGURES.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    told = json.loads(FIGURES.read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), told), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
