"""The file formats that data sets come in: IDX, CIFAR-10 binary, npz and CSV. Nothing here unpickles."""

from __future__ import annotations

import gzip
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgelearn.errors import ConfigError

Array = NDArray[Any]
MAX_BYTES = 2**31  # a file that declares more is damaged, or not for this machine
_DAMAGED = (OSError, EOFError, ValueError, KeyError, MemoryError, OverflowError, zipfile.BadZipFile, zlib.error)
_IN_ARCHIVE = (RuntimeError, SyntaxError, tokenize.TokenError)  # it is encrypted, or has a header that is no literal
_CIFAR_RECORD = 1 + 3 * 32 * 32


def damaged(path: Path, reason: object) -> ConfigError:
    return ConfigError(f"{path} cannot be read: {reason}.", "Check the file; download or write it again.")


def find(folder: Path, name: str) -> Path | None:
    """``name`` in ``folder``, or its gzipped or dotted ("idx3" after a dot) variant."""
    names = (name, name.replace("-idx", ".idx"))
    return next((folder / n for base in names for n in (base, f"{base}.gz") if (folder / n).is_file()), None)


def read_idx(path: Path, dims: int) -> Array:
    """An uint8 array of ``dims`` dimensions from an IDX file, gzipped or not.

    Raises:
        ConfigError: it is not one, or shorter or longer than its header says.
    """
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            head = file.read(4 + 4 * dims)
            if len(head) != 4 + 4 * dims or head[:4] != bytes((0, 0, 8, dims)):
                raise damaged(path, f"not an IDX file of bytes in {dims} dimensions")
            shape = tuple(int(n) for n in np.frombuffer(head, ">u4", offset=4))
            size = _checked_size(path, shape)
            body = file.read(size + 1)
    except _DAMAGED as error:
        raise damaged(path, error) from error
    if len(body) != size:
        raise damaged(path, "its length differs from what its header says")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _checked_size(path: Path, shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    if size > MAX_BYTES:
        raise damaged(path, f"its header claims {size} bytes")
    return size


def read_cifar(path: Path) -> tuple[Array, Array]:
    """(uint8 images (N, 32, 32, 3), labels (N,)) from one CIFAR-10 binary batch.

    Raises:
        ConfigError: its length is no multiple of a record.
    """
    try:
        raw = np.fromfile(path, np.uint8)
    except _DAMAGED as error:
        raise damaged(path, error) from error
    if not raw.size or raw.size % _CIFAR_RECORD:
        raise damaged(path, f"no whole number of {_CIFAR_RECORD}-byte records")
    rows = raw.reshape(-1, _CIFAR_RECORD)
    return np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), rows[:, 0]


def read_npz(path: Path) -> Mapping[str, Array]:
    """Every array of an npz file; object arrays are refused, since they would be unpickled.

    Raises:
        ConfigError: damaged, too large or with Python objects in it.
    """
    return arrays_in(path, path)


def arrays_in(source: Path | BinaryIO, path: Path) -> Mapping[str, Array]:
    """The same of an open file as well; ``path`` is what errors name.

    Raises:
        ConfigError: as ``read_npz``.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > MAX_BYTES:
            raise damaged(path, f"it would unpack to {total} bytes")
        with np.load(source, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except (*_DAMAGED, *_IN_ARCHIVE) as error:
        raise damaged(path, str(error) or type(error).__name__) from error


def read_csv(path: Path) -> tuple[Array, Array]:
    """(float64 features (N, columns - 1), labels (N,)) from comma-separated numbers; one header line is skipped.

    Raises:
        ConfigError: not numbers, or lines of different lengths.
    """
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        with warnings.catch_warnings(action="error", category=UserWarning):  # numpy only warns of a file without lines
            table = np.loadtxt(path, delimiter=",", ndmin=2, skiprows=0 if _is_numbers(first) else 1, encoding="utf-8")
    except (*_DAMAGED, UserWarning) as error:
        raise damaged(path, error) from error
    if table.shape[1] < 2:
        raise ConfigError(f"{path} has only one column.", "Give features first and the label in the last column.")
    return table[:, :-1], table[:, -1]


def _is_numbers(line: str) -> bool:
    try:
        return all(np.isreal(float(cell)) for cell in line.split(","))
    except ValueError:
        return False
