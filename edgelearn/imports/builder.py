"""Steps become layers and values: shapes are followed, batch normalisation is folded in, and what has no place in our nets is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgelearn.errors import ConfigError
from edgelearn.imports import graph as g
from edgelearn.imports import integers
from edgelearn.imports.extractor import Extractor
from edgelearn.imports.graph import MAX_ELEMENTS, Array, Graph, Node, Step, UnsupportedError
from edgelearn.imports.integers import Scaled
from edgelearn.imports.layout import Shape, conv_layer, conv_values, dense_values, folded, pool_layer
from edgelearn.layers import MAX_SIZE, Layer

MAX_WEIGHT = 2.0**15  # of a net that was trained they are about 1
CROWDED_BITS = 8
_WEIGHTS = (g.Linear, g.Convolution)
_MAP = "Give the net an input of (batch, channels, height, width)."
_RELU = "Put the ReLU directly after the layer, or after its batch normalisation."


@dataclass(eq=False)
class _Block:
    """A layer with weights, still in the layout of the file; ``map``: what a dense layer reads in rows, if that was a map."""

    node: Node
    layer: Layer
    W: Array
    b: Array
    units: Array | None  # what the numbers of each row are whole multiples of
    map: Shape | None = None
    relu: bool = False
    averaged: bool = False  # by a pool, before any ReLU

    def checked(self, source: str) -> Scaled:
        """Its weights in our layout.

        Raises:
            ConfigError: no board could compute with them.
        """
        W = dense_values(self.W, self.map) if self.layer.kind == "dense" else conv_values(self.W, self.layer.kind)
        largest = float(np.max([np.abs(value).max() for value in (W, self.b)]))  # NaN stays NaN
        if not largest <= MAX_WEIGHT:
            what = f"too large: {largest:g}" if math.isfinite(largest) else "NaN or infinite"
            raise ConfigError(
                f"{source}: {self.node} has weights that are {what}.", "Train the net again, and export that."
            )
        unit = None if self.units is None or np.ptp(self.units) else float(self.units[0])
        W, b = np.ascontiguousarray(W, np.float32), self.b.astype(np.float32)
        return Scaled(W, b, self.units is not None, unit)


def build(graph: Graph, upto: int | None, sha256: str) -> Extractor:
    """The first ``upto`` layers with weights; None: all but a last one that has no ReLU, for that is the classifier.

    Raises:
        ConfigError: something up to there has no counterpart in our nets.
    """
    if upto is not None and upto < 1:
        raise ConfigError(f"upto = {upto} keeps no layer.", "Keep at least one, or leave upto out.")
    builder = _Builder(*_input(graph))
    try:
        for node in graph.chain():
            step = graph.step(graph, node)
            if len(builder.blocks) == upto and isinstance(step, _WEIGHTS):
                break
            builder.add(node, step)
    except UnsupportedError as error:
        if len(builder.blocks) != upto or not builder.blocks[-1].relu:
            raise UnsupportedError(f"{graph.source}: {error.message}", error.hint or builder.remedy()) from error
    return builder.finish(graph.source, upto, sha256)


def _input(graph: Graph) -> tuple[Shape, Shape]:
    """The shape of a sample as the file has it, and as we have it."""
    shape = graph.shape[1:]
    if len(graph.shape) not in (2, 3, 4) or not all(1 <= n <= MAX_SIZE for n in shape):
        known = ", ".join(str(n) if n > 0 else "?" for n in graph.shape)
        problem = f"{graph.source}: its input has shape ({known})."
        raise ConfigError(problem, "Export it with an input of (1, channels, height, width) or (1, n), of fixed size.")
    if math.prod(shape) > MAX_ELEMENTS:
        raise ConfigError(f"{graph.source}: its input has {math.prod(shape):,} numbers.", "Use smaller samples.")
    return shape, (*shape[1:], shape[0]) if len(shape) == 3 else (math.prod(shape),)


def _stored(items: Sequence[_Block | Layer], weights: Sequence[Scaled]) -> tuple[Layer, ...]:
    """The layers, those with one bit more whose int8 weights a board would halve, to make room that nothing needs that does not learn."""
    bits = iter([CROWDED_BITS if each.crowded else 0 for each in weights])
    return tuple(replace(item.layer, bits=next(bits)) if isinstance(item, _Block) else item for item in items)


class _Builder:
    """What has been read so far; ``shape`` is that of the value that the next node reads, without the batch, ``ours`` the input's."""

    def __init__(self, shape: Shape, ours: Shape) -> None:
        self.shape, self.input = shape, ours
        self.map: Shape | None = None  # what the value was before it was flattened
        self.items: list[_Block | Layer] = []
        self.direct = False  # is the value W x + b of the last block?
        self.softmax: Node | None = None
        self.levels: list[int] = []  # of the quantisers of values

    @property
    def blocks(self) -> list[_Block]:
        return [item for item in self.items if isinstance(item, _Block)]

    def remedy(self) -> str:
        done = sum(block.relu for block in self.blocks)
        return f"Keep what comes before it: upto = {done}." if done else "docs/features.md lists what can be read."

    def add(self, node: Node, step: Step) -> None:
        if self.softmax is not None and not isinstance(step, g.Same):
            raise self.softmax.refused("is not the end of the net")
        match step:
            case g.Linear():
                self._dense(node, step)
            case g.Convolution():
                self._conv(node, step)
            case g.Bias() | g.Norm():
                self._affine(node, step)
            case g.Relu():
                self._relu(node)
            case g.Rounded():
                self._rounded(node, step)
            case g.Pooling():
                self._pool(node, step.mode, self._windows(node, step))
            case g.PooledTo():
                self._pool(node, step.mode, self._covering(node, step))
                if step.flat:
                    self._flatten()
            case g.Flattened() | g.Reshaped():
                self._reshape(node, step)
            case g.Softmax():
                self.softmax = node
            case g.Same():
                pass

    # --- layers with weights ----------------------------------------------------------------------------------------------------------

    def _conv(self, node: Node, step: g.Convolution) -> None:
        if len(self.shape) != 3:
            raise node.refused(f"reads {math.prod(self.shape)} numbers, not a map", _MAP)
        layer, shape = conv_layer(node, step, self.shape)
        self._begin(node, layer, step, shape)

    def _dense(self, node: Node, step: g.Linear) -> None:
        size = math.prod(self.shape)
        if len(self.shape) != 1:
            raise node.refused(f"reads a value of shape {self.shape}", "Put a Flatten before it.")
        if step.W.ndim != 2 or step.W.shape[1] != size or not 1 <= len(step.W) <= MAX_SIZE:
            raise node.refused(f"has weights of shape {step.W.shape} for {size} numbers")
        self._begin(node, Layer("dense", len(step.W)), step, (len(step.W),))

    def _begin(self, node: Node, layer: Layer, step: g.Linear | g.Convolution, shape: Shape) -> None:
        W, b = step.W, step.b
        if self.blocks and not self.blocks[-1].relu:
            raise self.blocks[-1].node.refused("has no ReLU after it, and is not the last layer", _RELU)
        if sum(block.W.size for block in self.blocks) + W.size > MAX_ELEMENTS:
            raise node.refused("is one layer too many", f"At most {MAX_ELEMENTS:,} weights are read.")
        bias = np.zeros(len(W), np.float32) if b is None else b
        if bias.shape != (len(W),):
            raise node.refused(f"has a bias of shape {bias.shape} for {len(W)} outputs")
        self.items.append(_Block(node, layer, W, bias, step.units, self.map))
        self.shape, self.map, self.direct = shape, None, True

    def _affine(self, node: Node, step: g.Bias | g.Norm) -> None:
        if not self.direct:
            raise node.refused("does not directly follow a convolution or a dense layer")
        block = self.blocks[-1]
        if isinstance(step, g.Norm):
            block.W, block.b, factor = folded(node, step, block.W, block.b)
            block.units = None if block.units is None or not factor.all() else block.units * abs(factor)
            return
        per_channel = (len(block.b), *[1] * (len(self.shape) - 1))
        if step.b.shape not in (per_channel, (1, *per_channel)):
            raise node.refused(f"adds a constant of shape {step.b.shape} to {len(block.b)} channels")
        block.b = block.b + step.b.reshape(-1)

    # --- what has none ----------------------------------------------------------------------------------------------------------------

    def _relu(self, node: Node) -> None:
        if not self.blocks:
            raise node.refused("comes before any layer with weights", _RELU)
        if self.blocks[-1].averaged:
            raise node.refused("stands after a pool that averages", _RELU)
        self.blocks[-1].relu, self.direct = True, False

    def _rounded(self, node: Node, step: g.Rounded) -> None:
        """A quantiser that has nothing below zero is a ReLU too; before any layer it says that samples have nothing there either."""
        self.levels.append(step.levels)
        if step.low >= 0 and self.blocks and not self.blocks[-1].relu:
            self._relu(node)
        self.direct = False

    def _pool(self, node: Node, mode: str, window: g.Pair) -> None:
        if len(self.shape) != 3:
            raise node.refused(f"reads {math.prod(self.shape)} numbers, not a map", _MAP)
        if mode != "max" and self.blocks and not self.blocks[-1].relu:
            self.blocks[-1].averaged = True  # the largest may be taken before a ReLU or after it; the average may not
        layer, self.shape = pool_layer(node, mode, window, self.shape)
        self.direct = False
        if layer.kernel > 1:
            self.items.append(layer)

    def _windows(self, node: Node, step: g.Pooling) -> g.Pair:
        if step.stride != step.size or step.dilation != (1, 1):
            problem = f"has windows of {step.size[0]} that move by {step.stride[0]}, dilation {step.dilation[0]}"
            raise node.refused(problem, "Use windows that do not overlap: a stride of the window's width, no dilation.")
        if any(step.pads):
            raise node.refused("pads its map", "Use a pool without padding.")
        return step.size

    def _covering(self, node: Node, step: g.PooledTo) -> g.Pair:
        if len(self.shape) != 3:
            raise node.refused(f"reads {math.prod(self.shape)} numbers, not a map", _MAP)
        (_, h, w), (rows, columns) = self.shape, step.size
        if min(rows, columns) < 1 or h % rows or w % columns:
            raise node.refused(f"pools a map of {h} by {w} to {rows} by {columns}", "Pool to sizes that divide it.")
        return h // rows, w // columns

    def _flatten(self) -> None:
        if len(self.shape) > 1:
            self.map = self.shape if len(self.shape) == 3 else None
            self.shape, self.direct = (math.prod(self.shape),), False

    def _reshape(self, node: Node, step: g.Flattened | g.Reshaped) -> None:
        size = math.prod(self.shape)
        if isinstance(step, g.Flattened):
            flat = step.start == 1
        else:
            flat = len(step.shape) == 2 and step.shape[1] in (size, -1) and step.shape != (-1, -1)
        if not flat:
            raise node.refused("reshapes to something else than (batch, numbers)", "Use Flatten.")
        self._flatten()

    # --- the end ----------------------------------------------------------------------------------------------------------------------

    def finish(self, source: str, upto: int | None, sha256: str) -> Extractor:
        """What is kept.

        Raises:
            ConfigError: there are not so many layers, or none is left.
        """
        blocks = self.blocks
        keep = self._count(source, upto)
        last = self.items.index(blocks[keep]) if keep < len(blocks) else len(self.items)
        settled = integers.settled([block.checked(source) for block in blocks[: keep + self._has_classifier(keep)]])
        kept, head = settled[:keep], settled[keep:]
        values = {f"@b{i}.{symbol}": v for i, s in enumerate(kept) for symbol, v in (("W", s.W), ("b", s.b))}
        lines = [f"{block.node}: {block.layer if i < keep else 'dropped'}" for i, block in enumerate(blocks)]
        activations = tuple("relu" if block.relu else "none" for block in blocks[:keep])
        text = "\n".join([source, *lines])
        classifier, layers, fewest = (head or [None])[0], _stored(self.items[:last], kept), min(self.levels, default=0)
        return Extractor(self.input, layers, activations, values, text, sha256, tuple(kept), classifier, fewest)

    def _has_classifier(self, keep: int) -> bool:
        """Is what follows the blocks that are kept the last one, and does it make class scores?"""
        rest = self.blocks[keep:]
        return len(rest) == 1 and rest[0].layer.kind == "dense" and not rest[0].relu

    def _count(self, source: str, upto: int | None) -> int:
        """How many blocks are kept."""
        found = len(self.blocks)
        if not found:
            raise ConfigError(f"{source} has no layer with weights.", "docs/features.md lists what can be read.")
        if upto is not None and upto > found:
            problem = f"{source} has {found} layers with weights, not {upto}."
            raise ConfigError(problem, f"Choose upto from 1 to {found}.")
        keep = upto or found - (not self.blocks[-1].relu)
        if keep == 0:
            problem = f"{source} has one layer with weights, and no ReLU after it: a classifier."
            raise ConfigError(problem, "Keep it with upto = 1, or train without features.")
        return keep
