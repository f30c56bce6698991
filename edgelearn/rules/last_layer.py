"""Last layer only: random blocks that stay as they are, and one linear head on the last of them. What everything else must beat.

a_l = relu(W_l a_{l-1} + b_l),  e = softmax(M a_L) - y,  M -= lr e a_L^T
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("last-layer")
class LastLayer:
    """The baseline rule."""

    lr: float = 2**-6

    def init(self, s: Any, key: Any) -> None:
        if s.index == s.blocks - 1:
            s.M = L.zeros((s.classes, s.out))

    def step(self, s: Any, x: Any, y: Any) -> Any:
        a = L.relu(s.W @ x + s.b)
        if s.index == s.blocks - 1:
            e = L.softmax(s.M @ a) - y
            s.M -= self.lr * L.outer(e, a)
        return a

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        for s in blocks:
            x = s.keep(L.relu(s.W @ x + s.b))
        return blocks[-1].M @ x
