"""From a path to an answer: what is served, of which store. Nothing here knows of sockets."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qs

from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.report import charts
from edgelearn.report.page import style
from edgelearn.runs import RunStore
from edgelearn.serve import pages
from edgelearn.serve.summary import state

HTML, JSON, SCRIPT, STYLE = "text/html", "application/json", "text/javascript", "text/css"
MAX_FIELDS = 16
MAX_CACHED = 32  # answers that are kept while the store does not change,
MAX_CACHED_BYTES = 16_000_000  # and what they may take
SETTLED_S = 0.1  # a file that has changed more recently may change again without a newer time
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Answer:
    """What goes back. ``tag`` names the state of the store that it shows; empty: it must not be asked for so."""

    status: int
    kind: str
    body: bytes
    tag: str = ""


Fields = dict[str, list[str]]


class Site:
    """The pages of one run store. Threads share it; each request opens the store for itself, to read only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = {
            "/serve.js": Answer(200, SCRIPT, _HERE.joinpath("serve.js").read_bytes()),
            "/style.css": Answer(200, STYLE, style().encode() + _HERE.joinpath("serve.css").read_bytes()),
            "/favicon.ico": Answer(204, "image/x-icon", b""),
        }
        self._pages: dict[str, Callable[[Fields, str], bytes]] = {
            "/": self._index, "/run": self._run, "/compare": self._compared, "/runs.json": self._all_json,
            "/run.json": self._run_json,
        }  # fmt: skip
        self._cache: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = Lock()
        self._reading = Lock()

    def answer(self, target: str, known: str = "") -> Answer:
        """To a request for ``target``, a path with its query, by somebody who has the state ``known`` already."""
        path, _, query = target.partition("?")
        if path in self._files:
            return self._files[path]
        make = self._pages.get(path)
        if make is None:
            return _problem(404, "Not here", "There is no such page.", "Begin at the list of runs.")
        kind = JSON if path.endswith(".json") else HTML
        stamp = self._stamp()
        if stamp and known == stamp:
            return Answer(304, kind, b"", stamp)
        try:
            return Answer(200, kind, self._made(make, target, query, stamp), stamp)
        except (EdgeLearnError, ValueError) as error:
            return self._failure(error, kind)

    def _made(self, make: Callable[[Fields, str], bytes], target: str, query: str, stamp: str) -> bytes:
        """From the cache, or by one thread at a time: many readers cost hardly more than one."""
        key = (target, stamp)
        with self._lock:
            if stamp and key in self._cache:
                return self._cache[key]
        with self._reading:
            with self._lock:
                if stamp and key in self._cache:
                    return self._cache[key]
            body = make(parse_qs(query, max_num_fields=MAX_FIELDS, errors="strict"), stamp)
        with self._lock:
            self._keep(key, body)
        return body

    def _keep(self, key: tuple[str, str], body: bytes) -> None:
        for old in [old for old in self._cache if old[1] != key[1]]:
            del self._cache[old]
        if key[1]:
            self._cache[key] = body
        while len(self._cache) > MAX_CACHED or sum(map(len, self._cache.values())) > MAX_CACHED_BYTES:
            self._cache.popitem(last=False)

    def _stamp(self) -> str:
        """Names the state of the store by times and sizes of its files; empty while they are changing."""
        found: list[str] = []
        for name in (self.path, self.path.with_name(self.path.name + "-wal")):
            try:
                seen = name.stat()
            except OSError:
                found.append("none")
                continue
            if abs(time.time() - seen.st_mtime) < SETTLED_S:
                return ""
            found.append(f"{seen.st_mtime_ns:x}.{seen.st_size:x}" if seen.st_size else "none")
        return f'"{"-".join(found)}"'

    # --- pages ------------------------------------------------------------------------------------------------------------------

    def _index(self, fields: Fields, stamp: str) -> bytes:
        at = fields.get("page", ["1"])[0]
        number = int(at) if at.isascii() and at.isdigit() and len(at) < 7 else 1
        if not self.path.exists():
            return pages.index(None, number, stamp)
        with self._store() as store:
            return pages.index(store, number, stamp)

    def _run(self, fields: Fields, stamp: str) -> bytes:
        with self._store() as store:
            return pages.one(store, _exact(store, _names(fields, 1)[0]), stamp)

    def _compared(self, fields: Fields, stamp: str) -> bytes:
        with self._store() as store:
            names = [_exact(store, name) for name in _names(fields, charts.COLOURS)]
            return pages.compared(store, names, stamp)

    def _all_json(self, fields: Fields, stamp: str) -> bytes:
        return _json(state(self.path))

    def _run_json(self, fields: Fields, stamp: str) -> bytes:
        name = _names(fields, 1)[0]
        with self._store() as store:
            _exact(store, name)
        return _json(state(self.path, name))

    def _store(self) -> RunStore:
        return RunStore(self.path, read_only=True)

    def _failure(self, error: EdgeLearnError | ValueError, kind: str) -> Answer:
        """Without the store's place, as ``_json``."""
        if isinstance(error, EdgeLearnError):
            status = 404 if isinstance(error, ConfigError) and error.message.startswith("There is no run") else 500
            message, remedy = (text.replace(str(self.path), self.path.name) for text in (error.message, error.hint))
        else:
            status, message, remedy = 400, str(error), "Begin at the list of runs."
        if kind == JSON:
            return Answer(status, kind, json.dumps({"error": {"message": message, "hint": remedy}}).encode())
        return _problem(status, "This cannot be shown", message, remedy)


def _names(fields: Fields, most: int) -> list[str]:
    """The runs that a query names.

    Raises:
        ValueError: none, or too many.
    """
    found = fields.get("id", [])
    if not 1 <= len(found) <= most:
        raise ValueError(f"{len(found)} runs are named: tick {'one' if most == 1 else f'1 to {most}'}.")
    return found


def _exact(store: RunStore, name: str) -> str:
    """``name`` if it is a run's whole id: a page must not become another one's when a run with a longer id comes.

    Raises:
        ConfigError: it is none.
    """
    if store.get(name).id != name:
        raise ConfigError(f"There is no run '{name}'.", "Begin at the list of runs.")
    return name


def _json(data: dict[str, object]) -> bytes:
    """Without the store's place: that is nobody's business who only has the page."""
    told = {key: value for key, value in data.items() if key != "store"}
    return json.dumps({"schema": "edgelearn.serve/1", **told}).encode()


def _problem(status: int, title: str, message: str, remedy: str) -> Answer:
    return Answer(status, HTML, pages.problem(title, message, remedy))
