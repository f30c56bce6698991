"""The order of the passes, for each kind of numbers; the module is verified after each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgelearn.ir.core import Module
from edgelearn.ir.verify import verify
from edgelearn.passes.fuse import fuse
from edgelearn.passes.memory import plan_memory
from edgelearn.passes.narrow import narrow
from edgelearn.passes.observe import observe
from edgelearn.passes.quantize import Calibration, check_limits, quantize, storage_bits
from edgelearn.passes.simplify import cse, dce, drop_unused_state, fold
from edgelearn.passes.spread import spread

Stages = list[tuple[str, Module]]
Pass = tuple[str, Callable[[Module], Module]]


def lower(module: Module, dtype: str, calibration: Calibration, bits: Mapping[str, int] | None = None) -> Stages:
    """Runs all passes; returns every stage with its name, the traced module first and the planned one last.

    Args:
        bits: of weights that should not be int8, by name (``b0.W``).

    Raises:
        ConfigError: the module cannot be lowered; the rule's line is named.
    """
    passes: list[Pass] = [("fold", fold), ("cse", cse), ("observe", observe), ("dce", dce), ("fuse", fuse)]
    passes += [("unused", drop_unused_state)]
    if dtype == "int8":
        passes += [("spread", spread)]
        passes += [("quantize", lambda m: quantize(m, calibration, storage_bits(m, bits or {}))), ("narrow", narrow)]
    else:
        passes += [("f32", lambda m: m.with_attrs(dtype="f32"))]
    passes += [("memory", plan_memory)]
    stages = [("trace", verify(module))]
    for name, run in passes:
        stages.append((name, verify(run(stages[-1][1]))))
    if dtype == "int8":
        check_limits(stages[-1][1])
    return stages
