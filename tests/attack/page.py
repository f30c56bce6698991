"""The table of docs/reliability.md about the host, from docs/benchmarks/reliability-host.json: ``python -m tests.attack.page``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.attack.warm import ROOT

FIGURES, PAGE = ROOT / "docs/benchmarks/reliability-host.json", ROOT / "docs/reliability.md"
_LINES = {
    "kills": (
        "the host is killed (SIGKILL) at a random moment, and gone on with",
        "{kills:,} kills in {runs:,} runs, {before_the_first_checkpoint:,} of them before the first checkpoint",
        "{other_weights} runs with other weights, {damaged_stores} damaged stores",
    ),
    "room": (
        "no file can be changed any more, from each change of a run on ({reasons})",
        "{places:,} places",
        "{stopped_and_went_on:,} stopped with exit code 13 and went on later to the same weights, the others had stored all; {found} else",
    ),
    "files": (
        "hostile files of {kinds} kinds, {seconds_each:g} s each",
        "{files:,} files, {refused:,} refused",
        "{found} other than an EdgeLearnError; at most {slowest_s:g} s of the processor and {grown_mib:g} MiB each",
    ),
    "modules": (
        "random modules through every pass, before and after compared",
        "{modules:,} in floats, {integer_modules:,} in integers; {passes_compared:,} passes",
        "{found} changed by a pass",
    ),
    "noise": (
        "{steps:,} steps on `sim`, one byte in {one_in:,} damaged",
        "{damaged_bytes:,} damaged bytes, {retries:,} repetitions",
        "the same weights: {same_weights}; the host grew by {grown_kib:,} KiB",
    ),
}  # fmt: skip


def filled(page: str, figures: Mapping[str, Any]) -> str:
    """The page with its table made anew."""
    rows = ["| attack | tried | came of it | run |\n", "|---|---|---|---|\n"]
    rows += [_row(part, figures[part]) for part in _LINES if part in figures]
    return re.sub(
        r"(<!-- reliability-host -->\n).*?(<!-- /reliability-host -->)",
        lambda m: m[1] + "".join(rows) + m[2],
        page,
        flags=re.DOTALL,
    )


def _row(part: str, told: Mapping[str, Any]) -> str:
    shown = dict(told)
    if part == "files":
        kinds = [kind for kind in told["kinds"].values() if "skipped" not in kind]
        shown["kinds"] = len(kinds)
        shown["refused"] = sum(kind["refused"] for kind in kinds)
        shown |= {key: max(kind[key] for kind in kinds) for key in ("slowest_s", "grown_mib")}
    if part == "room":
        shown["reasons"] = ", ".join(told["reasons"])
    if part == "noise":
        shown |= {"one_in": round(1 / told["rate"]), "same_weights": "yes" if told["same_weights"] else "no"}
    cells = [text.format(**shown) for text in _LINES[part]]
    return f"| {' | '.join(cells)} | {told['date'].split()[0]}, {told['commit']} |\n"


def main() -> None:
    """Rewrites the page in the checkout."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")


if __name__ == "__main__":
    main()
