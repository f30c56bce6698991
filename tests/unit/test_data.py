"""Data sets: fixed splits, every file format, and a ConfigError for whatever no network can learn from."""

import contextlib
import gzip
import importlib
import io
import struct
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgelearn.data import datasets, files
from edgelearn.errors import ConfigError, MissingToolError, StorageFullError


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx_set(folder: Path, first: int, gz: bool = False) -> None:
    """Six training and two test images of 2x3, all pixels 255; the first training label tells sets apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 6), ("t10k", 2)):
        labels = np.arange(n, dtype=np.uint8)
        labels[0] = first
        for kind, array in (("images-idx3", np.full((n, 2, 3), 255, np.uint8)), ("labels-idx1", labels)):
            raw = idx(array)
            name = f"{part}-{kind}-ubyte" + (".gz" if gz else "")
            (folder / name).write_bytes(gzip.compress(raw) if gz else raw)


def test_digits() -> None:
    data = datasets.load("digits")
    assert data.x_train.shape == (1400, 8, 8)
    assert data.x_test.shape == (397, 8, 8)
    assert (data.x_train.dtype, data.y_train.dtype, data.classes) == (np.float32, np.int64, 10)
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert (
        min(np.bincount(data.y_train).min() / 1400, np.bincount(data.y_test).min() / 397) > 0.08
    )  # shuffled: no class is rare
    assert set(data.y_test.tolist()) == set(range(10))


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize(("name", "below"), [("mnist", "mnist"), ("mnist", "."), ("fashion-mnist", "fashion-mnist")])
def test_idx(tmp_path: Path, name: str, below: str, gz: bool) -> None:
    write_idx_set(tmp_path / below, first=7, gz=gz)
    data = datasets.load(name, tmp_path)
    assert (data.shape, data.classes, data.y_train[0]) == ((2, 3), 10, 7)
    assert data.x_train.max() == 1
    assert len(data.y_test) == 2


def test_mnist_is_never_taken_for_fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx_set(tmp_path, first=1)
    write_idx_set(tmp_path / "fashion", first=2)
    monkeypatch.setenv("EDGELEARN_DATA", str(tmp_path))
    assert datasets.load("mnist").y_train[0] == 1
    with pytest.raises(ConfigError, match="no 'fashion-mnist'"):
        datasets.load("fashion-mnist")
    assert datasets.load("fashion-mnist", tmp_path / "fashion").y_train[0] == 2
    assert datasets.load(str(tmp_path)).classes == 6


def test_missing_sets_say_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGELEARN_DATA", raising=False)
    for root in (None, tmp_path):
        for name in ("mnist", "fashion-mnist", "cifar10"):
            with pytest.raises(ConfigError) as caught:
                datasets.load(name, root)
            assert "EDGELEARN_DATA" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        datasets.load("digit")
    assert "'digits'" in caught.value.hint


def test_cifar_binary(tmp_path: Path) -> None:
    record = bytes([3]) + bytes([255]) * 1024 + bytes(2048)  # a red frog, planes in order
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        (tmp_path / name).write_bytes(record * 2)
    data = datasets.load("cifar10", tmp_path)
    assert data.x_train.shape == (10, 32, 32, 3)
    assert data.x_train[0, 5, 5].tolist() == [1, 0, 0]
    (tmp_path / "test_batch.bin").write_bytes(record[:-1])
    with pytest.raises(ConfigError, match="3073-byte records"):
        datasets.load("cifar10", tmp_path)


# --- CIFAR-10 as JPEG -------------------------------------------------------------------------------------------------

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
JPEG = "cifar10/cifar10-jpeg.tar.xz"


@pytest.fixture
def jpeg_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for data sets, and an empty cache."""
    pytest.importorskip("PIL", reason="Pillow is an extra: pip install 'edgelearn[data]'")
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (32, 32), kind: str = "JPEG") -> bytes:
    image = importlib.import_module("PIL.Image").new("RGB", size, colour)
    with io.BytesIO() as file:
        image.save(file, kind, quality=95)
        return file.getvalue()


def images(classes: tuple[str, ...] = CLASSES) -> dict[str, bytes]:
    """Two training images and a test image of each class; class number k has red 20 k."""
    parts = [("train", "0000"), ("train", "0001"), ("test", "0000")]
    return {f"{p}/{c}/{n}.jpg": jpeg((20 * CLASSES.index(c), 0, 250)) for c in reversed(classes) for p, n in parts}


def write_tar(root: Path, files: dict[str, bytes]) -> Path:
    path = root / JPEG
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:xz") as tar:
        folder = tarfile.TarInfo("train")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, raw in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    return path


def test_cifar_jpeg(jpeg_root: Path) -> None:
    write_tar(jpeg_root, images())
    data = datasets.load("cifar10", jpeg_root)
    assert (data.x_train.shape, data.x_test.shape, data.classes) == ((20, 32, 32, 3), (10, 32, 32, 3), 10)
    assert data.y_train.tolist() == [*range(10), *range(10)]  # classes in alphabetical order, images by their names
    red, green, blue = (data.x_train[:, 5, 9, c] * 255 for c in range(3))
    assert red == pytest.approx(20 * data.y_train, abs=4)
    assert (green.max(), blue.min()) == pytest.approx((0, 250), abs=4)
    assert any("JPEG" in note for note in data.notes())
    assert any("JPEG" in note for note in datasets.validation_split(data).notes())


def test_cifar_jpeg_is_decoded_once(jpeg_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_tar(jpeg_root, images())
    first = datasets.load("cifar10", jpeg_root)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)  # as if it were not installed
    assert np.array_equal(datasets.load("cifar10", jpeg_root).x_train, first.x_train)
    (kept,) = (jpeg_root / "cache/data").iterdir()
    assert kept.name.startswith("cifar10-jpeg-")
    archive.write_bytes(archive.read_bytes() + b"\0" * 4)  # another archive is another set
    with pytest.raises(MissingToolError, match="Pillow") as caught:
        datasets.load("cifar10", jpeg_root)
    assert "edgelearn[data]" in caught.value.hint


def test_the_binary_files_come_first(jpeg_root: Path) -> None:
    write_tar(jpeg_root, images())
    record = bytes([3]) + bytes([255]) * 3072
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        (jpeg_root / "cifar10" / name).write_bytes(record)
    data = datasets.load("cifar10", jpeg_root)
    assert len(data.y_train) == 5
    assert not any("JPEG" in note for note in data.notes())


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"train/cat.jpg": b""}, "not train/CLASS/NAME.jpg"),
        ({"valid/cat/0.jpg": b""}, "not train/CLASS/NAME.jpg"),
        ({"../train/cat/0.jpg": b""}, "not train/CLASS/NAME.jpg"),
        ({"train/cat/0.jpg": b"no picture"}, r"0\.jpg is no whole JPEG of 32 by 32"),
        ({"train/cat/0.jpg": "png"}, r"0\.jpg is no whole JPEG of 32 by 32"),
        ({"train/cat/0.jpg": "half"}, r"0\.jpg is no whole JPEG of 32 by 32"),
        ({"train/cat/0.jpg": "large"}, r"0\.jpg is no whole JPEG of 32 by 32"),
        ({"train/cat/0.jpg": bytes(2**20 + 1)}, "too large"),
        ({"train/cat/0.jpg": "good"}, "different classes"),
        ({"train/cat/0.jpg": "good", "test/dog/0.jpg": "good"}, "different classes"),
        ({}, "different classes"),
    ],
)
def test_what_is_no_archive_of_images(jpeg_root: Path, files: dict[str, bytes | str], problem: str) -> None:
    made = {"png": jpeg((1, 2, 3), kind="PNG"), "half": jpeg((9, 9, 9))[:-200], "large": jpeg((1, 2, 3), (33, 32)),
            "good": jpeg((1, 2, 3))}  # fmt: skip
    write_tar(jpeg_root, {name: made[raw] if isinstance(raw, str) else raw for name, raw in files.items()})
    with pytest.raises(ConfigError, match=problem):
        datasets.load("cifar10", jpeg_root)
    assert not (jpeg_root / "cache").exists()


def test_a_damaged_archive(jpeg_root: Path) -> None:
    path = write_tar(jpeg_root, images())
    for raw in (b"", b"junk" * 99, path.read_bytes()[:-300]):
        path.write_bytes(raw)
        with pytest.raises(ConfigError, match="cannot be read"):
            datasets.load("cifar10", jpeg_root)


def test_a_cache_that_cannot_be_written(jpeg_root: Path) -> None:
    write_tar(jpeg_root, images())
    (jpeg_root / "cache").write_text("a file where a folder should be")
    with pytest.raises(StorageFullError, match="Cannot write") as caught:
        datasets.load("cifar10", jpeg_root)
    assert "EDGELEARN_CACHE" in caught.value.hint


def test_npz_with_and_without_a_test_set(tmp_path: Path) -> None:
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 3
    path = tmp_path / "a.npz"
    np.savez(path, x=x, y=y)
    data = datasets.load(str(path))
    assert (data.y_train.tolist(), data.y_test.tolist(), data.classes) == (y[:8].tolist(), y[8:].tolist(), 3)
    assert np.array_equal(data.x_test, x[8:])
    np.savez(path, x=x, y=y, x_test=x[:3], y_test=y[:3])
    data = datasets.load(str(path))
    assert (len(data.y_train), len(data.y_test)) == (10, 3)


def test_uint8_are_pixels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.full((5, 2), 51, np.uint8), y=np.zeros(5, int))
    assert np.allclose(datasets.load(str(tmp_path / "a.npz")).x_train, 0.2)


@pytest.mark.parametrize("header", ["", "width,height,kind\n"])
def test_csv(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(header + "0.5,1,0\n0.25,2,1\n0.125,3,1\n")
    data = datasets.load(str(path))
    assert data.x_train.tolist() == [[0.5, 1], [0.25, 2]]
    assert (data.y_train.tolist(), data.y_test.tolist(), data.classes) == ([0, 1], [1], 2)


X, Y = np.ones((10, 2)), np.arange(10)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.where(np.eye(10, 2) > 0, np.nan, 1), "y": Y}, "NaN or infinite"),
        ({"x": X * 1e300, "y": Y}, "NaN or infinite"),
        ({"x": X, "y": Y[:9]}, "x has shape"),
        ({"x": X[:, 0], "y": Y}, "x has shape"),
        ({"x": X[:1], "y": Y[:1]}, "only one sample"),
        ({"x": X, "y": X}, "y has shape"),
        ({"x": np.float64(1), "y": Y}, "x has shape []"),
        ({"x": X[:0], "y": Y[:0]}, "is empty"),
        ({"x": X[:, :0], "y": Y}, "is empty"),
        ({"x": X, "y": Y + 0.5}, "not whole numbers"),
        ({"x": X, "y": Y * np.nan}, "not whole numbers"),
        ({"x": X, "y": Y.astype(str)}, "not whole numbers"),
        ({"x": X, "y": Y - 1}, "labels below 0"),
        ({"x": X, "y": Y + 70_000}, "has the label 70009"),
        ({"x": X.astype(str), "y": Y}, "samples of type"),
        ({"x": X.astype(object), "y": Y}, "cannot be read"),
        ({"z": X}, "no arrays 'x' and 'y'"),
        ({"x": X, "y": Y, "x_test": X}, "one of 'x_test' and 'y_test'"),
        ({"x": X, "y": Y, "x_test": np.ones((10, 3)), "y_test": Y}, "differ in shape"),
    ],
)
def test_what_cannot_be_learnt_is_refused(tmp_path: Path, arrays: dict[str, NDArray[np.generic]], message: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType] its stub takes the names for flags
    with pytest.raises(ConfigError) as caught:
        datasets.load(str(path))
    assert message in caught.value.message
    assert caught.value.hint


def test_complaints_count_as_the_user_does(tmp_path: Path) -> None:
    """Shapes and indices are those of the arrays in the file, whatever part of them becomes the test set."""
    path = tmp_path / "a.npz"

    def complaint(**arrays: NDArray[np.generic]) -> str:
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType] its stub takes the names for flags
        with pytest.raises(ConfigError) as caught:
            datasets.load(str(path)).shaped((2,), 3)
        return str(caught.value)

    x, y = np.ones((10, 2)), np.arange(10) % 3
    assert "[10, 2], y has shape [9]" in complaint(x=x, y=y[:9])
    hole, stray = np.where(np.arange(10)[:, None] == 9, np.nan, x), np.where(np.arange(10) == 9, 7, y)
    assert "sample 9" in complaint(x=hole, y=y)
    assert "Set classes = 8, or correct sample 9." in complaint(x=x, y=stray)
    assert "(test) has values that are NaN or infinite: sample 9" in complaint(x=x, y=y, x_test=hole, y_test=y)
    assert "or correct test sample 9." in complaint(x=x, y=y, x_test=x, y_test=stray)
    assert "that of sample 4 is 0.5" in complaint(x=x, y=np.where(np.arange(10) == 4, 0.5, y))


def test_notes() -> None:
    data = datasets.load("digits")
    assert data.notes() == ()
    (scale,) = replace(data, x_train=data.x_train * -255).notes()
    assert "largest value is 255" in scale
    (sorted_,) = replace(data, y_test=np.full_like(data.y_test, 3)).notes()
    assert "1 of 10 classes" in sorted_


@pytest.mark.parametrize("text", ["", "a,b\n", "1\n2\n", "1,2\n3\n", "1,2\nx,y\n", "nan,1\n"])
def test_bad_csv(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ConfigError):
        datasets.load(str(tmp_path / "bad.csv"))


def test_a_header_may_not_claim_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "images"
    for shape, body in (((2, 2, 2), b"1234567"), ((2, 2, 2), b"123456789"), ((2**31, 2**31, 4), b"")):
        path.write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, *shape) + body)
        with pytest.raises(ConfigError):
            files.read_idx(path, 3)


def test_an_array_header_may_not_claim_more_than_there_is(tmp_path: Path) -> None:
    raw = io.BytesIO()
    np.lib.format.write_array_header_1_0(raw, {"descr": "<f8", "fortran_order": False, "shape": (2**45,)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("x.npy", raw.getvalue())
    with pytest.raises(ConfigError):
        datasets.load(str(tmp_path / "bomb.npz"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 10_000))
def test_damage_is_explained(tmp_path: Path, position: int, value: int, cut: int) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=X, y=Y)
    raw = bytearray(path.read_bytes())
    raw[position % len(raw)] = value
    path.write_bytes(raw if cut > len(raw) else raw[:cut])
    with contextlib.suppress(ConfigError):  # no other error, and no hang
        datasets.load(str(path))


def test_validation_split_leaves_the_test_set_out() -> None:
    data = datasets.load("digits")
    split = datasets.validation_split(data, 0.1, seed=1)
    assert (len(split.y_train), len(split.y_test)) == (1260, 140)
    rows = {row.tobytes() for row in np.concatenate([split.x_train, split.x_test])}
    assert rows == {row.tobytes() for row in data.x_train}
    again = datasets.validation_split(data, 0.1, seed=1)
    assert np.array_equal(again.y_test, split.y_test)
    assert not np.array_equal(datasets.validation_split(data, 0.1, seed=2).y_test, split.y_test)
    with pytest.raises(ConfigError):
        datasets.validation_split(data, 1.0)


def test_shaped() -> None:
    data = datasets.load("digits")
    assert data.shaped((64,), 12).x_test.shape == (397, 64)
    assert data.shaped((64,), 12).classes == 12
    with pytest.raises(ConfigError, match=r"shape \[8, 8\], the model takes \[63\]"):
        data.shaped((63,), 10)
    with pytest.raises(ConfigError, match="labels up to 9"):
        data.shaped((8, 8), 9)
