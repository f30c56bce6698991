"""Commands of edgelearn, each in a process of its own that is forked from one which has imported everything: quick to start, free to kill.

As a program it is that process: it reads commands as lines of JSON and answers each with one. ``Warm`` is how a test speaks with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 120.0
NEEDED = (  # by commands, some of them only when they are called
    "edgelearn.cli.train", "edgelearn.cli.resume", "edgelearn.cli.runs", "edgelearn.cli.export", "edgelearn.cli.report",
    "edgelearn.cli.app", "edgelearn.report", "edgelearn.session", "edgelearn_export.plan.carray", "rich.console", "rich.progress",
)  # fmt: skip
_POLL_S = 0.002


@dataclass(frozen=True)
class Fault:
    """From its ``at``-th change of a file below ``folder`` on, the process cannot change any: ``error`` is why."""

    folder: str
    at: int
    error: int


@dataclass(frozen=True)
class Ended:
    """How a command ended. ``code`` is negative for a signal, as subprocess has it; ``changes`` of files below the fault's folder."""

    code: int
    out: str
    err: str
    seconds: float
    changes: int = 0

    @property
    def json(self) -> dict[str, Any]:
        """The last object that it printed."""
        return json.loads(self.out.splitlines()[-1])


@dataclass
class Warm:
    """The process, as a context manager. Its commands see ``env`` over this process's environment, and write below ``folder``."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "export")])
        env = {
            **os.environ,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
            **self.env,
            "LD_PRELOAD": str(_library(self.folder)),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attack.warm", str(self.folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env,
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, *args: str | Path, kill_after: float | None = None, fault: Fault | None = None) -> Ended:
        """Runs one command to its end, or kills it after so many seconds."""
        asked = {
            "args": [str(arg) for arg in args],
            "kill_after": kill_after,
            "fault": None if fault is None else asdict(fault),
        }
        assert self._process.stdin and self._process.stdout
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return Ended(**json.loads(self._process.stdout.readline()))


def compiler() -> str | None:
    """What builds the library that fails."""
    return shutil.which("cc")


def _library(folder: Path) -> Path:
    source, made = Path(__file__).with_name("no_room.c"), folder / "no_room.so"
    cc = compiler()
    assert cc is not None
    subprocess.run([cc, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", made, source, "-ldl"], check=True)
    return made


# --- the process ------------------------------------------------------------------------------------------------------------------


def _child(args: Sequence[str], fault: dict[str, Any] | None, folder: Path) -> int:
    """What the forked process does; returns its exit code."""
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    library = ctypes.CDLL(None)
    if fault is not None:
        library.no_room(fault["folder"].encode(), ctypes.c_long(fault["at"]), fault["error"])
    from edgelearn.cli import main

    code = main(args)
    sys.stdout.flush()
    (folder / "changes").write_text(str(library.no_room_calls()))
    return code


def _served(asked: dict[str, Any], folder: Path) -> Ended:
    (folder / "changes").write_text("0")
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = 1
        try:
            code = _child(asked["args"], asked["fault"], folder)
        finally:
            os._exit(code)
    status = _awaited(child, began, asked["kill_after"])
    out, err, changes = ((folder / name).read_text(errors="replace") for name in ("out", "err", "changes"))
    return Ended(os.waitstatus_to_exitcode(status), out, err, time.monotonic() - began, int(changes))


def _awaited(child: int, began: float, kill_after: float | None) -> int:
    """Its wait status; it is killed when its time has come."""
    deadline = began + (LONGEST_S if kill_after is None else kill_after)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        time.sleep(_POLL_S)


def main(folder: Path) -> None:
    """Serves commands until nobody sends any."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in NEEDED:
        import_module(name)

    for line in sys.stdin:
        print(json.dumps(asdict(_served(json.loads(line), folder))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
