"""Nets that were trained elsewhere, as frozen features or as first weights: ONNX files, and programs that PyTorch exported.

Nothing in a file is run, unpickled or evaluated, and no other file is opened. docs/features.md says what can be read.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgelearn.errors import ConfigError, UsageError
from edgelearn.imports import pt2_file, weights
from edgelearn.imports.builder import build
from edgelearn.imports.extractor import Extractor as Extractor
from edgelearn.imports.graph import MAX_BYTES, Graph
from edgelearn.nets import Net
from edgelearn.recipe import Recipe
from edgelearn.start import Start

SUFFIXES = (".onnx", ".pt2")
KINDS = " and ".join(SUFFIXES)
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


def read(path: str | Path, upto: int | None = None) -> Extractor:
    """The first layers of the net in a file.

    Args:
        upto: how many layers with weights to keep; None: all but a last one that has no ReLU, which is the classifier.

    Raises:
        ConfigError: there is no such file, it is none that is read, or something in it has no counterpart in our nets.
        MissingToolError: a package that it takes to read the file is not installed.
    """
    path = Path(path)
    _check_kind(path)
    raw = _bytes(path)
    if path.suffix.lower() == ".onnx":
        return build(_onnx(raw, path.name), upto, hashlib.sha256(raw).hexdigest())
    return build(pt2_file.read_graph(raw, path.name), upto, hashlib.sha256(raw).hexdigest())


def from_torch(module: Any, example_input: Any, upto: int | None = None) -> Extractor:
    """The first layers of a ``torch.nn.Module``, exported in evaluation mode; it may have layers of Brevitas.

    Args:
        example_input: a tensor of the right shape, the batch in front, or a tuple with one.
        upto: as for ``read``.

    Raises:
        ConfigError: the module cannot be exported, or something in it has no counterpart in our nets.
        MissingToolError: torch, or what else it takes to export the module, is not installed.
    """
    from edgelearn.imports import torch_module

    name = type(module).__name__
    if torch_module.is_quantised(module):
        raw = torch_module.exported_qcdq(module, example_input)
        return build(_onnx(raw, name), upto, hashlib.sha256(raw).hexdigest())
    raw = torch_module.exported(module, example_input)
    return build(pt2_file.read_graph(raw, name), upto, hashlib.sha256(raw).hexdigest())


def _onnx(raw: bytes, name: str) -> Graph:
    from edgelearn.imports import onnx_file

    return onnx_file.read_graph(raw, name)


def features(recipe: Recipe) -> Extractor | None:
    """The extractor that a recipe names under ``[model]``, None: it names none.

    Raises:
        ConfigError: with the recipe's line: as ``read``, or the file is not what recipe and run have known.
    """
    model = recipe.model
    if model.features is None:
        return None
    try:
        found = read(model.features, model.upto)
    except ConfigError as error:
        key = "upto" if error.message.startswith("upto") else "features"
        raise recipe.fault("model", key, error.message, error.hint) from error
    if model.features_sha256 not in (None, found.sha256):
        problem = f"'{model.features}' is not the file that this recipe was made with."
        raise recipe.fault("model", "features", problem, "Put that file back, or train anew without features_sha256.")
    if model.input and not same_shape(model.input, found.input):
        problem = f"the features of {found.source} take samples of shape {list(found.input)}, not {list(model.input)}."
        raise recipe.fault("model", "input", problem, f"Leave 'input' out, or set input = {list(found.input)}.")
    if model.feature_bits is None:
        return found
    bits = model.feature_bits
    layers = tuple(layer if layer.kind == "pool" else replace(layer, bits=bits) for layer in found.layers)
    return replace(found, layers=layers)


def start_of(found: Extractor, recipe: Recipe) -> Start:
    """The weights that all blocks of a recipe begin with, and its last head: those of the layers and of the classifier of a file.

    Raises:
        ConfigError: its layers are others. UsageError: it begins with another file already.
    """
    model = recipe.model
    if model.features is not None:
        problem = f"The recipe {recipe.name} begins with the features of a file already."
        raise UsageError(
            problem, "Write all layers under [model], without features; --freeze 0,1 keeps the first ones."
        )
    return weights.start_of(found, Net(model.input, model.layers, model.classes))


def same_shape(given: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Do samples of shape ``given`` go into a net for ``wanted``, sizes of 1 left out? A vector takes all that are as large."""
    if len(wanted) == 1:
        return math.prod(given) == wanted[0]
    return [n for n in given if n > 1] == [n for n in wanted if n > 1]


def _check_kind(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise ConfigError(
            f"'{path}' is a pickle of PyTorch: reading one can run whatever code is in it.",
            "Where it was made, save it with torch.export.save (.pt2) or torch.onnx.export (.onnx).",
        )
    if suffix not in SUFFIXES:
        raise ConfigError(f"'{path}' is no kind of net that is read.", f"Give a file that ends in {KINDS}.")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", "Check the path and its permissions.") from error
    if len(raw) > MAX_BYTES:
        problem = f"{path} is larger than {MAX_BYTES >> 20} MiB."
        raise ConfigError(problem, "Export only the layers that the board should have.")
    return raw
