"""What the readers of files have in common: a net as named nodes, walked from its input, and steps that all of them are put into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError

MAX_BYTES = 1 << 26  # of a file: far more than any board could hold
MAX_ELEMENTS = 1 << 24  # of one tensor, and of all weights that are kept
MAX_NODES = 100_000
MAX_RANK = 8
SHOWN = 60  # characters of a name from a file

Array = NDArray[Any]
Pair = tuple[int, int]


class UnsupportedError(ConfigError):
    """A node that a board's net has no layer for. Without a hint, whoever catches it knows what may help."""


@dataclass(frozen=True)
class Node:
    """One operation of a file: its inputs are names of constants or of what other nodes compute."""

    op: str
    name: str
    at: int  # from 1, in the order of the file
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.op[:SHOWN]} {self.name[:SHOWN]!r} (node {self.at})"

    def refused(self, problem: str, hint: str = "") -> UnsupportedError:
        return UnsupportedError(f"{self} {problem}.", hint)


@dataclass(frozen=True)
class Graph:
    """A net: ``shape`` is that of its input with the batch in front, sizes that are not fixed being 0."""

    source: str  # what it was read from, in words
    nodes: Sequence[Node]
    input: str
    shape: tuple[int, ...]
    constant: Callable[[str], Array | None]
    step: Callable[[Graph, Node], Step]  # what a node does
    unit: Callable[[str, int], Array | None] = lambda name, axis: (
        None
    )  # of a constant that was quantised: see ``units``

    def weights(self, node: Node, name: str) -> Array:
        """A constant of ``node`` as floats.

        Raises:
            UnsupportedError: it is computed, or no numbers.
        """
        found = self.constant(name)
        if found is None:
            raise node.refused(f"reads {name[:SHOWN]!r}, which is no constant")
        if found.dtype.kind != "f":
            raise node.refused(f"has weights of type {found.dtype}", "Export the net in float32, not quantised.")
        with np.errstate(over="ignore"):  # what overflows is infinite then, and refused with the layer
            return found.astype(np.float32)

    def units(self, node: Node, name: str, axis: int, rows: int) -> Array | None:
        """What a unit is worth in each of the ``rows`` along ``axis`` of a constant: it is whole numbers of them. None: it has none.

        Raises:
            UnsupportedError: they are no sizes.
        """
        found = self.unit(name, axis)
        if found is None or found.size not in (1, rows):
            return None
        if not (np.isfinite(found).all() and (found > 0).all()):
            raise node.refused("has weights with a scale that is zero, negative or no number", "Export the net again.")
        return np.broadcast_to(found.astype(np.float64).reshape(-1), (rows,))

    def source_of(self, value: str) -> Node | None:
        """The node that computes ``value``; None: it is the input, or a constant."""
        return next((node for node in self.nodes if node.output == value), None)

    def chain(self) -> Iterator[Node]:
        """The nodes from the input on, each reading what the one before it computed.

        Raises:
            UnsupportedError: a value is read by more than one node, or they never end.
        """
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers.setdefault(name, []).append(node)
        value = self.input
        for _ in range(len(self.nodes) + 1):
            found = readers.get(value, [])
            if not found:
                return
            if len(found) > 1:
                raise found[1].refused(f"and {found[0]} both read {value[:SHOWN]!r}: the net branches")
            yield found[0]
            value = found[0].output
        raise self.nodes[-1].refused("is part of a circle")


# --- steps, in the layout that both kinds of file have: maps are (channels, height, width) ------------------------------------------


@dataclass(frozen=True)
class Linear:
    """W (out, in) on all numbers. ``units``: of each row, if its numbers are whole multiples of one."""

    W: Array
    b: Array | None = None
    units: Array | None = None


@dataclass(frozen=True)
class Convolution:
    """W (out, in / groups, height, width). ``pads``: top, left, bottom, right; None: as many as keep ceil(size / stride) positions.

    ``units`` as those of ``Linear``.
    """

    W: Array
    b: Array | None = None
    stride: Pair = (1, 1)
    pads: tuple[int, ...] | None = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    units: Array | None = None


@dataclass(frozen=True)
class Bias:
    """A constant that is added."""

    b: Array


@dataclass(frozen=True)
class Norm:
    """Batch normalisation with constants: gamma (v - mean) / sqrt(var + eps) + beta for each channel."""

    gamma: Array
    beta: Array
    mean: Array
    var: Array
    eps: float


@dataclass(frozen=True)
class Relu:
    pass


@dataclass(frozen=True)
class Rounded:
    """A quantiser: in training the value was rounded to ``levels`` steps, the smallest of them ``low``. Boards have their own rounding."""

    low: float
    levels: int


@dataclass(frozen=True)
class Pooling:
    """Windows of ``size``, moved by ``stride``."""

    mode: str
    size: Pair
    stride: Pair
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)


@dataclass(frozen=True)
class PooledTo:
    """Each map becomes one of ``size``; ``flat``: as a vector."""

    mode: str
    size: Pair
    flat: bool = False


@dataclass(frozen=True)
class Reshaped:
    """The sizes that follow, the batch in front; -1: what is left."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Flattened:
    """All but the first ``start`` dimensions become one."""

    start: int


@dataclass(frozen=True)
class Same:
    """Nothing is done, as by a dropout that is switched off."""


@dataclass(frozen=True)
class Softmax:
    """Scores to probabilities: of interest to nobody but the classifier before it."""


Step = Linear | Convolution | Bias | Norm | Relu | Rounded | Pooling | PooledTo | Reshaped | Flattened | Same | Softmax


def pair(values: Sequence[int] | int, default: int = 1) -> Pair:
    """Height and width of a list of both, of a list of one that is meant for both, or of an empty one."""
    items = [values] if isinstance(values, int) else list(values)
    if len(items) > 2:
        raise ValueError(f"{items} is no height and width")
    return (int(items[0]), int(items[-1])) if items else (default, default)
