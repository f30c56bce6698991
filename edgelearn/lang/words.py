"""``L``: the words a rule may use besides operators. Each is one op of the table, or a few."""

from __future__ import annotations

from typing import Any, NoReturn

from edgelearn.lang.block import Drawn, Gradient, Outer
from edgelearn.lang.trace import Tensor, rule_error


def _tensor(word: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        rule_error(
            f"L.{word} needs a traced tensor, not {type(value).__name__}", "Give it something computed from x, y or s."
        )
    return value


class Words:
    """The vocabulary of rules; ``edgelearn.L`` is the one instance."""

    def relu(self, v: Any) -> Tensor:
        """max(v, 0)."""
        return _tensor("relu", v).trace.emit("relu", v)

    def abs(self, v: Any) -> Tensor:
        """|v|."""
        return _tensor("abs", v).trace.emit("abs", v)

    def sign(self, v: Any) -> Tensor:
        """-1, 0 or 1."""
        return _tensor("sign", v).trace.emit("sign", v)

    def softmax(self, g: Any) -> Tensor:
        """exp(g) / sum exp(g)."""
        return _tensor("softmax", g).trace.emit("softmax", g)

    def gate(self, e: Any, threshold: float) -> Tensor:
        """e, or all zeros where max|e| < threshold: a sample that is already right teaches nothing."""
        return _tensor("gate", e).trace.emit("gate", e, threshold=float(threshold))

    def outer(self, d: Any, x: Any) -> Gradient:
        """The gradient of ``d . (W @ x)`` with respect to the W that it updates: a product, or for a convolution the correlation."""
        return Gradient((Outer(_tensor("outer", d), _tensor("outer", x)),))

    def argmax(self, v: Any) -> Tensor:
        """Index of the largest element."""
        return _tensor("argmax", v).trace.emit("argmax", v)

    def normal(self, key: object, shape: tuple[int, ...], std: float) -> Drawn:
        """Initial state, normal with standard deviation ``std``; in ``init`` only. ``key`` is the one that init was given."""
        return Drawn("normal", shape, std)

    def zeros(self, shape: tuple[int, ...]) -> Drawn:
        """Initial state, zero; in ``init`` only."""
        return Drawn("zeros", shape)

    def signs(self, key: object, shape: tuple[int, ...], scale: float = 1.0) -> Drawn:
        """A fixed matrix of +-scale, made from the seed wherever it is used: no memory. In ``init`` only."""
        return Drawn("signs", shape, scale)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        words = ", ".join(w for w in dir(type(self)) if not w.startswith("_"))
        rule_error(f"edgelearn.L has no word {name}", f"It has {words}.")


L = Words()
