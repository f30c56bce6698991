"""The run store: every run, its metrics and its checkpoints in one SQLite file.

What is stored is data: nothing in it is ever executed or unpickled. Each write is a transaction in WAL mode, so a
killed process loses at most the metrics that it had not flushed, never the file.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import sqlite3
import time
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from edgelearn.errors import ConfigError, EdgeLearnError, StorageFullError, UsageError, VersionError
from edgelearn.records import STATUSES, number, run_of
from edgelearn.records import Checkpoint as Checkpoint
from edgelearn.records import Run as Run
from edgelearn.records import text_hash as text_hash

KEEP = 3  # newest checkpoints of a run that stay
BATCH = 512  # metrics that wait for one transaction,
FLUSH_S = 1.0  # but no longer than this
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without l, o, 0, 1: ids are read aloud and typed
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_NO_RIGHT = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SCHEMA = """
CREATE TABLE runs (id TEXT PRIMARY KEY, created TEXT, recipe TEXT, rule TEXT, rule_text TEXT, rule_hash TEXT,
  board TEXT, dtype TEXT, seed INTEGER, plan BLOB, versions TEXT, status TEXT, result TEXT);
CREATE TABLE metrics (run TEXT, name TEXT, step INTEGER, value REAL, PRIMARY KEY (run, name, step)) WITHOUT ROWID;
CREATE TABLE checkpoints (run TEXT, step INTEGER, boot_id INTEGER, crc INTEGER, state BLOB, PRIMARY KEY (run, step));
"""
_UPDATES = (  # from each format to the next: old stores open
    _SCHEMA,
    "ALTER TABLE runs ADD COLUMN port TEXT",
    "ALTER TABLE runs ADD COLUMN layout TEXT; ALTER TABLE runs ADD COLUMN start BLOB",
    "ALTER TABLE checkpoints ADD COLUMN moments BLOB",
)
FORMAT = len(_UPDATES)


def default_path() -> Path:
    """EDGELEARN_RUNS, else the user's data folder."""
    given = os.environ.get("EDGELEARN_RUNS")
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(given or f"{data}/edgelearn/runs.sqlite").expanduser()


class RunStore:
    """One store, open until ``close``; also a context manager.

    Every method raises StorageFullError where there is no room or no permission to write, and ConfigError where the
    file is damaged. Not for use by several threads; several processes may share the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self._pending: list[tuple[str, str, int, float]] = []
        self._flushed = time.monotonic()
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            self._prepare()
        except EdgeLearnError:
            self._db.close()
            raise

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Flushes and closes; the store cannot be used after."""
        try:
            self.flush()
        finally:
            self._db.close()

    def create(
        self,
        *,
        recipe: str,
        rule: str,
        rule_text: str,
        board: str,
        dtype: str,
        seed: int,
        plan: bytes,
        versions: Mapping[str, str],
        port: str | None = None,
        layout: Mapping[str, object] | None = None,
        start: bytes | None = None,
    ) -> str:
        """Records a new run, status "running"; returns its id, which sorts by time (UTC)."""
        now = datetime.now(UTC)
        created = now.isoformat(timespec="seconds")
        shown = None if layout is None else json.dumps(dict(layout))
        with self._transaction(len(plan) + len(recipe) + len(rule_text) + len(start or b"")):
            run = self._unused_id(now)
            row = (run, created, recipe, rule, rule_text, text_hash(rule_text), board, dtype, seed, plan)
            row += (json.dumps(dict(versions)), "running", None, port, shown, start)
            self._db.execute(f"INSERT INTO runs VALUES ({','.join('?' * len(row))})", row)  # noqa: S608 (question marks)
        return run

    def reached_by(self, run: str, port: str | None) -> None:
        """Records another way to the run's board."""
        with self._transaction():
            self._db.execute("UPDATE runs SET port = ? WHERE id = ?", (port, run))

    def log(self, run: str, step: int, name: str, value: float) -> None:
        """Records a metric; a replayed step replaces its value. Written in batches: see ``flush``."""
        self._pending.append((run, name, step, float(value)))
        if len(self._pending) >= BATCH or time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Writes the metrics that wait."""
        if self._pending:
            with self._transaction():
                pass  # the transaction itself writes what waits

    def checkpoint(self, run: str, step: int, state: bytes, boot_id: int, moments: bytes | None = None) -> None:
        """Records the state, and all metrics before it, in one transaction; keeps the newest ``KEEP`` of the run."""
        with self._transaction(len(state) + len(moments or b"")):
            row = (run, step, boot_id, _crc(state, moments), state, moments)
            self._db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?,?,?,?,?,?)", row)
            self._db.execute(
                "DELETE FROM checkpoints WHERE run = ?1 AND step NOT IN"
                " (SELECT step FROM checkpoints WHERE run = ?1 ORDER BY step DESC LIMIT ?2)",
                (run, KEEP),
            )

    def newest_checkpoint(self, run: str) -> Checkpoint | None:
        """The newest one whose bytes are intact; None if there is none."""
        query = "SELECT step, boot_id, crc, state, moments FROM checkpoints WHERE run = ? ORDER BY step DESC"
        for step, boot_id, crc, state, moments in self._rows(query, run):
            if not (isinstance(step, int) and isinstance(boot_id, int)):
                continue
            if isinstance(state, bytes) and isinstance(moments, bytes | None) and _crc(state, moments) == crc:
                return Checkpoint(step, boot_id, state, moments)
        return None

    def finish(self, run: str, status: str, result: Mapping[str, object]) -> None:
        """Closes a run; a resumed run may be finished again.

        Raises:
            ValueError: the status is none of STATUSES.
        """
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is none of {STATUSES}")
        text = json.dumps(dict(result))
        with self._transaction(len(text)):
            self._db.execute("UPDATE runs SET status = ?, result = ? WHERE id = ?", (status, text, run))

    def metrics(self, run: str) -> dict[str, tuple[tuple[int, float], ...]]:
        """(step, value) pairs by name, in order of steps."""
        self.flush()
        found: dict[str, tuple[tuple[int, float], ...]] = {}
        for (name,) in self._rows("SELECT DISTINCT name FROM metrics WHERE run = ? ORDER BY name", run):
            rows = self._rows("SELECT step, value FROM metrics WHERE run = ? AND name = ? ORDER BY step", run, name)
            found[str(name)] = tuple((step, number(value)) for step, value in rows if isinstance(step, int))
        return found

    def list(self) -> tuple[Run, ...]:
        """Every run, newest first."""
        return tuple(self._run(row) for row in self._rows("SELECT * FROM runs ORDER BY created DESC, rowid DESC"))

    def get(self, prefix: str) -> Run:
        """The run whose id is, or alone begins with, ``prefix``.

        Raises:
            UsageError: several begin so.
            ConfigError: none does.
        """
        rows = self._rows("SELECT * FROM runs WHERE substr(id, 1, ?) = ? ORDER BY id DESC", len(prefix), prefix)
        exact = [row for row in rows if row[0] == prefix]
        if len(exact or rows) == 1:
            return self._run((exact or rows)[0])
        if rows:
            names = ", ".join(str(row[0]) for row in rows[:5])
            raise UsageError(f"{len(rows)} runs begin with '{prefix}': {names}.", "Type more of the id.")
        recent = ", ".join(run.id for run in self.list()[:5])
        hint = f"Recent ones: {recent}." if recent else "There are none yet: `edgelearn train digits` makes one."
        raise ConfigError(f"There is no run '{prefix}' in {self.path}.", hint)

    def _prepare(self) -> None:
        with self._explained():
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")  # in WAL mode enough against everything but a power cut
        with self._transaction(4096):
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > FORMAT:
                raise VersionError(f"{self.path} was written by a newer edgelearn.", "Update: pip install -U edgelearn")
            if version < FORMAT:
                for statement in ";".join(_UPDATES[version:]).split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {FORMAT}")

    def _unused_id(self, now: datetime) -> str:
        while True:
            run = f"{now:%Y%m%d-%H%M}-" + "".join(secrets.choice(_ALPHABET) for _ in range(3))
            if not self._db.execute("SELECT 1 FROM runs WHERE id = ?", (run,)).fetchone():
                return run

    def _rows(self, query: str, *values: object) -> tuple[tuple[object, ...], ...]:
        with self._explained():
            return tuple(self._db.execute(query, values))

    def _run(self, row: tuple[object, ...]) -> Run:
        try:
            return run_of(row)
        except (ValueError, RecursionError) as error:
            raise self._damage(error) from error

    @contextmanager
    def _transaction(self, needed: int = 0) -> Generator[None]:
        """All or nothing, waiting metrics included: they wait on where it fails."""
        with self._explained(needed + 64 * len(self._pending)):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                if self._pending:
                    self._db.executemany("INSERT OR REPLACE INTO metrics VALUES (?,?,?,?)", self._pending)
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        self._pending.clear()
        self._flushed = time.monotonic()

    @contextmanager
    def _explained(self, needed: int = 0) -> Generator[None]:
        """Turns what SQLite and the file system say into what the user can do."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # a bug of ours: a closed store, a wrong statement
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits say more than we need
            if code in _NO_ROOM | _NO_RIGHT:
                raise self._unwritable(error, needed, code in _NO_ROOM) from error
            if code in _BUSY:
                hint = "Wait for the other edgelearn to finish, or set EDGELEARN_RUNS."
                raise ConfigError(f"Another process is writing {self.path}.", hint) from error
            raise self._damage(error) from error
        except OSError as error:
            raise self._unwritable(error, needed, error.errno in (errno.ENOSPC, errno.EDQUOT)) from error

    def _unwritable(self, error: Exception, needed: int, full: bool) -> StorageFullError:
        what = f"Cannot write {needed} bytes to {self.path}" if needed else f"Cannot open {self.path}"
        remedy = "Set EDGELEARN_RUNS to a file in a folder that you may write."
        return StorageFullError(f"{what}: {error}.", f"Free some space, or: {remedy}" if full else remedy)

    def _damage(self, error: Exception) -> ConfigError:
        hint = "Move the file away, or set EDGELEARN_RUNS to another."
        return ConfigError(f"{self.path} is no run store, or damaged: {error}.", hint)


def _crc(state: bytes, moments: bytes | None) -> int:
    return zlib.crc32(moments or b"", zlib.crc32(state))
