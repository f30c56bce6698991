"""Runs a module on this computer in mini-batches, with torch on a CPU or a GPU: for nets that one sample at a time would take days.

The same rule text, the same f32 module and the same first state as on a board, but every ``s.W -= f`` becomes ``s.W -= scale * mean
of f over the batch``, with all f of a batch from the same weights. A batch of one is what the interpreter does, to rounding (1e-5).
On a GPU, torch's own switches decide whether products may be in TF32, which is coarser than that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError
from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_ops import Run
from edgelearn.host.torch_optim import OPTIMIZERS
from edgelearn.host.torch_program import Program
from edgelearn.ir.core import Module
from edgelearn.ir.interp import Interpreter


class TorchNet:
    """The state of a module, and how to run its entries on batches.

    Ops that draw (``noise``, ``sample``) draw for each sample what a board would draw at the sample's step, whatever the batch's size.

    Args:
        module: floats, after the pass ``fuse``: the stages "f32" and "memory" of a net compiled with dtype f32.
        optimizer: ``sgd`` is the rule's own step; ``momentum`` (0.9) and ``adam`` (the rule's rate is its learning rate) are the host's.
        scale: factor of all rates. 1 takes the mean over a batch, the batch's size the sum.

    Raises:
        ConfigError: the module cannot be run so, or there is no such optimizer or device.
    """

    def __init__(
        self, module: Module, seed: int = 0, device: str = "cpu", optimizer: str = "sgd", scale: float = 1.0
    ) -> None:
        if module.dtype != "f32":
            raise ConfigError(
                f"{module.name} is lowered to {module.dtype}; torch runs floats.", "Compile it with --dtype f32."
            )
        if optimizer not in OPTIMIZERS:
            raise ConfigError(f"There is no optimizer {optimizer!r}.", f"Choose one of {', '.join(OPTIMIZERS)}.")
        self.module, self.seed, self.device, self.scale = module, seed, checked_device(device), scale
        self.optimizer = optimizer
        self.step = 0  # samples learnt
        first = Interpreter(module, seed).tensors()
        self._state: dict[str, Tensor] = {n: torch.from_numpy(t.copy()).to(self.device) for n, t in first.items()}
        self._optimizer = OPTIMIZERS[optimizer](self._state)
        self._learn = Program(module, "learn", self._state, self._optimizer, seed)
        self._infer = Program(module, "infer", self._state, self._optimizer, seed)

    def drops(self) -> int:
        """How often the rate has been halved by now."""
        return sum(self.step >= t for t in self.module.drops)

    def learn(self, x: Any, y: Any) -> Tensor | None:
        """One step on a batch; the rate is that of its first sample.

        Args:
            x: (B, inputs) floats, numpy or torch. y: (B,) classes.

        Returns:
            What the network said of each sample before the step, a tensor on the net's device (so that a GPU need not wait), or None
            if the rule does not compute that.
        """
        x, y = self.tensor(x), torch.as_tensor(y, dtype=torch.int64, device=self.device).reshape(-1, 1)
        if len(x) != len(y) or not len(x):
            hint = "Give at least one sample, and one class for each."
            raise ConfigError(f"There are {len(x)} samples and {len(y)} classes.", hint)
        self._optimizer.batches += 1
        steps = torch.arange(self.step, self.step + len(x), device=self.device).reshape(-1, 1)
        run = Run(len(x), steps, self.scale * 2.0 ** -self.drops())
        guesses = self._learn(run, x, y)
        self.step += len(x)
        return None if guesses is None else guesses.reshape(-1)

    def infer(self, x: Any, batch: int = 256) -> NDArray[np.int64]:
        """Classes of samples (N, inputs), worked out ``batch`` at a time."""
        x = self.tensor(x)
        now = torch.full((len(x), 1), self.step, device=self.device)  # a board's step does not move either
        found = [self._infer(Run(len(part), now[: len(part)]), part) for part in x.split(batch) if len(part)]
        return np.concatenate([np.empty(0, np.int64), *(classes.reshape(-1).cpu().numpy() for classes in found)])

    def tensor(self, x: Any) -> Tensor:
        """Samples as floats on the net's device; no copy where they are.

        Raises:
            ConfigError: they are not as large as the net's input.
        """
        if isinstance(x, np.ndarray):
            x = np.require(
                x, requirements=["C", "W"]
            )  # torch has no tensors that cannot be written, or that go backwards
        samples = torch.as_tensor(x, dtype=torch.float32, device=self.device)
        inputs = self.module.types(self.module.entry("infer"))["%x"].size
        if samples.shape[1:].numel() != inputs:
            problem = f"A sample of shape {tuple(samples.shape[1:])} does not fit {inputs} inputs"
            raise ConfigError(f"{problem} of {self.module.name}.", "Give samples as rows, (N, inputs).")
        return samples

    # --- state ----------------------------------------------------------------------------------------------------------------------

    @property
    def states(self) -> dict[str, Tensor]:
        """The state itself, on the net's device; what changes it changes the net."""
        return self._state

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the state."""
        return {name: t.cpu().numpy().copy() for name, t in self._state.items()}

    def load(self, tensors: dict[str, NDArray[Any]]) -> None:
        """Takes over a state, such as ``tensors`` gave or an interpreter or a board has.

        Raises:
            ConfigError: it is no state of this module.
        """
        shapes = {name: tuple(t.shape) for name, t in self._state.items()}
        if {name: np.shape(t) for name, t in tensors.items()} != shapes:
            raise ConfigError(f"These tensors are no state of {self.module.name}.", f"It has {', '.join(shapes)}.")
        for name, t in tensors.items():
            self._state[name].copy_(torch.from_numpy(np.array(t, np.float32)))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that going on needs, as arrays that ``np.savez`` can keep: state, moments of the optimizer, step."""
        kept = {f"state/{name}": t for name, t in self.tensors().items()}
        kept |= {f"{m}/{s}": t.cpu().numpy().copy() for (m, s), t in self._optimizer.kept.items()}
        counts = np.array([self.step, self._optimizer.batches, self.seed], np.int64)
        return {**kept, "counts": counts}

    def load_state_dict(self, kept: dict[str, NDArray[Any]]) -> None:
        """Goes on where the net that ``state_dict`` came from stopped.

        Raises:
            ConfigError: it comes from another module, optimizer or seed.
        """
        if set(kept) != set(self.state_dict()) or int(kept["counts"][2]) != self.seed:
            hint = f"This net has optimizer {self.optimizer} and seed {self.seed}; make one as the kept one was."
            raise ConfigError(f"This is no kept state of {self.module.name}.", hint)
        self.load({name.removeprefix("state/"): t for name, t in kept.items() if name.startswith("state/")})
        for (moment, state), t in self._optimizer.kept.items():
            t.copy_(torch.from_numpy(np.array(kept[f"{moment}/{state}"])))
        self.step, self._optimizer.batches = int(kept["counts"][0]), int(kept["counts"][1])


def checked_device(name: str) -> str:
    """``name``, if there is such a device.

    Raises:
        ConfigError: there is none.
    """
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or not (number or "0").isdecimal():
        raise ConfigError(f"There is no device {name!r}.", "Choose cpu or cuda.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError("torch finds no GPU here.", "Use the device cpu, or install a torch with CUDA.")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(f"torch finds no GPU {number} here.", "They are counted from 0: cuda:0 is the first.")
    return name
