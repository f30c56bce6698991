"""How well it learns: named cases, several seeds each, beside backpropagation of the same net for as many passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from edgelearn import recipe as recipes
from edgelearn import state
from edgelearn.bench import hostrun, twin
from edgelearn.compiler import Net
from edgelearn.data import datasets
from edgelearn.data.datasets import Dataset
from edgelearn.errors import ConfigError, UsageError
from edgelearn.ir.interp import Interpreter
from edgelearn.recipe import Recipe
from edgelearn.rules import find
from edgelearn.tomlfile import nearest

FIRST_SEED = 1  # seeds are 1, 2, ...; the recipes' own 0 is not among them
LAST, SUMMED, TWIN = "edgelearn int8 last", "edgelearn int8 summed", "backprop twin"


@dataclass(frozen=True)
class Case:
    """A shipped recipe; ``passes`` and ``lr`` instead of its own; ``published`` is the best integer-only figure for the net."""

    recipe: str
    passes: int | None = None
    lr: float | None = None  # chosen on a validation split, as the recipes' own
    published: float | None = None
    source: str = ""


CASES = {
    "mnist-100-50-int8": Case(
        "mnist", None, None, 0.9736, "NITRO-D, arXiv:2407.11698: integer-only, weights of 32 bits"
    ),
    "mnist-100-50-int8-1pass": Case("mnist", 1, 2**-5),
    "digits-32-32-int8": Case("digits"),
    "digits-16-int8": Case("digits-tiny"),
}


@dataclass(frozen=True)
class Row:
    """One way of learning. Accuracies are fractions on the test set, ``ram`` is state and arena in bytes."""

    name: str
    mean: float
    std: float  # between seeds, of the sample; 0 for a single one
    seeds: list[float]  # accuracy of each
    passes: float
    seconds: float  # of training on this computer, mean
    ram: int
    published: float | None
    rate: float


@dataclass(frozen=True)
class _Outcome:
    accuracy: float
    seconds: float
    ram: int


def run(case: str, seeds: int, data: str | None = None, on_epoch: hostrun.OnEpoch = hostrun.silent) -> list[Row]:
    """Trains every row of ``case`` with ``seeds`` seeds, in this process.

    Args:
        data: folder of the data sets that are not shipped; EDGELEARN_DATA where None.

    Raises:
        UsageError: there is no such case, or no seed. ConfigError: its data are not here.
    """
    if case not in CASES:
        raise UsageError(f"There is no case '{case}'.", nearest(case, tuple(CASES)))
    if seeds < 1:
        raise UsageError(f"{seeds} seeds are too few.", "Give --seeds 1 or more.")
    recipe = _recipe(CASES[case], data)
    dataset = datasets.load(recipe.data.name, recipe.data.root).shaped(recipe.model.input, recipe.model.classes)
    return _Bench(recipe, dataset, on_epoch).rows(range(FIRST_SEED, FIRST_SEED + seeds), CASES[case].published)


def _recipe(case: Case, data: str | None) -> Recipe:
    recipe = recipes.load(case.recipe).override(epochs=case.passes, data=data)
    if case.lr is None:
        return recipe
    return replace(recipe, rule=replace(recipe.rule, params={**recipe.rule.params, "lr": case.lr}))


@dataclass(frozen=True)
class _Bench:
    recipe: Recipe
    data: Dataset
    on_epoch: hostrun.OnEpoch

    @property
    def net(self) -> Net:
        model = self.recipe.model
        return Net(model.input, model.layers, model.classes)

    @property
    def steps(self) -> int:
        return self.recipe.steps_total(len(self.data.x_train))

    def rows(self, seeds: Sequence[int], published: float | None) -> list[Row]:
        ours = [self._ours(seed) for seed in seeds]
        rate = self._best_rate(seeds[0])
        theirs = [self._twin(seed, rate) for seed in seeds]
        lr = self.recipe.rule.params.get("lr", 0.0)
        return [
            self._row(LAST, (last for last, _ in ours), float(lr), published),
            self._row(SUMMED, (summed for _, summed in ours), float(lr), published),
            self._row(TWIN, theirs, rate, None),
        ]

    def _row(self, name: str, outcomes: Iterable[_Outcome], rate: float, published: float | None) -> Row:
        found = list(outcomes)
        seeds = [o.accuracy for o in found]
        spread = stdev(seeds) if len(seeds) > 1 else 0.0
        passes, seconds = self.steps / len(self.data.x_train), mean(o.seconds for o in found)
        return Row(name, mean(seeds), spread, seeds, passes, seconds, found[0].ram, published, rate)

    def _ours(self, seed: int) -> tuple[_Outcome, _Outcome]:
        """Read by the last head, and by the sum of all: one training, since reading changes nothing."""
        params, train = dict(self.recipe.rule.params), self.recipe.train
        rule = find(self.recipe.rule.name, {**params, "heads": "sum"}, self.recipe.path.parent)
        summed = hostrun.train(rule, self.net, self.data, train.dtype, self.steps, seed, train.drops, self.on_epoch)
        last = _read_by_last(summed, self.recipe, self.net, self.data, seed)
        return self._outcome(last), self._outcome(summed)

    def _outcome(self, run: hostrun.HostRun) -> _Outcome:
        return _Outcome(run.accuracy(self.data), run.seconds, run.ram)

    def _best_rate(self, seed: int) -> float:
        """Backpropagation's, by a validation split; the same for all seeds."""
        rates = twin.best_rate(self.net, self.data, self.steps, seed, self.recipe.train.drops, self.on_epoch)
        return max(rates, key=lambda r: rates[r])

    def _twin(self, seed: int, rate: float) -> _Outcome:
        drops = self.recipe.train.drops
        return self._outcome(twin.train_twin(self.net, self.data, self.steps, seed, drops, rate, self.on_epoch))


def _read_by_last(summed: hostrun.HostRun, recipe: Recipe, net: Net, data: Dataset, seed: int) -> hostrun.HostRun:
    """The same trained tensors and exponents in the module whose last head decides alone."""
    rule = find(recipe.rule.name, {**recipe.rule.params, "heads": "last"}, recipe.path.parent)
    compiled, core = hostrun.compile_for_host(rule, net, data, recipe.train.dtype, seed, summed.compiled.module.drops)
    trained = state.decode(summed.compiled.module, summed.core.read_state())
    if missing := {s.name for s in compiled.module.slots} - trained.exps.keys():
        raise ConfigError(f"The two ways of reading differ in {', '.join(sorted(missing))}.", "Report this.")
    net_state = Interpreter(compiled.module, seed)
    net_state.state = dict(trained.tensors)
    net_state.exps = {name: trained.exps[name] for name in net_state.exps}
    net_state.step = trained.step
    core.write_state(state.encode(net_state))
    return replace(summed, compiled=compiled, core=core)


def markdown(case: str, rows: Sequence[Row]) -> str:
    """The rows as a table for a page."""
    lines = [f"| {case} | accuracy | std | seeds | passes | RAM, bytes | published |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        known = "" if r.published is None else f"{100 * r.published:.2f}"
        accuracy = f"{100 * r.mean:.2f} | {100 * r.std:.2f} | {len(r.seeds)}"
        lines.append(f"| {r.name} | {accuracy} | {r.passes:g} | {r.ram:,} | {known} |")
    return "\n".join(lines) + "\n"
