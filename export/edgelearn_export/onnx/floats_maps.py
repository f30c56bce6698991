"""Feature maps in floats as ONNX nodes: convolutions, their adjoints, pooling, and the patches that updates of kernels read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgelearn.ir.ops.conv import count, kernel_width
from edgelearn_export.onnx.floats_values import Form, Operand, Site, Value, Weight, as_value

Kernel = Callable[..., Operand]


def geometry(site: Site, W: Weight) -> dict[str, Any]:
    """Attributes of a Conv or ConvTranspose."""
    k, stride, pad = kernel_width(W.type.shape), int(site.number("stride")), int(site.number("pad"))
    groups = 1 if len(W.type.shape) == 4 else W.type.shape[-1]
    return {"kernel_shape": [k, k], "strides": [stride, stride], "pads": [pad] * 4, "group": groups}


def _conv(site: Site, W: Weight, x: Operand, b: Weight | None = None) -> Value:
    value, net = as_value(x), site.net
    bias = () if b is None else (b.name,)
    z = net.node("Conv", value.planes, W.kernel, *bias, **geometry(site, W))
    return site.result("planes", net.node("Relu", z) if site.op.attr("relu", 0) else z, value)


def _conv_t(site: Site, W: Weight, d: Operand, a: Operand | None = None) -> Value:
    """Each position spreads its error over the window that it saw."""
    value, net, places = as_value(d), site.net, geometry(site, W)
    k, stride, pad = places["kernel_shape"][0], places["strides"][0], places["pads"][0]
    extra = [n - ((m - 1) * stride - 2 * pad + k) for n, m in zip(site.shape[:2], value.shape[:2], strict=True)]
    z = net.node("ConvTranspose", value.planes, W.kernel, output_padding=extra, **places)
    if a is None:
        return site.result("planes", z, value)
    mask = as_value(a)
    return site.result("planes", net.node("Where", net.positive(mask.planes), z, net.number(0.0)), value, mask)


# --- pooling --------------------------------------------------------------------------------------------------------------------------


def _pooled(window: str, whole: str) -> Kernel:
    """Windows that do not overlap, or one that is the whole map."""

    def kernel(site: Site, x: Operand) -> Value:
        value, size = as_value(x), int(site.number("size"))
        if size == 0:
            return site.result("planes", site.net.node(whole, value.planes), value)
        made = site.net.node(window, value.planes, kernel_shape=[size, size], strides=[size, size])
        return site.result("planes", made, value)

    return kernel


def _unpool(site: Site, d: Operand) -> Value:
    """Each position of a window gets its part of the window's error."""
    value, net, size = as_value(d), site.net, int(site.number("size"))
    h, w, c = site.shape
    small = value.shaped((h // size, w // size, c) if size else (1, 1, c))
    form: Form = "planes" if small.native == "planes" else "maps"
    part = net.node("Mul", small.form(form), net.number(1 / count(site.op)))
    rows, columns = small.shape[0], small.shape[1]
    high, wide = h // rows, w // columns
    if form == "planes":
        apart = net.node(
            "Expand", net.reshape(part, c, rows, 1, columns, 1), net.whole((1, c, rows, high, columns, wide))
        )
        return site.result("planes", net.reshape(apart, c, h, w), value)
    apart = net.node("Expand", net.reshape(part, rows, 1, columns, 1, c), net.whole((1, rows, high, columns, wide, c)))
    return site.result("maps", net.reshape(apart, h, w, c), value)


# --- what updates read ----------------------------------------------------------------------------------------------------------------


def patches(site: Site, W: Weight, x: Value, out: tuple[int, ...]) -> str:
    """(B * positions, k * k * channels): the window under the kernel at each position of a map of shape ``out``."""
    net, places = site.net, geometry(site, W)
    k, stride, pad = places["kernel_shape"][0], places["strides"][0], places["pads"][0]
    maps = x.maps
    if pad:
        maps = net.once("Pad", maps, net.whole((0, pad, pad, 0, 0, pad, pad, 0)))
    if (k, stride) == (1, 1):
        return net.reshape(maps, x.shape[2])
    axes, steps = net.whole((1, 2)), net.whole((stride, stride))
    windows = []
    for i in range(k):
        for j in range(k):
            ends = net.whole((i + (out[0] - 1) * stride + 1, j + (out[1] - 1) * stride + 1))
            windows.append(net.once("Slice", maps, net.whole((i, j)), ends, axes, steps))
    joined = net.once("Concat", *windows, axis=3) if len(windows) > 1 else windows[0]
    return net.reshape(joined, k * k * x.shape[2])


KERNELS: dict[str, Kernel] = {
    **dict.fromkeys(("conv", "conv_affine", "depthwise", "depthwise_affine"), _conv),
    **dict.fromkeys(("conv_t", "conv_t_mask", "depthwise_t", "depthwise_t_mask"), _conv_t),
    "pool": _pooled("AveragePool", "GlobalAveragePool"),
    "maxpool": _pooled("MaxPool", "GlobalMaxPool"),
    "unpool": _unpool,
}
