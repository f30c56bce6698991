"""Sessions on file: what was written and read, byte for byte, so that a conversation can be had again without a board.

A recording is text: a first line ``edgelearn-replay 1``, then ``> HEX`` for each write, ``< HEX`` for each read
(``<`` alone: nothing arrived in time; ``!``: the port was gone and is back).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from edgelearn.errors import ConfigError, LinkLostError, MismatchError, StorageFullError
from edgelearn.link.frame import Decoder
from edgelearn.link.messages import unpack
from edgelearn.link.transport import LineReopened, Transport

_MAGIC = "edgelearn-replay 1"
_ELSEWHERE = "Free some space, or name a file in a folder that you may write."


class RecordingTransport:
    """Passes everything through to ``inner`` and writes it to ``path``.

    Raises:
        StorageFullError: the file cannot be written.
    """

    def __init__(self, inner: Transport, path: Path) -> None:
        self._inner, self._path, self._nbytes = inner, path, 0
        try:
            self._file = path.open("w", encoding="ascii")
        except OSError as error:
            inner.close()
            raise StorageFullError(f"Cannot make {path}: {error.strerror}.", _ELSEWHERE) from error
        self._note(_MAGIC)

    @property
    def name(self) -> str:
        return self._inner.name

    def read(self, timeout: float) -> bytes:
        try:
            data = self._inner.read(timeout)
        except LineReopened:
            self._note("!")
            raise
        self._note(f"< {data.hex()}")
        return data

    def write(self, data: bytes) -> None:
        self._note(f"> {data.hex()}")
        self._inner.write(data)

    def reset_input(self) -> None:
        self._inner.reset_input()

    def close(self) -> None:
        self._inner.close()
        with self._explained():
            self._file.close()

    def _note(self, line: str) -> None:
        self._nbytes += len(line) + 1
        with self._explained():
            print(line, file=self._file)

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            problem = f"Cannot write {self._nbytes:,} bytes to {self._path}: {error.strerror}."
            raise StorageFullError(problem, _ELSEWHERE) from error


class ReplayTransport:
    """Answers as the recorded board did, as long as it is told the same. Time does not pass: no read waits.

    Raises:
        ConfigError: ``path`` is no recording.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"replay:{path}"
        self._events = deque(_parse(path))
        self._sent = 0
        self._nonces = deque(_nonces(self._events))

    def nonce(self) -> int:
        """The nonce of the next recorded hello: the one thing in a conversation that is random."""
        return self._nonces.popleft() if self._nonces else 0

    def read(self, timeout: float) -> bytes:
        kind, data = self._events[0] if self._events else ("", b"")
        if kind == ">":
            raise self._departed("reads where it wrote then")
        if not kind:
            raise LinkLostError(f"The recording {self.name} ends here.", "Record a longer session.")
        self._events.popleft()
        if kind == "!":
            raise LineReopened(self.name)
        return data

    def write(self, data: bytes) -> None:
        if not self._events or self._events[0] != (">", data):
            raise self._departed("writes something else")
        self._events.popleft()
        self._sent += len(data)

    def reset_input(self) -> None:
        """Nothing waits: reads are given out in the order in which they were recorded."""

    def close(self) -> None:
        self._events.clear()

    def _departed(self, how: str) -> MismatchError:
        return MismatchError(
            f"The session departs from {self.name} after {self._sent} written bytes: it {how}.",
            "Replay with the recipe, flags and edgelearn version of the recording, or record it again.",
        )


def _parse(path: Path) -> list[tuple[str, bytes]]:
    try:
        magic, *lines = path.read_text(encoding="ascii").splitlines()
        events = [(line[0], bytes.fromhex(line[1:])) for line in lines]
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(
            f"Cannot read the recording {path}: {error}.", "Name a file that edgelearn recorded."
        ) from error
    if magic != _MAGIC or any(kind not in "<>!" for kind, _ in events):
        raise ConfigError(f"{path} is no recording of this version.", f"Its first line must be '{_MAGIC}'.")
    return events


def _nonces(events: deque[tuple[str, bytes]]) -> list[int]:
    """One per hello: its repetitions carry the same."""
    frames = Decoder().feed(b"".join(data for kind, data in events if kind == ">"))
    hellos = (m for m in map(unpack, frames) if m and m.name == "hello")
    return list(dict.fromkeys(m["nonce"] for m in hellos))
