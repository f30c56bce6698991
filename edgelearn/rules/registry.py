"""How a rule becomes known: the ``@rule`` decorator, and finding one by name or in a user's own file."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgelearn.errors import ConfigError, EdgeLearnError

BUILT_IN = {
    "mono-forward": "edgelearn.rules.mono_forward",
    "forward-forward": "edgelearn.rules.forward_forward",
    "cascaded-forward": "edgelearn.rules.cascaded_forward",
    "cascaded-forward-dfa": "edgelearn.rules.cascaded_forward",
    "noprop": "edgelearn.rules.noprop",
    "noprop-ct": "edgelearn.rules.noprop_continuous",
    "noprop-fm": "edgelearn.rules.noprop_continuous",
    "tpsgd": "edgelearn.rules.tpsgd",
    "drtp": "edgelearn.rules.drtp",
    "last-layer": "edgelearn.rules.last_layer",
    "backprop": "edgelearn.rules.baseline",
}
_KNOWN: dict[str, type] = {}


def rule(name: str, cite: str = "") -> Callable[[type], type]:
    """Class decorator: makes a rule of a class whose annotated attributes are its parameters.

    The class must define ``step(self, s, x, y)`` and ``predict(self, blocks, x)``, and may define ``init(self, s, key)``; docs/rules.md
    has the other hooks. ``x`` is the sample or what the block before returned, ``y`` the class as a one-hot vector.

    Args:
        name: what runs record it as. cite: where the rule was published.

    Raises:
        ConfigError: the class lacks step or predict.
    """

    def register(cls: type) -> type:
        made = dataclass(frozen=True)(cls)
        made.rule_name, made.rule_cite = name, cite
        local = callable(getattr(made, "step", None)) or callable(getattr(made, "step_net", None))
        if not local or not callable(getattr(made, "predict", None)):
            raise ConfigError(
                f"The rule {name} lacks step or predict.", "docs/rules.md shows the two methods that a rule needs."
            )
        _KNOWN[name] = made
        return made

    return register


@dataclass(frozen=True)
class Rule:
    """A rule with its parameters, and the file it came from (None: built in)."""

    name: str
    instance: Any
    source: Path | None = None

    def text(self) -> str:
        return "" if self.source is None else self.source.read_text(encoding="utf-8")

    def sha256(self) -> str:
        return hashlib.sha256(self.text().encode()).hexdigest()


def find(name: str, params: dict[str, Any] | None = None, base: Path | None = None) -> Rule:
    """The rule ``name``: built in, or ``file.py:Class`` (relative to ``base``), with ``params``.

    Raises:
        ConfigError: no such rule, file or class, or a parameter that the rule does not have.
    """
    cls, source = _user_class(name, base) if ":" in name else (_built_in(name), None)
    return Rule(name, _instance(name, cls, params or {}), source)


def _built_in(name: str) -> type:
    if name not in BUILT_IN:
        near = difflib.get_close_matches(name, BUILT_IN, 1)
        raise ConfigError(
            f"There is no rule {name!r}.",
            f"Did you mean {near[0]!r}?" if near else f"Built in: {', '.join(BUILT_IN)}; your own: 'file.py:Class'.",
        )
    importlib.import_module(BUILT_IN[name])
    return _KNOWN[name]


def source_text(name: str, base: Path | None = None) -> str:
    """The text of the file that rule ``name`` comes from, read and not run; empty for built-in rules.

    Raises:
        ConfigError: there is no such file.
    """
    return _user_file(name, base).read_text(encoding="utf-8") if ":" in name else ""


def _user_file(name: str, base: Path | None) -> Path:
    path = (base or Path.cwd()) / name.rpartition(":")[0]
    if not path.is_file():
        raise ConfigError(f"There is no rule file {path}.", "Give the path relative to the recipe, as 'file.py:Class'.")
    return path


def _user_class(name: str, base: Path | None) -> tuple[type, Path]:
    path, cls_name = _user_file(name, base), name.rpartition(":")[2]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    module_name = f"edgelearn_user_rule_{digest}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except EdgeLearnError:
        raise
    except Exception as error:
        problem = f"{path} cannot be read: {type(error).__name__}: {error}"
        raise ConfigError(problem, "Fix the file; it is ordinary Python.") from error
    cls = getattr(module, cls_name, None)
    if not hasattr(cls, "rule_name"):
        raise ConfigError(f"{path} has no rule {cls_name}.", f"Put @edgelearn.rule('name') above class {cls_name}.")
    return cls, path  # type: ignore[return-value]


def _instance(name: str, cls: type, params: dict[str, Any]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key, value in params.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(fields) or 'none'}."
            raise ConfigError(f"The rule {name} has no parameter {key!r}.", hint)
        default = fields[key].default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            params = {**params, key: float(value)}
        elif default is not dataclasses.MISSING and not isinstance(value, type(default)):
            raise ConfigError(
                f"The rule {name}'s parameter {key!r} is {value!r}, not {type(default).__name__}.",
                f"The default is {default!r}.",
            )
        _check_choice(name, key, value, hints.get(key))
    return cls(**params)


def _check_choice(name: str, key: str, value: object, hint: Any) -> None:
    """A parameter annotated ``Literal[...]`` takes only those values."""
    choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    if choices and value not in choices:
        raise ConfigError(
            f"The rule {name}'s parameter {key!r} is {value!r}.", f"Choose one of: {', '.join(map(repr, choices))}."
        )
