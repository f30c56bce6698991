"""How large files are beside the weights that they hold: every cell of the matrix, and the shipped digits.

The bound is a tenth more than the weights and 10 KB. Weights are the state that an entry reads, each in its own type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from typing import Any

from edgelearn import __version__, exporting
from edgelearn.backends import Artifact, Source, backend
from edgelearn.compiler import DTYPES
from edgelearn.ir.core import Module
from edgelearn.ir.types import NUMPY
from edgelearn.testing.backend import BLOCKS, RULES, cells, source_of

FORMATS = ("onnx", "tflite", "tflm")
SLACK, PROGRAM = 0.1, 10 * 1024  # of the weights, and bytes
RECIPE = "digits"


def most(weights: int) -> int:
    """What a file with so many bytes of weights should not exceed."""
    return int(weights * (1 + SLACK)) + PROGRAM


def measured(formats: Sequence[str] = FORMATS, only: str = "") -> dict[str, Any]:
    """As docs/benchmarks/export-sizes.json has it."""
    rows = [row for name in formats for row in (*_of_recipe(name), *_of_cells(name, only))]
    return {
        "schema": "edgelearn.export-sizes/1", "date": date.today().isoformat(),
        "command": "python -m edgelearn.testing.matrix --sizes -o docs/benchmarks/export-sizes.json",
        "versions": {"edgelearn": __version__, "onnx": version("onnx"), "flatbuffers": version("flatbuffers")},
        "bound": f"weights * {1 + SLACK} + {PROGRAM}", "summary": [*_summary(rows)], "files": rows,
    }  # fmt: skip


def _of_recipe(form: str) -> Iterator[dict[str, Any]]:
    origin = exporting.find(RECIPE, None, None, {})
    for dtype in DTYPES:
        yield from _of_source(form, f"recipe {RECIPE}", "dense", origin.in_numbers(dtype).source)


def _of_cells(form: str, only: str) -> Iterator[dict[str, Any]]:
    for rule in RULES:
        for block in BLOCKS:
            for dtype in DTYPES:
                found = [c for c in cells(form, [rule], [block], [dtype]) if c.status == "open" and only in str(c)]
                if found:
                    yield from _of_source(form, rule, block, source_of(rule, block, dtype))


def _of_source(form: str, rule: str, block: str, source: Source) -> Iterator[dict[str, Any]]:
    for artifact in backend(form).artifacts(source):
        if artifact.runs:
            weights = weights_of(source.module, artifact)
            yield {
                "format": form, "rule": rule, "layers": block, "dtype": artifact.dtype, "entry": artifact.entry,
                "weights": weights, "bytes": len(artifact.raw), "over": max(0, len(artifact.raw) - most(weights)),
            }  # fmt: skip


def weights_of(module: Module, artifact: Artifact) -> int:
    """Bytes of the state that the file holds: of inference what it reads, of training all, of what is between steps none."""
    if artifact.entry == "rescale":
        return 0
    names = {arg for op in module.entry("infer").ops for arg in op.args}
    kept = [s.type for s in module.state if artifact.entry != "infer" or s.name in names]
    return sum(math.prod(t.shape) * NUMPY[t.dtype]().itemsize for t in kept)


def _summary(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """For each kind of file: how many keep to the bound, and what the largest needs beside its weights."""
    for key in dict.fromkeys((r["format"], r["entry"], r["dtype"]) for r in rows):
        of_kind = [r for r in rows if (r["format"], r["entry"], r["dtype"]) == key]
        yield {
            "format": key[0], "entry": key[1], "dtype": key[2], "files": len(of_kind),
            "within": sum(not r["over"] for r in of_kind), "least_program": min(r["bytes"] - r["weights"] for r in of_kind),
            "most_program": max(r["bytes"] - r["weights"] for r in of_kind),
        }  # fmt: skip
