"""Trains a net in mini-batches: the order of the samples, where a run goes on, and augmentation of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError
from edgelearn.host.torch_lib import Tensor, torch
from edgelearn.host.torch_net import TorchNet
from edgelearn.ir import rng

SHIFT = 4  # pixels by which a crop is shifted at most
_AUGMENT = 0x6000  # stream of the random numbers of augmentation

OnProgress = Callable[
    [int, int, float | None], None
]  # (samples learnt, of how many, accuracy of guesses since the last call)


class Batches:
    """Samples on the device of a net, in the order in which a session would send them; each batch lies within one epoch.

    Args:
        x: (N, inputs) or (N, height, width, channels). y: (N,) classes.
        scale: ``mean`` leaves the net's own factor of the rates as it is; ``sum`` makes it the size of each batch.
        augment: ``flip-crop`` mirrors half of the images and shifts each by up to 4 pixels; "" does nothing.
        shape: (height, width, channels) of an image, where ``x`` has rows.

    Raises:
        ConfigError: samples and classes do not fit each other or the net.
    """

    def __init__(
        self,
        net: TorchNet,
        x: NDArray[Any],
        y: NDArray[Any],
        batch: int = 64,
        seed: int = 0,
        scale: str = "mean",
        augment: str = "",
        shape: tuple[int, int, int] | None = None,
    ) -> None:
        self.net, self.batch, self.seed, self.scale = net, batch, seed, scale
        self._change = _augmentation(augment, shape or x.shape[1:], x[:1].size)
        self._x, self._y = net.tensor(x), torch.as_tensor(np.asarray(y, np.int64), device=net.device)
        _check(net, len(self._x), y, batch)

    def __len__(self) -> int:
        return len(self._x)

    def take(self, end: int) -> tuple[Tensor, Tensor]:
        """Samples and classes of the batch that begins at the net's step, or of its part before step ``end``."""
        first = self.net.step
        index = torch.from_numpy(_indices(first, end, self.batch, len(self), self.seed)).to(self.net.device)
        chosen = self._x[index]
        return chosen if self._change is None else self._change(chosen, self.seed, first), self._y[index]

    def learn(self, end: int) -> tuple[int, Tensor | None]:
        """Learns that batch; returns its size, and how many of the guesses before it were right, if the rule guesses."""
        x, y = self.take(end)
        if self.scale == "sum":
            self.net.scale = float(len(y))
        guesses = self.net.learn(x, y)
        return len(y), None if guesses is None else (guesses == y).sum()


def train(
    net: TorchNet,
    x: NDArray[Any],
    y: NDArray[Any],
    steps: int,
    batch: int = 64,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    every: int | None = None,
    augment: str = "",
    shape: tuple[int, int, int] | None = None,
) -> None:
    """Learns until ``net.step`` is ``steps``, each epoch in the order that a session would send it.

    The last batch of an epoch is short. A net that was kept (``state_dict``) between two batches goes on as if it had never stopped.

    Args:
        on_progress: called after every ``every`` samples or the batch that completes them (default: an epoch) and at the end.
        The others are as those of ``Batches``.

    Raises:
        ConfigError: samples and classes do not fit each other or the net.
    """
    batches = Batches(net, x, y, batch, seed, augment=augment, shape=shape)
    every, right, seen, known = every or len(batches), 0, 0, True
    while net.step < steps:
        first = net.step
        size, hits = batches.learn(steps)
        seen, known = seen + size, hits is not None
        right = right + hits if hits is not None else 0
        if on_progress is not None and (net.step // every > first // every or net.step >= steps):
            on_progress(net.step, steps, int(right) / seen if known else None)
            right, seen = 0, 0


def _check(net: TorchNet, samples: int, y: NDArray[Any], batch: int) -> None:
    classes = net.module.integer("classes")
    if samples != len(y) or samples == 0:
        raise ConfigError(f"There are {samples} samples and {len(y)} classes.", "Give one class for each sample.")
    if y.min() < 0 or y.max() >= classes:
        raise ConfigError(
            f"Classes go from {y.min()} to {y.max()}, but the net has {classes}.", f"Use 0 to {classes - 1}."
        )
    if batch < 1:
        raise ConfigError(f"A batch of {batch} samples cannot be learnt.", "Give a batch of at least 1.")


def _indices(first: int, steps: int, batch: int, n: int, seed: int) -> NDArray[np.int64]:
    """The samples of the batch that begins at step ``first``. Batches begin at multiples of ``batch`` in an epoch."""
    epoch, at = divmod(first, n)
    last = min((at // batch + 1) * batch, n, at + steps - first)
    return _order(seed, epoch, n)[at:last]


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    return rng.permutation(seed, epoch, n).astype(np.int64)


# --- augmentation -------------------------------------------------------------------------------------------------------------------


def _augmentation(name: str, shape: tuple[int, ...], inputs: int) -> Callable[[Tensor, int, int], Tensor] | None:
    if not name:
        return None
    if name != "flip-crop":
        raise ConfigError(f"There is no augmentation {name!r}.", 'Choose "flip-crop", or none.')
    if len(shape) != 3 or math.prod(shape) != inputs:
        problem = f"Samples of {inputs} numbers are no images of shape {tuple(shape)}."
        raise ConfigError(problem, "Give their shape: (height, width, channels).")
    return lambda x, seed, step: flip_crop(x, (shape[0], shape[1], shape[2]), seed, step)


def flip_crop(x: Tensor, shape: tuple[int, int, int], seed: int, step: int) -> Tensor:
    """Images (B, ...), half of them mirrored, each shifted by up to 4 pixels in both directions; what comes in is 0.

    What happens to an image depends on the seed and on its own step alone: the first one is learnt at ``step``, the next one after it.
    """
    (h, w, c), n = shape, len(x)
    start = int(rng.mix(int(rng.mix(seed)) + _AUGMENT * rng.OP))
    words = rng.mix(start + np.arange(step, step + n, dtype=np.uint64) * np.uint64(rng.COLUMN)).astype(np.int64)
    mirrored = words[:, None] & 1 == 1
    down, right = ((words[:, None] >> bits & 0xFFF) * (2 * SHIFT + 1) >> 12 for bits in (1, 13))
    columns = np.where(mirrored, np.arange(w)[::-1], np.arange(w)) + right
    lines = np.arange(h) + down
    padded = torch.nn.functional.pad(x.reshape(n, h, w, c), (0, 0, SHIFT, SHIFT, SHIFT, SHIFT))
    places = (lines[:, :, None] * (w + 2 * SHIFT) + columns[:, None, :]).reshape(
        n, -1, 1
    )  # of each pixel in its padded image
    pixels = padded.reshape(n, -1, c)
    return pixels.gather(1, torch.from_numpy(places).to(x.device).expand(-1, -1, c)).reshape(x.shape)
