"""tpSGD, target-projection SGD: each block moves its output towards a random code of the label.

M. Lomnitz, Z. Daniels, D. Zhang, M. Piacentino, "Learning with Local Gradients at the Edge", arXiv:2208.08503. With a fixed random
projection P per block and one-hot label y*:

    y = tanh(W x + b),  t = P y*                     what the block says, and what it should say
    l2:  d = (y - t) (1 - y^2)       l1:  d = sign(y - t), 0 where |y - t| <= dead
    W -= lr d x^T,  b -= lr d                        then y goes on; no error leaves the block

The last block also has the output layer M with the task's loss: e = softmax(M y) - y*, M -= head lr e y^T.

P has entries +-scale, made from the seed wherever it is needed: it takes no memory, and P y* is a column of signs. The paper says neither
how P is drawn nor how large it is. l1 with a dead zone, and without tanh', is the default: better than either published loss, and three
times fewer updates. A recurrent block (W x_t + U h_{t-1}) learns at every moment, or at the last one only: nothing goes back in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("tpsgd", cite="arXiv:2208.08503")
class TpSGD:
    """The rule; in ``step``, ``y`` is the one-hot label y*, and ``a`` what the paper calls y_i."""

    lr: float = 2**-6
    head: float = 1.0  # rate of M, as a share of lr
    loss: Literal["l1", "l2"] = "l1"
    dead: float = 0.25
    scale: float = 0.9
    when: Literal["always", "last"] = "always"  # at which moments of a sequence blocks learn

    def init(self, s: Any, key: Any) -> None:
        s.P = L.signs(key, (s.units, s.classes), self.scale)
        if s.index == s.blocks - 1:
            s.M = L.zeros((s.classes, s.out))

    def step(self, s: Any, x: Any, y: Any) -> Any:
        a = L.tanh(s.W @ x + s.b)
        if self.when == "always" or s.time == s.times - 1:
            r = a - s.P @ y
            d = L.sign(r, self.dead) if self.loss == "l1" else r * (1 - a * a)
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
