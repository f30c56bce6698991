"""A rule that means nothing and uses every word: it reaches the kernels of functions, reductions, choices and draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("all-words")
class AllWords:
    lr: float = 2**-6

    def init(self, s: Any, key: Any) -> None:
        s.M = L.normal(key, (s.classes, s.out), std=s.out**-0.5)
        s.P = L.signs(key, (s.out, s.classes), 0.5)

    def step(self, s: Any, x: Any, y: Any) -> Any:
        x = L.overlay(x, L.sample(1 - y))
        z = s.W @ L.rms_norm(x) + s.b + L.normal(s.key, (s.out,), std=0.5)
        a = L.where(z > 0.25, L.tanh(z), L.leaky_relu(z, 0.25))
        p = L.softmax(s.M @ a)
        e = L.maximum(L.minimum(p - y, 0.5), -L.uniform(s.key, (s.classes,)))
        g = L.sigmoid(L.sum(a * a) - L.dot(a, a) + L.mean(a))
        u = L.sqrt(L.abs(a)) + L.rsqrt(a * a) + L.exp(L.clip(z, -1, 1)) + L.log(1 + g)
        d = L.sign(s.P @ y - a, dead=0.125) + u / (L.max(L.abs(u)) + 1)
        s.M -= self.lr * L.outer(e, a)
        s.W -= self.lr * L.outer(d, x)
        s.b -= self.lr * d
        return a

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        for s in blocks:
            x = L.tanh(s.W @ L.rms_norm(x) + s.b)
        return blocks[-1].M @ x
