"""Mono-Forward: each block learns from its own cross-entropy, through its own head.

"Mono-Forward: Backpropagation-Free Algorithm for Efficient Neural Network Training Harnessing Local Errors",
J. Gong, B. Li, W. Abdulla, arXiv:2501.09238. For block l with input x and one-hot label y:

    a = relu(W x + b)          what the next block sees
    G = M a                    class scores; M is learnt, without bias
    e = softmax(G) - y         gated: zero where max|e| < gate, since such a sample is already right
    d = (M^T e) * 1[a > 0]     with M before its update
    M -= head lr e a^T,  W -= lr d x^T,  b -= lr d

``head`` is ours, the rate of M as a share of lr: 1/2 does a little better on MNIST (validation split), 1 on the digits.

Prediction: argmax of the last block's G (``heads = "last"``), or of the sum of all blocks' G (``heads = "sum"``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("mono-forward", cite="arXiv:2501.09238")
class MonoForward:
    """The rule; ``s`` is one block and its state, ``x`` its input, ``y`` the one-hot label."""

    lr: float = 2**-6
    head: float = 1.0
    gate: float = 0.05
    heads: Literal["last", "sum"] = "last"

    def init(self, s: Any, key: Any) -> None:
        s.M = L.normal(key, (s.classes, s.out), std=s.out**-0.5)

    def step(self, s: Any, x: Any, y: Any) -> Any:
        a = L.relu(s.W @ x + s.b)
        e = L.gate(L.softmax(s.M @ a) - y, self.gate)
        d = (s.M.T @ e) * (a > 0)  # uses the old M
        s.M -= self.head * self.lr * L.outer(e, a)
        s.W -= self.lr * L.outer(d, x)
        s.b -= self.lr * d
        return a  # all that the next block ever sees

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        G = None
        for s in blocks:
            x = L.relu(s.W @ x + s.b)
            G = s.M @ x if G is None or self.heads == "last" else G + s.M @ x
        return G
