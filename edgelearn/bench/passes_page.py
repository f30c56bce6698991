"""The tables of docs/passes.md, from the runs in docs/benchmarks/results: python -m edgelearn.bench.passes_page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean, stdev

CASES = {"mnist": "passes-mnist", "cifar10": "passes-cifar10"}
OURS, TWIN = "mono-forward", "backprop"
Runs = dict[tuple[str, int, int], dict[int, float]]  # by (rule, batch, passes), and by seed: the accuracy


def filled(page: str, results: Path) -> str:
    """The page with its tables made anew from the runs below ``results``."""
    for name, case in CASES.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = marked.sub(lambda m, case=case: m[1] + table(results / case) + m[2], page)
    return page


def table(folder: Path) -> str:
    """Mono-Forward beside backpropagation, by batch and passes; only seeds that both have."""
    runs = _runs(folder)
    lines = [
        "batch | passes | seeds | Mono-Forward | backpropagation | difference | of each seed",
        "--- | " * 6 + "---",
    ]
    for batch, passes in sorted({(b, p) for _, b, p in runs}):
        ours, twin = runs[OURS, batch, passes], runs[TWIN, batch, passes]
        seeds = sorted(ours.keys() & twin.keys())
        a, b = [ours[s] for s in seeds], [twin[s] for s in seeds]
        pairs = ", ".join(f"{x - y:+.2f}" for x, y in zip(a, b, strict=True))
        lines.append(
            f"{batch} | {passes} | {len(seeds)} | {_spread(a)} | {_spread(b)} | {mean(a) - mean(b):+.2f} | {pairs}"
        )
    return "".join(f"| {line} |\n" for line in lines)


def _runs(folder: Path) -> Runs:
    found: Runs = {}
    for file in sorted(folder.glob("*.json")):
        run = json.loads(file.read_text(encoding="utf-8"))
        row = re.fullmatch(r"(\S+) x(\d+) batch (\d+)", run["row"])
        assert row is not None, file
        found.setdefault((row[1], int(row[3]), int(row[2])), {})[run["seed"]] = 100 * run["result"]["accuracy"]
    return found


def _spread(values: list[float]) -> str:
    return f"{mean(values):.2f} ± {stdev(values):.2f}"


def main() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    page = docs / "passes.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), docs / "benchmarks/results"), encoding="utf-8")


if __name__ == "__main__":
    main()
