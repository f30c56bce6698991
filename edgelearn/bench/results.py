"""What was measured, one JSON file for each row and seed; and checkpoints of trainings that are under way.

A result is written in one piece when its training is done. A file that is there is not measured again, and one that was measured with
other settings is never taken for this row's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgelearn import __version__
from edgelearn.data.files import Array, damaged, read_npz
from edgelearn.errors import ConfigError, StorageFullError

SCHEMA = "edgelearn.bench.result/1"


@dataclass(frozen=True)
class Result:
    """One training, read in one way. ``ram`` is state and arena in bytes, of the ``device`` or of a sample on the ``host``."""

    accuracy: float
    seconds: float  # of training
    ram: int
    ram_of: str
    steps: int  # samples learnt


@dataclass(frozen=True)
class Key:
    """Which result: of a row of a case, with a seed, on the test set or (``rate`` given) on a validation split at that rate."""

    case: str
    row: str
    seed: int
    board: str | None = None
    rate: float | None = None

    @property
    def path(self) -> Path:
        board = "" if self.board is None else f".{self.board}"
        name = f"{slug(self.row)}{board}.seed{self.seed}.json"
        folder = Path(slug(self.case))
        return folder / name if self.rate is None else folder / "validation" / f"rate-{self.rate:.10g}" / name


class Folder:
    """The results below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self) -> None:
        """Makes the folder, so that hours of training do not end at one that cannot be made.

        Raises:
            StorageFullError: it cannot.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(self.root, error) from error

    def read(self, key: Key, settings: dict[str, Any]) -> tuple[Result, str] | None:
        """A result, and the hash of the data that it was measured on; None if there is none yet.

        Raises:
            ConfigError: it is damaged, or was measured with other settings.
        """
        path = self.root / key.path
        if not path.is_file():
            return None
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            result, data = _result(kept["result"]), str(kept["data"])
            changed = _changes(kept["settings"], settings)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise damaged(path, error) from error
        if changed:
            raise ConfigError(f"{path} was measured with other settings: {changed}.", _anew(key))
        return result, data

    def write(self, key: Key, settings: dict[str, Any], result: Result, data: str) -> None:
        kept = {
            "schema": SCHEMA, "version": __version__, "case": key.case, "row": key.row, "seed": key.seed,
            "settings": settings, "data": data, "result": asdict(result),
        }  # fmt: skip
        text = json.dumps(kept, indent=2) + "\n"
        replace_whole(self.root / key.path, lambda path: path.write_text(text, encoding="utf-8"))

    def forget(self, key: Key) -> None:
        """So that it is measured again."""
        (self.root / key.path).unlink(missing_ok=True)
        self.checkpoint(key, {}, "").clear()

    def checkpoint(self, key: Key, settings: dict[str, Any], data: str) -> Checkpoint:
        path = self.root / key.path
        return Checkpoint(path.with_name(path.name.removesuffix(".json") + ".checkpoint.npz"), key, settings, data)


class Checkpoint:
    """Where a training stood when it was last kept: arrays by name, and how long it had taken."""

    def __init__(self, path: Path, key: Key, settings: dict[str, Any], data: str) -> None:
        self._path, self._key = path, key
        told = json.dumps([settings, data], sort_keys=True).encode()
        self._settings = np.frombuffer(hashlib.sha256(told).digest(), np.uint8)

    def load(self) -> tuple[dict[str, Array], float] | None:
        """The arrays, and the seconds of training; None if there are none.

        Raises:
            ConfigError: they are damaged, or belong to a training with other settings.
        """
        if not self._path.is_file():
            return None
        arrays = dict(read_npz(self._path))
        if not np.array_equal(arrays.pop("of settings", np.empty(0)), self._settings):
            raise ConfigError(f"{self._path} is of a training with other settings or data.", _anew(self._key))
        return arrays, float(arrays.pop("seconds"))

    def save(self, arrays: dict[str, Array], seconds: float) -> None:
        kept: dict[str, Any] = {**arrays, "of settings": self._settings, "seconds": np.float64(seconds)}
        replace_whole(self._path, lambda path: np.savez(path, **kept))

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


def _result(kept: dict[str, Any]) -> Result:
    ram, steps = int(kept["ram"]), int(kept["steps"])
    return Result(float(kept["accuracy"]), float(kept["seconds"]), ram, str(kept["ram_of"]), steps)


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes beside its place and moves there: whoever reads sees the old file or the new one."""
    made = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(made)
        os.replace(made, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if made.exists():
            made.unlink()


def _cannot_write(path: Path, error: OSError) -> StorageFullError:
    return StorageFullError(f"Cannot write {path}: {error.strerror}.", "Make room, or name a folder with --out.")


def _changes(kept: dict[str, Any], settings: dict[str, Any]) -> str:
    """What differs between two settings, as ``lr 0.5 instead of 0.25, ...``; empty if nothing does."""
    kept, now = ({**s, **s["params"], "params": None} for s in (kept, json.loads(json.dumps(settings))))
    names = sorted(name for name in {*kept, *now} if kept.get(name) != now.get(name))
    return ", ".join(f"{name} {kept.get(name)} instead of {now.get(name)}" for name in names)


def _anew(key: Key) -> str:
    return f"Measure it again with --again --rows '{key.row}', or keep it and choose another folder with --out."


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", name)
