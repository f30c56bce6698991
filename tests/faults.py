"""A board that dies and a user who presses Ctrl-C, at the worst of times."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgelearn import boards
from edgelearn.link.children import SimTransport
from edgelearn.link.client import Client
from edgelearn.link.listen import listen
from edgelearn.link.transport import Transport, split_address
from edgelearn.paths import native

CHUNK = 4096
AWAY_S = 0.01  # that a pulled port is gone


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


class Pulled:
    """The sim board behind a serial port that is pulled out after every so many bytes, and put back a moment later.

    Args:
        device: what the port is called, whichever pseudo-terminal is behind it, as udev's links by id do.
        after: bytes between two pulls. times: how often it is pulled.
        power: does the board lose its power then?
    """

    def __init__(self, device: Path, after: int, times: int, power: bool) -> None:
        self.device, self.pulls = device, 0
        self._after, self._times, self._power = after, times, power
        self._ending = threading.Event()
        self._start_board()
        self._plug_in()
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(5)
        os.close(self._ours)
        self._stop_board()

    def _start_board(self) -> None:
        self._child, where = listen(boards.load("sim"), "tcp://127.0.0.1:0", Path, native("el-sim"))
        self._board = socket.create_connection(split_address(where))

    def _stop_board(self) -> None:
        self._board.close()
        self._child.stop()

    def _plug_in(self) -> None:
        self._ours, theirs = os.openpty()
        tty.setraw(theirs)
        fresh = self.device.with_suffix(".new")
        fresh.symlink_to(os.ttyname(theirs))
        fresh.replace(self.device)
        os.close(theirs)

    def _pull(self) -> None:
        os.close(self._ours)
        self.pulls += 1
        if self._power:
            self._stop_board()
            self._start_board()
        time.sleep(AWAY_S)
        self._plug_in()

    def _relay(self) -> None:
        moved = 0
        while not self._ending.is_set():
            ready, _, _ = select.select([self._ours, self._board], [], [], 0.05)
            moved += self._carry(ready)
            if moved >= self._after and self.pulls < self._times:
                moved = 0
                self._pull()

    def _carry(self, ready: list[Any]) -> int:
        if self._board in ready:
            data = self._board.recv(CHUNK)
            os.write(self._ours, data)
            return len(data)
        try:
            data = os.read(self._ours, CHUNK) if ready else b""
        except OSError:  # nobody has it open just now
            time.sleep(0.005)
            return 0
        self._board.sendall(data)
        return len(data)
