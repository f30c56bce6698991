"""The backpropagation twin, what a run is compared with: the same net, as many passes, in float, at its best rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgelearn.bench import hostrun
from edgelearn.compiler import Net
from edgelearn.data.datasets import Dataset, validation_split
from edgelearn.rules import find

RATES = tuple(2.0**-k for k in range(3, 9))
HELD_OUT = 1 / 5  # of the training set, to choose the rate on


@dataclass(frozen=True)
class Twin:
    """Backpropagation's result. ``validation[i]`` is the accuracy on held-out training samples at ``rates[i]``."""

    accuracy: float  # on the test set, at ``rate``
    rate: float
    rates: tuple[float, ...]
    validation: tuple[float, ...]
    passes: float
    ram: int  # bytes of state and arena
    seconds: float  # of the final training


def backprop_twin(
    net: Net,
    data: Dataset,
    steps: int,
    seed: int = 0,
    drops: Sequence[float] = (),
    on_epoch: hostrun.OnEpoch = hostrun.silent,
) -> Twin:
    """Chooses the rate on a part of the training set, then trains on all of it. The test set is looked at once.

    Args:
        steps: samples to learn, as many as the run that it is compared with.
        drops: fractions of the run at which the rate halves.
    """
    rates = best_rate(net, data, steps, seed, drops, on_epoch)
    rate = max(rates, key=lambda r: rates[r])
    run = train_twin(net, data, steps, seed, drops, rate, on_epoch)
    passes = steps / len(data.x_train)
    return Twin(run.accuracy(data), rate, RATES, tuple(rates.values()), passes, run.ram, run.seconds)


def best_rate(
    net: Net, data: Dataset, steps: int, seed: int, drops: Sequence[float], on_epoch: hostrun.OnEpoch = hostrun.silent
) -> dict[float, float]:
    """Accuracy on held-out training samples by rate; as many passes over the rest as ``steps`` are over all."""
    split = validation_split(data, HELD_OUT, seed)
    part = max(1, round(steps * len(split.x_train) / len(data.x_train)))
    return {rate: train_twin(net, split, part, seed, drops, rate, on_epoch).accuracy(split) for rate in RATES}


def train_twin(
    net: Net,
    data: Dataset,
    steps: int,
    seed: int,
    drops: Sequence[float],
    rate: float,
    on_epoch: hostrun.OnEpoch = hostrun.silent,
) -> hostrun.HostRun:
    """Backpropagation at one rate, in float."""
    return hostrun.train(find("backprop", {"lr": rate}), net, data, "f32", steps, seed, drops, on_epoch)
