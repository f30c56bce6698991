"""DRTP, direct random target projection: a random code of the label stands for a block's error.

C. Frenkel, M. Lefebvre, D. Bol, "Learning Without Feedback: Fixed Random Learning Signals Allow for Feedforward Training of Deep Neural
Networks", arXiv:1909.01311. With fixed random B per block and one-hot label y*:

    y = tanh(W x + b),  d = (B y*) (1 - y^2)
    W -= lr d x^T,  b -= lr d

and the output layer by its own true error, e = softmax(M y) - y*, M -= head lr e y^T. It is tpSGD without the restoring term -y: nothing
but tanh' bounds the weights. B has entries +-scale, made from the seed. The paper draws it uniformly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("drtp", cite="arXiv:1909.01311")
class DRTP:
    """The rule; ``a`` is what the paper calls y_k."""

    lr: float = 2**-8
    head: float = 1.0
    scale: float = 0.5

    kinds = ("dense", "conv", "depthwise", "pool")
    kinds_why = "without the restoring term of tpsgd a recurrent block drifts into saturation"

    def init(self, s: Any, key: Any) -> None:
        s.B = L.signs(key, (s.units, s.classes), self.scale)
        if s.index == s.blocks - 1:
            s.M = L.zeros((s.classes, s.out))

    def step(self, s: Any, x: Any, y: Any) -> Any:
        a = L.tanh(s.W @ x + s.b)
        d = (s.B @ y) * (1 - a * a)
        s.W -= self.lr * L.outer(d, x)
        s.b -= self.lr * d
        if s.index == s.blocks - 1:
            e = L.softmax(s.M @ a) - y
            s.M -= self.head * self.lr * L.outer(e, a)
        return a

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        for s in blocks:
            x = s.keep(L.tanh(s.W @ x + s.b))
        return blocks[-1].M @ x
