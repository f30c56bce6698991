"""A program on a real pseudo-terminal, and what it draws there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60  # on a machine that others use as well
ENTER, LEAVE, SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[=>])")


def plain(text: str) -> str:
    """Without what moves the cursor and colours."""
    return _SEQUENCE.sub("", text)


def lines(frame: str) -> list[str]:
    return plain(frame).replace("\r", "").split("\n")


class Terminal:
    """``edgelearn WORDS`` in a terminal of so many columns. Everything that it writes there is kept in ``seen``."""

    def __init__(self, *words: str, columns: int = 100, rows: int = 30, env: Mapping[str, str] | None = None) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                self._become(words, env or {})
            finally:
                os._exit(99)
        self.resize(columns, rows)
        self.seen = ""
        self.code: int | None = None

    @staticmethod
    def _become(words: tuple[str, ...], env: Mapping[str, str]) -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "export")])
        own = {k: v for k, v in os.environ.items() if k not in ("CI", "COLUMNS", "LINES", "NO_COLOR")}
        own |= {"TERM": "xterm-256color", "PYTHONPATH": paths, "LC_ALL": "C.UTF-8", **env}
        time.sleep(0.05)  # the size of the terminal is set meanwhile
        os.execve(sys.executable, [sys.executable, "-m", "edgelearn.cli", *words], own)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, key: bytes) -> None:
        os.write(self._fd, key)

    def wait_for(self, text: str, after: int = 0) -> int:
        """Reads until ``text`` has been drawn behind the ``after``-th character; returns where all ends that was seen."""
        end = time.monotonic() + LIMIT_S
        while text not in plain(self.seen[after:]):
            assert time.monotonic() < end, f"no {text!r} in: {self.seen[-2000:]!r}"
            assert self._read(), f"it ended without {text!r}: {self.seen[-2000:]!r}"
        return len(self.seen)

    def wait(self) -> int:
        """Reads to the end; returns the exit code."""
        end = time.monotonic() + LIMIT_S
        while self._read():
            assert time.monotonic() < end, f"it does not end: {self.seen[-2000:]!r}"
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def _read(self) -> bool:
        """Takes what comes within a moment; False: nothing will ever come again."""
        ready, _, _ = select.select([self._fd], [], [], 0.2)
        if not ready:
            return True
        try:
            piece = os.read(self._fd, 1 << 16)
        except OSError:  # as Linux says that nobody has the other side open
            return False
        self.seen += piece.decode("utf-8", "replace")
        return bool(piece)
