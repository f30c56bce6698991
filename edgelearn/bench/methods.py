"""What the accuracy bench is a table of: cases, each with rows that say how a net learns. All of it is data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgelearn.compiler import Net
from edgelearn.errors import ConfigError, UsageError
from edgelearn.layers import Layer, LayerError, from_item, to_item
from edgelearn.recipe import DROPS, Parameter
from edgelearn.rules import Rule, find
from edgelearn.tomlfile import nearest

Item = int | Mapping[str, int | str]  # a layer as a recipe writes it
Params = Mapping[str, Parameter]
EngineName = Literal["core", "torch", "frozen", "bptt", "end-to-end"]
STOPPING = "after the last step of a fixed schedule"


@dataclass(frozen=True)
class Published:
    """A figure from the literature: a fraction of the test set, and where it is from, with what was different there."""

    accuracy: float
    source: str


@dataclass(frozen=True)
class Method:
    """A row: one way in which a net learns.

    Attributes:
        name: what the table calls it.
        rule, params: as in a recipe; ``params["lr"]`` is the rate.
        readout: parameters that only ``predict`` reads. Rows that differ in nothing else share one training.
        input, layers: the net, as in a recipe.
        passes: over the training set; 0.5 is half of it.
        engine: ``core``: the C core in this process, sample by sample. ``torch``: mini-batches, in floats. ``frozen``:
            the same, where what the net's frozen part gives is worked out once a sample and kept in half precision. ``bptt`` and
            ``end-to-end``: backpropagation through all that the rule's ``predict`` does, for comparison only.
        drops: fractions of the steps at which the rate halves.
        augment: ``flip-crop`` or nothing (torch only).
        mirrored: the training set holds the mirror image of every image, too; a pass is over both.
        level: of how many leading directions of the features heads learn without (frozen only): ``edgelearn.host.levelling``.
        standardise: mean 0 and deviation 1 in every channel, by the training set.
        against: the row that it is compared with.
        rate_by: how the rate was found: ``validation`` is a sweep on a validation split (``--choose``).
    """

    name: str
    rule: str
    params: Params
    input: tuple[int, ...]
    layers: Sequence[Item]
    passes: float
    readout: Params = field(default_factory=dict)
    engine: EngineName = "core"
    dtype: Literal["int8", "f32"] = "f32"
    batch: int = 1
    optimizer: Literal["sgd", "momentum", "adam"] = "sgd"
    drops: Sequence[float] = DROPS
    augment: Literal["", "flip-crop"] = ""
    standardise: bool = False
    mirrored: bool = False
    level: int = 0
    against: str = ""
    published: Published | None = None
    rate_by: Literal["validation", "untuned"] = "untuned"

    def __post_init__(self) -> None:
        if self.engine == "core" and (self.batch, self.optimizer, self.augment) != (1, "sgd", ""):
            problem = f"Row '{self.name}': the C core learns sample by sample, by the rule's own step, from samples as they are."
            raise ConfigError(problem, 'Set engine = "torch" for batches, optimizers and augmentation.')
        if self.engine == "frozen" and self.augment:
            problem = f"Row '{self.name}': what is worked out once cannot be another image in every pass."
            raise ConfigError(problem, 'Set mirrored = true instead of augment, or engine = "torch".')
        if self.engine != "frozen" and self.level:
            problem = f"Row '{self.name}' levels features; {self.engine} keeps none."
            raise ConfigError(problem, 'Set engine = "frozen".')
        if self.engine != "core" and self.dtype != "f32":
            raise ConfigError(
                f"Row '{self.name}': {self.engine} computes in f32 only.", 'Set engine = "core" for int8.'
            )

    @property
    def rate(self) -> float:
        return float(self.params["lr"])

    def at(self, rate: float) -> Method:
        return replace(self, params={**self.params, "lr": rate})

    def stack(self) -> tuple[Layer, ...]:
        """Its layers.

        Raises:
            ConfigError: an entry is none.
        """
        try:
            return tuple(from_item(dict(item) if isinstance(item, Mapping) else item) for item in self.layers)
        except LayerError as error:
            raise ConfigError(f"Row '{self.name}': {error.problem}.", error.hint) from error

    def net(self, classes: int) -> Net:
        return Net(self.input, self.stack(), classes)

    def found_rule(self, base: Path | None = None) -> Rule:
        """The rule with this row's parameters."""
        return find(self.rule, {**self.params, **self.readout}, base)

    def training(self) -> dict[str, Any]:
        """All that decides what is learnt, defaults of the rule included: results with other settings are other results."""
        learns = find(self.rule, dict(self.params)).instance
        params = {key: value for key, value in asdict(learns).items() if key not in self.readout}
        return {
            "rule": self.rule, "params": params, "input": list(self.input), "layers": [to_item(x) for x in self.stack()],
            "passes": self.passes, "engine": self.engine, "dtype": self.dtype, "batch": self.batch,
            "optimizer": self.optimizer, "drops": list(self.drops), "augment": self.augment,
            "standardise": self.standardise, **({"mirrored": True} if self.mirrored else {}),
            **({"level": self.level} if self.level else {}),
        }  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """As ``training``, and how the result is read."""
        return {**self.training(), "readout": dict(self.readout)}


@dataclass(frozen=True)
class Case:
    """Rows that are compared with each other, all on one data set; ``recipe`` is the shipped one that they come from."""

    name: str
    data: str
    rows: Sequence[Method]
    note: str = ""
    recipe: str | None = None
    classes: int = 10

    def chosen(self, names: Sequence[str] = (), dtype: str | None = None) -> list[Method]:
        """Its rows of these names (``backprop*`` is a pattern) and this numeric type; all for none.

        Raises:
            UsageError: a name fits no row, or nothing is left.
        """
        from fnmatch import fnmatchcase

        have = [row.name for row in self.rows]
        for name in names:
            if not any(fnmatchcase(row, name) for row in have):
                hint = nearest(name, have, f"It has: {', '.join(have)}.")
                raise UsageError(f"Case {self.name} has no row '{name}'.", hint)
        rows = [row for row in self.rows if not names or any(fnmatchcase(row.name, name) for name in names)]
        found = [row for row in rows if dtype in (None, row.dtype)]
        if not found:
            raise UsageError(f"No chosen row of {self.name} computes in {dtype}.", "Leave --dtype or --rows out.")
        return found
