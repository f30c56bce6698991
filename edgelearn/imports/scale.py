"""Features of about the size of samples: a rate that suits a recipe suits it on features too.

A trained net may make features of any size, and the steps of whatever learns on them grow with its square. A last block that is a power
of two larger or smaller makes features that are exactly so much larger or smaller, for relu(c v) = c relu(v) and pools alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError
from edgelearn.imports.extractor import Extractor
from edgelearn.ir.interp import Interpreter
from edgelearn.nets import Net
from edgelearn.tracing import trace_features

SAMPLES = 50  # enough for one number of all features
SIZE = 0.5  # root of the mean square: that of the digits


def features_of(net: Net, values: Mapping[str, NDArray[np.float32]], x: NDArray[Any]) -> NDArray[np.float32]:
    """What the features of ``net`` are for samples ``x``, in floats: a row for each."""
    module, rows = trace_features(net), list[NDArray[np.float32]]()
    run = Interpreter(module)
    run.state.update(values)
    for sample in x:
        made = run._run(module.entry("infer"), [sample], count=False)
        assert made is not None
        rows.append(made.reshape(-1))
    return np.stack(rows)


def settled(given: Extractor, net: Net, x: NDArray[Any]) -> tuple[Extractor, int]:
    """The extractor with features of usual size on samples ``x`` (N, ...), and the power of two that it took.

    Raises:
        ConfigError: they are all zero, or beyond all numbers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = features_of(net, given.values, x[:SAMPLES]).astype(np.float64)
        size = float(np.sqrt((found**2).mean()))
    if size == 0 or not math.isfinite(size):
        what = "all zero" if size == 0 else "infinite"
        hint = "Give samples like those that the file was trained on: of that size, and of those values."
        raise ConfigError(f"The features of {given.source} are {what} for these samples.", hint)
    power = round(math.log2(SIZE / size))
    last = (f"@b{given.blocks - 1}.W", f"@b{given.blocks - 1}.b")
    values = {name: np.ldexp(v, power) if name in last else v for name, v in given.values.items()}
    return replace(given, values=values), power
