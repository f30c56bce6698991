"""The two engines of the energy bench, one interface: a pass of learning at a time, what is guessed, and the memory it took."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgelearn.bench import energy_memory
from edgelearn.bench.energy_cases import Row
from edgelearn.bench.engines import image_shape
from edgelearn.bench.hostrun import PIECE, compile_for_host
from edgelearn.compiler import compile_net
from edgelearn.data.datasets import Dataset
from edgelearn.ir import rng
from edgelearn.passes.quantize import Calibration

if TYPE_CHECKING:
    from edgelearn.host.torch_net import TorchNet

OnBatch = Callable[[int], None]  # samples learnt in this pass


class Learner(Protocol):
    """A net under training."""

    allocated: int | None  # the most bytes; None before the first pass on a GPU
    allocated_by: str

    def learn_pass(self, number: int, on_batch: OnBatch) -> None:
        """One pass over the training set; returns when it is done, on a GPU too."""
        ...

    def accuracy(self, x: NDArray[Any], y: NDArray[Any]) -> float:
        """The fraction that it gets right."""
        ...

    def keep(self) -> Any:
        """What ``restore`` takes: the net as it is now."""
        ...

    def restore(self, kept: Any) -> None: ...


def open_learner(row: Row, data: Dataset, seed: int, device: str) -> Learner:
    """A net of this row in its first state."""
    return CoreLearner(row, data, seed) if row.method.engine == "core" else TorchLearner(row, data, seed, device)


class CoreLearner:
    """The C core in this process, sample by sample."""

    def __init__(self, row: Row, data: Dataset, seed: int) -> None:
        method = row.method
        self._data, self._seed = data, seed
        self._compiled, self._core = compile_for_host(
            method.found_rule(), method.net(data.classes), data, method.dtype, seed
        )
        module = self._compiled.module
        self._x = self._compiled.encode(data.x_train)
        self.allocated: int | None = module.integer("state_bytes") + module.integer("arena_bytes")
        self.allocated_by = "plan"

    def learn_pass(self, number: int, on_batch: OnBatch) -> None:
        order = rng.permutation(self._seed, number, len(self._x))
        for at in range(0, len(order), PIECE):
            self._core.learn(self._x, self._data.y_train, order[at : at + PIECE])
            on_batch(min(at + PIECE, len(order)))

    def accuracy(self, x: NDArray[Any], y: NDArray[Any]) -> float:
        return float((self._core.infer(self._compiled.encode(x)) == y).mean())

    def keep(self) -> Any:
        return self._core.read_state()

    def restore(self, kept: Any) -> None:
        self._core.write_state(kept)


class TorchLearner:
    """Mini-batches, on a CPU or a GPU. The data set lies on the device and is not counted."""

    def __init__(self, row: Row, data: Dataset, seed: int, device: str) -> None:
        from edgelearn.host import batches

        method = row.method
        calibration = Calibration(data.x_train.reshape(len(data.x_train), -1), data.y_train, seed)
        self._compiled = compile_net(method.found_rule(), method.net(data.classes), calibration, "f32")
        image = image_shape(data) if method.augment else None

        def opened() -> tuple[TorchNet, batches.Batches]:
            net = _net(row, self._compiled.module, seed, device)
            x = self._compiled.encode(data.x_train)
            return net, batches.Batches(net, x, data.y_train, method.batch, seed, augment=method.augment, shape=image)

        self._on_gpu, self._device = device.startswith("cuda"), device
        self.allocated: int | None = None if self._on_gpu else _on_cpu(opened)
        self.allocated_by = f"torch, {device.partition(':')[0]}"
        before = self._held()
        self._net, self._batches = opened()
        self._data = self._held() - before - sum(t.nbytes for t in self._net.states.values())

    def _held(self) -> int:
        from edgelearn.host.torch_lib import torch

        return torch.cuda.memory_allocated(self._device) if self._on_gpu else 0

    def learn_pass(self, number: int, on_batch: OnBatch) -> None:
        if not self._on_gpu:
            self._learn_pass(number, on_batch)
            return
        with energy_memory.of_gpu(self._device, self._data) as told:
            self._learn_pass(number, on_batch)
        self.allocated = max(told["peak"], self.allocated or 0)

    def _learn_pass(self, number: int, on_batch: OnBatch) -> None:
        n = len(self._batches)
        while self._net.step < (number + 1) * n:
            self._batches.learn((number + 1) * n)
            on_batch(self._net.step - number * n)

    def accuracy(self, x: NDArray[Any], y: NDArray[Any]) -> float:
        return float((self._net.infer(self._compiled.encode(x)) == y).mean())

    def keep(self) -> Any:
        return self._net.tensors()

    def restore(self, kept: Any) -> None:
        self._net.load(kept)


def _net(row: Row, module: Any, seed: int, device: str) -> TorchNet:
    method = row.method
    from edgelearn.host.torch_net import TorchNet

    if method.engine == "torch":
        return TorchNet(module, seed, device, method.optimizer)
    from edgelearn.bench.torch_backprop import TorchBackprop

    return TorchBackprop(module, method.rate, seed, device, method.optimizer, row.parts)


def _on_cpu(opened: Callable[[], tuple[TorchNet, Any]]) -> int:
    """Of three steps from the start: the first allocates what the others keep. The first state lies in memory of numpy's."""
    kept: list[TorchNet] = []

    def train() -> None:
        net, batches = opened()
        for _ in range(3):
            batches.learn(3 * len(batches))
        kept.append(net)

    most = energy_memory.of_cpu(train)
    return most + int(np.sum([t.nbytes for t in kept[0].states.values()]))
