"""A rule that means nothing and uses what mono-forward does not: it reaches the kernels of single words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("unfused")
class Unfused:
    lr: float = 2**-6

    def init(self, s: Any, key: Any) -> None:
        s.M = L.normal(key, (s.classes, s.out), std=s.out**-0.5)

    def step(self, s: Any, x: Any, y: Any) -> Any:
        z = s.W @ x
        a = L.relu(z + s.b)
        e = L.softmax(s.M @ a) - y
        back = s.M.T @ e
        d = L.sign(back) * L.abs(back) * 0.5 + back * (z > 0)
        s.M -= self.lr * L.outer(e, a)
        s.W -= self.lr * L.outer(d, x)
        s.b += self.lr * (d - back)
        return a

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        for s in blocks:
            x = L.relu(s.W @ x + s.b)
        return blocks[-1].M @ x
