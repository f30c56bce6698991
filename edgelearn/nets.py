"""Blocks: what a layer of a recipe brings as state and sizes. A rule adds its own state and does the rest.

Feature maps are (height, width, channels). A pool layer has no block: the weights that read what comes before it pool first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgelearn.errors import ConfigError
from edgelearn.ir.core import Init, State
from edgelearn.ir.types import Type
from edgelearn.lang.block import Block, Declarations, Drawn, Scope, StateRef
from edgelearn.lang.operators import Conv, Dense, Pool, Recurrent
from edgelearn.lang.trace import Tensor, Trace
from edgelearn.layers import Layer, dense

STREAMS_PER_BLOCK = 16  # random streams set aside for one block's state

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Net:
    """A net to train: samples of shape ``input``, a block per layer that has weights, ``classes`` classes out.

    ``input`` may be a number of inputs, and a layer a width. (h, w) is a map of one channel, or, where the first layer is
    recurrent, a sequence of h moments with w inputs each.

    ``features`` says what the first blocks, which were trained elsewhere and never learn, do with W x + b: ``relu`` or ``none``. They and
    the pools after them compute what the others take for the sample; no rule sees them.
    """

    input: Shape | int
    layers: Sequence[Layer | int]
    classes: int
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = (self.input,) if isinstance(self.input, int) else tuple(self.input)
        object.__setattr__(self, "input", shape)
        object.__setattr__(self, "layers", tuple(dense(x) if isinstance(x, int) else x for x in self.layers))

    @property
    def shape(self) -> Shape:
        return self.input if isinstance(self.input, tuple) else (self.input,)

    @property
    def stack(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, Layer))

    @property
    def learning(self) -> tuple[Layer, ...]:
        """The layers that a rule sees: all, or what comes after the features and their pools."""
        given = len(self.features)
        weights = [i for i, layer in enumerate(self.stack) if layer.kind != "pool"]
        return self.stack[weights[given] :] if 0 < given < len(weights) else self.stack

    @property
    def inputs(self) -> int:
        return math.prod(self.shape)

    @property
    def times(self) -> int:
        """Moments of a sequence; 1 where no layer is recurrent."""
        return self.shape[0] if any(layer.kind == "recurrent" for layer in self.stack) else 1

    def __str__(self) -> str:
        maps = any(layer.kind != "dense" for layer in self.stack)
        return "-".join(map(str, ("x".join(map(str, self.shape)) if maps else self.inputs, *self.stack, self.classes)))


@dataclass(frozen=True)
class BlockSpec:
    """One block: a layer with weights, between what it reads and what its heads read.

    ``W`` is normal with variance 1 / fan-in (LeCun), ``b`` zero. Twice that variance (He) trains as well in floats, but costs int8 0.1
    points on MNIST at a rate of 2^-6: weights that start low have the finer unit, and may move up.
    """

    index: int
    layer: Layer
    before: Dense  # what W reads: the shape that the previous block returns, and the pools in between
    units: Shape  # shape of what the block returns
    after: Dense  # what a head reads of it
    classes: int
    blocks: int
    times: int = 1
    first: int = 0  # of the blocks that learn

    @property
    def prefix(self) -> str:
        return f"b{self.index}"

    @property
    def fan_in(self) -> int:
        inp, k = self.before.pooled, self.layer.kernel
        match self.layer.kind:
            case "conv":
                return k * k * inp[2]
            case "depthwise":
                return k * k
            case _:
                return math.prod(inp)

    def sizes(self) -> dict[str, int]:
        return {
            "index": self.index - self.first, "inp": math.prod(self.before.pooled), "out": math.prod(self.after.pooled),
            "units": math.prod(self.units), "classes": self.classes, "blocks": self.blocks - self.first, "times": self.times,
        }  # fmt: skip

    def _shapes(self) -> dict[str, Shape]:
        inp, k, out = self.before.pooled, self.layer.kernel, self.units[-1]
        match self.layer.kind:
            case "conv":
                return {"W": (out, k, k, inp[2]), "b": (out,)}
            case "depthwise":
                return {"W": (k, k, out), "b": (out,)}
            case "recurrent":
                return {"W": (out, math.prod(inp)), "b": (out,), "U": (out, out)}
            case _:
                return {"W": (out, math.prod(inp)), "b": (out,)}

    def own_state(self) -> dict[str, State]:
        first = self.index * STREAMS_PER_BLOCK
        return {
            name: State(
                f"@{self.prefix}.{name}",
                Type("f32", shape),
                self._first(name, first + i),
            )
            for i, (name, shape) in enumerate(self._shapes().items())
        }

    def _first(self, name: str, stream: int) -> Init:
        """U keeps what a recurrent block remembers at its size: its fan-in is the block's own width."""
        if name == "b":
            return Init("zeros", 0.0, stream)
        return Init("normal", (self.layer.size if name == "U" else self.fan_in) ** -0.5, stream)

    def declarations(self) -> Declarations:
        return Declarations(self.prefix, self.sizes(), self.index * STREAMS_PER_BLOCK + len(self._shapes()))

    def scope(self, state: dict[str, State], fixed: dict[str, tuple[Drawn, int]], time: int = 0) -> Scope:
        W = self.before
        if self.layer.kind in ("conv", "depthwise"):
            W = Conv(W.inp, W.pools, self.layer.stride, self.layer.pad, self.layer.kind == "depthwise")
        return Scope({**self.sizes(), "time": time}, state, fixed, {"W": W}, self.after, self.layer.kind == "recurrent")

    def block(self, trace: Trace, scope: Scope, h: Tensor | None = None) -> Block:
        """``s`` of one moment; ``h`` is what a recurrent block returned at the moment before."""
        if scope.recurrent:
            h = h if h is not None else trace.emit("const", value=0.0, size=self.units[0])
            found = scope.state["U"]
            U = StateRef(trace, found.name, found.type, Dense(self.units))
            scope.operators = {**scope.operators, "W": Recurrent(self.before.inp, self.before.pools, U, h)}
        return Block(trace, scope)


def blocks_of(net: Net, independent: bool = False) -> list[BlockSpec]:
    """The blocks of a net, in order; ``independent``: each of them reads the sample, or the features if the net has some.

    Raises:
        ConfigError: a layer does not fit what it reads.
    """
    if net.features and _is_sequence(net):
        raise ConfigError("Recurrent layers cannot follow features: those have no moments.", "Use dense layers.")
    first = net.shape[1:] if net.times > 1 or _is_sequence(net) else net.shape
    if any(layer.kind in ("conv", "depthwise", "pool") for layer in net.stack) and len(first) == 2:
        first = (*first, 1)
    specs: list[BlockSpec] = []
    shape, pools = _flat(first, net.stack), ()
    weights = [layer for layer in net.stack if layer.kind != "pool"]
    given = len(net.features)
    for i, layer in enumerate(net.stack):
        if layer.kind == "pool":
            if 0 < len(specs) <= given:
                continue  # features are pooled when they are made
            pools = (*pools, _pool(layer, Dense(shape, pools).pooled, i))
            continue
        before = Dense(shape, pools)
        units = _units(layer, before.pooled, i)
        after = Dense(units, _head_pools(layer, units, _pools_after(net.stack[i + 1 :], units, i), i))
        specs.append(BlockSpec(len(specs), layer, before, units, after, net.classes, len(weights), net.times, given))
        if len(specs) <= given:
            shape, pools = after.pooled, ()
        elif not independent:
            shape, pools = units, ()
    if len(specs) <= given:
        raise ConfigError("The net has no layer that learns.", "Give at least one width under layers.")
    return specs


def _is_sequence(net: Net) -> bool:
    return any(layer.kind == "recurrent" for layer in net.stack)


def _flat(shape: Shape, stack: Sequence[Layer]) -> Shape:
    """A net without maps reads a vector."""
    return shape if any(layer.kind in ("conv", "depthwise", "pool") for layer in stack) else (math.prod(shape),)


def _units(layer: Layer, inp: Shape, at: int) -> Shape:
    if layer.kind in ("dense", "recurrent"):
        return (layer.size,)
    if len(inp) != 3:
        raise _misfit(
            layer, at, f"it reads {math.prod(inp)} numbers, not a map", "Give input = [height, width, channels]."
        )
    h, w = ((n + 2 * layer.pad - layer.kernel) // layer.stride + 1 for n in inp[:2])
    if min(h, w) < 1:
        raise _misfit(
            layer, at, f"a kernel of {layer.kernel} does not fit a map of {inp[0]} by {inp[1]}", "Use a smaller kernel."
        )
    return h, w, layer.size if layer.kind == "conv" else inp[2]


def _pool(layer: Layer, inp: Shape, at: int) -> Pool:
    if len(inp) != 3 or inp[0] % layer.kernel or inp[1] % layer.kernel:
        remedy = "Choose a pool that divides height and width, or another stride before it."
        raise _misfit(layer, at, f"a map of shape {inp} cannot be cut into windows of {layer.kernel}", remedy)
    return Pool(layer.kernel, layer.mode)


def _pools_after(rest: Sequence[Layer], units: Shape, at: int) -> tuple[Pool, ...]:
    """Average pools that directly follow a block: its heads read what the next block reads."""
    pools: tuple[Pool, ...] = ()
    for i, layer in enumerate(rest):
        if layer.kind != "pool":
            break
        pools = (*pools, _pool(layer, Dense(units, pools).pooled, at + 1 + i))
    return pools


def _head_pools(layer: Layer, units: Shape, pools: tuple[Pool, ...], at: int) -> tuple[Pool, ...]:
    if layer.head == 0 or len(units) != 3:
        return pools
    h, w, _ = Dense(units, pools).pooled
    if layer.head == 1 and h != w:
        return (*pools, Pool(0))
    if h % layer.head or w % layer.head or h != w:
        problem = f"its map of {h} by {w} cannot be averaged to {layer.head} by {layer.head}"
        raise _misfit(layer, at, problem, 'Choose a head that divides both, or head = "flat".')
    return pools if h == layer.head else (*pools, Pool(h // layer.head))


def _misfit(layer: Layer, at: int, problem: str, remedy: str) -> ConfigError:
    return ConfigError(f"Layer {at + 1} ({layer}): {problem}.", remedy)
