"""Files that nobody's exporter wrote: they are refused in one sentence, nothing in them is run, and memory stays bounded."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelearn import imports
from edgelearn.errors import ConfigError, EdgeLearnError, MissingToolError
from edgelearn.imports import extras, graph, pt2_file
from tests.imports.reference import OnnxNet

pytest.importorskip("onnx", reason="needs onnx: pip install 'edgelearn[onnx]'")


def small() -> OnnxNet:
    return OnnxNet((1, 2, 6, 6)).conv(2, 3).norm(3).relu().add("Flatten").gemm(48, 4, transB=1).relu().gemm(4, 2)


def tensor(sizes: list[int]) -> dict[str, Any]:
    strides = [int(np.prod(sizes[i + 1 :])) for i in range(len(sizes))]
    return {
        "dtype": 7, "sizes": [{"as_int": n} for n in sizes], "strides": [{"as_int": n} for n in strides],
        "storage_offset": {"as_int": 0}, "layout": 7,
    }  # fmt: skip


def arg(name: str, **value: Any) -> dict[str, Any]:
    return {"name": name, "arg": value, "kind": 1}


def program() -> dict[str, Any]:
    """The files of a program as ``torch.export.save`` writes it, by name: a dense layer and a ReLU."""
    weights = {
        name: {"path_name": f"weight_{i}", "use_pickle": False, "tensor_meta": tensor(sizes)}
        for i, (name, sizes) in enumerate({"w": [3, 4], "b": [3]}.items())
    }
    linear = {
        "target": "torch.ops.aten.linear.default", "name": "linear", "outputs": [{"as_tensor": {"name": "linear"}}],
        "inputs": [arg("input", as_tensor={"name": "x"}), arg("weight", as_tensor={"name": "p_w"}), arg("bias", as_tensor={"name": "p_b"})],
    }  # fmt: skip
    relu = {
        "target": "torch.ops.aten.relu.default", "name": "relu", "outputs": [{"as_tensor": {"name": "relu"}}],
        "inputs": [arg("self", as_tensor={"name": "linear"})],
    }  # fmt: skip
    specs = [{"parameter": {"arg": {"name": f"p_{name}"}, "parameter_name": name}} for name in weights]
    module = {
        "graph": {"nodes": [linear, relu], "tensor_values": {"x": tensor([1, 4])}},
        "signature": {"input_specs": [*specs, {"user_input": {"arg": {"as_tensor": {"name": "x"}}}}]},
    }
    return {
        "archive_format": b"pt2", "byteorder": b"little", "models/model.json": {"graph_module": module, "torch_version": "2.13"},
        "data/weights/model_weights_config.json": {"config": weights},
        "data/weights/weight_0": np.arange(12, dtype="<f4").tobytes(), "data/weights/weight_1": np.ones(3, "<f4").tobytes(),
    }  # fmt: skip


def packed(files: dict[str, Any], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(f"net/{name}", content if isinstance(content, bytes) else json.dumps(content))
    return buffer.getvalue()


def read(raw: bytes, folder: Path, suffix: str = ".pt2") -> imports.Extractor:
    (folder / f"net{suffix}").write_bytes(raw)
    return imports.read(folder / f"net{suffix}")


def module_of(files: dict[str, Any]) -> dict[str, Any]:
    return files["models/model.json"]["graph_module"]


def weights_of(files: dict[str, Any]) -> dict[str, Any]:
    return files["data/weights/model_weights_config.json"]["config"]


def test_the_program_written_here_is_one(tmp_path: Path) -> None:
    found = read(packed(program()), tmp_path)
    assert (found.values["@b0.W"] == np.arange(12).reshape(3, 4)).all()
    assert found.input == (4,)


# --- damage -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_what_is_cut_short_is_refused(suffix: str, tmp_path: Path) -> None:
    raw = small().bytes() if suffix == ".onnx" else packed(program())
    for length in [*range(64), *range(64, len(raw), max(len(raw) // 150, 1))]:
        with pytest.raises(EdgeLearnError):
            read(raw[:length], tmp_path, suffix)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_changed_bytes_are_refused_or_harmless(suffix: str, tmp_path: Path) -> None:
    raw = small().bytes() if suffix == ".onnx" else packed(program())
    random, refused = np.random.default_rng(0), 0
    for _ in range(600):
        changed = bytearray(raw)
        for at in random.integers(0, len(raw), random.integers(1, 4)):
            changed[at] = random.integers(256)
        try:
            read(bytes(changed), tmp_path, suffix)
        except EdgeLearnError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize(
    "raw", [b"", b"\x00" * 999, b"PK\x03\x04" + b"\xff" * 99, b"GGUF" + b"\x01" * 99, b"hello\n" * 50, b"\x08\x07"]
)
def test_other_files_are_refused(suffix: str, raw: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"net\.\w+ is no"):
        read(raw, tmp_path, suffix)


def test_every_part_of_a_program_may_be_anything(tmp_path: Path) -> None:
    """Each value of the JSON files is replaced in turn by others: nothing but an EdgeLearnError comes of it."""
    refused = 0
    for file in ("models/model.json", "data/weights/model_weights_config.json"):
        for path in _paths(program()[file]):
            for other in (None, -1, 10**30, 1e400, "x", [], {}, [[]], True):
                files = program()
                _replace(files[file], path, other)
                try:
                    read(packed(files), tmp_path)
                except EdgeLearnError:
                    refused += 1
    assert refused > 300


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [path for key, item in items for path in ((*at, key), *_paths(item, (*at, key)))]


def _replace(value: Any, path: tuple[Any, ...], other: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = other


# --- code ---------------------------------------------------------------------------------------------------------------------------


class _Marker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".ckpt", ".bin", ".PT"])
def test_pickles_are_refused_unread(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"net{suffix}").write_bytes(pickle.dumps(_Marker(tmp_path / "was here")))
    with pytest.raises(ConfigError, match="is a pickle") as caught:
        imports.read(tmp_path / f"net{suffix}")
    assert "torch.export.save" in caught.value.hint
    assert not (tmp_path / "was here").exists()


def test_pickles_within_a_program_stay_closed(tmp_path: Path) -> None:
    marker = pickle.dumps(_Marker(tmp_path / "was here"))
    read(packed({**program(), "data/sample_inputs/model.pt": marker}), tmp_path)
    files = program()
    files["data/weights/weight_0"] = marker
    weights_of(files)["w"]["use_pickle"] = True
    with pytest.raises(ConfigError, match="are pickled"):
        read(packed(files), tmp_path)
    with pytest.raises(ConfigError, match="pickled weights"):
        read(packed({"data.pkl": marker}), tmp_path)
    assert not (tmp_path / "was here").exists()


# --- memory -------------------------------------------------------------------------------------------------------------------------


def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="larger than"):
        read(small().bytes(), tmp_path, ".onnx")


def test_archives_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    files = {**program(), "data/weights/weight_0": bytes(graph.MAX_BYTES + 4)}
    with pytest.raises(ConfigError, match="is compressed"):
        read(packed(files, zipfile.ZIP_DEFLATED), tmp_path)
    with pytest.raises(ConfigError, match="larger than 8,388,608 bytes"):
        read(packed({**program(), "models/model.json": b"[" * (pt2_file.MAX_JSON + 1)}), tmp_path)
    for nested in (b"[" * 100_000, b'{"graph_module":' * 50_000):
        with pytest.raises(ConfigError, match="is no JSON"):
            read(packed({**program(), "models/model.json": nested}), tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sizes", [3, 5]), ("sizes", [3, 4, 1]), ("sizes", [2**40, 2**40]), ("sizes", [-3, 4]), ("strides", [400, 1]),
        ("strides", [-4, 1]), ("storage_offset", 9), ("storage_offset", -1), ("dtype", 13), ("dtype", 99),
    ],
)  # fmt: skip
def test_tensors_do_not_reach_beyond_their_bytes(key: str, value: Any, tmp_path: Path) -> None:
    files = program()
    as_int = [{"as_int": n} for n in value] if isinstance(value, list) else {"as_int": value}
    weights_of(files)["w"]["tensor_meta"][key] = value if key == "dtype" else as_int
    with pytest.raises(ConfigError):
        read(packed(files), tmp_path)


def test_a_few_bytes_are_not_many_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = program()
    meta = weights_of(files)["w"]["tensor_meta"]
    meta["sizes"], meta["strides"] = [{"as_int": 65535}, {"as_int": 65535}], [{"as_int": 0}, {"as_int": 0}]
    with pytest.raises(ConfigError, match="make no sense"):
        read(packed(files), tmp_path)
    monkeypatch.setattr("edgelearn.imports.builder.MAX_ELEMENTS", 200)
    with pytest.raises(ConfigError, match=r"Gemm 'Gemm_4' \(node 5\) is one layer too many"):
        read(small().bytes(), tmp_path, ".onnx")


def _changed(change: Callable[[Any], None]) -> bytes:
    model = small().model()
    change(model.graph)
    return model.SerializeToString()


@pytest.mark.parametrize("dims", [[2**40], [65536, 65536], [-1], [1 << 62, 4], [1] * 80, [0, 3], []])
def test_dimensions_of_onnx_tensors_are_bounded(dims: list[int], tmp_path: Path) -> None:
    def change(net: Any) -> None:
        net.initializer[0].ClearField("dims")
        net.initializer[0].dims.extend(dims)

    with pytest.raises(ConfigError):
        read(_changed(change), tmp_path, ".onnx")


def test_other_files_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(1000))

    def change(net: Any) -> None:
        net.initializer[0].ClearField("raw_data")
        net.initializer[0].data_location = 1
        entry = net.initializer[0].external_data.add()
        entry.key, entry.value = "location", "weights.bin"

    with pytest.raises(ConfigError, match="lies in another file") as caught:
        read(_changed(change), tmp_path, ".onnx")
    assert "external_data=False" in caught.value.hint


def test_weights_of_other_types(tmp_path: Path) -> None:
    def change(net: Any) -> None:
        net.initializer[0].data_type = 8  # strings

    with pytest.raises(ConfigError):
        read(_changed(change), tmp_path, ".onnx")


def test_a_circle_of_nodes_ends(tmp_path: Path) -> None:
    net = OnnxNet((1, 4)).gemm(4, 4).relu().add("Identity").add("Identity")
    net.nodes[0].input[0] = net.value
    net.nodes[1].input[0] = "x"
    net.nodes[2].output[0] = net.value
    with pytest.raises(ConfigError):
        read(net.bytes(), tmp_path, ".onnx")
    again = OnnxNet((1, 4)).gemm(4, 4).relu()
    again.nodes[1].output[0] = "x"
    with pytest.raises(ConfigError):
        read(again.bytes(), tmp_path, ".onnx")


def test_names_are_shown_as_they_are_and_short(tmp_path: Path) -> None:
    net = OnnxNet((1, 4)).gemm(4, 4)
    net.add("Sinh" * 99)
    net.nodes[1].name = "\x1b[2J\n" * 99
    with pytest.raises(ConfigError) as caught:
        read(net.bytes(), tmp_path, ".onnx")
    assert "\x1b" not in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


# --- what is not there --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["absent.onnx", "net.tflite", "net.safetensors", "folder.onnx"])
def test_files_that_are_none(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ConfigError):
        imports.read(tmp_path / name)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(MissingToolError) as caught:
        read(small().bytes(), tmp_path, ".onnx")
    assert caught.value.hint == "Install it with: pip install 'edgelearn[onnx]'"
    with pytest.raises(MissingToolError) as caught:
        imports.from_torch(None, None)
    assert caught.value.hint == "Install it with: pip install 'edgelearn[torch]'"
    assert read(packed(program()), tmp_path).blocks == 1  # a program of PyTorch needs neither
