"""Rates for the rows of a case, chosen on a part of the training set: the test set is not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from edgelearn.bench import cases
from edgelearn.bench.accuracy import Bench, Options, seeds_of
from edgelearn.bench.methods import Case
from edgelearn.errors import UsageError

AROUND = (1 / 4, 1 / 2, 1.0, 2.0, 4.0)  # times the table's rate


@dataclass(frozen=True)
class Choice:
    """A row's accuracy on held-out training samples by rate, mean over the seeds; ``best`` is the rate of the largest."""

    name: str
    rates: list[float]
    validation: list[float]
    best: float
    rate: float  # the table's own


def choose(
    case: str | Case,
    seeds: int | Sequence[int] = 1,
    rows: Sequence[str] = (),
    dtype: str | None = None,
    rates: Sequence[float] = (),
    options: Options | None = None,
) -> list[Choice]:
    """Trains the chosen rows at several rates, as many passes over four fifths of the training set as the table says.

    Args:
        rates: the same for every row; without any, five around each row's own.

    Raises:
        UsageError: there is no such case or row, a rate is none, or a board was named.
    """
    case, numbers, options = cases.find(case), seeds_of(seeds), options or Options()
    if options.board is not None:
        raise UsageError("Rates are chosen in this process: the integers are the board's.", "Leave --board out.")
    if wrong := [rate for rate in rates if not 0 < rate < float("inf")]:
        raise UsageError(f"{wrong[0]} is no rate.", "Give rates above 0, as in --rates 0.1,0.05.")
    methods = case.chosen(rows, dtype)
    rates = list(dict.fromkeys(rates))
    tried = {m.name: rates or [m.rate * factor for factor in AROUND] for m in methods}
    found: dict[str, list[float]] = {m.name: [] for m in methods}
    with TemporaryDirectory() as unkept:
        bench = Bench(case, options, Path(unkept), validation=True)
        for number in range(len(rates) or len(AROUND)):
            now = bench.measure([m.at(tried[m.name][number]) for m in methods], numbers)
            for m in methods:
                found[m.name].append(mean(now[m.name, seed].accuracy for seed in numbers))
    return [_choice(m.name, tried[m.name], found[m.name], m.rate) for m in methods]


def _choice(name: str, rates: list[float], validation: list[float], own: float) -> Choice:
    return Choice(name, rates, validation, rates[validation.index(max(validation))], own)
