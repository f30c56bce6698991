"""Backends: what writes a lowered net in a format that others run, and runs it again to prove it. Found by entry point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import MissingToolError
from edgelearn.ir.core import Module

EntryName = Literal["infer", "train", "rescale", "all"]
ENTRIES: tuple[EntryName, ...] = ("infer", "train")  # each of which a format may hold, or not
GROUP = "edgelearn.backends"


@dataclass(frozen=True)
class Signature:
    """A tensor that goes into an artifact or comes out of it.

    ``shape`` has a name where a size is free (``"B"``, the batch). ``scale`` is what one unit of an integer is worth, where that is fixed.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    scale: float | None = None

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}
        return found if self.scale is None else {**found, "scale": self.scale}


@dataclass(frozen=True)
class Artifact:
    """A file of a format. ``runs`` says that ``Backend.open`` can run it: sources and headers it cannot.

    Attributes:
        file: its name, or path with ``/`` below the folder that is written.
        entry: what it does: ``infer``, ``train`` (a step), ``rescale`` (what a device does between steps), or ``all``.
        dtype: ``f32`` or ``int8``.
    """

    file: str
    raw: bytes
    entry: EntryName
    dtype: str
    inputs: Sequence[Signature] = ()
    outputs: Sequence[Signature] = ()
    runs: bool = True


@dataclass(frozen=True)
class Source:
    """What is to be written: a lowered and planned module with a state, that a run has learnt or that the seed gives.

    Attributes:
        name: what the files are called.
        state: the raw state region (``edgelearn.state.decode`` reads it).
        learnt: a run has learnt that state; else it is what the seed gives.
    """

    name: str
    module: Module
    state: bytes
    board: str = ""
    seed: int = 0
    learnt: bool = False


class Runner(Protocol):
    """An artifact in the runtime that it is for. It starts at the source's state and step."""

    def infer(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
        """Classes (N,) and scores (N, classes) of encoded samples (N, inputs); None if the format shows no scores.

        Scores are what the entry's ``argmax`` reads: floats, or the exact integers.
        """
        ...

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Learns encoded samples (N, inputs) of classes (N,), one after the other."""
        ...

    def state(self) -> bytes:
        """The state region as it is now, as ``edgelearn.state.pack`` writes it."""
        ...


class Rescaler(Protocol):
    """An artifact of the entry ``rescale`` in its runtime."""

    def rescale(self, raw: bytes) -> bytes:
        """The state region after what is due between its step and the next."""
        ...


class Backend(Protocol):
    """What an entry point of the group ``edgelearn.backends`` gives.

    One with ``portable = True`` writes files for any machine, in floats and integers; the others write for the board, in its numbers.
    """

    name: str

    def gap(self, module: Module, entry: EntryName) -> str:
        """Why this format cannot hold an entry of ``module``, in a few words; empty if it can. Declared here, shown in the docs."""
        ...

    def artifacts(self, source: Source) -> tuple[Artifact, ...]:
        """All files, of all entries without a gap.

        Raises:
            ConfigError: an op has no counterpart; the rule's line is named.
            MissingToolError: an extra is not installed.
        """
        ...

    def open(self, artifact: Artifact, source: Source) -> Any:
        """Runs an artifact whose ``runs`` is true: a ``Runner``, or a ``Rescaler`` where that is its entry.

        Raises:
            MissingToolError: its runtime is not installed.
        """
        ...


class PlanWriter(Protocol):
    """The backend ``plan``: what boards read."""

    def export(self, module: Module, board: str) -> bytes: ...


@runtime_checkable
class WritesFiles(Protocol):
    """A backend that writes a plan as C, for images: file names and their content."""

    def files(self, module: Module, board: str, name: str, state: bytes | None = None) -> dict[str, bytes]: ...


def backends() -> dict[str, EntryPoint]:
    """Installed backends by name, not loaded yet."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def backend(name: str) -> Any:
    """The backend ``name``.

    Raises:
        MissingToolError: it is not installed.
    """
    found = backends()
    if name not in found:
        have = ", ".join(sorted(found)) or "none"
        raise MissingToolError(f"There is no backend '{name}' (installed: {have}).", "Install edgelearn: pip install .")
    return found[name].load()()


def demand(extra: str, *modules: str) -> None:
    """Checks that what an extra brings can be imported.

    Raises:
        MissingToolError: it cannot.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise MissingToolError(f"This needs {' and '.join(missing)}.", f"Install it: pip install 'edgelearn[{extra}]'")
