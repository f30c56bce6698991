"""Who holds a port: a second client is told, instead of waiting in silence.

The system knows who has a device. Of an address nothing is known; there it is a courtesy among clients of one user: a file that is locked
as long as the process lives. An agent refuses a second client by itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

from edgelearn.errors import PortBusyError
from edgelearn.paths import cache_dir

_MOST_BYTES = 32


def claim(host: str, port: int) -> Callable[[], None]:
    """Takes the address for this process, as far as other clients of this user are concerned; returns what lets go of it.

    Raises:
        PortBusyError: another process has it, or this one has it already.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return lambda: None
    try:
        file = os.open(_path(host, port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:  # no folder to write to: then nobody is told
        return lambda: None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.read(file, _MOST_BYTES).decode("ascii", "replace").strip()
        os.close(file)
        raise _busy(f"tcp://{host}:{port}", pid) from error
    os.ftruncate(file, 0)
    os.write(file, f"{os.getpid()}\n".encode("ascii"))
    return os.fdopen(file, "rb").close


def _path(host: str, port: int) -> Path:
    folder = cache_dir() / "ports"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:  # the one who connects says so better
        found = host
    return folder / f"{re.sub('[^0-9A-Za-z.-]', '_', found)}-{port}"


def port_holder(device: str) -> int | None:
    """Pid of a process that has locked ``device``, or has it open, where the system tells (Linux)."""
    return _locker(device) or _opener(device)


def _locker(device: str) -> int | None:
    """Of everybody's processes: pyserial's lock stands in a list that all may read."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        inode = os.stat(device).st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            kind, pid, where = (line.split()[i] for i in (1, 4, 5))
            if kind == "FLOCK" and int(where.rpartition(":")[2]) == inode and _has_open(int(pid), device) is not False:
                return int(pid)
    return None


def _opener(device: str) -> int | None:
    """Of our own processes, or everybody's for root."""
    pids = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return next((pid for pid in pids if _has_open(pid, device)), None)


def _has_open(pid: int, device: str) -> bool | None:
    """None: we may not look."""
    real = os.path.realpath(device)
    try:
        return any(os.path.realpath(fd) == real for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # gone meanwhile, or not ours to look into
        return None


def process(pid: int) -> str:
    """``process 123 (name)``; without the name where the system does not tell it."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({name})"


def _busy(address: str, pid: str) -> PortBusyError:
    owner = process(int(pid)) if pid.isdecimal() else "another program"
    return PortBusyError(f"{address} is in use by {owner}.", "End that program, or choose another port with --port.")
