"""Ops in floats as ONNX nodes, but for feature maps and updates: what ``edgelearn.ir.ops`` says of ``f32``, for a whole batch.

``KERNELS`` gives for an op's name what writes it: (site, *operands) -> the result, a Value or a Label.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgelearn.ir import rng
from edgelearn.ir.ops import functions, parse_shape
from edgelearn_export.onnx.floats_values import Label, Operand, Site, Value, Weight, Writer, as_value, together

Kernel = Callable[..., Operand]
FLOAT, INT64 = 1, 7  # of TensorProto.DataType


def pointwise(write: Callable[..., str]) -> Kernel:
    """A kernel that works element by element, from (site, *tensors) -> tensor."""

    def kernel(site: Site, *operands: Operand) -> Value:
        values = [as_value(o) for o in operands]
        form, tensors = together(site, *values)
        return site.result(form, write(site, *tensors), *values)

    return kernel


def node(name: str) -> Kernel:
    """An ONNX op that means just the same."""
    return pointwise(lambda site, *tensors: site.net.node(name, *tensors))


def reduced(name: str) -> Kernel:
    """All numbers of a sample become one."""

    def kernel(site: Site, v: Operand) -> Value:
        value = as_value(v)
        return site.rows(_over_rows(site.net, name, value.rows), value)

    return kernel


def _over_rows(net: Writer, name: str, rows: str) -> str:
    return net.node(name, rows, net.whole((1,)), keepdims=1)


# --- matrices -------------------------------------------------------------------------------------------------------------------------


def _affine(site: Site, W: Weight, x: Operand, b: Weight | None = None) -> Value:
    value, net = as_value(x), site.net
    bias = () if b is None else (b.name,)
    z = net.node("Gemm", value.rows, W.name, *bias, transB=1)
    return site.rows(net.node("Relu", z) if site.op.attr("relu", 0) else z, value)


def _matvec_t(site: Site, W: Weight, d: Operand, a: Operand | None = None) -> Value:
    value, net = as_value(d), site.net
    z = net.node("Gemm", value.rows, W.name)
    if a is None:
        return site.rows(z, value)
    mask = as_value(a)
    return site.rows(net.node("Where", net.positive(mask.rows), z, net.number(0.0)), value, mask)


# --- element by element ---------------------------------------------------------------------------------------------------------------


def _sign(site: Site, v: str) -> str:
    """0 within the dead zone, ends included."""
    net, dead, sign = site.net, site.number("dead", 0), site.net.node("Sign", v)
    if not dead:
        return sign
    return net.node("Where", net.node("Greater", net.node("Abs", v), net.number(dead)), sign, net.number(0.0))


def _gate(site: Site, v: Operand) -> Value:
    """Sample by sample: all of v, or nothing of it."""
    value, net = as_value(v), site.net
    if site.number("threshold") <= 0:
        return value
    most = _over_rows(net, "ReduceMax", net.node("Abs", value.rows))
    loud = net.node("GreaterOrEqual", most, net.number(site.number("threshold")))
    return site.rows(net.node("Where", loud, value.rows, net.number(0.0)), value)


def _leaky_relu(site: Site, v: str) -> str:
    return site.net.node("LeakyRelu", v, alpha=2.0 ** site.number("slope_log2"))


def _mask(site: Site, v: str, a: str) -> str:
    return site.net.node("Where", site.net.positive(a), v, site.net.number(0.0))


def _clip(site: Site, v: str, low: str, high: str) -> str:
    return site.net.node("Min", site.net.node("Max", v, low), high)


def _quant(site: Site, v: Operand) -> Value:
    """Floats are not narrowed."""
    return as_value(v)


# --- functions ------------------------------------------------------------------------------------------------------------------------


def _log(site: Site, v: str) -> str:
    net = site.net
    log = net.node("Log", net.node("Max", v, net.number(1e-30)))
    return net.node("Clip", log, net.number(-functions.LOG_MAX), net.number(functions.LOG_MAX))


def _rsqrt(site: Site, v: str) -> str:
    net = site.net
    return net.node("Reciprocal", net.node("Sqrt", net.node("Max", v, net.number(2.0**functions.RSQRT_MIN))))


def _recip(site: Site, v: str) -> str:
    net = site.net
    far = net.node("GreaterOrEqual", net.node("Abs", v), net.number(functions.RECIP_MIN))
    return net.node("Where", far, net.node("Reciprocal", v), net.number(0.0))


def _rms_norm(site: Site, v: Operand) -> Value:
    value, net = as_value(v), site.net
    mean = _over_rows(net, "ReduceMean", net.node("Mul", value.rows, value.rows))
    size = net.node("Sqrt", net.node("Add", mean, net.number(2.0**functions.RMS_EPS)))
    return site.rows(net.node("Div", value.rows, size), value)


def _dot(site: Site, a: Operand, b: Operand) -> Value:
    one, two = as_value(a), as_value(b)
    return site.rows(_over_rows(site.net, "ReduceSum", site.net.node("Mul", one.rows, two.rows)), one, two)


# --- constants and parts --------------------------------------------------------------------------------------------------------------


def _const(site: Site) -> Value:
    return site.rows(site.net.floats(np.full((1, *site.shape), site.number("value"))))


def _overlay(site: Site, x: Operand, v: Operand) -> Value:
    """v takes the first places of x."""
    under, over, net = as_value(x), as_value(v), site.net
    padded = net.node("Pad", over.rows, net.whole((0, 0, 0, under.size - over.size)))
    first = net.graph.constant(np.arange(under.size) < over.size)
    return site.rows(net.node("Where", first, padded, under.rows), under, over)


def _slice(site: Site, v: Operand) -> Value:
    value, net, start = as_value(v), site.net, int(site.number("start"))
    ends = net.whole((start,)), net.whole((start + int(site.number("size")),)), net.whole((1,))
    return site.rows(net.node("Slice", value.rows, *ends), value)


# --- classes --------------------------------------------------------------------------------------------------------------------------


def _softmax(site: Site, g: Operand) -> Value:
    value = as_value(g)
    return site.rows(site.net.node("Softmax", value.rows, axis=-1), value)


def _one_hot(site: Site, y: Label) -> Value:
    return Value(site.net, site.shape, y.batched, "rows", {"rows": y.hot(int(site.number("classes")))})


def _sub_one_hot(site: Site, p: Operand, y: Label) -> Value:
    value = as_value(p)
    made = site.net.node("Sub", value.rows, y.hot(value.size))
    return Value(site.net, site.shape, value.batched or y.batched, "rows", {"rows": made})


def _argmax(site: Site, v: Operand) -> Label:
    value = as_value(v)
    return Label(site.net, site.net.node("ArgMax", value.rows, axis=1, keepdims=0), value.batched)


# --- chance ---------------------------------------------------------------------------------------------------------------------------


def draw_name(number: int) -> str:
    """The input that brings the numbers of the draw ``number``."""
    return f"draw{number}"


def _noise(site: Site) -> Value:
    shape = parse_shape(str(site.op.attr("shape")))
    name = site.net.graph.input(draw_name(int(site.number("id"))), "f32", ("B", *shape))
    form = "maps" if len(shape) == 3 else "rows"
    return Value(site.net, shape, True, form, {form: name})


def _sample(site: Site, p: Operand) -> Label:
    """The class in whose part of the total a uniform number falls, but none beyond the last that has a weight."""
    value, net = as_value(p), site.net
    uniform = net.graph.input(draw_name(int(site.number("id"))), "f32", ("B", 1))
    weights = net.node("Relu", value.rows)
    ends = net.node("CumSum", weights, net.graph.constant(1, np.int64))
    total = net.node("Slice", ends, net.whole((value.size - 1,)), net.whole((value.size,)), net.whole((1,)))
    below = net.node("LessOrEqual", ends, net.node("Mul", uniform, total))
    found = _over_rows(net, "ReduceSum", net.node("Cast", below, to=INT64))
    places = net.graph.constant(np.arange(value.size, dtype=np.int64))
    last = net.node("Where", net.positive(weights), places, net.graph.constant(0, np.int64))
    chosen = net.node("Min", found, _over_rows(net, "ReduceMax", last))
    return Label(net, net.reshape(chosen))


def _signs(site: Site, v: Operand) -> Value:
    """The matrix is drawn once, here; a byte for each sign in the file, floats in the runtime."""
    value, net = as_value(v), site.net
    signs = rng.signs(net.seed, int(site.number("stream")), int(site.number("rows")), value.size)
    matrix = net.once("Cast", net.graph.constant(signs.astype(np.int8)), to=FLOAT)
    return site.rows(net.node("Gemm", value.rows, matrix, transB=1), value)


KERNELS: dict[str, Kernel] = {
    "matvec": _affine,
    "affine": _affine,
    "matvec_t": _matvec_t,
    "matvec_t_mask": _matvec_t,
    "add": node("Add"),
    "sub": node("Sub"),
    "mul": node("Mul"),
    "scale": pointwise(lambda site, v: site.net.node("Mul", v, site.net.number(site.number("k")))),
    "relu": node("Relu"),
    "abs": node("Abs"),
    "sign": pointwise(_sign),
    "gt0": pointwise(lambda site, v: site.net.node("Cast", site.net.positive(v), to=FLOAT)),
    "mask": pointwise(_mask),
    "softmax": _softmax,
    "one_hot": _one_hot,
    "sub_one_hot": _sub_one_hot,
    "gate": _gate,
    "quant": _quant,
    "argmax": _argmax,
    "tanh": node("Tanh"),
    "sigmoid": node("Sigmoid"),
    "exp": pointwise(lambda site, v: site.net.node("Exp", site.net.node("Min", v, site.net.number(functions.EXP_MAX)))),
    "log": pointwise(_log),
    "sqrt": pointwise(lambda site, v: site.net.node("Sqrt", site.net.node("Relu", v))),
    "rsqrt": pointwise(_rsqrt),
    "recip": pointwise(_recip),
    "rms_norm": _rms_norm,
    "sum": reduced("ReduceSum"),
    "mean": reduced("ReduceMean"),
    "max": reduced("ReduceMax"),
    "dot": _dot,
    "const": _const,
    "minimum": node("Min"),
    "maximum": node("Max"),
    "where": pointwise(lambda site, c, a, b: site.net.node("Where", site.net.positive(c), a, b)),
    "clip": pointwise(_clip),
    "leaky_relu": pointwise(_leaky_relu),
    "overlay": _overlay,
    "slice": _slice,
    "noise": _noise,
    "sample": _sample,
    "signs": _signs,
}
