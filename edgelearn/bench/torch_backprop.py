"""Backpropagation as PyTorch has it: autograd, its own fused optimizers, gradients accumulated over parts of a batch if asked.

The baseline of energy and memory. What ``edgelearn.host`` adds around a rule (a buffer for each gradient) must not count against it.
"""

from __future__ import annotations

from typing import Any

from edgelearn.errors import ConfigError
from edgelearn.host.autograd import AutogradNet
from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_ops import Run
from edgelearn.ir.core import Module

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}


class TorchBackprop(AutogradNet):
    """A net that torch's autograd and torch's optimizer train; first weights and order of samples are those of the rules.

    Args:
        parts: batches are cut into so many; the gradients of the parts are summed before the one step, so that the activations of one
            part are held at a time.

    Raises:
        ConfigError: there is no such optimizer, or no such number of parts.
    """

    def __init__(
        self, module: Module, lr: float, seed: int = 0, device: str = "cpu", optimizer: str = "sgd", parts: int = 1
    ) -> None:
        if optimizer not in OPTIMIZERS:
            raise ConfigError(f"There is no baseline with {optimizer!r}.", f"Choose one of {', '.join(OPTIMIZERS)}.")
        if parts < 1:
            raise ConfigError(f"A batch has no {parts} parts.", "Give 1 or more.")
        super().__init__(module, lr, seed, device)
        self._parts = parts
        # Views: what the optimizer changes is the state that ``infer`` reads.
        self._weights = {name: self._state[name].detach().requires_grad_() for name in self._scores.reads}
        self._torch: Any = getattr(torch.optim, OPTIMIZERS[optimizer])(list(self._weights.values()), lr=lr, fused=True)

    def learn(self, x: Any, y: Any) -> Tensor:
        """One step on a batch; returns what the net said of each sample before it."""
        x, y = self.tensor(x), torch.as_tensor(y, dtype=torch.int64, device=self.device).reshape(-1)
        steps = torch.arange(self.step, self.step + len(x), device=self.device).reshape(-1, 1)
        size = -(-len(x) // self._parts)
        said = [self._add(*part, len(x)) for part in zip(x.split(size), y.split(size), steps.split(size), strict=True)]
        self._torch.step()
        self._torch.zero_grad(set_to_none=True)
        self.step += len(x)
        return torch.cat(said)

    def _add(self, x: Tensor, y: Tensor, steps: Tensor, of: int) -> Tensor:
        """Adds the gradient of a part to that of the batch of ``of`` samples."""
        scores = self._scores(self._weights, Run(len(x), steps), x)
        (torch.nn.functional.cross_entropy(scores, y) * (len(x) / of)).backward()
        return scores.detach().argmax(1)
