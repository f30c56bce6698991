"""A board that dies and a user who presses Ctrl-C, at the worst of times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgelearn.link.children import SimTransport
from edgelearn.link.client import Client
from edgelearn.link.transport import Transport
from edgelearn.paths import native


class Mortal:
    """A sim board that is killed, and started anew, at the ``deaths``-th writes."""

    name = "mortal"

    def __init__(self, inner: Transport, deaths: set[int]) -> None:
        self.inner, self.deaths, self.writes = inner, deaths, 0

    def read(self, timeout: float) -> bytes:
        return self.inner.read(timeout)

    def write(self, data: bytes) -> None:
        self.writes += 1
        if self.writes in self.deaths:
            self.inner.close()
            self.inner = SimTransport(native("el-sim"), ["--board", "sim"])
        self.inner.write(data)

    def reset_input(self) -> None:
        self.inner.reset_input()

    def close(self) -> None:
        self.inner.close()


def interrupt(
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    nth: int,
    when: Callable[[], bool] = lambda: True,
    error: type[BaseException] = KeyboardInterrupt,
) -> None:
    """Ctrl-C, or a death by ``error``, at the nth call of a method of the client, after it has done its work."""
    original, calls = getattr(Client, method), [0]

    def wrapped(self: Client, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        calls[0] += when()
        if calls[0] == nth:
            calls[0] += 1
            raise error
        return result

    monkeypatch.setattr(Client, method, wrapped)
