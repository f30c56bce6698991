"""The table ``[train]`` of a recipe: how to train."""

from __future__ import annotations

from dataclasses import dataclass

from edgelearn.target import DTYPES

DROPS = (0.5, 0.7, 0.8, 0.9, 0.95)
SCHEDULES = ("simultaneous", "block-by-block")
OPTIMIZERS = ("sgd", "momentum", "adam")  # of edgelearn.host.torch_optim
AUGMENTS = ("none", "flip-crop")  # of edgelearn.host.batches
SCALES = ("mean", "sum")
HOST_KEYS = ("batch", "optimizer", "augment", "scale")  # of [train]
_WORDS = {"augment": "augmentation"}


@dataclass(frozen=True)
class TrainSpec:
    """How to train. The rate halves when each fraction in ``drops`` of the samples has been shown.

    Blocks in ``freeze``, from 0, do not learn. ``schedule`` "block-by-block": one block learns after the other, each for an equal share
    of the samples, in which the rate drops anew.

    What only the host does: a ``batch`` of more than one sample changes a state by the ``scale`` of its samples' changes, their mean or
    their sum, by way of the ``optimizer``; ``augment`` changes images before they are learnt.
    """

    dtype: str = "int8"
    epochs: int = 1
    seed: int = 0
    drops: tuple[float, ...] = DROPS
    batch: int = 1
    steps: int | None = None  # samples in all, instead of whole epochs
    freeze: tuple[int, ...] = ()
    schedule: str = SCHEDULES[0]
    optimizer: str = OPTIMIZERS[0]
    augment: str = AUGMENTS[0]
    scale: str = SCALES[0]

    def wrong(self) -> tuple[str, str, str] | None:
        """(key, problem, remedy) of the first impossible value, None if all are possible."""
        if self.dtype not in DTYPES:
            return "dtype", f"'{self.dtype}' is no dtype.", f"Choose one of: {', '.join(DTYPES)}."
        if not 0 <= self.seed < 2**32:
            return "seed", f"{self.seed} is no seed.", "Choose a number from 0 to 4294967295."
        for key, value in (("epochs", self.epochs), ("batch", self.batch), ("steps", self.steps)):
            if value is not None and not 1 <= value < 2**31:
                return key, f"{value} is too few or too many.", "Choose a number from 1 to 2147483647."
        if list(self.drops) != sorted(set(self.drops)) or not all(0 < drop < 1 for drop in self.drops):
            return "drops", "these are no rising fractions.", f"Write them as in {list(DROPS)}; [] for a constant rate."
        if list(self.freeze) != sorted(set(self.freeze)) or any(block < 0 for block in self.freeze):
            return (
                "freeze",
                "these are no rising numbers of blocks.",
                "Write them as in [0, 1]; [] if all blocks learn.",
            )
        return self._wrong_word()

    def _wrong_word(self) -> tuple[str, str, str] | None:
        words = (
            ("schedule", self.schedule, SCHEDULES), ("optimizer", self.optimizer, OPTIMIZERS),
            ("augment", self.augment, AUGMENTS), ("scale", self.scale, SCALES),
        )  # fmt: skip
        for key, value, choices in words:
            if value not in choices:
                return key, f"'{value}' is no {_WORDS.get(key, key)}.", f"Choose one of: {', '.join(choices)}."
        if (self.optimizer, self.scale) == ("adam", "sum"):
            return (
                "scale",
                "adam's steps are as large for a sum as for a mean.",
                'Use scale = "mean", or another optimizer.',
            )
        return None
