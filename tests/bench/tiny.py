"""Cases of a second, for tests; also for the processes that tests kill."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgelearn.bench.methods import Case, Method, Published

SHAPE, LAYERS = (8, 8), [16]
RATE = {"lr": 2**-4}


def method(name: str, rule: str = "mono-forward", **how: Any) -> Method:
    return Method(name, rule, **{"params": RATE, "input": SHAPE, "layers": LAYERS, "passes": 0.75, **how})


BACKPROP = method("backprop", "backprop")
LAST = method(
    "int8 last", dtype="int8", readout={"heads": "last"}, layers=[16, 16], against="backprop", rate_by="validation",
    published=Published(0.5, "a paper, another net"),
)  # fmt: skip
SUMMED = replace(LAST, name="int8 summed", readout={"heads": "sum"}, published=None, rate_by="untuned")
TINY = Case("tiny", "digits", (LAST, SUMMED, BACKPROP), note="A note.")

# Four epochs, so that there are checkpoints to go on from.
LONG = Case("long", "digits", (method("core", dtype="int8", passes=4),))
MAPS = [{"conv": 4, "head": 4}, {"pool": 2}, 16]
_ADAM = {"params": {"lr": 2**-7}, "optimizer": "adam", "augment": "flip-crop", "standardise": True}
TORCH = Case("torch", "digits", (method("torch", engine="torch", batch=32, passes=4, layers=MAPS, **_ADAM),))
_HEADS = {"layers": MAPS, "batch": 32, "optimizer": "adam", "mirrored": True, "level": 8}
FROZEN = Case("frozen", "digits", (method("frozen", "cascaded-forward", engine="frozen", passes=2, **_HEADS),))
_MOMENTUM = {"batch": 32, "passes": 4, "optimizer": "momentum"}
BPTT = Case(
    "bptt", "digits", (method("bptt", "tpsgd", layers=[{"recurrent": 16}], engine="bptt", **_MOMENTUM),)
)  # fmt: skip
CASES = {case.name: case for case in (TINY, LONG, TORCH, FROZEN, BPTT)}
