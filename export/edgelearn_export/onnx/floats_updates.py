"""Updates of state in floats as ONNX nodes: ``s.W -= rate * mean of f over the batch``, and where the rate is multiplied in.

An update of a matrix is one Gemm of the batch's errors and inputs, its rate already in the errors. Errors that only such updates read
are not multiplied one by one: what they are made of is, as far back as it is smaller and everything between is linear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edgelearn.ir.core import Entry, Op
from edgelearn.ir.ops import OPS
from edgelearn.ir.types import Type
from edgelearn_export.onnx.floats_maps import patches
from edgelearn_export.onnx.floats_values import Operand, Site, Value, Weight, Writer, as_value

Update = Callable[..., str]  # (site, W, error times rate, ...) -> the new tensor

# Ops that are linear in one operand: which.
LINEAR = {
    **dict.fromkeys(("matvec_t", "matvec_t_mask", "conv_t", "conv_t_mask", "depthwise_t", "depthwise_t_mask"), 1),
    **dict.fromkeys(("mask", "scale", "signs", "unpool", "quant"), 0),
}


@dataclass
class Rates:
    """The factors of a graph's updates. ``given`` is its input: the caller's factor of all rates."""

    net: Writer
    given: str
    _scaled: dict[tuple[str, float], Value] = field(default_factory=dict)

    def of_mean(self, rate: float) -> str:
        """``rate`` / B times the caller's factor."""
        part = self.net.once("Div", self.given, self.net.once("Cast", self.net.batch(), to=1))
        return part if rate == 1 else self.net.once("Mul", part, self.net.number(rate))

    def scaled(self, value: Value, rate: float) -> Value:
        """A value times the factor of a mean."""
        plain = value.form(value.native)
        if (plain, rate) not in self._scaled:
            made = self.net.node("Mul", plain, self.of_mean(rate))
            self._scaled[plain, rate] = Value(self.net, value.shape, value.batched, value.native, {value.native: made})
        return self._scaled[plain, rate]

    def kept(self, rate: float) -> str:
        """What decay leaves of a weight."""
        return self.net.once("Sub", self.net.number(1.0), self.net.once("Mul", self.given, self.net.number(rate)))


def linear_in(op: Op, types: Mapping[str, Type]) -> int | None:
    """The operand that an op's result is proportional to, if that is no larger than the result."""
    if op.type is None:
        return None
    index = LINEAR.get(op.name)
    if op.name == "mul" and op.args[0] != op.args[1]:
        index = min((0, 1), key=lambda i: types[op.args[i]].size)
    return index if index is not None and types[op.args[index]].size <= op.type.size else None


def carried(entry: Entry, types: Mapping[str, Type]) -> dict[str, float]:
    """Values that nobody reads but updates of one rate: they are worked out with that rate in them."""
    wanted: dict[str, set[float | None]] = defaultdict(set)
    if entry.result is not None:
        wanted[entry.result].add(None)
    found: dict[str, float] = {}
    for op in reversed(entry.ops):
        rate, index = _wish(op, wanted, types)
        if op.result is not None and rate is not None:
            found[op.result] = rate
        for i, arg in enumerate(op.args):
            wanted[arg].add(rate if i == index else None)
    return found


def _wish(
    op: Op, wanted: Mapping[str, set[float | None]], types: Mapping[str, Type]
) -> tuple[float | None, int | None]:
    """The rate that an op's result is to have in it, or an update's own, and the operand that may bring it along."""
    if OPS[op.name].update:
        return op.number("rate", 1.0), 1
    wishes = wanted.get(op.result or "", set())
    return (next(iter(wishes)) if len(wishes) == 1 else None), linear_in(op, types)


# --- updates --------------------------------------------------------------------------------------------------------------------------


def _descent(site: Site) -> float:
    return -float(site.op.attr("sign", 1))


def _stepped(site: Site, W: Weight, total: str) -> str:
    return site.net.node("Sub" if _descent(site) < 0 else "Add", W.name, total)


def _outer(site: Site, W: Weight, d: Operand, x: Operand) -> str:
    errors, inputs = as_value(d).spread(), as_value(x).spread()
    return site.net.node("Gemm", errors.rows, inputs.rows, W.name, transA=1, alpha=_descent(site), beta=1.0)


def _vector(site: Site, b: Weight, d: Operand) -> str:
    """A map updates a vector by the sum over its positions; anything else has the state's own shape."""
    value, net = as_value(d).spread(), site.net
    if value.shape != b.type.shape:
        planes = value.native == "planes"
        axes = net.whole((0, 2, 3) if planes else (0, 1, 2))
        return _stepped(site, b, net.node("ReduceSum", value.planes if planes else value.maps, axes, keepdims=0))
    total = net.node("ReduceSum", value.rows, net.whole((0,)), keepdims=0)
    return _stepped(site, b, total if len(b.type.shape) == 1 else _shaped(site, total, b))


def _shaped(site: Site, tensor: str, W: Weight) -> str:
    return site.net.node("Reshape", tensor, site.net.whole(W.type.shape))


def _conv(site: Site, W: Weight, d: Operand, x: Operand) -> str:
    """All positions of all samples are one batch of patches."""
    errors, inputs, net = as_value(d).spread(), as_value(x).spread(), site.net
    out, row = W.type.shape[0], W.type.size // W.type.shape[0]
    windows = patches(site, W, inputs, errors.shape)
    kernel = net.reshape(W.name, row)
    made = net.node("Gemm", net.reshape(errors.maps, out), windows, kernel, transA=1, alpha=_descent(site), beta=1.0)
    return _shaped(site, made, W)


def _depthwise(site: Site, W: Weight, d: Operand, x: Operand) -> str:
    errors, inputs, net = as_value(d).spread(), as_value(x).spread(), site.net
    k, _, channels = W.type.shape
    windows = net.reshape(patches(site, W, inputs, errors.shape), k * k, channels)
    products = net.node("Mul", windows, net.reshape(errors.maps, 1, channels))
    return _stepped(site, W, _shaped(site, net.node("ReduceSum", products, net.whole((0,)), keepdims=0), W))


def _open(site: Site, d: Operand, mask: Operand) -> Value:
    """The error of every position: the same wherever the mask lets it through."""
    value, over, net = as_value(d), as_value(mask), site.net
    channels = net.reshape(value.rows, 1, 1, value.size)
    made = net.node("Where", net.positive(over.maps), channels, net.number(0.0))
    return Value(net, over.shape, value.batched or over.batched, "maps", {"maps": made})


def write_decay(site: Site, W: Weight, rates: Rates) -> str:
    """Decay is no mean: it is the same for every sample."""
    return site.net.node("Mul", W.name, rates.kept(-_descent(site) * site.number("rate")))


UPDATES: dict[str, Update] = {
    "outer_update": _outer,
    "vec_update": _vector,
    "update": _vector,
    "conv_update": _conv,
    "depthwise_update": _depthwise,
    "conv_update_open": lambda site, W, d, mask, x: _conv(site, W, _open(site, d, mask), x),
    "depthwise_update_open": lambda site, W, d, mask, x: _depthwise(site, W, _open(site, d, mask), x),
    "vec_update_open": lambda site, b, d, mask: _vector(site, b, _open(site, d, mask)),
}
