"""The table of what each format holds: rule x layers x numbers x entry, from what the backends declare.

python -m edgelearn.testing.matrix                          writes docs/formats.md of a checkout
python -m edgelearn.testing.matrix --check                  is that page up to date?
python -m edgelearn.testing.matrix --prove -o FILE.json     proves every cell on 1,000 inputs and 100 steps (`make soak`);
                                                            started again, it goes on where FILE.json ends
python -m edgelearn.testing.matrix --sizes -o FILE.json     how large the files are beside their weights
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edgelearn.parity import INPUTS, STEPS
from edgelearn.testing import sizes, soak
from edgelearn.testing.backend import BLOCKS, RULES, Cell, cells

FORMATS = {
    "plan": "Also `plan-c`, `c`, `arduino`, `platformio` and `zephyr`: they hold the same plan.",
    "onnx": "ONNX Runtime.",
    "tflite": "LiteRT, with the signatures `infer`, `train`, `save` and `restore`.",
    "tflm": "TensorFlow Lite for Microcontrollers: one file for each entry.",
}
PAGE = "docs/formats.md"
COLUMNS = (("infer", "f32"), ("infer", "int8"), ("train", "f32"), ("train", "int8"))
NO_RULE = "-"


def page() -> str:
    """The page, from what is installed here."""
    parts = [_TOP, *(_section(name, words) for name, words in FORMATS.items())]
    return "\n".join(parts)


def _section(name: str, words: str) -> str:
    """A table with a row for each rule and kind of net that the rule takes, and notes on the gaps."""
    found = {(c.rule, c.block, c.entry, c.dtype): c for c in cells(name)}
    notes: list[str] = []
    lines = [f"## {name}", "", words, "", "| rule | layers | infer f32 | infer int8 | train f32 | train int8 |"]
    lines.append("|---|---|---|---|---|---|")
    for rule in RULES:
        for block in BLOCKS:
            row = [found[rule, block, entry, dtype] for entry, dtype in COLUMNS]
            if any(cell.status != "refused" for cell in row):
                lines.append(f"| {rule} | {block} | {' | '.join(_mark(cell, notes) for cell in row)} |")
    lines += ["", *(f"{i}. {note}" for i, note in enumerate(notes, 1))]
    return "\n".join([*lines, ""] if notes else lines)


def _mark(cell: Cell, notes: list[str]) -> str:
    if cell.status == "refused":
        return NO_RULE
    if cell.status == "open":
        return "yes"
    if cell.reason not in notes:
        notes.append(cell.reason)
    return f"no ({notes.index(cell.reason) + 1})"


_TOP = f"""# What each format holds

Made by `python -m edgelearn.testing.matrix`; do not edit. *yes*: written, and proved in the format's own runtime against the
interpreter, from a state that has learnt 253 samples: 16 inputs and 5 steps in the tests, {INPUTS:,} inputs and {STEPS} steps in
`make soak`. Integers must be equal, floats within 1e-5 (relative, above 1). *no*: a gap that the backend declares, with its reason
below. `{NO_RULE}`: the rule is not for such layers, or not for integers (`cascaded-forward-dfa` is for the host).

The nets are small: {"; ".join(f"{name}: {net}" for name, net in BLOCKS.items())}.
`edgelearn export RECIPE|RUN --format F --verify` proves the net that you have.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--formats", help="F,F; else all")
    parser.add_argument("--only", default="", help="cells whose name contains this")
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    if given.prove:
        sys.exit(_prove(given))
    if given.sizes:
        _sizes(given)
        return
    place = Path(PAGE)
    if given.check:
        sys.exit(0 if place.read_text() == page() else f"{PAGE} is not up to date: python -m edgelearn.testing.matrix")
    place.write_text(page())


def _prove(given: argparse.Namespace) -> int:
    """The exit status: how many cells failed, up to 100."""
    formats = given.formats.split(",") if given.formats else list(FORMATS)
    done = soak.proved(formats, given.inputs, given.steps, given.only, given.output)
    failed = [cell for cell in done if "problem" in cell]
    sys.stdout.write(f"{len(done)} cells, {len(failed)} failed\n")
    return min(len(failed), 100)


def _sizes(given: argparse.Namespace) -> None:
    found = sizes.measured(given.formats.split(",") if given.formats else sizes.FORMATS, given.only)
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    for row in found["summary"]:
        named = f"{row['format']} {row['entry']} {row['dtype']}"
        sys.stdout.write(
            f"{named}: {row['within']} of {row['files']} within the bound; "
            f"{row['least_program']:,} to {row['most_program']:,} bytes beside the weights\n"
        )


if __name__ == "__main__":
    main()
