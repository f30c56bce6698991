"""The cases of the accuracy bench: what is trained how, and what figure stands beside it. To tune a row, change its rate here.

Every rate says how it was found (``rate_by``): "validation" is a sweep on a fifth of the training set, ``edgelearn bench accuracy
--choose``; "untuned" is a starting point that nobody has searched around, and tables say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from edgelearn import recipe as recipes
from edgelearn.bench.methods import Case, Item, Method, Published
from edgelearn.errors import UsageError
from edgelearn.layers import to_item
from edgelearn.tomlfile import nearest

LAST, SUMMED, TWIN = "edgelearn int8 last", "edgelearn int8 summed", "backprop twin"
JPEG = "CIFAR-10 (JPEG) where the data are cifar10-jpeg.tar.xz: compare with each other rather than with published figures."

_SPYRA = "repository Przemyslaw11/BeyondBackpropagation (2026)"
_NITRO = Published(0.9736, "NITRO-D, arXiv:2407.11698: integer-only, weights of 32 bits")


def find(case: str | Case) -> Case:
    """A case by name.

    Raises:
        UsageError: there is none.
    """
    if isinstance(case, Case):
        return case
    if case not in CASES:
        raise UsageError(f"There is no case '{case}'.", nearest(case, tuple(CASES)))
    return CASES[case]


# --- the shipped recipes ----------------------------------------------------------------------------------------------


def _shipped(
    name: str,
    recipe: str,
    twin: float,
    passes: int | None = None,
    lr: float | None = None,
    bar: Published | None = None,
) -> Case:
    """A shipped recipe, read by its last head and by the sum of all, and backpropagation in floats at rate ``twin``.

    The rates are by validation splits: those of recipes say so there; ``lr`` stands in for a recipe's where passes are others. Those of
    the twins on the digits are the best of 2^-3 to 2^-6 over five seeds, those on MNIST the best of 2^-3 to 2^-8 with one.
    """
    r = recipes.load(recipe)
    params = {key: value for key, value in r.rule.params.items() if key != "heads"}
    if lr is not None:
        params["lr"] = lr

    def row(row_name: str, heads: str) -> Method:
        return Method(
            row_name, r.rule.name, params, r.model.input, layers, epochs, {"heads": heads}, dtype="int8", drops=drops,
            against=TWIN, published=bar, rate_by="validation",
        )  # fmt: skip

    layers, epochs, drops = [to_item(layer) for layer in r.model.layers], passes or r.train.epochs, r.train.drops
    backprop = Method(
        TWIN, "backprop", {"lr": twin}, r.model.input, layers, epochs, drops=drops, rate_by="validation"
    )  # fmt: skip
    return Case(name, r.data.name, (row(LAST, "last"), row(SUMMED, "sum"), backprop), recipe=recipe)


# --- MNIST ------------------------------------------------------------------------------------------------------------

_MLP2, _MLP3 = [1000, 1000], [1000, 1000, 1000]


def _mlp(name: str, rule: str, layers: Sequence[Item], lr: float, **how: Any) -> Method:
    """A row on flat MNIST images, in mini-batches."""
    how = {"passes": 20, "batch": 128, "optimizer": "adam", "against": f"backprop {len(layers)}x1000", **how}
    return Method(name, rule, {"lr": lr, **how.pop("params", {})}, (28, 28), layers, engine="torch", **how)


# By a validation split, seed 1: Mono-Forward the better of 3e-4 and 1e-3, tpSGD by trials of 6 and 15 passes. The others stand
# where Mono-Forward does.
_MNIST_MLP = Case(
    "mnist-mlp-f32",
    "mnist",
    (
        _mlp("mono-forward 2x1000", "mono-forward", _MLP2, 1e-3, readout={"heads": "last"}, params={"gate": 0.0}, rate_by="validation",
             published=Published(0.9840, f"{_SPYRA}: Mono-Forward, layer by layer, to its own convergence")),
        _mlp("forward-forward 3x1000", "forward-forward", _MLP3, 1e-3, passes=40, batch=128, rate_by="validation",
             params={"temp": 0.06, "head": 4.0},
             published=Published(0.9835, f"{_SPYRA}: Forward-Forward, SGD")),
        _mlp("tpsgd 2x1000", "tpsgd", _MLP2, 2**-5, passes=30, batch=16, optimizer="sgd", params={"head": 4.0}, rate_by="validation"),
        _mlp("tpsgd l2 2x1000", "tpsgd", _MLP2, 2**-4, passes=30, batch=16, optimizer="sgd", params={"loss": "l2"}, rate_by="validation"),
        _mlp("backprop 2x1000", "backprop", _MLP2, 1e-3, against="",
             published=Published(0.9820, f"{_SPYRA}: backpropagation, as many passes as Mono-Forward")),
        _mlp("backprop 3x1000", "backprop", _MLP3, 1e-3, passes=40, against="",
             published=Published(0.9836, f"{_SPYRA}: backpropagation beside Forward-Forward")),
    ),
)  # fmt: skip

_MNIST_MAPS: tuple[Item, ...] = (
    {"conv": 12, "kernel": 5, "head": 7}, {"pool": 2}, {"conv": 24, "kernel": 5}, {"pool": 2}, {"conv": 48, "kernel": 3},
)  # fmt: skip


def _mnist_cnn(name: str, rule: str, dtype: Literal["int8", "f32"], lr: float, **how: Any) -> Method:
    return Method(name, rule, {"lr": lr}, (28, 28), _MNIST_MAPS, 10, dtype=dtype, **how)


_MNIST_CNN = Case(
    "mnist-cnn-int8",
    "mnist",
    (
        _mnist_cnn("mono-forward int8 last", "mono-forward", "int8", 2**-6, readout={"heads": "last"}, against="backprop f32"),
        _mnist_cnn("mono-forward int8 summed", "mono-forward", "int8", 2**-6, readout={"heads": "sum"}, against="backprop f32"),
        _mnist_cnn("mono-forward f32", "mono-forward", "f32", 2**-6, readout={"heads": "last"}, against="backprop f32"),
        _mnist_cnn("backprop f32", "backprop", "f32", 2**-6),
    ),
)  # fmt: skip


# --- CIFAR-10 ---------------------------------------------------------------------------------------------------------


def _cifar(name: str, rule: str, layers: Sequence[Item], lr: float, **how: Any) -> Method:
    """A row on colour images, standardised, in mini-batches."""
    how = {"passes": 30, "batch": 128, "engine": "torch", "optimizer": "adam", "augment": "flip-crop", **how}
    return Method(name, rule, {"lr": lr, **how.pop("params", {})}, (32, 32, 3), layers, standardise=True, **how)


def _pooled(*channels: int, mode: str = "avg") -> list[Item]:
    """A 3x3 convolution and a pool for each number of channels."""
    return [layer for c in channels for layer in ({"conv": c, "kernel": 3}, {"pool": 2, "mode": mode})]


_VGG = _pooled(32, 64, 128, 256)  # Mono-Forward's own CNN has twice as many channels
_VGG_HOW: dict[str, Any] = {"passes": 10, "batch": 32}
# The paper's blocks. Rate, level and the first predictor's 4x4 means by trials on a validation split, seed 1, of which
# docs/benchmarks/validation/cifar10-cnn-f32.json tells. 3.4 GB of features.
_CAFO = [{"conv": 32, "kernel": 3, "head": 4}, *_pooled(32, 128, 512, mode="max")[1:]]
_CAFO_HOW: dict[str, Any] = {"passes": 6, "batch": 512, "engine": "frozen", "augment": "", "mirrored": True, "level": 256,
                             "rate_by": "validation"}  # fmt: skip
# Ten blocks, each a convolution of the image and a layer that reads it with the noisy label.
# Both rates the better of 1e-3 and 3e-3 after two passes over 10,000 images of a validation split, seed 1.
_NOPROP: list[Item] = [{"conv": 32, "kernel": 5, "stride": 4}] * 10
_NOPROP_HOW: dict[str, Any] = {"passes": 5, "params": {"hidden": 64}, "rate_by": "validation"}
_NOPROP_PAPER = "arXiv:2503.24322, one-hot labels, larger blocks, 150 passes without augmentation"

_CIFAR_CNN = Case(
    "cifar10-cnn-f32",
    "cifar10",
    (
        _cifar("mono-forward", "mono-forward", _VGG, 1e-3, against="backprop", params={"gate": 0.0}, readout={"heads": "last"}, **_VGG_HOW,
               published=Published(0.8239, "arXiv:2501.09238v1, as others quote it: a larger net")),
        _cifar("mono-forward summed", "mono-forward", _VGG, 1e-3, against="backprop", params={"gate": 0.0},
               readout={"heads": "sum"}, **_VGG_HOW),
        _cifar("backprop", "backprop", _VGG, 1e-3, **_VGG_HOW,
               published=Published(0.7780, "arXiv:2501.09238v1, as others quote it: a larger net")),
        _cifar("cascaded-forward", "cascaded-forward", _CAFO, 5e-4, **_CAFO_HOW,
               published=Published(0.6675, f"{_SPYRA}: CaFo-Rand, three blocks")),
        _cifar("noprop", "noprop", _NOPROP, 3e-3, against="noprop end to end", **_NOPROP_HOW,
               published=Published(0.7925, _NOPROP_PAPER)),
        _cifar("noprop end to end", "noprop", _NOPROP, 3e-3, engine="end-to-end", **_NOPROP_HOW,
               published=Published(0.7992, f"backpropagation of the same net in {_NOPROP_PAPER}")),
    ),
    note=JPEG,
)  # fmt: skip


# --- digits -----------------------------------------------------------------------------------------------------------


_TPSGD_RNN = {"loss": "l1", "dead": 0.5, "when": "last", "head": 256.0}


def _rnn(name: str, rule: str, lr: float, params: dict[str, Any] | None = None, **how: Any) -> Method:
    """A row that reads a digit line by line. tpSGD's settings are by a validation split, seeds 1 and 2."""
    return Method(
        name, rule, {"lr": lr, **(params or {})}, (8, 8), [{"recurrent": 192}], 15, rate_by="validation", **how
    )


_ROWS_RNN = Case(
    "digits-rows-rnn-int8",
    "digits",
    (
        _rnn("tpsgd int8", "tpsgd", 2**-13, _TPSGD_RNN, dtype="int8", against="backprop through time f32"),
        _rnn("tpsgd f32", "tpsgd", 2**-13, _TPSGD_RNN, against="backprop through time f32"),
        _rnn("random recurrence f32", "tpsgd", 2**-20, {**_TPSGD_RNN, "head": 2**16.0},
             against="backprop through time f32"),
        _rnn("backprop through time f32", "tpsgd", 2**-6, _TPSGD_RNN, engine="bptt"),
    ),
)  # fmt: skip

# Every rule on a net that fits the 16 KB of a micro:bit, beside itself in floats. Rates: one for both, the best of five powers of two in
# the mean of int8 and f32, on a validation split, seeds 1 to 3.
_RULES: dict[str, tuple[Sequence[Item], float, dict[str, Any]]] = {
    "mono-forward": ((32, 32), 2**-4, {}),
    "forward-forward": ((32, 32), 2**-8, {}),
    "cascaded-forward": ((32, 32), 2**-4, {}),
    "noprop": ((24, 24, 24), 2**-5, {"hidden": 16}),
    "noprop-ct": ((32,), 2**-5, {"hidden": 24, "moments": 5}),
    "noprop-fm": ((32,), 2**-7, {"hidden": 24, "moments": 5}),
    "tpsgd": ((32, 32), 2**-6, {}),
    "drtp": ((32, 32), 2**-5, {}),
    "last-layer": ((32, 32), 2**-2, {}),
    "backprop": ((32, 32), 2**-5, {}),
}


def _digits_rules() -> list[Method]:
    """int8 beside f32 of the same rule; in floats alone what is for the host."""
    rows: list[Method] = []
    for rule, (layers, lr, params) in _RULES.items():
        for dtype in ("int8", "f32"):
            how: dict[str, Any] = {
                "dtype": dtype,
                "against": f"{rule} f32" if dtype == "int8" else "",
                "rate_by": "validation",
            }
            rows.append(Method(f"{rule} {dtype}", rule, {"lr": lr, **params}, (8, 8), layers, 15, **how))
    dfa = Method(
        "cascaded-forward-dfa f32",
        "cascaded-forward-dfa",
        {"lr": 2**-4},
        (8, 8),
        (32, 32),
        15,
        engine="torch",
        rate_by="validation",
    )
    return [*rows, dfa]


# --- how many passes --------------------------------------------------------------------------------------------------


Rates = dict[str, dict[int, float]]  # by rule, and by the number of passes; 0 is any


def _passes(
    name: str, data: str, shape: tuple[int, ...], layers: Sequence[Item], rates: dict[int, Rates], **how: Any
) -> Case:
    """Mono-Forward and backpropagation after 1, 2, 3 and 10 passes, sample by sample and in batches; ``rates`` by batch."""
    rows: list[Method] = []
    for batch, by_rule in rates.items():
        for passes in (1, 2, 3, 10):
            label = f"x{passes} batch {batch}"
            how |= {"passes": passes, "batch": batch, "engine": "core" if batch == 1 else "torch"}
            for rule, lr in by_rule.items():
                against = f"backprop {label}" if rule != "backprop" else ""
                params = {"lr": lr.get(passes, lr[0])}
                rows.append(Method(f"{rule} {label}", rule, params, shape, layers, against=against, **how))
    return Case(name, data, rows, note=JPEG if data == "cifar10" else "")


# The best powers of two on a validation split, seed 1, between 2^-8 and 2^-4 at batch 1 and 2^-5 and 2 at batch 128
# (2^-5 and 2^-1 for two passes).
_MNIST_RATES: dict[int, Rates] = {
    1: {"mono-forward": {0: 2**-6}, "backprop": {0: 2**-6, 10: 2**-7}},
    128: {"mono-forward": {0: 2**-1, 1: 1.0}, "backprop": {0: 2**-1}},
}
# By a validation split, seed 1: at batch 1 the best of 2^-8 to 2^-5 for one pass, at batch 128 of 2^-4 to 1 for three.
_CIFAR_RATES: dict[int, Rates] = {
    1: {"mono-forward": {0: 2**-6}, "backprop": {0: 2**-6}},
    128: {"mono-forward": {0: 2**-1}, "backprop": {0: 2**-1}},
}

# Small enough for 16 passes sample by sample, five times: 46,240 weights, heads included.
_CIFAR_SMALL: list[Item] = [
    {"conv": 16, "kernel": 3, "stride": 2, "head": 4}, {"pool": 2}, {"conv": 32, "kernel": 3, "head": 4}, {"pool": 2}, 64,
]  # fmt: skip

_ALL = (
    _shipped("mnist-100-50-int8", "mnist", twin=2**-7, bar=_NITRO),
    _shipped("mnist-100-50-int8-1pass", "mnist", twin=2**-6, passes=1, lr=2**-5),
    _shipped("digits-32-32-int8", "digits", twin=2**-4),
    _shipped("digits-16-int8", "digits-tiny", twin=2**-4),
    _MNIST_MLP,
    _MNIST_CNN,
    _CIFAR_CNN,
    _ROWS_RNN,
    Case("digits-rules-int8", "digits", _digits_rules()),
    _passes("passes-mnist", "mnist", (28, 28), [100, 50], _MNIST_RATES, rate_by="validation"),
    _passes(
        "passes-cifar10", "cifar10", (32, 32, 3), _CIFAR_SMALL, _CIFAR_RATES, standardise=True, rate_by="validation"
    ),
)
CASES = {case.name: case for case in _ALL}
