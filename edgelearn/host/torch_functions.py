"""Functions, reductions, constants and choices for whole batches in torch."""

from __future__ import annotations

from collections.abc import Callable

from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_ops import Kernel, Run, Site, pointwise, rows, whole
from edgelearn.ir.core import Op
from edgelearn.ir.ops import functions


def _function(f: Callable[..., Tensor]) -> Callable[[Site], Kernel]:
    """An op without attributes."""
    return pointwise(lambda op: f)


def _log(v: Tensor) -> Tensor:
    return v.clamp(min=1e-30).log_().clamp_(-functions.LOG_MAX, functions.LOG_MAX)


def _recip(v: Tensor) -> Tensor:
    return torch.where(v.abs() >= functions.RECIP_MIN, v.reciprocal(), 0.0)


def _rms_norm(site: Site) -> Kernel:
    def kernel(run: Run, v: Tensor) -> Tensor:
        square = rows(v).square().mean(1) + 2.0**functions.RMS_EPS
        return v * square.rsqrt_().reshape(-1, *[1] * (v.dim() - 1))

    return kernel


def _reduction(f: Callable[[Tensor], Tensor]) -> Callable[[Site], Kernel]:
    """Of each sample's numbers; ``f`` gets (B, n) and gives (B,)."""
    return lambda site: lambda run, v: f(rows(v)).reshape(-1, 1)


def _leaky_relu(op: Op) -> Callable[[Tensor], Tensor]:
    slope = 2.0 ** op.number("slope_log2")
    return lambda v: torch.nn.functional.leaky_relu(v, slope)


def _const(site: Site) -> Kernel:
    made = torch.full((1, *site.shape), site.op.number("value"), dtype=torch.float32, device=site.device)
    return lambda run: made


def _overlay(site: Site) -> Kernel:
    size = site.types[1].size

    def kernel(run: Run, x: Tensor, v: Tensor) -> Tensor:
        overwrite = site.overwrite and len(x) == run.batch and x.is_contiguous()
        kept = x if overwrite else whole(x, run).clone(memory_format=torch.contiguous_format)
        rows(kept)[:, :size] = rows(v)
        return kept

    return kernel


def _slice(site: Site) -> Kernel:
    start, size = int(site.op.number("start")), int(site.op.number("size"))

    def kernel(run: Run, v: Tensor) -> Tensor:
        part = rows(v)[:, start : start + size]
        return part.clone() if site.state else part

    return kernel


KERNELS: dict[str, Callable[[Site], Kernel]] = {
    "tanh": _function(torch.tanh),
    "sigmoid": _function(torch.sigmoid),
    "exp": _function(lambda v: v.clamp(max=functions.EXP_MAX).exp_()),
    "log": _function(_log),
    "sqrt": _function(lambda v: v.clamp(min=0).sqrt_()),
    "rsqrt": _function(lambda v: v.clamp(min=2.0**functions.RSQRT_MIN).rsqrt_()),
    "recip": _function(_recip),
    "rms_norm": _rms_norm,
    "sum": _reduction(lambda v: v.sum(1)),
    "mean": _reduction(lambda v: v.mean(1)),
    "max": _reduction(lambda v: v.amax(1)),
    "dot": lambda site: lambda run, a, b: (rows(a) * rows(b)).sum(1, keepdim=True),
    "const": _const,
    "minimum": _function(torch.minimum),
    "maximum": _function(torch.maximum),
    "where": _function(lambda c, a, b: torch.where(c > 0, a, b)),
    "clip": _function(lambda v, low, high: torch.minimum(torch.maximum(v, low), high)),
    "leaky_relu": pointwise(_leaky_relu),
    "overlay": _overlay,
    "slice": _slice,
}
