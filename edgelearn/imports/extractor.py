"""Extractor: the first layers of a net that was trained elsewhere, as the frozen first blocks of a net of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgelearn.imports.integers import Scaled
from edgelearn.layers import Layer

BOARD_LEVELS = 128  # of a value that is not negative, in int8


@dataclass(frozen=True)
class Extractor:
    """What a file gave.

    Attributes:
        input: shape of a sample, (height, width, channels) or (n,).
        layers: pools among them; a block for each of the others.
        activations: what each block does with W x + b: ``relu``, or ``none`` for the last one if it has no ReLU in the file.
        values: ``@b0.W``, ``@b0.b``, ``@b1.W``, ... in the layout of ``edgelearn.nets``, batch normalisation folded in.
        text: what was read and what of it was kept, a line per layer.
        sha256: of the file.
        weights: what the values were made of, a row for each block; of a net that was trained quantised, integers.py says how.
        classifier: the last layer, if that is all that was not kept, and makes class scores.
        levels: the fewest steps that a value was rounded to in training; 0: none was.
    """

    input: tuple[int, ...]
    layers: tuple[Layer, ...]
    activations: tuple[str, ...]
    values: Mapping[str, NDArray[np.float32]] = field(repr=False, compare=False)
    text: str = field(repr=False)
    sha256: str
    weights: tuple[Scaled, ...] = field(default=(), repr=False, compare=False)
    classifier: Scaled | None = field(default=None, repr=False, compare=False)
    levels: int = 0

    @property
    def blocks(self) -> int:
        return len(self.activations)

    @property
    def source(self) -> str:
        """What it was read from, in words."""
        return self.text.partition("\n")[0]

    @property
    def note(self) -> str:
        """One sentence for whoever trains on it."""
        dropped = [line.rpartition(": ")[0] for line in self.text.splitlines()[1:] if line.endswith(": dropped")]
        without = f", without {', '.join(dropped)}" if dropped else ""
        trained = self.quantised({f"b{i}.W": each for i, each in enumerate(self.weights)})
        return "; ".join([f"features of {self.source}: {self.blocks} frozen blocks{without}", *trained])

    def quantised(self, weights: Mapping[str, Scaled]) -> tuple[str, ...]:
        """How weights that were trained quantised have arrived, by name, and what was done otherwise than in training."""
        exact = [name for name, each in weights.items() if each.exponent is not None]
        moved = {n: each.rounding for n, each in weights.items() if each.quantised and each.exponent is None}
        found = [f"int8 weights as in the file: {', '.join(exact)}"] if exact else []
        if moved:
            found.append(f"rounded to int8, by up to {max(moved.values()):.2f} units: {', '.join(moved)}")
        if self.levels and self.levels < BOARD_LEVELS:
            found.append(f"values had {self.levels} steps in training, and have {BOARD_LEVELS} on boards")
        return tuple(found)
