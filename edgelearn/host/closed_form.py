"""Heads solved for instead of learnt: least squares over all training data, by one pass over them.

A head whose step is ``M -= lr (M h - y) h^T``, such as those of ``cascaded-forward`` with mse, goes towards the M of least squares. That M
has a closed form, with a ridge term that keeps it unique and small:

    M^T = (H^T H / N + ridge I)^-1 H^T Y / N

H holds what the head's update reads of each of N samples, Y their classes as one-hot rows. Everything else in the net must stay as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError
from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_net import TorchNet
from edgelearn.host.torch_ops import Run, Site, rows
from edgelearn.host.torch_program import Program
from edgelearn.ir.core import Module, Op
from edgelearn.ir.ops import OPS

MAX_FEATURES = 8192  # of a head: H^T H is then half a gigabyte
BATCH = 256
RIDGE = 1e-3


@dataclass(frozen=True)
class Head:
    """A state that is solved for, and its shape."""

    name: str
    classes: int
    features: int


def heads(module: Module) -> tuple[Head, ...]:
    """What can be solved for: all that ``module`` learns.

    Raises:
        ConfigError: a state is not learnt by least squares, or a head reads too many features.
    """
    learn = module.entry("learn")
    made = {op.result: op for op in learn.ops if op.result is not None}
    found = [_head(module, made, op) for op in learn.ops if OPS[op.name].update]
    if len({head.name for head in found}) < len(found):
        raise _no_head(found[-1].name)
    return tuple(found)


def _head(module: Module, made: dict[str, Op], update: Op) -> Head:
    name = update.args[0]
    if update.name != "outer_update" or not _least_squares(made, update):
        raise _no_head(name)
    classes, features = module.types(module.entry("learn"))[name].shape
    if features > MAX_FEATURES:
        raise ConfigError(
            f"The head {name[1:]} reads {features:,} features; the closed form takes up to {MAX_FEATURES:,}.",
            'Let it read means: head = 4 (or 2, 1) in its layer, or a pool layer after it. Or loss = "mse".',
        )
    return Head(name, classes, features)


def _least_squares(made: dict[str, Op], update: Op) -> bool:
    """Is it M -= lr (M h - y) h^T?"""
    name, error, h = update.args
    op = made.get(error)
    if op is None or op.name not in ("sub", "sub_one_hot") or update.number("sign", 1) < 0:
        return False
    guess = made.get(op.args[0])
    one_hot = op.name == "sub_one_hot" or (op.args[1] in made and made[op.args[1]].name == "one_hot")
    return one_hot and guess is not None and guess.name == "matvec" and guess.args == (name, h)


def _no_head(name: str) -> ConfigError:
    hint = 'Use a rule whose heads alone learn, by mse: cascaded-forward, with loss = "closed-form".'
    return ConfigError(f"{name[1:]} has no closed form: it is not learnt by least squares.", hint)


class ClosedForm:
    """Sums over the samples seen so far, on the net's device: products within a batch in single precision, their sum in double.

    Raises:
        ConfigError: as ``heads``; at ``solve``, no sample was seen or the heads are not unique.
    """

    def __init__(self, net: TorchNet, ridge: float = RIDGE) -> None:
        if not 0 <= ridge < float("inf"):
            raise ConfigError(f"The ridge term is {ridge}.", "Choose a number from 0 up; 0.001, say.")
        self.net, self.ridge = net, ridge
        self._heads = heads(net.module)
        self._squares = {h.name: self._zeros(h.features, h.features) for h in self._heads}
        self._targets = {h.name: self._zeros(h.features, h.classes) for h in self._heads}
        self._seen = 0
        self._program = _Watch(net.module, "learn", net.states, None, net.seed)
        self._program.saw = self._saw
        self._one_hot = self._zeros(0, 0)

    def _zeros(self, a: int, b: int) -> Tensor:
        return torch.zeros(a, b, dtype=torch.float64, device=self.net.device)

    def add(self, x: Any, y: Any) -> None:
        """Takes a batch into account; the net's state stays, and its step goes on."""
        x, y = self.net.tensor(x), torch.as_tensor(y, dtype=torch.int64, device=self.net.device).reshape(-1, 1)
        classes = self.net.module.integer("classes")
        self._one_hot = torch.zeros(len(y), classes, device=self.net.device).scatter_(1, y, 1.0)
        steps = torch.arange(self.net.step, self.net.step + len(x), device=self.net.device).reshape(-1, 1)
        self._program(Run(len(x), steps), x, y)
        self._seen += len(x)
        self.net.step += len(x)

    def _saw(self, name: str, h: Tensor) -> None:
        features = rows(h)
        self._squares[name] += features.t() @ features  # of one batch in single precision: a quarter of the time
        self._targets[name] += features.t() @ self._one_hot

    def solve(self) -> None:
        """Puts the heads into the net."""
        if not self._seen:
            raise ConfigError("There is no sample to solve for the heads with.", "Give at least one.")
        for head in self._heads:
            squares = self._squares[head.name] / self._seen
            squares.diagonal().add_(self.ridge)
            factor, failed = torch.linalg.cholesky_ex(squares)
            if int(failed):
                problem = (
                    f"{self._seen:,} samples do not say what the {head.features:,} features of {head.name[1:]} mean."
                )
                raise ConfigError(problem, f"Raise ridge (it is {self.ridge:g}), or give more samples.")
            solved = torch.cholesky_solve(self._targets[head.name] / self._seen, factor)
            self.net.states[head.name].copy_(solved.t())


class _Watch(Program):
    """``learn`` without its updates: what they read is shown instead."""

    saw: Callable[[str, Tensor], None]

    def _update(self, index: int, site: Site) -> Callable[..., None]:
        name = site.op.args[0]
        return lambda run, M, e, h: self.saw(name, h)


def closed_form(
    module: Module,
    x: NDArray[Any],
    y: NDArray[Any],
    seed: int = 0,
    ridge: float = RIDGE,
    device: str = "cpu",
    state: dict[str, NDArray[Any]] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The state of ``module`` with its heads solved for, from one pass over the samples.

    Args:
        module: as for ``TorchNet``, of a rule whose heads learn by mse and nothing else learns.
        x: samples (N, inputs). y: (N,) classes.
        state: to begin with; None: what the seed gives.

    Raises:
        ConfigError: the module has no closed form, or a head reads more than ``MAX_FEATURES`` features.
    """
    net = TorchNet(module, seed, device)
    if state is not None:
        net.load(state)
    form = ClosedForm(net, ridge)
    for first in range(0, len(x), BATCH):
        form.add(x[first : first + BATCH], y[first : first + BATCH])
    form.solve()
    return net.tensors()
