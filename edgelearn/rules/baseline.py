"""Backpropagation of the same net, for honest comparison: in place, one sample at a time, stochastic gradient descent.

D. E. Rumelhart, G. E. Hinton, R. J. Williams, "Learning representations by back-propagating errors", Nature 323 (1986). The net is
Mono-Forward's without the inner heads: a_l = relu(W_l a_{l-1} + b_l), scores G = M a_L, loss = cross-entropy of softmax(G):

    e = softmax(G) - y,   d_L = (M^T e) * 1[a_L > 0],   d_l = (W_{l+1}^T d_{l+1}) * 1[a_l > 0]
    M -= lr e a_L^T,  W_l -= lr d_l a_{l-1}^T,  b_l -= lr d_l          (every d from weights before their update)

It needs every activation at once and sees all blocks: ``step_net`` instead of ``step`` is for baselines only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("backprop", cite="doi:10.1038/323533a0")
class Backprop:
    """The baseline rule; ``blocks`` are all blocks of the net."""

    lr: float = 2**-6

    def init(self, s: Any, key: Any) -> None:
        if s.index == s.blocks - 1:
            s.M = L.normal(key, (s.classes, s.out), std=s.out**-0.5)

    def step_net(self, blocks: Sequence[Any], x: Any, y: Any) -> None:
        a = [x]
        for s in blocks:
            a.append(L.relu(s.W @ a[-1] + s.b))
        M = blocks[-1].M
        e = L.softmax(M @ a[-1]) - y
        d = (M.T @ e) * (a[-1] > 0)
        blocks[-1].M -= self.lr * L.outer(e, a[-1])
        for i in reversed(range(len(blocks))):
            s, here = blocks[i], d
            if i > 0:
                d = (s.W.T @ here) * (a[i] > 0)
            s.W -= self.lr * L.outer(here, a[i])
            s.b -= self.lr * here

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        for s in blocks:
            x = L.relu(s.W @ x + s.b)
        return blocks[-1].M @ x
