"""TFLite in integers: full-integer inference, and the training step with the device's own arithmetic, both for LiteRT.

``NAME-infer-int8`` has constant weights and exponents: those of the state that is exported. Its layers are quantized ops, what comes after
them is int32. ``NAME-train-int8`` keeps weights, exponents and the statistics of the moving exponents in resource variables:

- ``infer(x)`` gives class and scores; ``train(x, y, drops, dither.., draw..)`` is one step;
- ``move()`` moves the exponents, every 256 steps; ``halve(dither..)`` halves the weights that sit at their limit, every 1,000;
- ``save()`` gives all variables, ``restore(..)`` takes them.

State is in variables and not in inputs and outputs because a step changes one row of a matrix in ten and nothing else of it: a user who has
only the file goes on learning by calling ``train``, and saves when he likes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgelearn.backends import EntryName, Signature, Source
from edgelearn.ir.core import Module, Op
from edgelearn.ir.ops import Draw
from edgelearn.ir.types import LIMIT
from edgelearn.state import decode
from edgelearn_export.tflite.builder import Model
from edgelearn_export.tflite.integers_layers import Layers
from edgelearn_export.tflite.integers_program import MEANINGS, KnownChance, Program, answer, limit, sample, weights
from edgelearn_export.tflite.integers_shifts import Power
from edgelearn_export.tflite.integers_training import Training
from edgelearn_export.tflite.integers_writer import WHOLE, Writer

Written = tuple[bytes, Sequence[Signature], Sequence[Signature]]


def gap(module: Module, entry: EntryName) -> str:
    """Why an entry cannot be written in integers; empty if it can."""
    found = module.entry("learn" if entry == "train" else "infer")
    lacking = sorted({op.name for op in found.ops if op.name not in MEANINGS})
    if lacking:
        return f"no integer form of {', '.join(lacking)}"
    wide = any(
        op.name in ("conv_t", "conv_t_mask", "depthwise_t", "depthwise_t_mask") and _overhangs(module, op)
        for op in found.ops
    )
    return "a kernel padded by its own width or more" if wide else ""


def _overhangs(module: Module, op: Op) -> bool:
    W = module.state_types()[op.args[0]].shape
    return int(op.number("pad")) >= (W[1] if len(W) == 4 else W[0])


# --- inference ------------------------------------------------------------------------------------------------------------------------


def infer_model(source: Source) -> Written:
    """(file, inputs, outputs) of inference with the weights and exponents of ``source``."""
    return _inference(source, "i32", twice=False)


def _inference(source: Source, number: str, twice: bool) -> Written:
    model = Model(source.name)
    graph = Writer(model.graph("infer"), number)
    snapshot, entry = decode(source.module, source.state), source.module.entry("infer")
    at = Draw(snapshot.seed, snapshot.step, sum(snapshot.step >= t for t in source.module.drops))
    exps = {name: Power(e) for name, e in snapshot.exps.items()}
    program = Program(
        graph, source.module, KnownChance(graph, at), weights(graph, source.module, snapshot), exps, snapshot.seed
    )
    program.kernel = Layers(graph, twice)
    program.run(entry, [sample(graph, source.module, entry, quantized=True)], count=False)
    answer(graph, program, entry)
    model.signature("infer", graph.graph)
    return model.bytes(), graph.graph.inputs, graph.graph.outputs


# --- TFLite Micro ---------------------------------------------------------------------------------------------------------------------

# What stays exact in floats: no division, no shift that is not known, nothing of more than 24 bits.
MICRO_OPS = (
    "affine", "matvec", "conv", "conv_affine", "depthwise", "depthwise_affine", "pool", "maxpool", "add", "sub", "relu", "abs", "quant",
    "scale", "tanh", "sigmoid", "slice", "const", "argmax",
)  # fmt: skip
MICRO_PRODUCTS = ("affine", "matvec", "conv", "conv_affine", "depthwise", "depthwise_affine")


def micro_gap(module: Module) -> str:
    """Why TFLite Micro cannot infer in int8; empty if it can."""
    entry = module.entry("infer")
    lacking = sorted({op.name for op in entry.ops} - set(MICRO_OPS))
    if lacking:
        return f"no exact form of {', '.join(lacking)} in TFLite Micro's kernels"
    too_long = any(op.name in MICRO_PRODUCTS and _most(module, op) >= WHOLE for op in entry.ops)
    return "sums of more than 24 bits, which TFLite Micro has no exact kernel for" if too_long else ""


def _most(module: Module, op: Op) -> int:
    """What the sums of a product can reach, whatever the weights."""
    W = module.state_types()[op.args[0]]
    terms = math.prod(W.shape) if len(W.shape) == 3 else math.prod(W.shape[1:])
    return terms // (W.shape[2] if len(W.shape) == 3 else 1) * limit(module, W) * LIMIT["i8"]


def micro_infer_model(source: Source) -> Written:
    """(file, inputs, outputs) of the same inference for TFLite Micro: layers in int8, heads and what follows in floats that are whole.

    TFLite Micro has no product of int8 and int8 that gives int32. In floats, sums below 2^24 are exact: class and scores are the device's.
    """
    return _inference(source, "f32", twice=True)


# --- training -------------------------------------------------------------------------------------------------------------------------


def train_model(source: Source) -> Written:
    """(file, inputs of ``train``, outputs of ``train``) of the training step and all that belongs to it."""
    return Training(source).written()
