"""Learns from what the frozen part of a net gives, which is worked out once a sample instead of once a sample and pass.

Where blocks stay as they are, as those of ``cascaded-forward`` do, every pass would compute the same from them. Here the ops of ``learn``
that no weight in training has a say in run once on all samples; what the others read of them is kept in memory, in half precision. The
others are the rule's own, in their own order, with the same batches, rates and optimizers: the steps are those of ``TorchNet``, up to
that rounding. With ``level`` > 0 they are preconditioned: see ``levelling.py``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError
from edgelearn.host.levelling import Levelled, level
from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_net import TorchNet
from edgelearn.host.torch_ops import Run, rows
from edgelearn.host.torch_program import Program
from edgelearn.ir.core import Module, Op
from edgelearn.ir.ops import OPS

KEPT = np.dtype(np.float16)
MOST = 8 << 30  # bytes of features
BATCH = 64
DRAWS = ("noise", "sample")  # other numbers at every step


class FrozenNet(TorchNet):
    """A net whose ``learn`` takes features for samples; ``infer`` takes samples.

    Args:
        level: how many leading directions of the features are levelled; 0 for none. The others are as ``TorchNet``'s.

    Raises:
        ConfigError: as ``TorchNet``; or nothing in the net is frozen.
    """

    def __init__(
        self,
        module: Module,
        seed: int = 0,
        device: str = "cpu",
        optimizer: str = "sgd",
        scale: float = 1.0,
        level: int = 0,
    ) -> None:
        super().__init__(module, seed, device, optimizer, scale)
        self._half = _Halves(module, self.states, self._optimizer, seed)
        self._level = level
        self._heads = _heads(self._half) if level else {}
        self._levelled: dict[str, Levelled] = {}  # by head, from the samples on
        types = self._half.types
        self._shapes = [types[name].shape for name in self._half.kept]
        self._sizes = [math.prod(shape) for shape in self._shapes]

    @property
    def width(self) -> int:
        """Features of a sample."""
        return sum(self._sizes)

    def features(self, x: NDArray[Any]) -> NDArray[Any]:
        """(N, width): what ``learn`` takes for the samples (N, inputs), all that are to be learnt.

        Raises:
            ConfigError: they would take more than ``MOST`` bytes, or have fewer directions than are to be levelled.
        """
        if (size := len(x) * self.width * KEPT.itemsize) > MOST:
            problem = f"{self.width:,} features of {len(x):,} samples take {size / 2**30:.1f} GB; up to {MOST / 2**30:.0f} are kept."
            raise ConfigError(problem, 'Train on fewer samples, pool more, or set engine = "torch".')
        kept = np.empty((len(x), self.width), KEPT)
        for first in range(0, len(x), BATCH):
            part = super().tensor(x[first : first + BATCH])
            run = Run(len(part), torch.zeros(len(part), 1, dtype=torch.int64, device=self.device))
            kept[first : first + len(part)] = torch.cat([rows(v) for v in self._half.freeze(run, part)], 1).cpu()
        if self._level:
            self._flatten(torch.from_numpy(kept))
        return kept

    def _flatten(self, kept: Tensor) -> None:
        first = self.tensors()
        for name, columns in zip(self._half.kept, kept.split(self._sizes, 1), strict=True):
            levelled = level(columns, self._level, self.seed)
            levelled.flatten(columns)
            self._levelled |= dict.fromkeys(self._heads[name], levelled)
        self.load(first)

    def tensor(self, x: Any) -> Tensor:
        """Features as they are, samples as floats; they are told apart by their number type."""
        if isinstance(x, np.ndarray) and x.dtype == KEPT and x.shape[1:] == (self.width,):
            return torch.from_numpy(x).to(self.device)
        return super().tensor(x)

    def learn(self, x: Any, y: Any) -> Tensor | None:
        """One step on a batch of features (B, width), a tensor; otherwise as ``TorchNet.learn``."""
        x, y = x.float(), torch.as_tensor(y, dtype=torch.int64, device=self.device).reshape(-1, 1)
        self._optimizer.batches += 1
        steps = torch.arange(self.step, self.step + len(x), device=self.device).reshape(-1, 1)
        run = Run(len(x), steps, self.scale * 2.0 ** -self.drops())
        parts = [v.reshape(-1, *shape) for v, shape in zip(x.split(self._sizes, 1), self._shapes, strict=True)]
        guesses = self._half.learn(run, parts, y)
        self.step += len(x)
        return None if guesses is None else guesses.reshape(-1)

    def infer(self, x: Any, batch: int = 256) -> NDArray[np.int64]:
        """Classes of samples (N, inputs)."""
        learning = {name: self.states[name].clone() for name in self._levelled}
        for name, levelled in self._levelled.items():
            self.states[name].copy_(levelled.fold(learning[name]))
        found = super().infer(x, batch)
        for name, weights in learning.items():
            self.states[name].copy_(weights)
        return found

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the state, as the rule's own net reads it."""
        found = super().tensors()
        for name, levelled in self._levelled.items():
            found[name] = levelled.fold(self.states[name]).cpu().numpy()
        return found

    def load(self, tensors: dict[str, NDArray[Any]]) -> None:
        """Takes over such a state."""
        super().load(tensors)
        for name, levelled in self._levelled.items():
            self.states[name].copy_(levelled.unfold(self.states[name]))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """As ``TorchNet.state_dict``, but with levelled heads as they are: folding rounds."""
        return super().state_dict() | {f"state/{n}": self.states[n].cpu().numpy().copy() for n in self._levelled}

    def load_state_dict(self, kept: dict[str, NDArray[Any]]) -> None:
        """Goes on from that, once there are features."""
        super().load_state_dict(kept)
        for name in self._levelled:
            self.states[name].copy_(torch.from_numpy(np.array(kept[f"state/{name}"])))


class _Halves(Program):
    """``learn`` in two halves, the frozen ops first; no op between them needs the other order.

    Raises:
        ConfigError: nothing is frozen.
    """

    def __init__(self, module: Module, state: dict[str, Tensor], optimizer: Any, seed: int) -> None:
        frozen, learning = _halves(module)
        entry = replace(module.entry("learn"), ops=(*frozen, *learning))
        super().__init__(module.with_entries(entry, module.entry("infer")), "learn", state, optimizer, seed)
        self.types, self.learning = self._types, learning
        self._half, read = len(frozen), {name for op in learning for name in op.args}
        self.kept = [op.result for op in frozen if op.result in read]

    def freeze(self, run: Run, x: Tensor) -> list[Tensor]:
        """What learning reads, for a batch of samples."""
        (name, type), *_ = self.entry.params
        values = {**self._known, name: x.reshape(run.batch, *type.shape)}
        self._run(self._calls[: self._half], run, values)
        return [values[name] for name in self.kept]

    def learn(self, run: Run, kept: list[Tensor], y: Tensor) -> Tensor | None:
        """The rest of the step on such a batch; the guesses, if the rule guesses."""
        values = {**self._known, self.entry.params[1][0]: y, **dict(zip(self.kept, kept, strict=True))}
        self._run(self._calls[self._half :], run, values)
        return values[self.entry.result].expand(run.batch, 1) if self.entry.result is not None else None


def _halves(module: Module) -> tuple[list[Op], list[Op]]:
    """The ops that depend on the sample and on what stays as it is alone, and all others.

    Raises:
        ConfigError: learning reads the sample itself.
    """
    learn = module.entry("learn")
    (x, _), *others = learn.params
    moving = {name for name, _ in others} | {op.args[0] for op in learn.ops if OPS[op.name].update}
    frozen: list[Op] = []
    learning: list[Op] = []
    for op in learn.ops:
        moves = op.name in DRAWS or OPS[op.name].update or not moving.isdisjoint(op.args)
        (learning if moves else frozen).append(op)
        if moves and op.result is not None:
            moving.add(op.result)
    if any(x in op.args for op in learning):
        problem = f"{module.name} learns from the samples themselves: its first weights are not frozen."
        raise ConfigError(problem, 'Take a rule whose blocks stay as they are, cascaded-forward, or engine = "torch".')
    return frozen, learning


def _heads(half: _Halves) -> dict[str, list[str]]:
    """The heads that read each kept value, where nothing else does.

    Raises:
        ConfigError: something else does.
    """
    found: dict[str, list[str]] = {name: [] for name in half.kept}
    for op in half.learning:
        for name in found.keys() & set(op.args):
            if (op.name, op.args[-1]) not in (("matvec", name), ("outer_update", name)):
                problem = f"{name} is read by more than linear heads, by {op.name}: it cannot be levelled."
                raise ConfigError(problem, "Set level = 0.")
            found[name] += [op.args[0]] if op.name == "outer_update" else []
    return found
