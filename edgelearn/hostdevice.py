"""This computer as what a run learns on: floats, by torch, in mini-batches. There is no link, and no plan is needed."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import results, state
from edgelearn.data import files
from edgelearn.errors import ConfigError, DoesNotFitError, UsageError
from edgelearn.host.batches import Batches
from edgelearn.host.closed_form import BATCH, ClosedForm, heads
from edgelearn.host.torch_lib import torch
from edgelearn.host.torch_net import TorchNet, checked_device
from edgelearn.ir.core import Module
from edgelearn.job import Job, Stage
from edgelearn.runs import Checkpoint
from edgelearn.state import Snapshot
from edgelearn.trainspec import TrainSpec

DEVICE = "cpu"
SHOW_S = 0.1  # between two reports: each has to wait for the GPU
_STATE = "state/"  # what the names of tensors begin with that a checkpoint has in its state already

Told = Callable[[int, int, int, int, Sequence[tuple[int, int]]], None]


def check(job: Job) -> None:
    """Can the host learn this recipe?

    Raises:
        UsageError, ConfigError: it cannot.
    """
    train = job.recipe.train
    if train.augment != TrainSpec.augment:
        _image(job)
    if job.closed_form is None:
        return
    if train.optimizer != TrainSpec.optimizer:
        hint = f'Use optimizer = "{TrainSpec.optimizer}".'
        raise UsageError(f"The closed form takes no steps; the optimizer is {train.optimizer}.", hint)
    for stage in job.stages:
        heads(stage.module)


def _image(job: Job) -> tuple[int, int, int]:
    """(height, width, channels) of a sample.

    Raises:
        ConfigError: it is no image.
    """
    shape, net = job.recipe.model.input, job.compiled.net
    if len(shape) not in (2, 3) or net.times > 1:
        problem = f"'augment': samples of shape {list(shape)} are no images."
        raise job.recipe.fault("train", "augment", problem, 'Use augment = "none", or give input = [height, width].')
    return shape[0], shape[1], shape[2] if len(shape) == 3 else 1


class Host:
    """The net that this computer holds.

    Args:
        device: of torch: ``cpu`` (also for None), ``cuda`` or ``cuda:1``.

    Raises:
        ConfigError: there is no such device.
    """

    boot_id = 0

    def __init__(self, device: str | None = None) -> None:
        self.device = checked_device(device or DEVICE)
        self._net: TorchNet | None = None
        self._batches: Batches | None = None  # of the net, once it has learnt
        self._busy_s, self._learnt = 0.0, 0

    @property
    def net(self) -> TorchNet:
        """What it holds.

        Raises:
            UsageError: nothing yet.
        """
        if self._net is None:
            raise UsageError("The host holds no net yet.", "Train one, or load a run.")
        return self._net

    @property
    def step(self) -> int:
        return self.net.step

    def reopen(self, job: Job) -> None:
        """A program does not restart without its host."""

    def put(self, job: Job, checkpoint: Checkpoint | None) -> Stage:
        step = 0 if checkpoint is None else checkpoint.step
        stage, train = job.stage_at(step), job.recipe.train
        raw = job.state_at(step, None if checkpoint is None else checkpoint.state)
        with _memory():
            self._net, self._batches = TorchNet(stage.module, train.seed, self.device, train.optimizer), None
            if raw is not None:
                self._net.load(state.decode(stage.module, raw).tensors)
            self._net.step = step
            if checkpoint is not None and checkpoint.moments is not None and stage is job.stage_of(step):
                kept = {_STATE + name: t for name, t in self._net.tensors().items()}
                self._net.load_state_dict(kept | _unpacked(checkpoint.moments))
        return stage

    def read(self, module: Module) -> tuple[bytes, bytes | None]:
        net = self.net
        raw = state.pack(module, Snapshot(net.tensors(), {}, {}, net.step, net.seed))
        moments = {name: t for name, t in net.state_dict().items() if not name.startswith(_STATE)}
        return raw, None if net.optimizer == TrainSpec.optimizer else _packed(moments)

    def infer(self, rows: NDArray[Any]) -> list[int]:
        with _memory():
            return self.net.infer(rows).tolist()

    def costs(self, job: Job) -> dict[str, Any]:
        return results.of_host(job, self.device, 1e6 * self._busy_s / max(self._learnt, 1))

    def close(self) -> None:
        self._net = self._batches = None

    # --- learning ---------------------------------------------------------------------------------------------------------------------

    def learn(self, job: Job, last: int, told: Told) -> None:
        first, began = self.step, time.monotonic()
        try:
            with _memory(), _between_batches() as look:
                if job.closed_form is None:
                    self._steps(job, last, told, look)
                else:
                    self._solve(job, told, look)
                if self.device.startswith("cuda"):
                    torch.cuda.synchronize()
        finally:
            self._busy_s += time.monotonic() - began
            self._learnt += self.step - first

    def _steps(self, job: Job, last: int, told: Told, look: Callable[[], None]) -> None:
        """Batch after batch; the last one of a stage ends with it."""
        net, end = self.net, job.stage_at(self.step).last
        batches = self._batches = self._batches or _batches(net, job, job.recipe.train.batch)
        shown, learnt, known, right = time.monotonic(), 0, 0, 0
        while net.step < last:
            size, hits = batches.learn(end)
            learnt += size
            if hits is not None:
                known, right = known + size, right + hits
            now = time.monotonic()
            if now - shown >= SHOW_S or net.step >= last:
                told(net.step, learnt, int(right), known, ())
                shown, learnt, known, right = now, 0, 0, 0
            look()

    def _solve(self, job: Job, told: Told, look: Callable[[], None]) -> None:
        """The whole stage in one pass. Stopped in between it has learnt nothing, and begins again."""
        net, stage = self.net, job.stage_at(self.step)
        form = ClosedForm(net, job.closed_form or 0.0)
        batches = _batches(net, job, max(BATCH, job.recipe.train.batch))
        try:
            while net.step < stage.last:
                x, y = batches.take(stage.last)
                form.add(x, y)
                told(net.step, len(y), 0, 0, ())
                look()
            form.solve()
        except BaseException:
            net.step = stage.first
            raise


def _batches(net: TorchNet, job: Job, size: int) -> Batches:
    train = job.recipe.train
    image = None if train.augment == TrainSpec.augment else _image(job)
    augment = "" if image is None else train.augment
    return Batches(net, job.x_train, job.data.y_train, size, train.seed, train.scale, augment, image)


@contextmanager
def _between_batches() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits for the end of a batch: what stops in the middle of one is the state of no step. Call what it gives after each."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield lambda: None  # nobody interrupts this thread
        return
    asked: list[Any] = []

    def look() -> None:
        if asked:
            handler(*asked.pop())

    signal.signal(signal.SIGINT, lambda number, frame: asked.append((number, frame)))
    try:
        yield look
    finally:
        signal.signal(signal.SIGINT, handler)
    look()


@contextmanager
def _memory() -> Iterator[None]:
    """Says what to do where the device has too little of it.

    Raises:
        DoesNotFitError: it has.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        hint = "Use a smaller --batch, a narrower net, or --device cpu."
        raise DoesNotFitError(f"The GPU has too little memory: {str(error).split('. ')[0]}.", hint) from error


# --- what a checkpoint has beside the state ---------------------------------------------------------------------------------------


def _packed(arrays: dict[str, NDArray[Any]]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _unpacked(raw: bytes) -> dict[str, NDArray[Any]]:
    try:
        return dict(files.arrays_in(io.BytesIO(raw), Path("optimizer.npz")))
    except ConfigError as error:
        raise ConfigError("The optimizer's memory in this run is damaged.", "Train anew.") from error
