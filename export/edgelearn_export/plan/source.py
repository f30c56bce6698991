"""What is the same for all that holds a plan: what goes in and comes out, where it starts, and the C core that runs it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.backends import Signature, Source
from edgelearn.ir.core import Module
from edgelearn.ir.interp import Interpreter


def learnt(source: Source) -> bytes | None:
    """The state to start from; None if it is the one that the seed gives: a board makes that itself."""
    if source.learnt:
        return source.state
    return None if source.state == state.encode(Interpreter(source.module, source.seed)) else source.state


def inputs(module: Module) -> tuple[Signature, ...]:
    x = dict(module.entry("infer").params)["%x"]
    scale = None if x.exp is None else 2.0**x.exp.const
    return (Signature("x", x.dtype, x.shape, scale), Signature("label", "u16", ()))


def outputs() -> tuple[Signature, ...]:
    return (Signature("class", "u16", ()),)


class CoreRunner:
    """A plan in the C core, in this process."""

    def __init__(self, plan: bytes, source: Source) -> None:
        """Raises ConfigError if the core refuses the plan or the state."""
        from edgelearn.host.native import NativeCore

        module = source.module
        self._core = NativeCore(plan, module.integer("state_bytes"), module.integer("arena_bytes"), source.seed)
        if (raw := learnt(source)) is not None:
            self._core.write_state(raw)

    def infer(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
        return self._core.infer(x).astype(np.int64), None

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        self._core.learn(x, y, np.arange(len(x)))

    def state(self) -> bytes:
        return self._core.read_state()
