"""Chance for whole batches in torch: for each sample the numbers of ``edgelearn.ir.rng`` at its own step.

``mix`` in torch is exact: its 32-bit words are kept in 64 bits, and what a product has beyond those is cut off by the mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_ops import Kernel, Run, Site, rows
from edgelearn.ir import rng
from edgelearn.ir.ops import parse_shape

_MASK = 0xFFFFFFFF


def mix(v: Tensor) -> Tensor:
    """``rng.mix``, in place."""
    v &= _MASK
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        v ^= v >> shift
        v *= factor
        v &= _MASK
    v ^= v >> 16
    return v


def words(site: Site, run: Run, n: int) -> Tensor:
    """(B, n) words of 32 bits: ``rng.draw_bits`` of each sample's step."""
    key = int(rng.mix(site.seed)) + int(site.op.number("id")) * rng.OP
    start = mix(run.steps * rng.STEP + key)
    return mix(start + torch.arange(n, device=start.device) * rng.COLUMN)


def _noise(site: Site) -> Kernel:
    n = math.prod(parse_shape(str(site.op.attr("shape"))))

    def uniform(run: Run) -> Tensor:
        return ((words(site, run, n) >> 8).float() * 2.0**-24).reshape(-1, *site.shape)

    def normal(run: Run) -> Tensor:
        halves = words(site, run, 2 * n)
        units = ((halves & 0xFFFF) + (halves >> 16)).reshape(run.batch, n, 2).sum(2) - rng.NORMAL_MAX
        return (units.float() * (1 / rng.NORMAL_STD)).reshape(-1, *site.shape)

    return normal if site.op.attr("kind") == "normal" else uniform


def _sample(site: Site) -> Kernel:
    """The class in whose part of the total a uniform number falls, but none beyond the last that has a weight."""

    def kernel(run: Run, p: Tensor) -> Tensor:
        weights = rows(p).clamp(min=0)
        ends = weights.cumsum(1)
        at = (words(site, run, 1) >> 8).float() * 2.0**-24 * ends[:, -1:]
        last = (torch.arange(weights.shape[1], device=p.device) * (weights > 0)).amax(1, keepdim=True)
        return torch.minimum((ends <= at).sum(1, keepdim=True), last)

    return kernel


def _signs(site: Site) -> Kernel:
    """Here the matrix is in memory: a product with it is faster than drawing it anew."""
    key = site.seed, int(site.op.number("stream")), int(site.op.number("rows")), site.types[0].size
    matrix = torch.from_numpy(rng.signs(*key)).float().t().contiguous().to(site.device)
    return lambda run, v: rows(v) @ matrix


KERNELS: dict[str, Callable[[Site], Kernel]] = {"noise": _noise, "sample": _sample, "signs": _signs}
