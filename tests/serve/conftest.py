"""A server of a run store, in this process, on a port of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import edgelearn
from edgelearn.runs import RunStore
from edgelearn.serve.server import Server

Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store, and the id of a finished run in it. Read only: tests share it."""
    path = tmp_path_factory.mktemp("served") / "runs.sqlite"
    with RunStore(path) as store, edgelearn.connect("sim") as board:
        return path, board.train("digits", store, steps=1200).run


@contextmanager
def served(path: Path, **given: Any) -> Iterator[Server]:
    with Server(path, port=0, **given) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(learnt: tuple[Path, str]) -> Iterator[Server]:
    with served(learnt[0]) as opened:
        yield opened


Got = tuple[int, dict[str, str], str]


def get(server: Server, target: str, method: str = "GET", **headers: str) -> Got:
    """Status, headers and text of an answer."""
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    try:
        connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read().decode()
    finally:
        connection.close()


def raw(server: Server, sent: bytes, wait_s: float = 30.0) -> bytes:
    """All that comes back to some bytes."""
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=wait_s) as stream:
        stream.sendall(sent)
        found = b""
        while piece := stream.recv(65536):
            found += piece
        return found


def record(store: RunStore, result: dict[str, Any] | None = None, status: str = "finished", **given: Any) -> str:
    """A run in the store, hostile or not."""
    plain: dict[str, Any] = {
        "recipe": "no recipe", "rule": "some-rule", "rule_text": "", "board": "sim", "dtype": "int8", "seed": 0,
        "plan": b"plan", "versions": {"edgelearn": "0.0.1"},
    }  # fmt: skip
    run = store.create(**plain | given)
    if result is not None:
        store.finish(run, status, result)
    return run
