"""docs/passes.md says what the stored runs say."""

from __future__ import annotations

import json
from pathlib import Path

from edgelearn.bench import passes_page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_that_of_the_stored_runs() -> None:
    page = (DOCS / "passes.md").read_text(encoding="utf-8")
    assert passes_page.filled(page, DOCS / "benchmarks/results") == page, "python -m edgelearn.bench.passes_page"


def test_only_seeds_that_both_have_are_compared(tmp_path: Path) -> None:
    for rule, seeds in (("mono-forward", {1: 0.5, 2: 0.7, 3: 0.1}), ("backprop", {1: 0.4, 2: 0.4})):
        for seed, accuracy in seeds.items():
            run = {"row": f"{rule} x2 batch 1", "seed": seed, "result": {"accuracy": accuracy}}
            (tmp_path / f"{rule}.{seed}.json").write_text(json.dumps(run))
    assert passes_page.table(tmp_path).splitlines()[2:] == [
        "| 1 | 2 | 2 | 60.00 ± 14.14 | 40.00 ± 0.00 | +20.00 | +10.00, +30.00 |"
    ]
