"""Nets that were trained elsewhere, as the weights that all blocks of a recipe begin with: ``train RECIPE --from net.onnx``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError
from edgelearn.imports.extractor import Extractor
from edgelearn.imports.integers import Scaled
from edgelearn.ir.types import exponent_for
from edgelearn.lang.operators import Dense
from edgelearn.nets import BlockSpec, Net, blocks_of
from edgelearn.start import Start, Whole, of_values, of_whole

INT8, FINEST = 7, 15  # bits of weights that are whole numbers of their own, and of those that the compiler will round
ZERO_EXPONENT = -13  # of a bias of zeros: what the compiler takes too
HEAD = "M"  # what rules call the matrix of class scores


def start_of(found: Extractor, net: Net) -> Start:
    """What ``net`` begins with: the weights of a file's layers, and its classifier as the head of the last block.

    Raises:
        ConfigError: the layers of ``net`` are others.
    """
    specs = blocks_of(net)
    theirs = blocks_of(Net(found.input, found.layers, net.classes))
    _check_layers(found, theirs, specs)
    values, scaled = dict(found.values), {f"@b{i}.W": each for i, each in enumerate(found.weights)}
    head, notes = _head(found, theirs[-1], specs)
    if head is not None:
        name = f"@b{found.blocks - 1}.{HEAD}"
        values[name], scaled[name] = head.W, head
    if not any(each.quantised for each in scaled.values()):
        return of_values(found.source, values, net.classes, notes)
    notes = (*found.quantised({name[1:]: each for name, each in scaled.items()}), *notes)
    tensors = {name: _whole(value, scaled.get(name)) for name, value in values.items()}
    return of_whole(found.source, tensors, net.classes, notes)


def _whole(values: NDArray[np.float32], scaled: Scaled | None) -> Whole:
    """A tensor as whole numbers: its own, or such that only the compiler's rounding counts."""
    if scaled is not None and (q := scaled.whole) is not None and scaled.exponent is not None:
        return Whole(q, scaled.exponent, INT8)
    largest = float(np.abs(values).max())
    exponent = exponent_for(largest, FINEST) if largest > 0 else ZERO_EXPONENT
    units = np.ldexp(values.astype(np.float64), -exponent)
    limit = (1 << FINEST) - 1
    return Whole(np.clip(np.trunc(units + np.copysign(0.5, units)), -limit, limit).astype(np.int16), exponent, FINEST)


def _head(found: Extractor, last: BlockSpec, specs: Sequence[BlockSpec]) -> tuple[Scaled | None, tuple[str, ...]]:
    """The classifier, where the last block has a head that it can be; and what is to be said of it."""
    classifier = found.classifier
    if classifier is None:
        return None, (f"{found.source} has no classifier: heads start from the seed",)
    own, classes = specs[found.blocks - 1], specs[0].classes
    if len(classifier.W) != classes:
        return None, (f"heads start from the seed: {len(classifier.W)} classes in the file, {classes} here",)
    if len(specs) != found.blocks:
        return None, ("heads start from the seed: the net has more blocks than the file",)
    if _pools(own.after) != _pools(last.after):
        problem = f"{found.source}: its classifier reads {_shape(last.after.pooled)}, the head of this net {_shape(own.after.pooled)}."
        raise ConfigError(
            problem, 'Give the net the pools of the file after its last layer, or that layer head = "pool".'
        )
    if not classifier.b.any():
        return classifier, ()
    return classifier, ("the classifier's bias is left out, for heads have none: train it without, with bias=False",)


def _check_layers(found: Extractor, theirs: Sequence[BlockSpec], ours: Sequence[BlockSpec]) -> None:
    have, want = [[_described(spec) for spec in specs] for specs in (theirs, ours)]
    hint = (
        f"Write the layers of the file under [model]: {'-'.join(map(str, found.layers))}, in the words of docs/cli.md."
    )
    for i, described in enumerate(have):
        if i >= len(want):
            raise ConfigError(
                f"{found.source} has {len(have)} layers before its classifier, the net {len(want)}.", hint
            )
        if described != want[i]:
            raise ConfigError(f"Block {i} is {described} in {found.source}, and {want[i]} in this net.", hint)


def _described(spec: BlockSpec) -> str:
    """A layer and what it reads, in words: equal ones compute the same."""
    layer = spec.layer
    pad = f" pad {layer.pad}" if layer.kind in ("conv", "depthwise") else ""
    pools = "".join(f", pooled by {mode} {size}" for mode, size in _pools(spec.before))
    return f"{layer}{pad} on {_shape(spec.before.inp)}{pools}"


def _pools(before: Dense) -> list[tuple[str, int]]:
    """Mode and size of each pool, one over the whole map by its size; what comes after reads what is left."""
    shape, found = before.inp, list[tuple[str, int]]()
    for pool in before.pools:
        found.append((pool.mode, pool.size or shape[0]))
        shape = pool.shape(shape)
    return found


def _shape(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape if n > 1) if math.prod(shape) > 1 else "1"
