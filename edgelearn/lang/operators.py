"""How a weight is applied. A rule writes ``s.W @ x``, ``s.W.T @ d`` and ``L.outer(d, x)``; what that means depends on the block.

Every operator first pools its input, if a pool layer or a head's setting says so: so the same text holds for pooled maps, and the
adjoint and the gradient fit by construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgelearn.ir.ops import shape_text
from edgelearn.lang.trace import Tensor, rule_error

if TYPE_CHECKING:
    from edgelearn.lang.block import StateRef

Shape = tuple[int, ...]
Term = tuple[
    Tensor, str, tuple[Tensor, ...], dict[str, Any]
]  # an update: the state, the op, its other operands, attributes


@dataclass(frozen=True)
class Pool:
    """Windows of ``size`` by ``size`` positions become one; 0: the whole map does."""

    size: int
    mode: Literal["avg", "max"] = "avg"

    def shape(self, inp: Shape) -> Shape:
        return (inp[0] // self.size, inp[1] // self.size, inp[2]) if self.size else (1, 1, inp[2])

    def attrs(self, inp: Shape) -> dict[str, int]:
        """What the op on a map of shape ``inp`` is told."""
        return {"size": self.size} if self.size else {"size": 0, "count": inp[0] * inp[1]}


@dataclass(frozen=True)
class Dense:
    """A matrix on all numbers of ``inp`` after ``pools``."""

    inp: Shape
    pools: tuple[Pool, ...] = ()

    @property
    def pooled(self) -> Shape:
        shape = self.inp
        for pool in self.pools:
            shape = pool.shape(shape)
        return shape

    def pool(self, x: Tensor) -> Tensor:
        for pool in self.pools if x.shape == self.inp else ():
            x = x.trace.emit("pool" if pool.mode == "avg" else "maxpool", x, **pool.attrs(x.shape))
        return x

    def unpool(self, d: Tensor) -> Tensor:
        shapes = [self.inp]
        for pool in self.pools:
            shapes.append(pool.shape(shapes[-1]))
        for pool, shape in reversed(list(zip(self.pools, shapes, strict=False))):
            if pool.mode == "max":
                rule_error(
                    "an error cannot go back through a max pool", 'Use average pools: { pool = 2, mode = "avg" }.'
                )
            d = d.trace.emit("unpool", d, shape=shape_text(shape), **pool.attrs(shape))
        return d

    def apply(self, W: StateRef, x: Tensor) -> Tensor:
        return W.trace.emit("matvec", W, self._input(W, x))

    def adjoint(self, W: StateRef, d: Tensor) -> Tensor:
        if W.shape[1] != math.prod(self.pooled) or len(self.inp) == 1:
            return W.trace.emit("matvec_t", W, d)
        return self.unpool(W.trace.emit("matvec_t", W, d, shape=shape_text(self.pooled)))

    def gradient(self, W: StateRef, d: Tensor, x: Tensor) -> list[Term]:
        return [(W, "outer_update", (d, self._input(W, x)), {})]

    def _input(self, W: StateRef, x: Tensor) -> Tensor:
        return self.pool(x) if W.shape[-1] == math.prod(self.pooled) else x


@dataclass(frozen=True)
class Conv(Dense):
    """A convolution, or with ``depthwise`` one kernel per channel."""

    stride: int = 1
    padding: int = 0
    depthwise: bool = False

    def _name(self, kind: str = "") -> str:
        return ("depthwise" if self.depthwise else "conv") + kind

    @property
    def _geometry(self) -> dict[str, int]:
        return {"stride": self.stride, "pad": self.padding}

    def apply(self, W: StateRef, x: Tensor) -> Tensor:
        return W.trace.emit(self._name(), W, self.pool(x), **self._geometry)

    def adjoint(self, W: StateRef, d: Tensor) -> Tensor:
        return self.unpool(W.trace.emit(self._name("_t"), W, d, shape=shape_text(self.pooled), **self._geometry))

    def gradient(self, W: StateRef, d: Tensor, x: Tensor) -> list[Term]:
        return [(W, self._name("_update"), (d, self.pool(x)), self._geometry)]


@dataclass(frozen=True)
class Recurrent(Dense):
    """``s.W @ x`` is W x_t + U h_{t-1}: the block's own last output is part of its input, and a constant, as any input is."""

    U: StateRef | None = field(default=None)
    h: Tensor | None = field(default=None)

    def apply(self, W: StateRef, x: Tensor) -> Tensor:
        assert self.U is not None and self.h is not None
        return super().apply(W, x) + W.trace.emit("matvec", self.U, self.h, carry=1)

    def gradient(self, W: StateRef, d: Tensor, x: Tensor) -> list[Term]:
        assert self.U is not None and self.h is not None
        return [*super().gradient(W, d, x), (self.U, "outer_update", (d, self.h), {})]
