"""What is done with a batch's gradient: the rule's own step, or one of the host's optimisers.

The gradient of a state is the f of its ``s.W -= rate * f``. Where a step updates a state more than once, the changes are summed in
units of the largest of their rates, which becomes the learning rate. Plain descent changes the state at every update; the others at
its last.
"""

from __future__ import annotations

from typing import Any

from edgelearn.host.torch_lib import Tensor, torch

MOMENTUM = 0.9
BETAS, EPSILON = (0.9, 0.999), 1e-8


class Sgd:
    """``W -= lr g``."""

    moments: tuple[str, ...] = ()

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state
        self.batches = 0  # begun
        self.kept = {(m, s): torch.zeros_like(t) for m in self.moments for s, t in state.items()}

    def open(self, name: str, first: bool, lr: float) -> tuple[Tensor, float]:
        """Where to add a gradient of state ``name``, and how often; ``first``: of this batch."""
        return self.state[name], -lr

    def close(self, name: str, lr: float) -> None:
        """All gradients of this batch are there."""


class Momentum(Sgd):
    """The heavy ball: ``v = 0.9 v + g``, ``W -= lr v``."""

    moments = ("velocity",)

    def open(self, name: str, first: bool, lr: float) -> tuple[Tensor, float]:
        v = self.kept["velocity", name]
        return (v.mul_(MOMENTUM) if first else v), 1.0

    def close(self, name: str, lr: float) -> None:
        self.state[name].add_(self.kept["velocity", name], alpha=-lr)


class Adam(Sgd):
    """D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", arXiv:1412.6980."""

    moments = ("mean", "square")

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__(state)
        # Gradients that are being summed, each behind the room that it lies in.
        self._open: dict[str, tuple[Tensor, Tensor]] = {}
        self._free: list[Tensor] = []  # room for others: a gradient is gone once its state has moved

    def open(self, name: str, first: bool, lr: float) -> tuple[Tensor, float]:
        if first:
            state = self.state[name]
            room = self._room(state.numel())
            self._open[name] = room, room[: state.numel()].view(state.shape).zero_()
        return self._open[name][1], 1.0

    def close(self, name: str, lr: float) -> None:
        room, g = self._open.pop(name)
        mean, square = self.kept["mean", name], self.kept["square", name]
        mean.lerp_(g, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
        unbiased = [1 - beta**self.batches for beta in BETAS]
        size = torch.sqrt(square, out=g).mul_(unbiased[1] ** -0.5).add_(EPSILON)
        self.state[name].addcdiv_(mean, size, value=-lr / unbiased[0])
        self._free.append(room)

    def _room(self, n: int) -> Tensor:
        """Room for n numbers: what another state has left, or new. As a rule no more is held than the largest state needs."""
        self._free.sort(key=lambda flat: flat.numel())
        fits = next((i for i, flat in enumerate(self._free) if flat.numel() >= n), None)
        if fits is not None:
            return self._free.pop(fits)
        if self._free:
            self._free.pop()  # too small, and not needed beside the new one
        like = next(iter(self.state.values()))
        return torch.empty(n, dtype=like.dtype, device=like.device)


OPTIMIZERS: dict[str, Any] = {"sgd": Sgd, "momentum": Momentum, "adam": Adam}
