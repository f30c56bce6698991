"""States that ``save`` keeps: a file for each plan, the old one or the new one, whole."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from pathlib import Path

_HEADER = struct.Struct("<4sIII")  # magic, plan hash, bytes of the state, CRC-32 of all that and the state
_MAGIC = b"ELSS"
_BEFORE_CRC = _HEADER.size - 4


def default_folder() -> Path:
    """``$XDG_STATE_HOME/edgelearn/agent``, or ``~/.local/state/edgelearn/agent``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "edgelearn" / "agent"


class Store:
    """States in ``folder``, which is made when the first is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, plan_hash: int) -> Path:
        return self.folder / f"{plan_hash:08x}.state"

    def save(self, plan_hash: int, state: bytes) -> None:
        """Keeps ``state``; a cut in between leaves what was kept before.

        Raises:
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        head = struct.pack("<4sII", _MAGIC, plan_hash, len(state))
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".state-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(head + struct.pack("<I", zlib.crc32(state, zlib.crc32(head))) + state)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._file(plan_hash))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def load(self, plan_hash: int, size: int) -> bytes | None:
        """The state of ``size`` bytes that was kept for this plan; None if there is none, or none that is whole."""
        try:
            with self._file(plan_hash).open("rb") as file:
                raw = file.read(_HEADER.size + size + 1)
        except OSError:
            return None
        if len(raw) != _HEADER.size + size:
            return None
        magic, plan, length, crc = _HEADER.unpack_from(raw)
        state = raw[_HEADER.size :]
        whole = crc == zlib.crc32(state, zlib.crc32(raw[:_BEFORE_CRC]))
        return state if whole and (magic, plan, length) == (_MAGIC, plan_hash, size) else None
