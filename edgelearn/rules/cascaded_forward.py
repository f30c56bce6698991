"""Cascaded-Forward: random blocks, each with a predictor of its own; all of them vote.

G. Zhao, T. Wang, Y. Li, Y. Jin, C. Lang, H. Ling, "The Cascaded Forward Algorithm for Neural Network Training", arXiv:2303.09728.
Blocks are random and stay as they are ("Rand"); predictor l reads what block l gives:

    h = norm(relu(W x)),  o = M h
    ce:   e = softmax(o) - y         mse:  e = o - y
    M -= lr e h^T
    prediction: argmax of sum_l softmax(o_l)   (mse: of sum_l o_l)

norm is by the root mean square over the whole map; the paper has batch normalisation there, in training mode over all data at once. Its
max pools are pool layers of the net: ``{ conv = 32 }, { pool = 2, mode = "max" }``.

Its closed form for mse, (H^T H / N + ridge I) M^T = H^T Y / N, needs all samples at once: ``loss = "closed-form"`` is for the host alone,
where ``edgelearn.host.closed_form`` solves it in one pass over the data, whatever the epochs. A board that goes on from there takes the
steps of mse. Rule ``cascaded-forward-dfa`` trains the blocks too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("cascaded-forward", cite="arXiv:2303.09728")
class CascadedForward:
    """The rule with random blocks; h is normalised where it is read."""

    lr: float = 2**-8
    loss: Literal["ce", "mse", "closed-form"] = "ce"
    ridge: float = 1e-3  # of the closed form, in units of the mean square of h, which is 1

    @property
    def closed_form(self) -> float | None:
        """The ridge term, where heads are solved for instead of learnt."""
        return self.ridge if self.loss == "closed-form" else None

    def init(self, s: Any, key: Any) -> None:
        s.M = L.zeros((s.classes, s.out))

    def step(self, s: Any, x: Any, y: Any) -> Any:
        h = self.forward(s, x)
        o = s.M @ h
        e = (L.softmax(o) if self.loss == "ce" else o) - y
        s.M -= self.lr * L.outer(e, h)
        return h

    def forward(self, s: Any, x: Any) -> Any:
        return s.keep(L.rms_norm(L.relu(s.W @ x)))

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        votes = None
        for s in blocks:
            x = self.forward(s, x)
            o = L.softmax(s.M @ x) if self.loss == "ce" else s.M @ x
            votes = o if votes is None else votes + o
        return votes


@rule("cascaded-forward-dfa", cite="arXiv:2303.09728")
class CascadedForwardDFA(CascadedForward):
    """The paper's other variant: blocks trained by direct feedback alignment, d_l = (B_l e) relu'(z_l), while the predictors learn.

    e is the error of the last predictor, known only when the whole net has run: not forward-only. For the host alone.
    """

    host_only = "its blocks learn from the error at the net's end, so every activation must be kept until then"

    def init(self, s: Any, key: Any) -> None:
        s.M = L.zeros((s.classes, s.out))
        s.B = L.signs(key, (s.units, s.classes), s.classes**-0.5)

    def step_net(self, blocks: Sequence[Any], x: Any, y: Any) -> None:
        h = [x]
        for s in blocks:
            h.append(self.forward(s, h[-1]))
        errors = [L.softmax(s.M @ a) - y for s, a in zip(blocks, h[1:], strict=True)]
        for s, x, a, e in zip(blocks, h, h[1:], errors, strict=False):
            s.W -= self.lr * L.outer((s.B @ errors[-1]) * (a > 0), x)
            s.M -= self.lr * L.outer(e, a)
