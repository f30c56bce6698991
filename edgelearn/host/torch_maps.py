"""Feature maps for whole batches in torch: convolutions, their adjoints and updates, and pooling.

Maps stay (B, H, W, C) and kernels (out, k, k, in) in memory, which is what torch calls channels last: its view of them costs nothing.
For 32x32 maps of 3 to 128 channels on two cores, oneDNN in this layout was the fastest of what torch has, forwards, adjoint and
gradient alike: patches and a matrix product took 1.4 to 8 times as long, the contiguous (B, C, H, W) layout up to 1.6 times.
"""

from __future__ import annotations

from collections.abc import Callable

from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_ops import Add, Kernel, Run, Site, masked, whole
from edgelearn.ir.ops.conv import kernel_width


def planes(x: Tensor) -> Tensor:
    """A view of a map (B, H, W, C) as torch's convolutions want it."""
    return x.permute(0, 3, 1, 2)


def maps(x: Tensor) -> Tensor:
    """Back to (B, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def _kernel_planes(W: Tensor) -> Tensor:
    return W.permute(0, 3, 1, 2) if W.dim() == 4 else W.permute(2, 0, 1).unsqueeze(1)


def _geometry(site: Site) -> tuple[list[int], list[int], int]:
    """Stride, padding, groups."""
    W = site.types[0].shape
    stride, pad = int(site.op.number("stride")), int(site.op.number("pad"))
    return [stride, stride], [pad, pad], 1 if len(W) == 4 else W[-1]


def _conv(site: Site) -> Kernel:
    stride, pad, groups = _geometry(site)
    relu = bool(site.op.attr("relu", 0))

    def kernel(run: Run, W: Tensor, x: Tensor, b: Tensor | None = None) -> Tensor:
        z = torch.conv2d(planes(x), _kernel_planes(W), b, stride, pad, 1, groups)
        return maps(z.relu_() if relu else z)

    return kernel


def _conv_t(site: Site) -> Kernel:
    stride, pad, groups = _geometry(site)
    W, d = site.types[0].shape, site.types[1].shape
    k = kernel_width(W)
    extra = [n - ((m - 1) * s - 2 * p + k) for n, m, s, p in zip(site.shape, d, stride, pad, strict=False)]

    def kernel(run: Run, W: Tensor, d: Tensor, a: Tensor | None = None) -> Tensor:
        z = maps(torch.conv_transpose2d(planes(d), _kernel_planes(W), None, stride, pad, extra, groups))
        return z if a is None else masked(z, a, overwrite=True)

    return kernel


def _add_conv(site: Site) -> Add:
    stride, pad, groups = _geometry(site)

    def add(into: Tensor, factor: float, run: Run, W: Tensor, d: Tensor, x: Tensor) -> None:
        total = torch.ops.aten.convolution_backward(
            planes(whole(d, run)), planes(whole(x, run)), _kernel_planes(W), None, stride, pad, [1, 1], False, [0, 0],
            groups, [False, True, False],
        )[1]  # fmt: skip
        into.add_(total.permute(0, 2, 3, 1) if W.dim() == 4 else total.squeeze(1).permute(1, 2, 0), alpha=factor)

    return add


# --- pooling ------------------------------------------------------------------------------------------------------------------------


def _pool(site: Site) -> Kernel:
    size = int(site.op.number("size"))
    if size == 0:
        return lambda run, x: x.mean(dim=(1, 2), keepdim=True)
    return lambda run, x: maps(torch.nn.functional.avg_pool2d(planes(x), size))


def _maxpool(site: Site) -> Kernel:
    """torch's own also writes down where each maximum was; nobody asks, and for the usual window it takes twice as long."""
    size = int(site.op.number("size"))
    h, w, c = site.shape

    def pairs(run: Run, x: Tensor) -> Tensor:
        v = x.reshape(-1, h, 2, w, 2 * c)
        v = torch.maximum(v[:, :, 0], v[:, :, 1])
        return torch.maximum(v[..., :c], v[..., c:])

    if size == 2:
        return pairs
    return lambda run, x: maps(torch.nn.functional.max_pool2d(planes(x), size))


def _unpool(site: Site) -> Kernel:
    size = int(site.op.number("size"))
    h, w, c = site.shape
    if size == 0:
        return lambda run, d: (d / float(h * w)).reshape(-1, 1, 1, c).expand(-1, h, w, c)
    small = (h // size, w // size, c)

    def kernel(run: Run, d: Tensor) -> Tensor:
        scaled = planes((d / float(size * size)).reshape(-1, *small))
        return maps(torch.nn.functional.interpolate(scaled, scale_factor=size, mode="nearest"))

    return kernel


KERNELS: dict[str, Callable[[Site], Kernel]] = {
    **dict.fromkeys(("conv", "conv_affine", "depthwise", "depthwise_affine"), _conv),
    **dict.fromkeys(("conv_t", "conv_t_mask", "depthwise_t", "depthwise_t_mask"), _conv_t),
    "pool": _pool,
    "maxpool": _maxpool,
    "unpool": _unpool,
}

UPDATES: dict[str, Callable[[Site], Add]] = {"conv_update": _add_conv, "depthwise_update": _add_conv}
