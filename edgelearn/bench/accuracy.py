"""How well it learns: the rows of a case, several seeds each, with the same seeds for all. Nothing is chosen on the test set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import numpy as np

from edgelearn import boards, paths
from edgelearn.bench import cases, hostrun
from edgelearn.bench.engines import ENGINES, BoardRows, Task
from edgelearn.bench.methods import STOPPING, Case, Method
from edgelearn.bench.results import Folder, Key, Result
from edgelearn.bench.twin import HELD_OUT
from edgelearn.data import datasets
from edgelearn.data.datasets import Dataset
from edgelearn.errors import ConfigError, Interrupted, UsageError

FIRST_SEED = 1  # seeds are 1, 2, ...; the recipes' own 0 is not among them


@dataclass(frozen=True)
class Row:
    """One way of learning. Accuracies are fractions on the test set; ``gap`` is the mean less that of the row ``against``."""

    name: str
    mean: float
    std: float  # between seeds, of the sample; 0 for a single one
    seeds: list[float]  # accuracy of each
    passes: float
    seconds: float  # of training on this computer, mean
    ram: int  # state and arena in bytes
    published: float | None
    rate: float
    seed_numbers: list[int]
    rule: str
    net: str
    dtype: str
    engine: str
    batch: int
    optimizer: str
    ram_of: str  # "device"; or "host": weights and one sample's values here, where moments of an optimizer come on top
    stopping: str
    rate_by: str
    source: str | None  # of the published figure
    against: str | None
    gap: float | None


@dataclass(frozen=True)
class Options:
    """How to run a case.

    Attributes:
        data: folder of the data sets that are not shipped; EDGELEARN_DATA where None.
        board, port: where the rows of the C core learn; None: in this process.
        out: folder that results are kept in; None: they are not.
        again: measure what is there already, too.
    """

    data: str | None = None
    board: str | None = None
    port: str | None = None
    out: Path | None = None
    again: bool = False
    on_epoch: hostrun.OnEpoch = hostrun.silent


def default_out() -> Path:
    """Where results are kept unless told otherwise."""
    return paths.cache_dir() / "bench"


def seeds_of(seeds: int | Sequence[int]) -> list[int]:
    """The first N seeds for a number N.

    Raises:
        UsageError: there are none, or one is no seed.
    """
    found = list(range(FIRST_SEED, FIRST_SEED + seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    if not found:
        raise UsageError(f"{seeds} seeds are too few.", "Give --seeds 1 or more.")
    if wrong := [seed for seed in found if not 0 <= seed < 2**32]:
        raise UsageError(f"{wrong[0]} is no seed.", "Give seeds from 0 to 4294967295.")
    return found


def run(
    case: str | Case,
    seeds: int | Sequence[int],
    rows: Sequence[str] = (),
    dtype: str | None = None,
    options: Options | None = None,
) -> list[Row]:
    """Trains the rows of ``case``, or those named, with every seed, and reads each after its last step.

    Args:
        seeds: how many, or which.
        dtype: only rows of this numeric type.

    Raises:
        UsageError: there is no such case, row, seed or board for them. ConfigError: its data are not here, or results of other settings.
        Interrupted: Ctrl-C; what was measured is kept.
    """
    case, numbers = cases.find(case), seeds_of(seeds)
    methods = case.chosen(rows, dtype)
    with TemporaryDirectory() as unkept:
        bench = Bench(case, options or Options(), Path(unkept))
        bench.check(methods)
        found = bench.measure(methods, numbers)
        table = [bench.row(method, numbers, [found[method.name, seed] for seed in numbers]) for method in methods]
    means = {row.name: row.mean for row in table}
    return [replace(r, gap=r.mean - means[r.against]) if r.against in means else r for r in table]


@dataclass
class Bench:
    """One case on its way: its data, its results, and what is trained where."""

    case: Case
    options: Options
    unkept: Path  # instead of a folder for results
    validation: bool = False  # measure on a part of the training set

    def __post_init__(self) -> None:
        self.folder = Folder(self.options.out or self.unkept)
        self.folder.open()
        self._data: dict[str, Dataset] = {}  # as the last row wanted it

    # --- what to measure ----------------------------------------------------------------------------------------------

    def check(self, methods: Iterable[Method]) -> None:
        """Raises UsageError if a board was named that no row can run on."""
        if self.options.board is not None and boards.load(self.options.board).is_host:
            raise UsageError("Rows of the host say so themselves: their engine is torch.", "Leave --board out.")
        if self.options.board is not None and not any(map(self.on_board, methods)):
            dtypes = ", ".join(boards.load(self.options.board).dtypes)
            problem = f"No chosen row of {self.case.name} can learn on {self.options.board}: its rows need engine core, and {dtypes}."
            raise UsageError(problem, "Choose rows with --rows, or leave --board out.")

    def on_board(self, method: Method) -> bool:
        """The others are measured in this process even if a board was named: they are what it is compared with."""
        board = self.options.board
        return board is not None and method.engine == "core" and method.dtype in boards.load(board).dtypes

    def key(self, method: Method, seed: int) -> Key:
        board = self.options.board if self.on_board(method) else None
        return Key(self.case.name, method.name, seed, board, method.rate if self.validation else None)

    def measure(self, methods: Sequence[Method], seeds: Sequence[int]) -> dict[tuple[str, int], Result]:
        """Every result, by row and seed: those that are there, and the others trained now.

        Raises:
            Interrupted: Ctrl-C.
        """
        found = self._kept(methods, seeds)
        groups = _groups(methods, self)
        try:
            for seed in seeds:
                for number, group in enumerate(groups, 1):
                    if any((method.name, seed) not in found for method in group):
                        at = f"{group[0].name}, seed {seed} ({number} of {len(groups)} trainings)"
                        found |= self._train(group, seed, at)
        except (KeyboardInterrupt, Interrupted):  # a board's session has made the one of the other
            raise self._interrupted(len(found), len(methods) * len(seeds)) from None
        return found

    def _kept(self, methods: Sequence[Method], seeds: Sequence[int]) -> dict[tuple[str, int], Result]:
        """What was measured before, all of it on the data that the rest will be measured on."""
        wanted = [(method, seed, self.key(method, seed)) for seed in seeds for method in methods]
        for _, _, key in wanted if self.options.again else ():
            self.folder.forget(key)
        kept = {(method.name, seed): self.folder.read(key, method.settings()) for method, seed, key in wanted}
        found = {which: one for which, one in kept.items() if one is not None}
        sets = {data for _, data in found.values()}
        if len(sets | {self.data_hash} if 0 < len(found) < len(kept) else sets) > 1:
            problem = f"Results of {self.case.name} in {self.folder.root} were measured on other data."
            raise ConfigError(problem, "Measure them again with --again, or choose another folder with --out.")
        return {which: result for which, (result, _) in found.items()}

    def _interrupted(self, done: int, of: int) -> Interrupted:
        if self.options.out is None:
            problem = f"Stopped after {done} of {of} results; they were not to be kept."
            return Interrupted(problem, "Name a folder for them.")
        hint = f"Give the same command again{', without --again,' if self.options.again else ''} to go on."
        return Interrupted(f"Stopped; {done} of {of} results are in {self.folder.root}.", hint)

    def _train(self, group: Sequence[Method], seed: int, at: str) -> dict[tuple[str, int], Result]:
        """Trains what the rows of a group share, reads it as each of them does, and keeps the results."""
        keys = [self.key(method, seed) for method in group]
        found = self._trained(group, keys[0], seed, at)
        for key, method, result in zip(keys, group, found, strict=True):
            self.folder.write(key, method.settings(), result, self.data_hash)
        self.folder.checkpoint(keys[0], {}, "").clear()
        return {(method.name, seed): result for method, result in zip(group, found, strict=True)}

    def _trained(self, group: Sequence[Method], key: Key, seed: int, at: str) -> list[Result]:
        def show(done: int, total: int) -> None:
            self.options.on_epoch(done, total, at)

        first = group[0]
        if self.on_board(first):
            assert self.options.board is not None
            runs = self.folder.root / "runs.sqlite"
            board = BoardRows(self.options.board, self.options.port, self.options.data, self.case.name, runs)
            return [board.train(first, self.case.data, self.case.classes, seed, show)]
        data = self._data_for(first, seed)
        steps = max(1, round(first.passes * len(data.x_train)))
        kept = self.folder.checkpoint(key, first.training(), self.data_hash)
        trained = ENGINES[first.engine](Task(first, data, seed, steps, kept, show))
        return [trained.read(method) for method in group]

    # --- data ---------------------------------------------------------------------------------------------------------

    @cached_property
    def data(self) -> Dataset:
        return datasets.load(self.case.data, self.options.data)

    @cached_property
    def data_hash(self) -> str:
        digest = hashlib.sha256()
        for array in (self.data.x_train, self.data.y_train, self.data.x_test, self.data.y_test):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _data_for(self, method: Method, seed: int) -> Dataset:
        """The set as a row wants it. One form is kept: rows that follow each other mostly want the same, and sets are large."""
        form = f"{method.standardise} {method.mirrored} {method.input} {seed if self.validation else ''}"
        if form not in self._data:
            self._data.clear()
            data = datasets.validation_split(self.data, HELD_OUT, seed) if self.validation else self.data
            data = datasets.standardised(data) if method.standardise else data
            data = data.shaped(method.input, self.case.classes)
            self._data[form] = datasets.with_mirror_images(data) if method.mirrored else data
        return self._data[form]

    # --- the table ----------------------------------------------------------------------------------------------------

    def row(self, method: Method, seeds: Sequence[int], results: Sequence[Result]) -> Row:
        accuracies = [result.accuracy for result in results]
        published, engine = method.published, f"board {self.options.board}" if self.on_board(method) else method.engine
        return Row(
            method.name, mean(accuracies), stdev(accuracies) if len(accuracies) > 1 else 0.0, accuracies,
            float(method.passes), mean(result.seconds for result in results), results[0].ram,
            published.accuracy if published else None, method.rate, list(seeds), method.rule,
            str(method.net(self.case.classes)), method.dtype, engine, method.batch, method.optimizer, results[0].ram_of,
            STOPPING, method.rate_by, published.source if published else None, method.against or None, None,
        )  # fmt: skip


def _groups(methods: Sequence[Method], bench: Bench) -> list[list[Method]]:
    """Rows that differ in what only predicting needs are trained once. A board's rows are measured one by one."""
    found: dict[str, list[Method]] = {}
    for method in methods:
        alone = method.name if bench.on_board(method) else ""
        found.setdefault(alone + json.dumps(method.training(), sort_keys=True), []).append(method)
    return list(found.values())
