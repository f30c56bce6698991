"""Forward-Forward: each block makes its activity large for samples with their label, and small for samples with a wrong one.

G. Hinton, "The Forward-Forward Algorithm: Some Preliminary Investigations", arXiv:2212.13345. The label is written over the first pixels:
the true one (+), a wrong one (-), or 1/C in each (neutral, 0). For a block of n units with input h, normalised by its root mean square:

    a = relu(W h + b),  g = sum_j a_j^2,  p = sigmoid((g - theta n) / (temp n))
    loss = -log p(+) - log(1 - p(-))
    W += lr ((1 - p+) a+ h+^T - p- a- h-^T),  b likewise

Reading (``readout``): ``softmax``, one pass with the neutral label: linear heads M on the normalised activity of all blocks but the
first, trained at the same time, each by its own cross-entropy (Hinton's is one head on all of them, and so not local), their scores
summed. ``goodness``: one pass per class with its label, the largest sum of g, the first block left out. With a single block that one is
read.

Hinton has temp = 1/n and theta = 1; his code averages gradients over 10 batches (momentum), adds a pull of every unit's mean activity to
the layer's, and draws wrong labels from the softmax. Here a wrong label is drawn evenly from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from edgelearn.lang import L
from edgelearn.rules.registry import rule


@rule("forward-forward", cite="arXiv:2212.13345")
class ForwardForward:
    """The rule; ``x`` in ``step`` is the triple of views, with the true, a wrong and the neutral label."""

    lr: float = 2**-9
    head: float = 8.0  # rate of the readout, as a share of lr
    theta: float = 1.0
    temp: float = 2**-5
    decay: float = 0.0
    readout: Literal["softmax", "goodness"] = "softmax"

    kinds = ("dense",)
    kinds_why = "the label pixels get lost in convolutions and pools"
    bits: ClassVar[dict[str, int]] = {"W": 12}  # int8 costs two points: int-lowering.md, section 9

    def init(self, s: Any, key: Any) -> None:
        s.M = L.zeros((s.classes, s.out))

    def views(self, x: Any, y: Any, key: Any) -> Any:
        wrong = L.sample(1 - y)
        return L.overlay(x, y), L.overlay(x, wrong), L.overlay(x, L.full(key, 1 / y.shape[0], y.shape[0]))

    def step(self, s: Any, x: Any, y: Any) -> Any:
        h_pos, h_neg, h_neutral = (L.rms_norm(view) for view in x)
        a_pos, a_neg, a_neutral = (L.relu(s.W @ h + s.b) for h in (h_pos, h_neg, h_neutral))
        d_pos = -(1 - self.p(s, a_pos)) * a_pos
        d_neg = self.p(s, a_neg) * a_neg
        if self.readout == "softmax" and self.read(s):
            h = L.rms_norm(a_neutral)
            e = L.softmax(s.M @ h) - y
            s.M -= self.head * self.lr * L.outer(e, h)
        s.W -= self.lr * (L.outer(d_pos, h_pos) + L.outer(d_neg, h_neg) + self.decay * s.W)
        s.b -= self.lr * (d_pos + d_neg)
        return a_pos, a_neg, a_neutral

    def p(self, s: Any, a: Any) -> Any:
        """How sure the block is that the label is the true one."""
        return L.sigmoid((L.mean(a * a) - self.theta) / self.temp)

    def read(self, s: Any) -> bool:
        return s.index > 0 or s.blocks == 1

    def predict(self, blocks: Sequence[Any], x: Any) -> Any:
        C = blocks[0].classes
        if self.readout == "softmax":
            return self.scores(blocks, L.overlay(x, L.full(blocks[0].key, 1 / C, C)), lambda s, a: s.M @ L.rms_norm(a))
        total = L.full(blocks[0].key, 0.0, C)
        for c in range(C):
            label = L.unit(blocks[0].key, c, C)
            total = L.where(label, self.scores(blocks, L.overlay(x, label), lambda s, a: L.mean(a * a)), total)
        return total

    def scores(self, blocks: Sequence[Any], x: Any, of: Any) -> Any:
        """The sum of ``of(block, its activity)`` over the blocks that are read."""
        total = None
        for s in blocks:
            x = L.relu(s.W @ L.rms_norm(x) + s.b)
            if self.read(s):
                total = of(s, x) if total is None else total + of(s, x)
        return total
