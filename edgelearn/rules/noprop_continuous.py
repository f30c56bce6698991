"""NoProp in continuous time: one block learns to take noise of any strength off a label, CT by denoising and FM by flow matching.

Q. Li, Y. W. Teh, R. Pascanu, arXiv:2503.24322, sections on NoProp-CT and NoProp-FM. One block, with time as another input:

    o = M h,  h = relu(V a + U z + tau t + c),  a = relu(W x + b),   t ~ U[0, 1]
    CT:  z = sqrt(t) u_y + sqrt(1 - t) eps,   u = softmax(o),   e = u - y  (ce), or the gradient of eta SNR'(t) |u - u_y|^2 / 2  (l2)
    FM:  z = t u_y + (1 - t) z_0,  z_0 ~ N(0, I),   e = o - (u_y - z_0)

and to predict with n = ``moments``:  CT the posterior's mean from moment to moment as in ``noprop.py``,  FM z += o / n.

The paper learns CT's noise schedule, abar(t) = sigmoid(-gamma(t)) with a monotone network gamma: here abar(t) = t. It takes 1,000 moments
to predict; here as many as asked for, each of which costs a pass through the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from edgelearn.errors import ConfigError
from edgelearn.lang import L
from edgelearn.rules.registry import rule


class _Continuous:
    """What both share: the block, and how its error goes back through it."""

    most_blocks = 1
    kinds = ("dense", "conv", "depthwise", "pool")
    kinds_why = "its block reads the whole sample at once"

    def init(self, s: Any, key: Any) -> None:
        if s.blocks != 1:
            raise ConfigError(f"NoProp in continuous time has one block, not {s.blocks}.", "Give one layer.")
        hidden: int = self.hidden  # type: ignore[attr-defined]
        s.V = L.normal(key, (hidden, s.out), std=s.out**-0.5)
        s.U = L.normal(key, (hidden, s.classes), std=s.classes**-0.5)
        s.M = L.normal(key, (s.classes, hidden), std=hidden**-0.5)
        s.tau = L.normal(key, (hidden,), std=1.0)
        s.c = L.zeros((hidden,))

    def run(self, s: Any, x: Any, z: Any, t: Any) -> tuple[Any, Any, Any]:
        """(a, h, o) for a noisy label ``z`` at time ``t``, a tensor of one element."""
        a = L.relu(s.W @ x + s.b)
        h = L.relu(s.V @ a + s.c + s.U @ z + s.tau * t)
        return a, h, s.M @ h

    def learn(self, s: Any, e: Any, x: Any, z: Any, t: Any, a: Any, h: Any, lr: float) -> None:
        dh = (s.M.T @ e) * (h > 0)
        da = (s.V.T @ dh) * (a > 0)
        s.M -= lr * L.outer(e, h)
        s.V -= lr * L.outer(dh, a)
        s.U -= lr * L.outer(dh, z)
        s.tau -= lr * (dh * t)
        s.c -= lr * dh
        s.W -= lr * L.outer(da, x)
        s.b -= lr * da


@rule("noprop-ct", cite="arXiv:2503.24322")
class NoPropCT(_Continuous):
    """Continuous-time diffusion."""

    lr: float = 2**-6
    hidden: int = 64
    loss: Literal["ce", "l2"] = "ce"
    eta: float = 1.0
    moments: int = 20

    def step(self, s: Any, x: Any, y: Any) -> Any:
        t = L.uniform(s.key, (1,))
        z = L.sqrt(t) * y + L.sqrt(1 - t) * L.normal(s.key, (s.classes,))
        a, h, o = self.run(s, x, z, t)
        u = L.softmax(o)
        e = u - y
        if self.loss == "l2":
            left = L.maximum(1 - t, L.full(s.key, 0.1, 1))  # SNR' = 1 / (1 - t)^2 has no bound
            e = self.eta * (u * (e - L.sum(u * e))) / (left * left)
        self.learn(s, e, x, z, t, a, h, self.lr)
        return a

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        s, n = blocks[0], self.moments
        z = L.full(s.key, 0.0, s.classes)
        for i in range(1, n + 1):
            now, before = min(i / n, 0.99), (i - 1) / n
            u = L.softmax(self.run(s, x, z, L.full(s.key, before, 1))[2])
            alpha = before / now
            a_t, b_t = now**0.5 * (1 - alpha) / (1 - before), alpha**0.5 * (1 - now) / (1 - before)
            z = a_t * u + b_t * z
        return z


@rule("noprop-fm", cite="arXiv:2503.24322")
class NoPropFM(_Continuous):
    """Flow matching."""

    lr: float = 2**-7
    hidden: int = 64
    moments: int = 20

    def step(self, s: Any, x: Any, y: Any) -> Any:
        t, z_0 = L.uniform(s.key, (1,)), L.normal(s.key, (s.classes,))
        z = t * y + (1 - t) * z_0
        a, h, v = self.run(s, x, z, t)
        self.learn(s, v - (y - z_0), x, z, t, a, h, self.lr)
        return a

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        s, n = blocks[0], self.moments
        z = L.full(s.key, 0.0, s.classes)
        for i in range(n):
            z = z + (1 / n) * self.run(s, x, z, L.full(s.key, i / n, 1))[2]
        return z
