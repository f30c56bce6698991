"""``runs export``: what other programs read is what the store has."""

from __future__ import annotations

import csv
import struct
from pathlib import Path

import pytest

from edgelearn.errors import ConfigError, StorageFullError, UsageError
from edgelearn.report import tables
from edgelearn.runs import RunStore
from tests.report.conftest import Record


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_csv_has_every_run_and_every_reading(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    store, run = kept
    tables.export(store, [run[:-1]], "csv", tmp_path)
    (head,) = rows(tmp_path / "runs.csv")
    result = store.get(run).result or {}
    assert (head["run"], float(head["accuracy"])) == (run, result["accuracy"])
    assert head["ram_planned"] == head["ram_measured"]
    expected = {(name, step): value for name, (curve, _) in store.curves(run).items() for step, value in curve}
    found = {(row["name"], int(row["step"])): float(row["value"]) for row in rows(tmp_path / "metrics.csv")}
    assert found == expected
    assert found


def test_without_names_all_runs_are_written(store: RunStore, record: Record, tmp_path: Path) -> None:
    runs = {record({}), record(None)}
    tables.export(store, [], "csv", tmp_path / "new" / "folder")
    assert {row["run"] for row in rows(tmp_path / "new" / "folder" / "runs.csv")} == runs


def test_what_is_unknown_is_empty(store: RunStore, record: Record, tmp_path: Path) -> None:
    record({"accuracy": "good", "ram": [], "emulated": 3})
    tables.export(store, [], "csv", tmp_path)
    (head,) = rows(tmp_path / "runs.csv")
    assert [head[key] for key in ("accuracy", "ram_planned", "emulated", "findings")] == [""] * 4


@pytest.mark.parametrize("evil", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_text_is_a_formula(store: RunStore, record: Record, tmp_path: Path, evil: str) -> None:
    store.log(record({}, rule=evil, board=evil), 3, evil, 1.5)
    tables.export(store, [], "csv", tmp_path)
    (head,), (reading,) = rows(tmp_path / "runs.csv"), rows(tmp_path / "metrics.csv")
    assert head["rule"] == head["board"] == reading["name"] == f"'{evil}"
    assert reading["value"] == "1.5"


def test_parquet_has_the_same(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    store, run = kept
    tables.export(store, [run], "parquet", tmp_path)
    (head,) = parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    result = store.get(run).result or {}
    assert (head["run"], head["accuracy"], head["steps"]) == (run, result["accuracy"], result["steps"])
    readings = parquet.read_table(tmp_path / "metrics.parquet").to_pylist()
    assert len(readings) == sum(len(curve) for curve, _ in store.curves(run).values())


def records(raw: bytes) -> list[bytes]:
    """The records of a TFRecord file, each with its checks."""
    found = []
    while raw:
        size = struct.unpack_from("<Q", raw)[0]
        assert raw[8:12] == tables._masked(raw[:8])
        found.append(raw[12 : 12 + size])
        assert raw[12 + size : 16 + size] == tables._masked(found[-1])
        raw = raw[16 + size :]
    return found


def test_tensorboard_gets_its_own_file(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    store, run = kept
    assert tables._crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    (file,) = tables.export(store, [run], "tensorboard", tmp_path)
    first, *readings = records(file.read_bytes())
    assert b"brain.Event:2" in first
    curves = store.curves(run)
    assert len(readings) == sum(len(curve) for curve, _ in curves.values())
    name, (curve, _) = next(iter(curves.items()))
    assert name.encode() in readings[0]
    assert readings[0].endswith(struct.pack("<f", curve[0][1]))


def test_an_id_is_no_way_out_of_the_folder() -> None:
    assert tables._file_name("../../etc/passwd") == "______etc_passwd"
    assert tables._file_name("") == "_"


def test_bad_input(kept: tuple[RunStore, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be exported to 'xml'"):
        tables.export(kept[0], [], "xml", tmp_path)
    with pytest.raises(ConfigError, match="no run 'x'"):
        tables.export(kept[0], ["x"], "csv", tmp_path)
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageFullError):
        tables.export(kept[0], [], "csv", tmp_path / "taken")
