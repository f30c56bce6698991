"""The run store as tables for other programs: one of runs, one of their readings."""

from __future__ import annotations

import csv
import io
import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from edgelearn import backends, exporting
from edgelearn.errors import UsageError
from edgelearn.report.stored import Stored, read
from edgelearn.runs import RunStore

Cell = str | int | float | None
Rows = list[tuple[Cell, ...]]
RAM = ("planned", "measured", "state", "arena", "plan", "link", "stack", "stack_size")
LINK = ("bytes_tx", "bytes_rx", "retries", "overruns", "bad_frames")
RUNS = (
    "run", "created", "status", "board", "emulated", "port", "rule", "net", "dtype", "seed", "steps", "accuracy",
    "samples_per_s", "board_us_per_sample", *(f"ram_{name}" for name in RAM), *(f"link_{name}" for name in LINK),
    "findings", "state_sha256", "data_sha256", "edgelearn",
)  # fmt: skip
READINGS = ("run", "name", "step", "value")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would compute


def export(store: RunStore, names: Sequence[str], to: str, folder: Path) -> dict[Path, int]:
    """Writes runs, all of them if none is named; returns the files and their bytes. All are written, or none.

    Raises:
        UsageError: there is no such format. ConfigError: there is no such run. MissingToolError: an extra is not installed.
        StorageFullError: the folder cannot be written.
    """
    if to not in FORMATS:
        raise UsageError(f"Runs cannot be exported to '{to}'.", f"Choose of: {', '.join(FORMATS)}, mlflow.")
    ids = _ids(store, names)
    files = {folder / name: raw for name, raw in FORMATS[to](read(store, run) for run in ids).items()}
    exporting.write(files)
    return {path: len(raw) for path, raw in files.items()}


def to_mlflow(store: RunStore, names: Sequence[str], uri: str) -> dict[Path, int]:
    """Writes runs, all of them if none is named, to MLflow (``edgelearn.report.to_mlflow``); returns the file, if there is one.

    Raises:
        ConfigError: there is no such run, or MLflow refuses. MissingToolError: the extra is not installed.
    """
    from edgelearn.report.to_mlflow import export

    found = (read(store, run) for run in _ids(store, names))
    return export(((one, dict(zip(RUNS, run_row(one), strict=True))) for one in found), uri)


def _ids(store: RunStore, names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(store.get(name).id for name in names)) or [run.id for run in store.list()]


def run_row(stored: Stored) -> tuple[Cell, ...]:
    """One line of the table of runs, in the order of RUNS. What is not known is None, and never 0."""
    run = stored.run
    emulated, findings = stored.at("emulated"), stored.at("health")
    return (
        run.id, run.created, run.status, run.board, int(emulated) if isinstance(emulated, bool) else None, run.port,
        stored.rule, stored.net, run.dtype, run.seed, stored.step, stored.number("accuracy"),
        stored.number("samples_per_s"), stored.number("board_us_per_sample"),
        *(stored.count("ram", name) for name in RAM), *(stored.count("link", name) for name in LINK),
        len(findings) if isinstance(findings, list) else None, stored.text("state_sha256"), run.versions.get("data"),
        run.versions.get("edgelearn"),
    )  # fmt: skip


def reading_rows(stored: Stored) -> Iterator[tuple[str, str, int, float]]:
    """The lines of one run in the table of readings."""
    for name, curve in stored.metrics.items():
        yield from ((stored.run.id, name, step, value) for step, value in curve)


# --- CSV ----------------------------------------------------------------------------------------------------------------------------


def _csv(runs: Iterable[Stored]) -> dict[str, bytes]:
    heads: Rows = []
    readings: Rows = []
    for stored in runs:
        heads.append(run_row(stored))
        readings.extend(reading_rows(stored))
    return {"runs.csv": _lines(RUNS, heads), "metrics.csv": _lines(READINGS, readings)}


def _lines(columns: Sequence[str], rows: Rows) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _plain(cell: Cell) -> Cell:
    """A text of a run is never a formula: spreadsheets run those."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


# --- Parquet ------------------------------------------------------------------------------------------------------------------------


def _parquet(runs: Iterable[Stored]) -> dict[str, bytes]:
    backends.demand("parquet", "pyarrow")
    read_all = list(runs)
    readings: Rows = [row for stored in read_all for row in reading_rows(stored)]
    return {
        "runs.parquet": _columns(RUNS, [run_row(stored) for stored in read_all]),
        "metrics.parquet": _columns(READINGS, readings),
    }


def _columns(columns: Sequence[str], rows: Rows) -> bytes:
    import pyarrow
    from pyarrow import parquet

    cells = {name: [_sound(row[i]) for row in rows] for i, name in enumerate(columns)}
    made, out = pyarrow.table(cells), pyarrow.BufferOutputStream()
    parquet.write_table(made, out)
    return out.getvalue().to_pybytes()


def _sound(cell: Cell) -> Cell:
    return cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell


# --- TensorBoard --------------------------------------------------------------------------------------------------------------------


def _tensorboard(runs: Iterable[Stored]) -> dict[str, bytes]:
    """An event file for each run, in a folder of its own: that is how TensorBoard knows runs apart."""
    return {f"{_file_name(stored.run.id)}/events.out.tfevents.0.edgelearn": _events(stored) for stored in runs}


def _file_name(run: str) -> str:
    """A run's id as a name of a folder here, whatever the store says."""
    return re.sub(r"[^A-Za-z0-9-]", "_", run)[:100] or "_"


def _events(stored: Stored) -> bytes:
    first = _record(_double(1, 0.0) + _bytes(3, b"brain.Event:2"))
    return first + b"".join(_record(_scalar(name, step, value)) for _, name, step, value in reading_rows(stored))


def _scalar(name: str, step: int, value: float) -> bytes:
    """An Event with one scalar: tensorboard/compat/proto/event.proto and summary.proto have the numbers of the fields."""
    single = value if abs(value) < 3.4e38 else math.copysign(math.inf, value)
    reading = _bytes(1, name.encode("utf-8", "replace")) + b"\x15" + struct.pack("<f", single)
    return _double(1, 0.0) + b"\x10" + _varint(step) + _bytes(5, _bytes(1, reading))


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _bytes(field: int, raw: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _record(raw: bytes) -> bytes:
    """A record of a TFRecord file: length and data, each with its masked CRC-32C."""
    head = struct.pack("<Q", len(raw))
    return head + _masked(head) + raw + _masked(raw)


def _masked(raw: bytes) -> bytes:
    crc = _crc32c(raw)
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF)


def _crc32c(raw: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in raw:
        crc = _CASTAGNOLI[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _row_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CASTAGNOLI = tuple(_row_of(byte) for byte in range(256))


FORMATS: dict[str, Callable[[Iterable[Stored]], dict[str, bytes]]] = {
    "csv": _csv,
    "parquet": _parquet,
    "tensorboard": _tensorboard,
}
