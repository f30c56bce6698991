"""The good files that hostile ones are made of: a run store, an export, a recording, a profile, an archive of images."""

from __future__ import annotations

import io
import os
import sqlite3
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from random import Random

from edgelearn.runs import RunStore
from tests.attack.mutate import WORDS

STEPS = 20
_TABLES = ("runs", "metrics", "checkpoints")
_VALUES = (
    "NULL", "-1", "0", "9223372036854775807", "1e308", "'text'", "''", "x''", "x'00ff'", "'[]'", "'{}'", "'null'", "'NaN'",
    "zeroblob(100000)", "'{\"stages\": 3}'", "'{\"stages\": [{\"last\": 1}]}'", "'<script>alert(1)</script>'", "'../../../etc/passwd'",
    "printf('%.*c', 50000, '[')", "printf('{\"a\":%.*c', 50000, '{')", "id", "rowid",
)  # fmt: skip
_SCHEMAS = (
    "DROP TABLE {t}", "ALTER TABLE {t} RENAME TO other", "ALTER TABLE {t} ADD COLUMN extra TEXT", "PRAGMA user_version = {n}",
    "CREATE TRIGGER t AFTER UPDATE ON {t} BEGIN DELETE FROM runs; END",
    "ALTER TABLE {t} RENAME TO old; CREATE VIEW {t} AS SELECT * FROM old",
    "DROP TABLE {t}; CREATE VIEW {t} AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id, x AS run,"
    " x AS name, x AS step FROM c",
    "DROP TABLE {t}; CREATE TABLE {t} (x INTEGER)",
)  # fmt: skip


def _trained(folder: Path, record: bool = False) -> Path:
    """A run store with a short run."""
    from edgelearn.link.replay import RecordingTransport
    from edgelearn.link.transport import Transport
    from edgelearn.session import Session

    def wrapped(inner: Transport) -> Transport:
        return RecordingTransport(inner, folder / "talk.replay") if record else inner

    path = folder / "runs.sqlite"
    with RunStore(path) as store, Session("sim", None, wrapped) as session:
        session.train("digits-tiny", store, steps=STEPS)
    return path


def _as_one_file(path: Path) -> bytes:
    """A store without what waits beside it."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    return path.read_bytes()


@cache
def stored() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return _as_one_file(_trained(Path(folder)))


@cache
def recorded() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        _trained(Path(folder), record=True)
        return (Path(folder) / "talk.replay").read_bytes()


@cache
def exported() -> dict[str, bytes]:
    """What ``export RUN`` writes, by name."""
    from edgelearn.exporting import export

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with RunStore(_trained(folder)) as store:
            run = store.list()[0].id
        os.environ["EDGELEARN_RUNS"] = str(folder / "runs.sqlite")
        export(run, ["plan"], folder / "out")
        return {file.name: file.read_bytes() for file in sorted((folder / "out").iterdir())}


@cache
def profiled() -> bytes:
    """What ``profile RUN --json`` printed, of the run in ``stored``."""
    import json

    from edgelearn.profiling import profile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "runs.sqlite"
        path.write_bytes(stored())
        os.environ["EDGELEARN_RUNS"] = str(path)
        with RunStore(path) as store:
            run = store.list()[0].id
        return json.dumps(profile(run, "sim", None, "none", 20, 0)).encode()


@cache
def jpeg_archive() -> bytes:
    """A tar archive of four small images."""
    from PIL import Image

    picture, packed = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(picture, "JPEG")
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("train/cat/a.jpg", "train/dog/b.jpg", "test/cat/c.jpg", "test/dog/d.jpg"):
            entry = tarfile.TarInfo(name)
            entry.size = len(picture.getvalue())
            archive.addfile(entry, io.BytesIO(picture.getvalue()))
    return packed.getvalue()


def hostile_rows(random: Random) -> bytes:
    """A store that SQLite finds in order, with something in it that nobody of us wrote."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "runs.sqlite"
        path.write_bytes(stored())
        db = sqlite3.connect(path, isolation_level=None)
        try:
            for _ in range(random.choice((1, 1, 2, 4))):
                _change(db, random)
        finally:
            db.close()
        return path.read_bytes()


def _change(db: sqlite3.Connection, random: Random) -> None:
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] or list(_TABLES)
    table = random.choice(tables)
    try:
        if random.random() < 0.2:
            db.executescript(random.choice(_SCHEMAS).format(t=table, n=random.choice((0, 1, 2, 3, 4, 5, 99, -1))))
            return
        column = random.choice([row[1] for row in db.execute(f"PRAGMA table_info({table})")])
        value = random.choice(_VALUES)
        if random.random() < 0.3:
            db.execute(f"UPDATE {table} SET {column} = ?", (random.choice(WORDS),))
        elif random.random() < 0.3:
            db.execute(f"UPDATE {table} SET {column} = replace({column}, '1', '9999999999')")
        else:
            db.execute(f"UPDATE {table} SET {column} = {value}")
    except (sqlite3.Error, IndexError):  # a change that SQLite itself refuses, such as of a key
        pass
