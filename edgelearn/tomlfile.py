"""TOML with good manners: every complaint names the file, the line and the key, and the nearest key that exists."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from edgelearn.errors import ConfigError

MAX_BYTES = 1 << 18  # a recipe or board file is a page; more is not one of ours
MAX_DOTS = 500  # on a line: tomllib takes the square of a dotted key's parts in time
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*(?:"([^"]+)"|'([^']+)'|([\w-]+))\s*=""")


def nearest(word: str, known: Sequence[str], otherwise: str = "") -> str:
    """``Did you mean 'x'?``, or ``otherwise`` where nothing comes near; the list of all if that is not given."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return otherwise or f"Known: {', '.join(known)}."


@dataclass(frozen=True)
class Document:
    """A parsed file; ``text`` is kept to say on which line a mistake is."""

    path: Path
    text: str
    values: dict[str, object]

    def line_of(self, section: str, key: str = "") -> int:
        """Line (from 1) of ``key`` in ``[section]``; of the section, or 1, where the key is not there."""
        current, found = "", 1
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := _HEADER.match(line):
                current = header[1].strip("\"'")
                if current == section or (not section and current == key):
                    found = number
            elif key and current == section and (match := _KEY.match(line)) and key in match.groups():
                return number
        return found

    def fault(self, section: str, key: str, problem: str, hint: str) -> ConfigError:
        """The error for a wrong ``key`` of ``[section]``, to be raised by the caller."""
        return ConfigError(f"{self.path}, line {self.line_of(section, key)}: {problem}", hint)

    def table(self, name: str, known: Sequence[str], free: bool = False) -> Table:
        """The table ``[name]`` (``""``: the top level), empty where absent. ``free``: other keys are welcome too."""
        values = self.values.get(name, {}) if name else self.values
        if not _is_table(values):
            raise self.fault("", name, f"'{name}' must be a table.", f"Write [{name}] on a line of its own.")
        for key in values:
            if not free and key not in known:
                place = f" in [{name}]" if name else ""
                raise self.fault(name, key, f"unknown key '{key}'{place}.", nearest(key, known))
        return Table(self, name, values)


@dataclass(frozen=True)
class Table:
    """One table. Each getter raises ConfigError for a wrong type, and for a missing key without default."""

    doc: Document
    name: str
    values: dict[str, object]

    def fault(self, key: str, problem: str, hint: str) -> ConfigError:
        return self.doc.fault(self.name, key, problem, hint)

    def text(self, key: str, default: str | None = None, one_of: Sequence[str] = ()) -> str:
        value = self._get(key, default, "a text")
        if not isinstance(value, str):
            raise self._wrong(key, "a text in quotes")
        if one_of and value not in one_of:
            raise self.fault(key, f"'{key}' is '{value}'.", f"Choose one of: {', '.join(one_of)}.")
        return value

    def integer(self, key: str, default: int | None = None, low: int = 0, high: int = 2**63 - 1) -> int:
        value = self._get(key, default, "a whole number")
        if not _is_integer(value):
            raise self._wrong(key, "a whole number")
        if not low <= value <= high:
            raise self.fault(key, f"'{key}' is {value}.", f"Choose a number from {low} to {high}.")
        return value

    def items(self, key: str, default: Sequence[object] | None = None) -> tuple[object, ...]:
        value = self._get(key, default, "a list")
        if not isinstance(value, (list, tuple)):
            raise self._wrong(key, "a list in [ ]")
        return tuple(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] a TOML list holds anything

    def texts(self, key: str, default: Sequence[str] | None = None, one_of: Sequence[str] = ()) -> tuple[str, ...]:
        found: list[str] = []
        for item in self.items(key, default):
            if not isinstance(item, str):
                raise self._wrong(key, "a list of texts in quotes")
            if one_of and item not in one_of:
                raise self.fault(key, f"'{key}' has '{item}'.", f"Choose from: {', '.join(one_of)}.")
            found.append(item)
        return tuple(found)

    def numbers(self, key: str, default: Sequence[float] | None = None) -> tuple[float, ...]:
        found: list[float] = []
        for item in self.items(key, default):
            if not isinstance(item, float) and not (_is_integer(item) and abs(item) < 1 << 63):
                raise self._wrong(key, "a list of numbers")
            found.append(float(item))
        return tuple(found)

    def _get(self, key: str, default: object, kind: str) -> object:
        value = self.values.get(key, default)
        if value is None:
            place = f"[{self.name}]" if self.name else "the file"
            raise self.fault(key, f"{place} has no '{key}'.", f"Add {kind}: {key} = ...")
        return value

    def _wrong(self, key: str, kind: str) -> ConfigError:
        return self.fault(key, f"'{key}' must be {kind}, not {self.values.get(key)!r}.", f"Write {key} = {kind}.")


def read(path: Path) -> Document:
    """Reads and parses a file.

    Raises:
        ConfigError: it is missing, unreadable, too large or not TOML.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", "Check the path and its permissions.") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes.", "Give the TOML file, not the data.")
    try:
        return parse(raw.decode("utf-8"), path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from error


def parse(text: str, path: Path) -> Document:
    """Parses ``text`` as the contents of ``path``, which is only named in errors.

    Raises:
        ConfigError: it is not TOML.
    """
    text = text.replace("\r\n", "\n")
    if len(text) > MAX_BYTES or max(line.count(".") for line in text.split("\n")) > MAX_DOTS:
        problem = f"{path} has more than {MAX_BYTES} bytes, or more than {MAX_DOTS} dots on a line."
        raise ConfigError(problem, "Write plain tables, lists and numbers.")
    try:
        return Document(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", "Correct that line; see https://toml.io.") from error
    except (RecursionError, ValueError) as error:  # nested a thousand deep, or an integer of thousands of digits
        raise ConfigError(f"{path} cannot be parsed: {error}.", "Write plain tables, lists and numbers.") from error


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_table(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
