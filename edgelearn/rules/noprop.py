"""NoProp: every block learns alone to take the noise off a label; nothing passes between blocks while they learn.

Q. Li, Y. W. Teh, R. Pascanu, "NoProp: Training Neural Networks without Full Back-propagation or Full Forward-propagation",
arXiv:2503.24322, the discrete-time form (DT). Labels are embedded as themselves, u_y = one-hot y. With noise levels abar_t that grow from
0 to 1 over the T blocks, block t learns from the sample x and a label as noisy as level t - 1:

    z = sqrt(abar_{t-1}) u_y + sqrt(1 - abar_{t-1}) eps,   eps ~ N(0, I)
    u = softmax(M h),  h = relu(V a + U z + c),  a = relu(W x + b)          its guess of u_y
    ce:  e = u - y        l2:  e = the gradient of w_t |u - u_y|^2 / 2 through the softmax, w_t = T eta (SNR_t - SNR_{t-1})

and to predict, from z_0 = 0 on:  z_t = a_t u_t + b_t z_{t-1}   with the posterior's constants, without its noise.

Within a block the error goes back through h and a, as in the paper ("no back-propagation" is between blocks). The paper's loss is l2, plus
a classifier on z_T that all blocks share; ce trains each block on its own guess, and does better in integers. The paper does not give its
cosine schedule: here abar_t = sin^2(pi/2 t / T), at most 0.99. ``noprop_continuous.py`` has the forms in continuous time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("noprop", cite="arXiv:2503.24322")
class NoProp:
    """NoProp-DT; T is the number of blocks, each with ``hidden`` units that read the block's own features and the noisy label."""

    lr: float = 2**-6
    hidden: int = 32
    loss: Literal["ce", "l2"] = "ce"
    eta: float = 0.1

    schedule = "independent"  # every block reads the sample
    kinds = ("dense", "conv", "depthwise", "pool")
    kinds_why = "a block reads the whole sample at once"

    def init(self, s: Any, key: Any) -> None:
        s.V = L.normal(key, (self.hidden, s.out), std=s.out**-0.5)
        s.U = L.normal(key, (self.hidden, s.classes), std=s.classes**-0.5)
        s.c = L.zeros((self.hidden,))
        s.M = L.normal(key, (s.classes, self.hidden), std=self.hidden**-0.5)

    def step(self, s: Any, x: Any, y: Any) -> Any:
        abar = self.abar(s.index, s.blocks)
        z = abar**0.5 * y + (1 - abar) ** 0.5 * L.normal(s.key, (s.classes,))
        a, h, u = self.guess(s, x, z)
        e = self.error(s, u, y)
        dh = (s.M.T @ e) * (h > 0)
        da = (s.V.T @ dh) * (a > 0)
        s.M -= self.lr * L.outer(e, h)
        s.V -= self.lr * L.outer(dh, a)
        s.U -= self.lr * L.outer(dh, z)
        s.c -= self.lr * dh
        s.W -= self.lr * L.outer(da, x)
        s.b -= self.lr * da
        return x

    def guess(self, s: Any, x: Any, z: Any) -> tuple[Any, Any, Any]:
        a = L.relu(s.W @ x + s.b)
        h = L.relu(s.V @ a + s.c + s.U @ z)
        return a, h, L.softmax(s.M @ h)

    def error(self, s: Any, u: Any, y: Any) -> Any:
        e = u - y
        if self.loss == "ce":
            return e
        w = s.blocks * self.eta * (self.snr(s.index + 1, s.blocks) - self.snr(s.index, s.blocks))
        return w * (u * (e - L.sum(u * e)))

    def abar(self, t: int, T: int) -> float:
        """How much of the label is left after step t."""
        return min(math.sin(math.pi / 2 * t / T) ** 2, 0.99)

    def snr(self, t: int, T: int) -> float:
        return self.abar(t, T) / (1 - self.abar(t, T))

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        T, z = blocks[0].blocks, L.full(blocks[0].key, 0.0, blocks[0].classes)
        for s in blocks:
            now, before = self.abar(s.index + 1, T), self.abar(s.index, T)
            alpha = before / now  # abar grows with t: alpha_{t-1} = abar_{t-1} / abar_t
            u = self.guess(s, x, z)[2]
            a_t, b_t = now**0.5 * (1 - alpha) / (1 - before), alpha**0.5 * (1 - now) / (1 - before)
            z = a_t * u + b_t * z
        return z
