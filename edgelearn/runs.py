"""The run store: every run, its readings and its checkpoints in one SQLite file.

What is stored is data: nothing in it is ever executed or unpickled. Each write is a transaction in WAL mode, so a
killed process loses at most the readings that it had not flushed, never the file.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import sqlite3
import time
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from edgelearn import readings
from edgelearn.errors import ConfigError, EdgeLearnError, StorageFullError, UsageError, VersionError
from edgelearn.readings import Reading, Readings
from edgelearn.records import STATUSES, number, run_of
from edgelearn.records import Checkpoint as Checkpoint
from edgelearn.records import Run as Run
from edgelearn.records import text_hash as text_hash

RIGHT = "right"  # the reading that every step has: 1 where the guess at its sample was right, else 0
KEEP = 3  # newest checkpoints of a run that stay
BATCH = 4096  # readings that wait for one transaction,
FLUSH_S = 1.0  # but no longer than this
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without l, o, 0, 1: ids are read aloud and typed
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_NO_RIGHT = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_PROGRAM = re.compile(r"\b(AS|CHECK|DEFAULT|GENERATED|VIRTUAL)\b", re.IGNORECASE)  # in what makes a table
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
    readings.SCHEMA,
)
FORMAT = len(_UPDATES)
_ROW_EACH = 4  # the newest format that has a row for each reading


def default_path() -> Path:
    """EDGELEARN_RUNS, else the user's data folder."""
    given = os.environ.get("EDGELEARN_RUNS")
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(given or f"{data}/edgelearn/runs.sqlite").expanduser()


class RunStore:
    """One store, open until ``close``; also a context manager.

    Every method raises StorageFullError where there is no room or no permission to write, and ConfigError where the
    file is damaged. Not for use by several threads; several processes may share the file.

    Args:
        path: the file, made if it is not there; None: ``default_path()``.
        read_only: the file is neither made nor changed, and what would write to it fails.

    Raises:
        ConfigError: it is to be read only, and there is none. VersionError: another edgelearn has to bring it up to date first.
    """

    def __init__(self, path: Path | None = None, read_only: bool = False) -> None:
        self.path = path or default_path()
        self._flushed = time.monotonic()
        if read_only and not self.path.is_file():
            raise ConfigError(f"There is no run store {self.path}.", "`edgelearn train digits` makes one.")
        with self._explained():
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            mode = "ro" if read_only else "rwc"
            uri = f"{self.path.absolute().as_uri()}?mode={mode}"
            self._db = sqlite3.connect(uri, timeout=30, isolation_level=None, uri=True)
        self._readings = Readings(self._db)
        try:
            self._check_format() if read_only else self._prepare()
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
        """Records a reading; a replayed step replaces its value. Written in batches: see ``flush``."""
        self.log_many(run, name, ((step, float(value)),))

    def log_many(self, run: str, name: str, pairs: Sequence[Reading]) -> None:
        """Records several readings of a name."""
        self._readings.add(run, name, pairs)
        if self._readings.count >= BATCH or time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Writes the readings that wait."""
        if self._readings.count:
            with self._transaction():
                pass  # the transaction itself writes what waits

    def checkpoint(self, run: str, step: int, state: bytes, boot_id: int, moments: bytes | None = None) -> None:
        """Records the state, and all readings before it, in one transaction; keeps the newest ``KEEP`` of the run."""
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

    def metrics(self, run: str) -> dict[str, tuple[Reading, ...]]:
        """(step, value) pairs by name, in order of steps; without those that every step has (``RIGHT``)."""
        return {name: pairs for name, (pairs, _) in self.curves(run).items() if name != RIGHT}

    def newest(self, run: str) -> dict[str, Reading]:
        """The last reading of each name."""
        self.flush()
        with self._explained():
            try:
                return self._readings.newest(run)
            except ValueError as error:
                raise self._damage(error) from error

    def curves(self, run: str) -> dict[str, tuple[tuple[Reading, ...], int]]:
        """All readings, and how many of them an older one stands for, as their mean, where a run has very many: 1 if none does."""
        self.flush()
        with self._explained():
            try:
                return {name: (tuple(pairs), width) for name, pairs, width in self._readings.curves(run)}
            except ValueError as error:
                raise self._damage(error) from error

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
            version = self._format()
            if version < FORMAT:
                for statement in ";".join(_UPDATES[version:]).split(";"):
                    self._db.execute(statement)
                if version <= _ROW_EACH:
                    self._pack_metrics()
                self._db.execute(f"PRAGMA user_version = {FORMAT}")

    def _check_format(self) -> None:
        with self._explained():
            if self._format() < FORMAT:
                problem = f"{self.path} was written by an older edgelearn, and is to be read only."
                raise VersionError(problem, "Bring it up to date once: edgelearn runs")

    def _format(self) -> int:
        self._refuse_programs()
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > FORMAT:
            raise VersionError(f"{self.path} was written by a newer edgelearn.", "Update: pip install -U edgelearn")
        return version

    def _refuse_programs(self) -> None:
        """A view, a trigger or a computed column would run when somebody else's file is read, and need not end."""
        for kind, name, sql in self._db.execute("SELECT type, name, sql FROM sqlite_master"):
            if sql is not None and (kind != "table" or _PROGRAM.search(str(sql))):
                raise sqlite3.DatabaseError(f"its {kind} '{str(name)[:60]}' is none of ours")

    def _pack_metrics(self) -> None:
        """Formats up to ``_ROW_EACH`` had a row for each reading: its name and run again and again."""
        rows = self._db.execute("SELECT run, name, step, value FROM metrics ORDER BY run, name, step")
        for (run, name), group in groupby(rows, key=lambda row: (row[0], row[1])):
            pairs = [(step, number(value)) for _, _, step, value in group if isinstance(step, int)]
            if isinstance(run, str) and isinstance(name, str):
                self._readings.add(run, name, pairs)
        self._db.execute("DROP TABLE metrics")

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
        """All or nothing, waiting readings included: they wait on where it fails."""
        with self._explained(needed + 64 * self._readings.count):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._write_readings()
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        self._readings.written()
        self._flushed = time.monotonic()

    def _write_readings(self) -> None:
        try:
            self._readings.write()
        except ValueError as error:  # of a part that is there already
            raise self._damage(error) from error

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
