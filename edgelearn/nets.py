"""Blocks: what a layer of a recipe brings as state and sizes. A rule adds its own state and does the rest."""

from __future__ import annotations

from dataclasses import dataclass

from edgelearn.ir.core import Init, State
from edgelearn.ir.types import Type
from edgelearn.lang.trace import Declarations

STREAMS_PER_BLOCK = 16  # random streams set aside for one block's state


@dataclass(frozen=True)
class BlockSpec:
    """A dense block: ``W`` (out, inp), normal with variance 1 / inp (LeCun), and ``b`` (out,), zero.

    Twice that variance (He) trains as well in floats, but costs int8 0.1 points on MNIST at a rate of 2^-6: weights that start low
    have the finer unit, and may move up.
    """

    index: int
    inp: int
    out: int
    classes: int
    blocks: int

    @property
    def prefix(self) -> str:
        return f"b{self.index}"

    def sizes(self) -> dict[str, int]:
        return {"index": self.index, "inp": self.inp, "out": self.out, "classes": self.classes, "blocks": self.blocks}

    def own_state(self) -> dict[str, State]:
        stream = self.index * STREAMS_PER_BLOCK
        W = State(f"@{self.prefix}.W", Type("f32", (self.out, self.inp)), Init("normal", self.inp**-0.5, stream))
        b = State(f"@{self.prefix}.b", Type("f32", (self.out,)), Init("zeros", 0.0, stream + 1))
        return {"W": W, "b": b}

    def declarations(self) -> Declarations:
        return Declarations(self.prefix, self.sizes(), self.index * STREAMS_PER_BLOCK + 2)


def dense_blocks(inputs: int, layers: tuple[int, ...], classes: int) -> list[BlockSpec]:
    """One block per width in ``layers``."""
    widths = (inputs, *layers)
    return [BlockSpec(i, widths[i], widths[i + 1], classes, len(layers)) for i in range(len(layers))]
