"""The plans that the instruction bench compares: Mono-Forward on a given net, at a constant rate."""

from __future__ import annotations

from edgelearn.backends import backend
from edgelearn.bench.instructions import PLANS, task, widths
from edgelearn.boards import Board
from edgelearn.compiler import Net, compile_net
from edgelearn.data.datasets import Dataset
from edgelearn.passes import budget
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find


def compile_plans(net: str, data: Dataset, board: Board, seed: int) -> dict[str, str]:
    """C source of the plan by dtype for ``net``, written as ``"64-32-10"``; the rate never halves.

    Raises:
        UsageError: it is not written like that. ConfigError: it cannot be lowered. DoesNotFitError: too large.
    """
    inputs, *layers, classes = widths(net)
    calibration = Calibration(data.x_train.reshape(len(data.x_train), -1), data.y_train, seed)
    plans = {}
    what = task(net)
    for dtype in (d for d in PLANS.values() if d in board.dtypes):
        rule = find("mono-forward", dict(what.int8) if dtype == "int8" else {"lr": what.rate})
        compiled = compile_net(rule, Net(inputs, tuple(layers), classes), calibration, dtype, (), board)
        budget.check(compiled.module, board.target, len(backend("plan").export(compiled.module, board.id)))
        plans[dtype] = backend("plan-c").export(compiled.module, board.id).decode()
    return plans
