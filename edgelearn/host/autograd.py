"""Backpropagation through everything that a module's ``infer`` does, by torch's autograd: for comparison only.

The net is the one that the rule's ``predict`` says, from the same first weights; the loss is the cross-entropy of its last guess. For a
recurrent net this is backpropagation through time; for NoProp the end-to-end training of all blocks, noisy labels passed on, that the
rule does without. What cannot be had on a board is what this needs: every activation of the sample, until its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError
from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_net import TorchNet
from edgelearn.host.torch_ops import Run, Site
from edgelearn.host.torch_program import KERNELS
from edgelearn.ir.core import Entry, Module
from edgelearn.ir.ops import OPS


class AutogradNet(TorchNet):
    """A net that learns by backpropagation from ``infer`` alone; what its rule's ``step`` does is not looked at.

    Args:
        lr: the rate; it halves where the module says. The others are as ``TorchNet``'s.

    Raises:
        ConfigError: the module cannot be run so.
    """

    def __init__(
        self, module: Module, lr: float, seed: int = 0, device: str = "cpu", optimizer: str = "sgd", scale: float = 1.0
    ) -> None:
        super().__init__(module, seed, device, optimizer, scale)
        self._lr = lr
        self._scores = _Scores(module, seed, self.device)

    def learn(self, x: Any, y: Any) -> Tensor:
        """One step on a batch, by the mean of its gradients; returns what the net said of each sample before it."""
        x, y = self.tensor(x), torch.as_tensor(y, dtype=torch.int64, device=self.device).reshape(-1)
        if len(x) != len(y) or not len(x):
            hint = "Give at least one sample, and one class for each."
            raise ConfigError(f"There are {len(x)} samples and {len(y)} classes.", hint)
        rate = self._lr * self.scale * 2.0 ** -self.drops()
        weights = {name: self._state[name].detach().requires_grad_() for name in self._scores.reads}
        steps = torch.arange(self.step, self.step + len(x), device=self.device).reshape(-1, 1)
        scores = self._scores(weights, Run(len(x), steps), x)
        gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(scores, y), list(weights.values()))
        self._optimizer.batches += 1
        with torch.no_grad():
            for name, gradient in zip(weights, gradients, strict=True):
                into, factor = self._optimizer.open(name, True, rate)
                into.add_(gradient, alpha=factor)
                self._optimizer.close(name, rate)
        self.step += len(x)
        return scores.detach().argmax(1)

    def infer(self, x: Any, batch: int = 256) -> NDArray[np.int64]:
        """Classes of samples (N, inputs) by the scores that learning is about, which need not be the rule's own last word."""
        x, found = self.tensor(x), [np.empty(0, np.int64)]
        with torch.no_grad():
            for part in x.split(batch) if len(x) else ():
                run = Run(len(part), torch.full((len(part), 1), self.step, device=self.device))
                found.append(self._scores(self._state, run, part).argmax(1).cpu().numpy())
        return np.concatenate(found)

    def bytes_of_a_step(self) -> int:
        """Weights, and what learning one sample must remember on the way: counted as autograd keeps it, each tensor once."""
        weights = {name: self._state[name].detach().requires_grad_() for name in self._scores.reads}
        known = {t.untyped_storage().data_ptr() for t in weights.values()}
        kept: dict[int, Tensor] = {}  # by address, and alive, so that no address is given out twice

        def keep(t: Tensor) -> Tensor:
            if t.untyped_storage().data_ptr() not in known:
                kept[t.untyped_storage().data_ptr()] = t
            return t

        x, run = torch.zeros(1, self._scores.inputs, device=self.device), Run(1, self._long(0).reshape(1, 1))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            torch.nn.functional.cross_entropy(self._scores(weights, run, x), self._long(0))
        return sum(t.nbytes for t in weights.values()) + sum(t.untyped_storage().nbytes() for t in kept.values())

    def _long(self, value: int) -> Tensor:
        return torch.full((1,), value, dtype=torch.int64, device=self.device)


class _Scores:
    """``infer`` up to the scores of its last guess, in ops that autograd can follow: nothing is overwritten."""

    def __init__(self, module: Module, seed: int, device: str) -> None:
        entry, types = module.entry("infer"), module.types(module.entry("infer"))
        self._result, self._input = _last_guess(entry), entry.params[0]
        self.inputs = math.prod(self._input[1].shape)
        ops = entry.ops[: 1 + next(i for i, op in enumerate(entry.ops) if op.result == self._result)]
        read = {a for op in ops for a in op.args if a.startswith("@")}
        self.reads = [state.name for state in module.state if state.name in read]
        self._calls: list[tuple[Callable[..., Tensor], list[tuple[str, bool]], str | None]] = []
        for op in ops:
            if op.name not in KERNELS:
                raise ConfigError(
                    f"torch cannot run the op {op.name}.", "Give a module after the pass fuse, from dtype f32."
                )
            site = Site(op, tuple(types[a] for a in op.args), seed, device)
            roles = OPS[op.name].roles
            # A state where a value is expected is a batch of one.
            args = [(a, a.startswith("@") and role not in ("W", "b")) for a, role in zip(op.args, roles, strict=True)]
            self._calls.append((KERNELS[op.name](site), args, op.result))

    def __call__(self, weights: dict[str, Tensor], run: Run, x: Tensor) -> Tensor:
        name, type = self._input
        values = {**weights, name: x.reshape(run.batch, *type.shape)}
        for kernel, args, result in self._calls:
            made = kernel(run, *[values[a].unsqueeze(0) if alone else values[a] for a, alone in args])
            if result is not None:
                values[result] = made
        return values[self._result].reshape(run.batch, -1)


def _last_guess(entry: Entry) -> str:
    """What the last softmax reads; where there is none, what the class is the largest of."""
    softmax = [op for op in entry.ops if op.name == "softmax"]
    last = softmax[-1] if softmax else next(op for op in entry.ops if op.result == entry.result)
    return last.args[0]
