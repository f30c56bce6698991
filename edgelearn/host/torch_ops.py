"""Ops for whole batches in torch: products with matrices, arithmetic, comparisons, and what begins or ends with a class.

A value of the entry is a tensor with the batch in front: (B, n), (B, 1) for a scalar, (B, H, W, C) for a map. What does not depend on
the sample has a batch of one and broadcasts. ``KERNELS`` makes of an op what is called per batch; ``UPDATES`` what adds a batch's sum
of the op's f to a tensor. Both know all shapes before the first batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.ir.core import Op
from edgelearn.ir.types import Type


@dataclass(frozen=True)
class Site:
    """What is known of an op before it runs.

    ``overwrite``: its first operand is needed by nobody else, so that the result may take its place. ``state``: its first operand is
    state, which will change: a result must not share memory with it.
    """

    op: Op
    types: tuple[Type, ...]  # of the operands
    seed: int
    device: str
    overwrite: bool = False
    state: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        assert self.op.type is not None
        return self.op.type.shape


@dataclass(frozen=True)
class Run:
    """One batch on its way through an entry."""

    batch: int
    steps: Tensor  # (B, 1): the step of each sample, which draws depend on
    rate: float = 1.0  # factor of all rates: the caller's scale and how often they have been halved


Kernel = Callable[..., Tensor]  # (run, *operands) -> result
Add = Callable[..., None]  # (into, factor, run, *operands): into += factor * the sum over the batch of f


def shaped(site: Site) -> tuple[Callable[[Tensor], Tensor], ...]:
    """For each operand, the view of it that fits the result: scalars and channels broadcast, vectors take the shape of a map."""

    def view(shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        if shape == site.shape:
            return lambda v: v
        as_many = math.prod(shape) == math.prod(site.shape)
        size = site.shape if as_many else (*[1] * (len(site.shape) - 1), *shape)
        return lambda v: v.reshape(v.shape[0], *size)

    return tuple(view(t.shape) for t in site.types)


def pointwise(make: Callable[[Op], Callable[..., Tensor]]) -> Callable[[Site], Kernel]:
    """A kernel that works element by element, from one that makes it of the op's attributes."""

    def maker(site: Site) -> Kernel:
        f, views = make(site.op), shaped(site)
        if len(views) == 1:
            return lambda run, v: f(v)
        if len(views) == 2:
            one, two = views
            return lambda run, a, b: f(one(a), two(b))
        return lambda run, *args: f(*(view(a) for view, a in zip(views, args, strict=True)))

    return maker


def rows(v: Tensor) -> Tensor:
    """(B, numbers of one sample)."""
    return v.reshape(v.shape[0], -1)


def whole(v: Tensor, run: Run) -> Tensor:
    """One row per sample of the batch, even if they are all equal."""
    return v.expand(run.batch, *v.shape[1:])


def masked(v: Tensor, a: Tensor, overwrite: bool) -> Tensor:
    """v where a > 0, else 0. The gradient of a ReLU is the one kernel of torch that does this in one pass (where: ten times as long)."""
    if v.shape != a.shape:
        v, a = torch.broadcast_tensors(v, a)
        overwrite = False
    kernel = torch.ops.aten.threshold_backward
    return kernel.grad_input(v, a, 0, grad_input=v) if overwrite else kernel(v, a, 0)


# --- matrices -----------------------------------------------------------------------------------------------------------------------


def _matvec(site: Site) -> Kernel:
    return lambda run, W, x: rows(x) @ W.t()


def _affine(site: Site) -> Kernel:
    def kernel(run: Run, W: Tensor, x: Tensor, b: Tensor) -> Tensor:
        return torch.addmm(b, rows(x), W.t())

    relu = bool(site.op.attr("relu", 0))
    return (lambda run, W, x, b: kernel(run, W, x, b).relu_()) if relu else kernel


def _matvec_t(site: Site) -> Kernel:
    return lambda run, W, d: (rows(d) @ W).reshape(-1, *site.shape)


def _matvec_t_mask(site: Site) -> Kernel:
    def kernel(run: Run, W: Tensor, d: Tensor, a: Tensor) -> Tensor:
        z = (rows(d) @ W).reshape(-1, *site.shape)
        return masked(z, a.reshape(a.shape[0], *site.shape), overwrite=True)

    return kernel


def _add_outer(site: Site) -> Add:
    def add(into: Tensor, factor: float, run: Run, W: Tensor, d: Tensor, x: Tensor) -> None:
        into.addmm_(rows(whole(d, run)).t(), rows(whole(x, run)), alpha=factor)

    return add


def _add_vector(site: Site) -> Add:
    """A map updates a vector by the sum over its positions; anything else has the state's own shape."""
    positions = site.types[1].shape != site.types[0].shape

    def add(into: Tensor, factor: float, run: Run, b: Tensor, d: Tensor) -> None:
        total = d.sum((0, 1, 2)) if positions else d.sum(0)
        into.add_(total, alpha=factor * run.batch / d.shape[0])

    return add


def _add_decay(site: Site) -> Add:
    def add(into: Tensor, factor: float, run: Run, W: Tensor) -> None:
        into.add_(W, alpha=factor * run.batch)

    return add


# --- element by element -------------------------------------------------------------------------------------------------------------


def _mask(site: Site) -> Kernel:
    one, two = shaped(site)
    overwrite = site.overwrite and site.types[0].shape == site.shape
    return lambda run, v, a: masked(one(v), two(a), overwrite)


def _relu(site: Site) -> Kernel:
    return (lambda run, v: v.relu_()) if site.overwrite else (lambda run, v: v.relu())


def _scale(site: Site) -> Kernel:
    k = site.op.number("k")
    return (lambda run, v: v.mul_(k)) if site.overwrite else (lambda run, v: v * k)


def _sign(site: Site) -> Kernel:
    """0 within the dead zone, ends included."""
    dead = site.op.number("dead", 0)
    if not dead:
        return lambda run, v: v.sign()
    return lambda run, v: torch.nn.functional.hardshrink(v, dead).sign_()


def _gate(site: Site) -> Kernel:
    """Sample by sample: all of v, or nothing of it."""
    threshold = site.op.number("threshold")

    def kernel(run: Run, v: Tensor) -> Tensor:
        loud = rows(v).abs().amax(1) >= threshold
        return v * loud.to(v.dtype).reshape(-1, *[1] * (v.dim() - 1))

    return kernel


def _identity(site: Site) -> Kernel:
    return (lambda run, v: v.clone()) if site.state else (lambda run, v: v)


# --- classes ------------------------------------------------------------------------------------------------------------------------


def _one_hot(site: Site) -> Kernel:
    classes = int(site.op.number("classes"))
    return lambda run, y: torch.zeros(y.shape[0], classes, device=y.device).scatter_(1, y, 1.0)


def _sub_one_hot(site: Site) -> Kernel:
    minus = torch.full((1, 1), -1.0, device=site.device)

    def kernel(run: Run, p: Tensor, y: Tensor) -> Tensor:
        kept = p if site.overwrite and p.shape[0] == run.batch else whole(p, run).clone()
        return kept.scatter_add_(1, y, minus.expand(y.shape))

    return kernel


KERNELS: dict[str, Callable[[Site], Kernel]] = {
    "matvec": _matvec,
    "affine": _affine,
    "matvec_t": _matvec_t,
    "matvec_t_mask": _matvec_t_mask,
    "add": pointwise(lambda op: torch.add),
    "sub": pointwise(lambda op: torch.sub),
    "mul": pointwise(lambda op: torch.mul),
    "scale": _scale,
    "relu": _relu,
    "abs": pointwise(lambda op: torch.abs),
    "sign": _sign,
    "gt0": pointwise(lambda op: lambda v: (v > 0).to(torch.float32)),
    "mask": _mask,
    "softmax": lambda site: lambda run, g: rows(g).softmax(1).reshape(g.shape),
    "one_hot": _one_hot,
    "sub_one_hot": _sub_one_hot,
    "gate": _gate,
    "quant": _identity,
    "argmax": lambda site: lambda run, v: rows(v).argmax(1, keepdim=True),
}

UPDATES: dict[str, Callable[[Site], Add]] = {
    "outer_update": _add_outer,
    "vec_update": _add_vector,
    "decay_update": _add_decay,
}

# Their result is a view of their first operand, or the same in every batch: neither may be overwritten.
SHARING = frozenset({"quant", "slice", "const"})
