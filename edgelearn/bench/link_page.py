"""The table of docs/link.md, from docs/benchmarks/link.json.

python -m edgelearn.bench.link_page OUT...     joins what `edgelearn bench link -o OUT` wrote, and puts the table into the page
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2] / "docs"
COLUMNS = ("net", "baud", "board, clock", "host latency", "instructions a step", "wire busy", "steps", "bytes",
           "of a run", "samples a second", "board waits")  # fmt: skip


def filled(page: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The page with its table made anew."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(_line, rows)]
    made = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return re.sub(r"(<!-- link -->\n).*?(<!-- /link -->)", lambda m: m[1] + made + m[2], page, flags=re.DOTALL)


def _line(row: Mapping[str, Any]) -> list[str]:
    shares = [f"{100 * row[key]:.1f} %" for key in ("wire", "steps", "link", "run")]
    return [row["net"], f"{row['baud']:,}", f"{row['board']}, {row['clock'] / 1e6:g} MHz", f"{row['latency_ms']:g} ms",
            f"{row['instructions']:,}", *shares, f"{row['samples_per_s']:,.0f}", "yes" if row["waits"] else "no"]  # fmt: skip


def main(files: Sequence[str]) -> None:
    """Joins the files, if there are some, and rewrites the page in the checkout."""
    figures, page = ROOT / "benchmarks/link.json", ROOT / "link.md"
    if files:
        found = [json.loads(Path(file).read_text(encoding="utf-8")) for file in files]
        joined = {
            **found[0],
            "case": "link",
            "rows": [row for part in found for row in part["rows"] if not row["reason"]],
        }
        figures.write_text(json.dumps(joined, indent=2) + "\n", encoding="utf-8")
    rows = json.loads(figures.read_text(encoding="utf-8"))["rows"]
    page.write_text(filled(page.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
