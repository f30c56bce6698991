"""Extractor: the first layers of a net that was trained elsewhere, as the frozen first blocks of a net of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgelearn.layers import Layer


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
    """

    input: tuple[int, ...]
    layers: tuple[Layer, ...]
    activations: tuple[str, ...]
    values: Mapping[str, NDArray[np.float32]] = field(repr=False, compare=False)
    text: str = field(repr=False)
    sha256: str

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
        return f"features of {self.source}: {self.blocks} frozen blocks" + (
            f", without {', '.join(dropped)}" if dropped else ""
        )
