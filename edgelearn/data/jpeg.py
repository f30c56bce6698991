"""Images as JPEG files in a tar archive, ``train/CLASS/NAME.jpg`` and ``test/CLASS/NAME.jpg``; decoded once, then kept as npz."""

from __future__ import annotations

import hashlib
import importlib
import io
import lzma
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgelearn.data.files import MAX_BYTES, Array, damaged
from edgelearn.errors import MissingToolError, StorageFullError
from edgelearn.paths import cache_dir

MAX_FILE = 2**20  # bytes of one JPEG: a thumbnail has a thousand
PARTS = ("train", "test")
_DAMAGED = (OSError, EOFError, ValueError, SyntaxError, tarfile.TarError, lzma.LZMAError)
_LAYOUT = "its files are not train/CLASS/NAME.jpg and test/CLASS/NAME.jpg"


class _Image(NamedTuple):
    """In the order in which a set is sorted: by name, so that neighbours are of different classes."""

    name: str
    label: str
    pixels: Array


def read(archive: Path, shape: tuple[int, int, int]) -> dict[str, Array]:
    """``x_train``, ``y_train``, ``x_test``, ``y_test`` (uint8); classes are numbered in alphabetical order.

    The first call decodes, which takes a minute for 100,000 images, and keeps the arrays in the user's cache.

    Raises:
        ConfigError: no such archive of images of ``shape``. MissingToolError: Pillow is not installed.
        StorageFullError: the cache cannot be written.
    """
    try:
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise damaged(archive, error.strerror) from error
    kept = cache_dir() / "data" / f"{archive.name.split('.')[0]}-{digest}.npz"
    if not kept.is_file():
        _keep(kept, _decoded(archive, shape))
    with np.load(kept, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _keep(path: Path, arrays: dict[str, Array]) -> None:
    """Written beside its place and moved there: a killed process leaves nothing that looks whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            np.savez(made, **arrays)  # pyright: ignore[reportArgumentType] numpy's stub takes the names for its own options
            os.replace(made, path)
    except OSError as error:
        hint = "Make room, or set EDGELEARN_CACHE to another folder."
        raise StorageFullError(f"Cannot write {path}: {error.strerror}.", hint) from error


def _decoded(archive: Path, shape: tuple[int, int, int]) -> dict[str, Array]:
    found: dict[str, list[_Image]] = {part: [] for part in PARTS}
    decode, size = _decoder(shape), 0
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if not member.isfile():
                    continue
                part, label, name = _place(archive, member.name)
                size += shape[0] * shape[1] * shape[2]
                if member.size > MAX_FILE or size > MAX_BYTES:
                    raise damaged(archive, f"{member.name} is too large, or there are too many files")
                file = tar.extractfile(member)
                assert file is not None  # isfile() says so
                found[part].append(_Image(name, label, _pixels(decode, archive, member.name, file.read(), shape)))
    except _DAMAGED as error:
        raise damaged(archive, error) from error
    return _arrays(archive, found)


def _pixels(
    decode: Callable[[bytes], Array], archive: Path, name: str, raw: bytes, shape: tuple[int, int, int]
) -> Array:
    try:
        return decode(raw)
    except _DAMAGED as error:
        raise damaged(archive, f"{name} is no whole JPEG of {shape[1]} by {shape[0]} pixels") from error


def _place(archive: Path, name: str) -> tuple[str, str, str]:
    parts = name.split("/")
    if len(parts) != 3 or parts[0] not in PARTS:
        raise damaged(archive, f"{_LAYOUT}: {name}")
    return parts[0], parts[1], parts[2]


def _arrays(archive: Path, found: dict[str, list[_Image]]) -> dict[str, Array]:
    classes = sorted({image.label for image in found["train"]})
    if not classes or {image.label for image in found["test"]} - set(classes) or not found["test"]:
        raise damaged(archive, "training and test set have different classes")
    arrays: dict[str, Array] = {}
    for part, images in found.items():
        images.sort(key=lambda image: image[:2])
        arrays[f"x_{part}"] = np.stack([image.pixels for image in images])
        arrays[f"y_{part}"] = np.array([classes.index(image.label) for image in images], np.uint8)
    return arrays


def _decoder(shape: tuple[int, int, int]) -> Callable[[bytes], Array]:
    """From the bytes of a JPEG to its pixels; ValueError if it is none, or has another shape."""
    try:
        pillow: Any = importlib.import_module("PIL.Image")
    except ImportError as error:
        hint = "Install it with: pip install 'edgelearn[data]'"
        raise MissingToolError("Pillow, which decodes JPEG, is not installed.", hint) from error
    height, width, channels = shape

    def decode(raw: bytes) -> Array:
        try:
            with pillow.open(io.BytesIO(raw), formats=("JPEG",)) as image:
                if image.size != (width, height):  # before anything is decoded
                    raise ValueError(f"{image.size[0]} by {image.size[1]} pixels")
                return np.asarray(image.convert("RGB" if channels == 3 else "L")).reshape(shape)
        except pillow.DecompressionBombError as error:
            raise ValueError("far too many pixels") from error

    return decode
