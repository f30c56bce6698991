"""Data sets by name or path, checked and split once: everything above sees the same samples in the same order."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgelearn.data import files, jpeg
from edgelearn.data.files import Array
from edgelearn.errors import ConfigError
from edgelearn.ir import rng
from edgelearn.tomlfile import nearest

DIGITS_TRAIN = 1400  # the other 397 are the test set
MAX_CLASSES = 0xFFFF
_VALIDATION = 0x4FFF  # a random stream that no epoch's shuffle uses
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_PARTS = ("train", "test")
_CIFAR_BIN, _CIFAR_JPEG = "data_batch_1.bin", "cifar10-jpeg.tar.xz"
LICENCES = {
    "digits": "CC BY 4.0: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, doi:10.24432/C50P49",
    "mnist": "CC BY-SA 3.0: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database",
    "fashion-mnist": "MIT: Zalando SE, Fashion-MNIST",
    "cifar10": "none stated: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
}
_USUAL = (1 / 16, 16)  # of the largest value: outside of it the first steps are far too small or too large

_Good = tuple[NDArray[np.float32], NDArray[np.int64]]  # samples and labels that have been checked
Samples = tuple[Array, Array]  # x, y as they are in the file
Parts = tuple[Samples] | tuple[Samples, Samples]  # training and test set; of one alone, the last fifth is the test set


@dataclass(frozen=True)
class _Noted:
    """Samples, and what a reader of results should know about them."""

    parts: Parts
    note: str


@dataclass(frozen=True)
class Dataset:
    """Samples with labels 0..classes-1; images have values in [0, 1]."""

    name: str
    x_train: NDArray[np.float32]  # (N, *shape)
    y_train: NDArray[np.int64]  # (N,)
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    classes: int
    cut: bool = False  # training and test set are one array of the user's, cut in two
    note: str = ""  # what a reader of results should know about where the samples come from

    @property
    def licence(self) -> str:
        """Of the samples, as their publishers state it; empty where that is for the user to know."""
        return LICENCES.get(self.name.partition("/")[0], "")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.x_train.shape[1:]

    def shaped(self, shape: tuple[int, ...], classes: int) -> Dataset:
        """The same data for a network with input ``shape`` and ``classes`` outputs.

        Raises:
            ConfigError: a sample has another number of values, or a label is too large.
        """
        if math.prod(shape) != math.prod(self.shape):
            have, want = list(self.shape), list(shape)
            problem = f"A sample of '{self.name}' has shape {have}, the model takes {want}."
            raise ConfigError(problem, f"Set input = {have}.")
        if self.classes > classes:
            problem = f"'{self.name}' has labels up to {self.classes - 1}, the model {classes} classes."
            raise ConfigError(problem, f"Set classes = {self.classes}, or correct {self._first_above(classes)}.")
        x_train, x_test = (x.reshape(len(x), *shape) for x in (self.x_train, self.x_test))
        return replace(self, x_train=x_train, x_test=x_test, classes=classes)

    def notes(self) -> tuple[str, ...]:
        """Sentences about what can be learnt from, but hardly is what was meant."""
        found = [f"{self.name}: {self.note}"] if self.note else []
        largest = max(float(self.x_train.max()), -float(self.x_train.min()))
        if not _USUAL[0] <= largest <= _USUAL[1]:
            found.append(f"{self.name}: the largest value is {largest:g}: scale the samples to about 1")
        train, test = set(self.y_train.tolist()), set(self.y_test.tolist())
        if train - test:
            found.append(f"{self.name}: the test set has {len(train & test)} of {len(train)} classes: shuffle the data")
        return tuple(found)

    def _first_above(self, classes: int) -> str:
        """Where the first label stands that a model with ``classes`` classes does not know."""
        train, test = (np.flatnonzero(y >= classes) for y in (self.y_train, self.y_test))
        if len(train):
            return f"sample {train[0]}" if self.cut else f"training sample {train[0]}"
        return f"sample {len(self.y_train) + test[0]}" if self.cut else f"test sample {test[0]}"


def load(name_or_path: str, root: str | Path | None = None) -> Dataset:
    """A known set by name, or any .npz, .csv or folder of IDX files by path.

    Args:
        root: folder of the sets that are not shipped; EDGELEARN_DATA where None.

    Raises:
        ConfigError: not found, damaged, or with values that no network can learn from.
    """
    place = root or os.environ.get("EDGELEARN_DATA")
    if name_or_path in _NAMED:
        parts = _NAMED[name_or_path](Path(place).expanduser() if place else None)
        if isinstance(parts, _Noted):
            return replace(_checked(name_or_path, parts.parts, 10), note=parts.note)
        return _checked(name_or_path, parts, 10)
    path = Path(name_or_path).expanduser()
    if not path.exists():
        hint = nearest(name_or_path, NAMES, f"Give a .npz or .csv file, or one of: {', '.join(NAMES)}.")
        raise ConfigError(f"There is no data set '{name_or_path}'.", hint)
    return _checked(path.name, _from_path(path), None)


def validation_split(dataset: Dataset, fraction: float = 0.1, seed: int = 0) -> Dataset:
    """Splits the training set in two, for choosing rates: the held-out ``fraction`` becomes the test set.

    The real test set is not in the result, so that nothing can be chosen by it.

    Raises:
        ConfigError: one of the parts would be empty.
    """
    n = len(dataset.y_train)
    held = round(n * fraction)
    if not 0 < held < n:
        raise ConfigError(f"{fraction} of {n} samples leaves nothing to train or nothing to test.", "Choose 0.1, say.")
    order = np.argsort(rng.raw_bits(seed, _VALIDATION, n), kind="stable")
    train, test = np.sort(order[held:]), np.sort(order[:held])
    x, y = dataset.x_train, dataset.y_train
    name = f"{dataset.name}/validation"
    return Dataset(name, x[train], y[train], x[test], y[test], dataset.classes, note=dataset.note)


def standardised(dataset: Dataset) -> Dataset:
    """The same data with mean 0 and deviation 1 in every channel of a map, or over all values where samples are no maps.

    Mean and deviation are those of the training set.
    """
    axes = tuple(range(dataset.x_train.ndim - 1 if len(dataset.shape) == 3 else dataset.x_train.ndim))
    mean = dataset.x_train.mean(axes, dtype=np.float64).astype(np.float32)
    spread = dataset.x_train.std(axes, dtype=np.float64).astype(np.float32)
    spread = np.where(spread > 0, spread, np.float32(1))  # a channel that says nothing stays 0
    x_train, x_test = ((x - mean) / spread for x in (dataset.x_train, dataset.x_test))
    return replace(dataset, x_train=x_train, x_test=x_test)


def with_mirror_images(dataset: Dataset) -> Dataset:
    """The same data; behind the images (height, width, ...) to train on stand their mirror images, left for right."""
    x, y = dataset.x_train, dataset.y_train
    return replace(dataset, x_train=np.concatenate([x, x[:, :, ::-1]]), y_train=np.concatenate([y, y]))


def _digits(root: Path | None) -> Parts:
    arrays = files.read_npz(Path(__file__).with_name("digits.npz"))
    x, y, n = arrays["x"].astype(np.float32) / 16, arrays["y"], DIGITS_TRAIN
    return (x[:n], y[:n]), (x[n:], y[n:])


def _mnist(root: Path | None) -> Parts:
    return _idx(_folder("mnist", root, ("mnist", "MNIST/raw"), _IDX[0]))


def _fashion(root: Path | None) -> Parts:
    return _idx(_folder("fashion-mnist", root, ("fashion-mnist", "FashionMNIST/raw"), _IDX[0]))


def _cifar10(root: Path | None) -> Parts | _Noted:
    names = ("cifar10", "cifar-10-batches-bin")
    for place in [root / sub for sub in (*names, ".")] if root else []:
        if (place / "cifar10.npz").is_file():
            return _npz(place / "cifar10.npz")
        if (place / _CIFAR_JPEG).is_file() and not (place / _CIFAR_BIN).is_file():
            arrays = jpeg.read(place / _CIFAR_JPEG, (32, 32, 3))
            train, test = ((arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in jpeg.PARTS)
            return _Noted((train, test), "JPEG, which is lossy: compare with results on the same files")
    folder = _folder("cifar10", root, names, _CIFAR_BIN)
    batches = [files.read_cifar(folder / f"data_batch_{i}.bin") for i in range(1, 6)]
    train = np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])
    return train, files.read_cifar(folder / "test_batch.bin")


_NAMED: dict[str, Callable[[Path | None], Parts | _Noted]] = {
    "digits": _digits,
    "mnist": _mnist,
    "fashion-mnist": _fashion,
    "cifar10": _cifar10,
}
NAMES = tuple(_NAMED)


def _folder(name: str, root: Path | None, below: tuple[str, ...], file: str) -> Path:
    """The folder that holds ``file``: below the root, or the root itself."""
    hint = f"Set EDGELEARN_DATA to the folder that holds {name}/{file}, or give it with --data."
    if root is None:
        raise ConfigError(f"'{name}' does not come with edgelearn.", hint)
    # MNIST and Fashion-MNIST have the same file names: a root without a folder for each must say which it is.
    other = name in ("mnist", "fashion-mnist") and ("fashion" in name) != ("fashion" in root.resolve().name.lower())
    for place in [root / sub for sub in below] + ([] if other else [root]):
        if files.find(place, file):
            return place
    raise ConfigError(f"There is no '{name}' in {root}.", hint)


def _idx(folder: Path) -> Parts:
    arrays: list[Array] = []
    for name in _IDX:
        path = files.find(folder, name)
        if path is None:
            raise ConfigError(f"{folder} has no {name}.", "Put all four IDX files there, gzipped or not.")
        arrays.append(files.read_idx(path, 3 if "images" in name else 1))
    return (arrays[0], arrays[1]), (arrays[2], arrays[3])


def _from_path(path: Path) -> Parts:
    if path.is_dir():
        return _idx(path)
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix == ".csv":
        return (files.read_csv(path),)
    raise ConfigError(f"'{path}' is no kind of data that edgelearn reads.", "Give .npz, .csv or a folder of IDX files.")


def _npz(path: Path) -> Parts:
    arrays = files.read_npz(path)
    x, y = (arrays.get(key, arrays.get(f"{key}_train")) for key in ("x", "y"))
    if x is None or y is None:
        raise ConfigError(f"{path} has no arrays 'x' and 'y'.", "Write it with numpy.savez(path, x=..., y=...).")
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise ConfigError(f"{path} has one of 'x_test' and 'y_test'.", "Give both, or neither.")
    if "x_test" in arrays:
        return (x, y), (arrays["x_test"], arrays["y_test"])
    return ((x, y),)


def _checked(name: str, parts: Parts, classes: int | None) -> Dataset:
    """Judges what the user gave before it is cut in two, so that shapes and indices are the user's own."""
    if len(parts) == 2:
        train, test = (_good(f"'{name}' ({part})", *samples) for part, samples in zip(_PARTS, parts, strict=True))
    else:
        train, test = _last_fifth(f"'{name}'", *_good(f"'{name}'", *parts[0]))
    if train[0].shape[1:] != test[0].shape[1:]:
        raise ConfigError(f"'{name}': training and test samples differ in shape.", "Give both the same shape.")
    found = int(max(train[1].max(), test[1].max())) + 1
    if found > (classes or MAX_CLASSES):
        problem = f"'{name}' has the label {found - 1}, the largest possible is {(classes or MAX_CLASSES) - 1}."
        raise ConfigError(problem, "Number the classes from 0 without gaps.")
    return Dataset(name, *train, *test, classes or found, cut=len(parts) == 1)


def _last_fifth(what: str, x: NDArray[np.float32], y: NDArray[np.int64]) -> tuple[_Good, _Good]:
    cut = len(y) - max(1, len(y) // 5)
    if not cut:
        raise ConfigError(f"{what} has only one sample.", "Give at least two: one to learn, one to test.")
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def _good(what: str, x: Array, y: Array) -> _Good:
    """Samples as real values, labels as integers.

    Raises:
        ConfigError: no network can learn from them.
    """
    _check_shapes(what, x, y)
    return _values(what, x), _labels(what, y)


def _check_shapes(what: str, x: Array, y: Array) -> None:
    if y.ndim != 1 or x.ndim < 2 or len(x) != len(y):
        problem = f"{what}: x has shape {list(x.shape)}, y has shape {list(y.shape)}."
        raise ConfigError(problem, "Give x (N, ...) and y (N,) with the same N.")
    if not len(y) or not math.prod(x.shape):
        raise ConfigError(f"{what} is empty.", "Give at least one sample with at least one value.")


def _labels(what: str, y: Array) -> NDArray[np.int64]:
    if y.dtype.kind not in "iufb":
        raise ConfigError(f"{what} has labels that are not whole numbers.", "Number the classes 0, 1, 2, ...")
    for wrong, problem in (
        (~np.isfinite(y) | (y != np.floor(y)), "labels that are not whole numbers"),
        ((y < 0) | (y >= 2**31), "labels below 0 or far too large"),
    ):
        if wrong.any():
            first = int(np.argmax(wrong))
            problem = f"{what} has {problem}: that of sample {first} is {y[first]}."
            raise ConfigError(problem, f"Number the classes from 0 without gaps, or correct sample {first}.")
    return y.astype(np.int64)


def _values(what: str, x: Array) -> NDArray[np.float32]:
    """Real values: pixels (uint8) over 255, all else as it is."""
    if x.dtype.kind not in "iufb":
        raise ConfigError(f"{what} has samples of type {x.dtype}.", "Give numbers: float or uint8.")
    if x.dtype == np.uint8:
        return x.astype(np.float32) / np.float32(255)
    with np.errstate(over="ignore"):  # what overflows float32 is infinite then, and refused
        values = x.astype(np.float32)
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if bad.any():
        which = f"sample {np.argmax(bad)}" + (f" and {bad.sum() - 1} more" if bad.sum() > 1 else "")
        raise ConfigError(f"{what} has values that are NaN or infinite: {which}.", "Correct or drop these samples.")
    return values
