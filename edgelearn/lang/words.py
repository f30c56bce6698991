"""``L``: the words a rule may use besides operators. Each is one op of the table, or a few."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from edgelearn.ir.ops import shape_text
from edgelearn.lang.block import Drawn, Gradient, Outer
from edgelearn.lang.trace import StepKey, Tensor, rule_error

MIN_SLOPE_LOG2 = -15


def _tensor(word: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        rule_error(
            f"L.{word} needs a traced tensor, not {type(value).__name__}", "Give it something computed from x, y or s."
        )
    return value


def _operands(word: str, *values: Any) -> list[Tensor]:
    """Numbers become constants, if there is a tensor among ``values``."""
    tensor = next((v for v in values if isinstance(v, Tensor)), None)
    return [_tensor(word, tensor).lifted(v) for v in values]


def _noise(key: StepKey, kind: str, shape: int | tuple[int, ...]) -> Tensor:
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if not sizes or min(sizes) < 1:
        rule_error(f"a draw of shape {shape}", "Give the sizes, e.g. L.normal(key, (s.classes,)).")
    return key.trace.emit("noise", id=len(key.trace.ops), kind=kind, shape=shape_text(sizes))


class Words:
    """The vocabulary of rules; ``edgelearn.L`` is the one instance."""

    def relu(self, v: Any) -> Tensor:
        """max(v, 0)."""
        return _tensor("relu", v).trace.emit("relu", v)

    def abs(self, v: Any) -> Tensor:
        """The magnitude: v where v > 0, else -v."""
        return _tensor("abs", v).trace.emit("abs", v)

    def sign(self, v: Any, dead: float = 0.0) -> Tensor:
        """-1, 0 or 1; 0 wherever ``|v| <= dead``."""
        return _tensor("sign", v).trace.emit("sign", v, **({"dead": float(dead)} if dead else {}))

    def leaky_relu(self, v: Any, slope: float) -> Tensor:
        """v, or slope * v where v < 0; the slope is a power of two."""
        log2 = min(max(round(math.log2(slope)), MIN_SLOPE_LOG2), 0) if slope > 0 else -2
        if 2.0**log2 != slope:
            rule_error(f"a leaky relu of slope {slope:g}", f"Slopes are powers of two up to 1: say {2.0**log2:g}.")
        return _tensor("leaky_relu", v).trace.emit("leaky_relu", v, slope_log2=log2)

    def tanh(self, v: Any) -> Tensor:
        """The hyperbolic tangent."""
        return _tensor("tanh", v).trace.emit("tanh", v)

    def sigmoid(self, v: Any) -> Tensor:
        """1 / (1 + exp(-v))."""
        return _tensor("sigmoid", v).trace.emit("sigmoid", v)

    def exp(self, v: Any) -> Tensor:
        """e to the v, and not more than e to the 32. Its numbers share an exponent: small ones beside large ones have few bits."""
        return _tensor("exp", v).trace.emit("exp", v)

    def log(self, v: Any) -> Tensor:
        """The natural logarithm, within +-16: -16 is what it is of 0 and below."""
        return _tensor("log", v).trace.emit("log", v)

    def sqrt(self, v: Any) -> Tensor:
        """The square root; 0 where v < 0."""
        return _tensor("sqrt", v).trace.emit("sqrt", v)

    def rsqrt(self, v: Any) -> Tensor:
        """1 / sqrt(v), where v counts as 2^-16 if it is less."""
        return _tensor("rsqrt", v).trace.emit("rsqrt", v)

    def rms_norm(self, v: Any) -> Tensor:
        """v / sqrt(mean(v * v)): every vector gets the same length, but for zeros, which stay zeros."""
        return _tensor("rms_norm", v).trace.emit("rms_norm", v)

    def sum(self, v: Any) -> Tensor:
        """The sum of all elements: a tensor of one."""
        return _tensor("sum", v).trace.emit("sum", v)

    def mean(self, v: Any) -> Tensor:
        """The mean of all elements: a tensor of one."""
        return _tensor("mean", v).trace.emit("mean", v)

    def max(self, v: Any) -> Tensor:
        """The largest element: a tensor of one."""
        return _tensor("max", v).trace.emit("max", v)

    def dot(self, a: Any, b: Any) -> Tensor:
        """sum(a * b)."""
        return _tensor("dot", a).trace.emit("dot", a, _tensor("dot", b))

    def minimum(self, a: Any, b: Any) -> Tensor:
        """The smaller of both, element by element; one may be a number."""
        a, b = _operands("minimum", a, b)
        return a.trace.emit("minimum", a, b)

    def maximum(self, a: Any, b: Any) -> Tensor:
        """The larger of both, element by element; one may be a number."""
        a, b = _operands("maximum", a, b)
        return a.trace.emit("maximum", a, b)

    def where(self, c: Any, a: Any, b: Any) -> Tensor:
        """a where c > 0, else b; both may be numbers."""
        c, a, b = _operands("where", _tensor("where", c), a, b)
        return c.trace.emit("where", c, a, b)

    def clip(self, v: Any, low: float, high: float) -> Tensor:
        """v, but not less than ``low`` and not more than ``high``."""
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            rule_error(f"limits {low!r} and {high!r}", "Give the lower one first: L.clip(v, -1, 1).")
        v, lower, upper = _operands("clip", _tensor("clip", v), low, high)
        return v.trace.emit("clip", v, lower, upper)

    def overlay(self, x: Any, v: Any) -> Tensor:
        """x, its first elements replaced by v: label pixels."""
        return _tensor("overlay", x).trace.emit("overlay", x, _tensor("overlay", v))

    def sample(self, p: Any) -> Tensor:
        """A class drawn with the odds that p says, as a one-hot vector; another one at every step. Negative odds are none."""
        p = _tensor("sample", p)
        chosen = p.trace.emit("sample", p, id=len(p.trace.ops))
        return p.trace.emit("one_hot", chosen, classes=p.type.size)

    def softmax(self, g: Any) -> Tensor:
        """exp(g) / sum exp(g): positive numbers whose sum is 1."""
        return _tensor("softmax", g).trace.emit("softmax", g)

    def gate(self, e: Any, threshold: float) -> Tensor:
        """e, or all zeros where max|e| < threshold: a sample that is already right teaches nothing."""
        return _tensor("gate", e).trace.emit("gate", e, threshold=float(threshold))

    def outer(self, d: Any, x: Any) -> Gradient:
        """The gradient of ``d . (W @ x)`` with respect to the W that it updates, and of its shape.

        Of a matrix (out, in) that is the product of d (out,) and x (in,), of a convolution's kernel the correlation of both maps.
        """
        return Gradient((Outer(_tensor("outer", d), _tensor("outer", x)),))

    def argmax(self, v: Any) -> Tensor:
        """Index of the largest element, the first of equal ones: a tensor of one."""
        return _tensor("argmax", v).trace.emit("argmax", v)

    def normal(self, key: object, shape: Any, std: float = 1.0) -> Any:
        """Normal numbers of standard deviation ``std``: first values in ``init``, and with ``s.key`` new ones at every step."""
        if not isinstance(key, StepKey):
            return Drawn("normal", shape, std)
        drawn = _noise(key, "normal", shape)
        return drawn if std == 1.0 else drawn * std

    def uniform(self, key: object, shape: Any) -> Tensor:
        """Numbers from [0, 1), with ``s.key``: new ones at every step."""
        if not isinstance(key, StepKey):
            rule_error("L.uniform in init", "First values are L.normal(key, shape, std=...) or L.zeros(shape).")
        return _noise(key, "uniform", shape)

    def full(self, key: object, value: float, size: int) -> Tensor:
        """A vector of ``size`` times ``value``; ``key`` is ``s.key``, or what ``views`` was given."""
        if not isinstance(key, StepKey):
            rule_error("L.full in init", "First values are L.normal(key, shape, std=...) or L.zeros(shape).")
        return key.trace.emit("const", value=float(value), size=int(size))

    def unit(self, key: object, at: int, size: int) -> Tensor:
        """A vector of ``size`` zeros with a one at ``at``: the one-hot vector of a class that is known when the rule is read."""
        below = [self.overlay(self.full(key, 0.0, size), self.full(key, 1.0, n)) for n in (at + 1, at) if n]
        return below[0] - below[1] if len(below) > 1 else below[0]

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
