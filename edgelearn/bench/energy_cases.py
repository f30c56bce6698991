"""What the energy bench trains: rules and backpropagation on the same net, data, batches and first weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from edgelearn.bench.methods import EngineName, Item, Method
from edgelearn.errors import UsageError
from edgelearn.tomlfile import nearest

BASELINE = "backprop PyTorch"  # what ratios are beside
ACCUMULATED = f"{BASELINE} 8 parts"
SPYRA = "repository Przemyslaw11/BeyondBackpropagation (PPAM 2026), an A100; Mono-Forward block after block"


@dataclass(frozen=True)
class Row:
    """A way of learning; ``parts`` of a batch whose gradients are accumulated, for the baseline."""

    method: Method
    parts: int = 1

    @property
    def name(self) -> str:
        return self.method.name

    def runs_on(self, device: str) -> bool:
        """The C core has no GPU."""
        return self.method.engine != "core" or device == "cpu"


@dataclass(frozen=True)
class Published:
    """Of a row of the literature beside its backpropagation, at matched passes and each to its own convergence.

    ``energy`` and ``memory`` are ratios; None where none was given.
    """

    row: str
    protocol: str
    energy: float | None
    memory: float | None
    source: str = SPYRA


@dataclass(frozen=True)
class Case:
    """Rows on one net and data set.

    Attributes:
        most: passes at most, to own convergence. patience: passes without a better validation accuracy, after which it is reached.
    """

    name: str
    data: str
    rows: Sequence[Row]
    most: int
    patience: int
    published: Sequence[Published] = ()
    classes: int = 10

    @property
    def passes(self) -> int:
        """Of every row, when they are matched."""
        return int(self.rows[0].method.passes)

    def chosen(self, names: Sequence[str], device: str) -> list[Row]:
        """Its rows of these names (``backprop*`` is a pattern) that run on the device; all for none.

        Raises:
            UsageError: a name fits no row, or nothing is left.
        """
        have = [row.name for row in self.rows]
        for name in names:
            if not any(fnmatchcase(row, name) for row in have):
                raise UsageError(
                    f"Case {self.name} has no row '{name}'.", nearest(name, have, f"It has: {'; '.join(have)}.")
                )
        wanted = [row for row in self.rows if not names or any(fnmatchcase(row.name, name) for name in names)]
        found = [row for row in wanted if row.runs_on(device)]
        if not found:
            raise UsageError(f"No chosen row of {self.name} runs on {device}.", "Choose others, or the device cpu.")
        return found


def find(name: str) -> Case:
    """A case by name.

    Raises:
        UsageError: there is none.
    """
    if name not in CASES:
        raise UsageError(f"There is no case '{name}'.", nearest(name, tuple(CASES)))
    return CASES[name]


def _rows(shape: tuple[int, ...], layers: Sequence[Item], lr: float, core: bool, **how: Any) -> tuple[Row, ...]:
    """Rules in edgelearn's engine for torch, backpropagation there and in PyTorch's own, and Mono-Forward as a board has it.

    One rate for all: nobody has searched around it. The C core learns sample by sample with plain steps, so its rate is another.
    """

    def row(name: str, rule: str, engine: EngineName, parts: int = 1, **params: Any) -> Row:
        return Row(
            Method(name, rule, {"lr": lr, **params}, shape, layers, engine=engine, drops=(), against=BASELINE, **how),
            parts,
        )

    found = [
        row("mono-forward", "mono-forward", "torch", gate=0.0, heads="last"),
        row("drtp", "drtp", "torch"),
        row("backprop edgelearn", "backprop", "torch"),
        row(BASELINE, "backprop", "end-to-end"),
        row(ACCUMULATED, "backprop", "end-to-end", parts=8),
    ]
    if core:
        plain = {key: value for key, value in how.items() if key in ("passes", "standardise")}
        params = {"lr": 2**-6, "heads": "last"}
        found.append(
            Row(Method("mono-forward int8 C core", "mono-forward", params, shape, layers, dtype="int8", drops=(),
                       against=BASELINE, **plain))
        )  # fmt: skip
    return tuple(found)


_BATCHES: dict[str, Any] = {"batch": 128, "optimizer": "adam"}
_IMAGES: dict[str, Any] = {"standardise": True, "augment": "flip-crop", "passes": 30, **_BATCHES}

CASES = {
    case.name: case
    for case in (
        Case(
            "digits-2x256", "digits", _rows((8, 8), [256, 256], 1e-3, True, batch=32, optimizer="adam", passes=20),
            most=100, patience=5,
        ),
        Case(
            "mnist-2x1000", "mnist", _rows((28, 28), [1000, 1000], 1e-3, True, passes=20, **_BATCHES),
            most=100, patience=5,
            published=(
                Published("mono-forward", "matched", 1.055 / 1.079, 51.0 / 50.9),
                Published("mono-forward", "own convergence", 3.64, None),
            ),
        ),
        Case(
            "cifar10-3x2000", "cifar10", _rows((32, 32, 3), [2000, 2000, 2000], 3.242e-4, False, **_IMAGES),
            most=200, patience=5,
            published=(
                Published("mono-forward", "matched", 4.320 / 5.393, 216.8 / 299.0),
                Published("mono-forward", "own convergence", 3.20, None),
            ),
        ),
    )
}  # fmt: skip
