"""What pairing costs: sizes of images with and without it.

python -m edgelearn.bench.pairing           # measure, write docs/benchmarks/pairing.json and the table of docs/pairing.md
"""

from __future__ import annotations

import json
import platform
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgelearn import __version__, boards, images
from edgelearn.build import Image
from edgelearn.pairing import fetch, image, keys

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "benchmarks" / "pairing.json"
PAGE = ROOT / "docs" / "pairing.md"
BEGIN, END = "<!-- pairing-sizes -->\n", "<!-- /pairing-sizes -->"
SHOWN = ("microbit", "nrf52840dk", "nucleo-f103rb", "pico")


def measure(names: tuple[str, ...] = SHOWN) -> dict[str, Any]:
    """Sizes in bytes, by board, of the open and the paired image."""
    with tempfile.TemporaryDirectory() as folder:
        key = keys.new(Path(folder) / "key")
        built = {}
        for name in names:
            board = boards.load(name)
            pair = {"open": images.build(board), "paired": images.build_paired(board, key)}
            built[name] = {"core": board.core} | {kind: _sizes(made) for kind, made in pair.items()}
    return {
        "schema": "edgelearn.bench.pairing/1",
        "command": "python -m edgelearn.bench.pairing",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"edgelearn": __version__, "python": platform.python_version(), "monocypher": fetch.VERSION},
        "least_ram": image.LEAST_RAM,
        "boards": built,
    }


def _sizes(made: Image) -> dict[str, Any]:
    kept = ("text", "data", "bss", "stack", "stack_bound", "pool_bytes", "compiler")
    return {name: value for name, value in asdict(made).items() if name in kept}


def table(found: dict[str, Any]) -> str:
    rows = ["| board | core | flash | RAM | pool | stack, at most |", "|---|---|---|---|---|---|"]
    for name, sizes in found["boards"].items():
        open_, paired = sizes["open"], sizes["paired"]

        def both(*parts: str, a: dict[str, Any] = open_, b: dict[str, Any] = paired) -> str:
            return f"{sum(a[p] for p in parts):,} → {sum(b[p] for p in parts):,}"

        columns = both("text", "data"), both("data", "bss", "stack"), both("pool_bytes"), both("stack_bound")
        rows.append(f"| `{name}` | {sizes['core']} | {' | '.join(columns)} |")
    return "\n".join(rows) + "\n"


def write(found: dict[str, Any]) -> None:
    OUT.write_text(json.dumps(found, indent=2) + "\n")
    PAGE.write_text(filled(PAGE.read_text(), found))


def filled(page: str, found: dict[str, Any]) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table(found) + END + rest.partition(END)[2]


if __name__ == "__main__":
    write(measure())
