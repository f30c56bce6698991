"""The command line: ``edgelearn VERB``. One module per verb, imported only when that verb is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence

VERBS = {
    "demo": "Train the digits on a simulated board and compare with backpropagation.",
    "boards": "List the boards and how far each was tried, or show one.",
    "show": "Show what a recipe becomes on a board: operations, memory map, sizes.",
    "export": "Write a recipe's or a run's plan to files.",
    "flash": "Write a board's image into it, by the tool that its owners use.",
    "train": "Train a recipe on a board, one sample at a time, or on the host.",
    "eval": "Measure the accuracy of a run on its board.",
    "infer": "Classify samples with a run on its board.",
    "profile": "Measure what a training sample costs: time, memory, energy.",
    "runs": "List the runs, or show one.",
    "report": "Write runs as one page: curves, confusion, memory, link, recipe.",
    "serve": "Show the runs in a browser, while boards train.",
    "resume": "Go on with an interrupted run.",
    "doctor": "Check the installation and say how to repair it.",
    "pair": "Make a key, so that a board takes orders only from who has it.",
    "agent": "Serve this computer as a board, over TCP or a serial line.",
    "sim": "Serve a simulated or emulated board over TCP.",
    "bench": "Measure: accuracy, instructions, memory, imports.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code (docs/cli.md)."""
    try:
        from edgelearn.cli.app import run  # takes a while, and Ctrl-C may come meanwhile

        return run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("edgelearn: Stopped.", file=sys.stderr)
        return 130
