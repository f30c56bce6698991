"""What integer graphs are written with: every op that is the same is written once, and a number is an int32, or a float that is whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgelearn.errors import ConfigError
from edgelearn_export.tflite.builder import Graph

WHOLE = 1 << 24  # floats are exact up to it


class Writer:
    """A graph whose ops have no effect but their result, as those of integers have not; and its ends.

    Args:
        number: ``i32``; or ``f32`` for runtimes without the kernels of int32. Floats hold the same integers as long as they are below 2^24,
            and what would be more is refused.
    """

    def __init__(self, graph: Graph, number: str = "i32") -> None:
        self.graph, self.number = graph, number
        self._made: dict[Any, int] = {}

    @property
    def whole_floats(self) -> bool:
        return self.number == "f32"

    def check(self, bound: int) -> int:
        """``bound``, if numbers as large as that are exact.

        Raises:
            ConfigError: they are not.
        """
        if self.whole_floats and bound >= WHOLE:
            raise ConfigError(
                "Its sums have more than 24 bits, and TFLite Micro adds in floats.", "Export the format c or plan."
            )
        return bound

    def op(
        self, name: str, inputs: Sequence[int], dtype: str, shape: Sequence[int], quant: float | None = None, version: int = 1,
        **options: Any,
    ) -> int:  # fmt: skip
        """The result of an op."""
        plain = tuple(sorted((k, tuple(v.tolist()) if isinstance(v, np.ndarray) else v) for k, v in options.items()))
        key = name, tuple(inputs), dtype, tuple(shape), quant, version, plain
        if key not in self._made:
            self._made[key] = self.graph.op(name, inputs, dtype, shape, quant, version, **options)
        return self._made[key]

    def constant(self, array: Any, dtype: Any = None, quant: float | None = None) -> int:
        return self.graph.constant(array, dtype, quant)

    def dtype(self, tensor: int) -> str:
        return self.graph.dtype(tensor)
