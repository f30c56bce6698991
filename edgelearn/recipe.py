"""Recipes: the TOML file that says which network learns what, by which rule, and for how long."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgelearn import tomlfile
from edgelearn.errors import ConfigError, UsageError
from edgelearn.layers import Layer, LayerError, from_item, to_item
from edgelearn.trainspec import DROPS as DROPS
from edgelearn.trainspec import HOST_KEYS
from edgelearn.trainspec import TrainSpec as TrainSpec

SHIPPED = Path(__file__).resolve().parent / "recipes"
MAX_CLASSES = 0xFFFF  # labels are u16 on the wire, and 0xFFFF means none
MAX_PARAMETER = 1 << 63  # of a rule, either way
_TABLES = ("model", "rule", "data", "train")
_DATA_FILES = (".npz", ".csv")
_FLAGS = {
    "drops": "Write rising fractions, as in --drops 0.5,0.7, or --drops none.",
    "freeze": "Write rising numbers of blocks, as in --freeze 0,1, or --freeze none.",
}

Parameter = bool | int | float | str


@dataclass(frozen=True)
class ModelSpec:
    """``input`` is the shape of one sample, maps as (height, width, channels); ``layers`` come after it, heads are the rule's.

    With ``features``, a file with a trained net, the first ``upto`` layers of that net compute what ``layers`` read, with weights of
    ``feature_bits`` (None: the compiler chooses); ``input`` is () until the file was read, and ``features_sha256`` None.
    """

    input: tuple[int, ...]
    layers: tuple[Layer, ...]
    classes: int
    features: str | None = None
    upto: int | None = None
    feature_bits: int | None = None
    features_sha256: str | None = None


@dataclass(frozen=True)
class RuleSpec:
    """``name`` of a shipped rule or ``/absolute/file.py:Class``; ``params`` go to the rule as they stand."""

    name: str
    params: Mapping[str, Parameter]


@dataclass(frozen=True)
class DataSpec:
    """``name`` of a data set, or the absolute path of a file; named sets lie in ``root``, None for EDGELEARN_DATA."""

    name: str
    root: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A whole recipe. ``text`` is the file as read, ``path`` its place; overrides change neither."""

    model: ModelSpec
    rule: RuleSpec
    data: DataSpec
    train: TrainSpec
    text: str = field(compare=False)
    path: Path = field(compare=False)

    @property
    def name(self) -> str:
        """The file's, without its ending: what runs of it are called."""
        return self.path.stem

    def steps_total(self, n_train: int) -> int:
        """How many samples will be shown in all, out of ``n_train`` that exist."""
        return self.train.steps if self.train.steps is not None else self.train.epochs * n_train

    def override(
        self,
        *,
        dtype: str | None = None,
        epochs: int | None = None,
        seed: int | None = None,
        drops: tuple[float, ...] | None = None,
        batch: int | None = None,
        steps: int | None = None,
        data: str | None = None,
        freeze: Sequence[int] | None = None,
        schedule: str | None = None,
        optimizer: str | None = None,
        augment: str | None = None,
        scale: str | None = None,
    ) -> Recipe:
        """This recipe with what is not None replaced. ``data``: a name, a file, or the folder that this set lies in.

        ``epochs`` also replace the ``steps`` of the recipe.

        Raises:
            UsageError: a value is impossible.
        """
        given: dict[str, Any] = {
            "dtype": dtype, "epochs": epochs, "seed": seed, "drops": drops, "batch": batch, "steps": steps,
            "freeze": None if freeze is None else tuple(freeze), "schedule": schedule,
            "optimizer": optimizer, "augment": augment, "scale": scale,
        }  # fmt: skip
        changes = {key: value for key, value in given.items() if value is not None}
        if epochs is not None:
            changes.setdefault("steps", None)
        train = replace(self.train, **changes)
        if wrong := train.wrong():
            key, problem, hint = wrong
            raise UsageError(f"--{key}: {problem}", _FLAGS.get(key, hint))
        return replace(self, train=train, data=self.data if data is None else self._other_data(data))

    def for_boards(self) -> Recipe:
        """This recipe without what only the host does."""
        own = {key: getattr(TrainSpec, key) for key in HOST_KEYS}
        return replace(self, train=replace(self.train, **own))

    def _other_data(self, given: str) -> DataSpec:
        name = _data_name(given, Path.cwd())
        if _is_path(given) and Path(name).is_dir() and not _is_path(self.data.name):
            return DataSpec(self.data.name, root=name)
        return DataSpec(name, self.data.root)

    def fault(self, section: str, key: str, problem: str, hint: str) -> ConfigError:
        """The error for a value that only a later stage can judge, with file and line."""
        return tomlfile.Document(self.path, self.text, {}).fault(section, key, problem, hint)

    def as_toml(self) -> str:
        """This recipe, overrides included, as a file that ``parse`` reads back: what a run keeps."""
        model = {**asdict(self.model), "layers": tuple(to_item(layer) for layer in self.model.layers)}
        model["input"] = self.model.input or None
        parts = {"model": model, "rule": {"name": self.rule.name, **self.rule.params}}
        parts |= {"data": asdict(self.data), "train": asdict(self.train)}
        lines = [f"[{name}]\n" + "".join(_assignments(table)) for name, table in parts.items()]
        return "\n".join(lines)


def shipped() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(file.stem for file in SHIPPED.glob("*.toml")))


def load(name_or_path: str | Path) -> Recipe:
    """A shipped recipe by bare name, or a file.

    Raises:
        ConfigError: no such recipe, or something in it is wrong; names file, line and key.
    """
    path = SHIPPED / f"{name_or_path}.toml" if str(name_or_path) in shipped() else Path(name_or_path)
    if path.is_dir():
        raise ConfigError(f"'{path}' is a folder; a recipe is a TOML file.", "Name the file in it.")
    if not path.is_file():
        hint = tomlfile.nearest(str(name_or_path), shipped(), f"Give a file, or one of: {', '.join(shipped())}.")
        raise ConfigError(f"There is no recipe '{name_or_path}'.", hint)
    if path.suffix in _DATA_FILES:
        hint = f'Write a recipe that has name = "{path.name}" under [data]; docs/cli.md shows one.'
        raise ConfigError(f"'{path}' is data; a recipe is a TOML file.", hint)
    return _recipe(tomlfile.read(path))


def parse(text: str, path: Path) -> Recipe:
    """A recipe from its text; ``path`` is where relative file names start and what errors name.

    Raises:
        ConfigError: something in it is wrong.
    """
    return _recipe(tomlfile.parse(text, path))


def _recipe(doc: tomlfile.Document) -> Recipe:
    doc.table("", _TABLES)
    return Recipe(_model(doc), _rule(doc), _data(doc), _train(doc), doc.text, doc.path)


def _model(doc: tomlfile.Document) -> ModelSpec:
    table = doc.table("model", tuple(ModelSpec.__dataclass_fields__))
    given = "features" in table.values
    for key in ("layers",) if given and "input" not in table.values else ("input", "layers"):
        if not table.items(key):
            raise table.fault(key, f"'{key}' is empty.", f"Give at least one number: {key} = [32]")
    input_shape = tuple(_width(table, size) for size in table.items("input", () if given else None))
    classes = table.integer("classes", low=2, high=MAX_CLASSES)
    return ModelSpec(input_shape, _layers(table), classes, **_features(table, doc.path.parent))


def _features(table: tomlfile.Table, folder: Path) -> dict[str, Any]:
    """What a recipe says of the file that its first blocks come from."""
    for key in ("upto", "feature_bits", "features_sha256"):
        if key in table.values and "features" not in table.values:
            raise table.fault(key, f"'{key}' without 'features'.", 'Name a file too: features = "net.onnx"')
    if "features" not in table.values:
        return {}
    found: dict[str, Any] = {"features": _anchored(table.text("features"), folder)}
    for key, low, high in (("upto", 1, 0xFFFF), ("feature_bits", 7, 13)):
        if key in table.values:
            found[key] = table.integer(key, low=low, high=high)
    if "features_sha256" in table.values:
        found["features_sha256"] = table.text("features_sha256")
    return found


def _layers(table: tomlfile.Table) -> tuple[Layer, ...]:
    try:
        return tuple(from_item(item) for item in table.items("layers"))
    except LayerError as error:
        raise table.fault("layers", error.problem, error.hint) from error


def _width(table: tomlfile.Table, item: object) -> int:
    if not isinstance(item, int) or isinstance(item, bool) or not 1 <= item <= 0xFFFF:
        raise table.fault("input", f"{item!r} in 'input' is no size.", "Write whole numbers from 1 to 65535.")
    return item


def _rule(doc: tomlfile.Document) -> RuleSpec:
    table = doc.table("rule", ("name",), free=True)
    params: dict[str, Parameter] = {}
    for key, value in table.values.items():
        if not isinstance(value, bool | int | float | str):
            raise table.fault(key, f"'{key}' is neither number, text nor true/false.", f"Write {key} = 0.5, say.")
        if not isinstance(value, str) and not abs(value) <= MAX_PARAMETER:  # NaN is not, either
            raise table.fault(key, f"'{key}' is no number that can be computed with.", f"Write {key} = 0.5, say.")
        params[key] = value
    name = table.text("name")
    del params["name"]
    file, colon, cls = name.rpartition(":")
    return RuleSpec(_anchored(file, doc.path.parent) + colon + cls if file.endswith(".py") else name, params)


def _data(doc: tomlfile.Document) -> DataSpec:
    table, folder = doc.table("data", ("name", "root")), doc.path.parent
    root = _anchored(table.text("root"), folder) if "root" in table.values else None
    return DataSpec(_data_name(table.text("name"), folder), root)


def _train(doc: tomlfile.Document) -> TrainSpec:
    table = doc.table("train", tuple(TrainSpec.__dataclass_fields__))
    train = TrainSpec(
        dtype=table.text("dtype", TrainSpec.dtype),
        epochs=table.integer("epochs", TrainSpec.epochs),
        seed=table.integer("seed", TrainSpec.seed),
        drops=table.numbers("drops", DROPS),
        batch=table.integer("batch", TrainSpec.batch),
        steps=table.integer("steps") if "steps" in table.values else None,
        freeze=_blocks(table),
        schedule=table.text("schedule", TrainSpec.schedule),
        optimizer=table.text("optimizer", TrainSpec.optimizer),
        augment=table.text("augment", TrainSpec.augment),
        scale=table.text("scale", TrainSpec.scale),
    )
    if wrong := train.wrong():
        key, problem, hint = wrong
        raise table.fault(key, f"'{key}': {problem}", hint)
    return train


def _blocks(table: tomlfile.Table) -> tuple[int, ...]:
    found: list[int] = []
    for item in table.items("freeze", ()):
        if not isinstance(item, int) or isinstance(item, bool):
            raise table.fault("freeze", f"{item!r} in 'freeze' is no number of a block.", "Write freeze = [0, 1].")
        found.append(item)
    return tuple(found)


def _data_name(name: str, folder: Path) -> str:
    return _anchored(name, folder) if _is_path(name) else name


def _is_path(name: str) -> bool:
    return "/" in name or "\\" in name or name.startswith((".", "~")) or name.endswith(_DATA_FILES)


def _anchored(name: str, folder: Path) -> str:
    """An absolute path, for a resumed run in another folder: beside the recipe, else in the working folder.

    Raises:
        ConfigError: no file can have such a name.
    """
    try:
        beside = folder.resolve() / Path(name).expanduser()
        return str(beside if beside.exists() or not Path(name).exists() else Path(name).resolve())
    except (OSError, ValueError, RuntimeError) as error:
        problem = f"'{name[:60]}' is no name of a file: {getattr(error, 'strerror', None) or error}."
        raise ConfigError(problem, "Give the path of a file.") from error


def _assignments(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_toml(value)}\n" for key, value in table.items() if value is not None]


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"  # pyright: ignore[reportUnknownArgumentType] numbers and layers come here
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if isinstance(value, bool) else repr(value)
