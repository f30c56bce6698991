"""Hostile files by the thousand, each kind in a process of its own: ``python -m tests.attack.fuzzing [--seconds S|--count N] [KIND...]``.

A file may be read, or refused with an EdgeLearnError. Anything else is a finding: another exception, more than 1 GiB, more than 10 s of
the processor, a file outside of the folder, a process that dies. The last line that is printed is the result as JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from edgelearn.errors import LONGEST, EdgeLearnError
from tests.attack.target import Target
from tests.attack.targets import NEEDS, TARGETS

MEMORY = 1 << 30
SECONDS_EACH = 10
MOST_FOUND = 5


@dataclass
class Found:
    """What came of one kind: files tried, how many were refused, what went wrong, the longest that one took, and the most memory."""

    kind: str
    files: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    grown_mib: float = 0.0
    wrong: tuple[str, ...] = ()
    skipped: str = ""


def tried(kind: str, count: int | None, seconds: float, seed: int, keep: Path) -> Found:
    """Reads ``count`` hostile files, or for so many seconds, in a child with bounded memory and time.

    Args:
        keep: where files that were found go.
    """
    needed = NEEDS.get(kind, "")
    if needed and importlib.util.find_spec(needed) is None:
        return Found(kind, skipped=f"needs {needed}")
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name)
        target = TARGETS[kind]()
        child = os.fork()
        if child == 0:
            try:
                _bounded(kind, target, count, seconds, seed, folder, keep)
            except BaseException:  # noqa: BLE001 (the parent says that it died)
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        result = folder / "result.json"
        found = Found(**json.loads(result.read_text())) if result.is_file() else Found(kind)
        if status:
            shutil.copytree(folder / "in", keep / f"{kind}-died", dirs_exist_ok=True)
            why = "more than 10 s of the processor" if status == -signal.SIGPROF else f"the process ended with {status}"
            found.wrong = (*found.wrong, why)
        return found


def _bounded(kind: str, target: Target, count: int | None, seconds: float, seed: int, folder: Path, keep: Path) -> None:
    """The child: reads the good file, then may take no more than it is allowed, then reads hostile ones."""
    log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.environ["EDGELEARN_CACHE"] = str(folder / "cache")
    random, found = Random(f"{kind} {seed}"), Found(kind)
    place = folder / "in"
    _warmed(target, place)
    before = _resident()
    most = _virtual() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(place)
    began = time.monotonic()
    while found.files != count and (count is not None or time.monotonic() - began < seconds):
        _one(target, place, random, found, keep)
        found.seconds = time.monotonic() - began
        found.grown_mib = max(0.0, (_resident() - before) / 1024)
        if found.files % 50 == 1 or found.files == count:
            _told(found, folder)
        if len(found.wrong) >= MOST_FOUND:
            break
    _told(found, folder)


def _told(found: Found, folder: Path) -> None:
    (folder / "result.json").write_text(json.dumps(asdict(found)))


def _warmed(target: Target, place: Path) -> None:
    """The good file is read: what that takes is no growth, and a target that cannot read it would prove nothing."""
    _prepared(place, target, target.good)
    os.chdir(place)
    target.read(place / target.file)


def _prepared(place: Path, target: Target, raw: bytes) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name, other in target.others:
        (place / name).write_bytes(other)
    (place / target.file).write_bytes(raw)


def _one(target: Target, place: Path, random: Random, found: Found, keep: Path) -> None:
    _prepared(place, target, target.make(random))
    os.chdir(place)
    began, said = time.process_time(), ""
    signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
    try:
        target.read(place / target.file)
    except EdgeLearnError as error:
        found.refused += 1
        said = _poor(error)
    except Exception:  # noqa: BLE001 (that is what is looked for)
        said = traceback.format_exc()[-1500:]
    signal.setitimer(signal.ITIMER_PROF, 0)
    found.files += 1
    found.slowest_s = max(found.slowest_s, time.process_time() - began)
    if said:
        number = len(found.wrong)
        shutil.copytree(place, keep / f"{found.kind}-{number}", dirs_exist_ok=True)
        found.wrong = (*found.wrong, said)


def _poor(error: EdgeLearnError) -> str:
    """Why the message is not one that a user should get; empty if it is."""
    if error.exit_code == 1 or not error.message or not error.hint:
        return f"no code or no remedy: {error!r}"
    if len(error.message) > LONGEST + 4:
        return f"a message of {len(error.message)} characters: {error.message[:200]}"
    return ""


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def _resident() -> int:
    """The most memory so far, in KiB."""
    return _status("VmHWM:")


def _virtual() -> int:
    return _status("VmSize:") * 1024


def everything(kinds: Sequence[str], count: int | None, seconds: float, seed: int, keep: Path) -> list[Found]:
    """All kinds, one after the other."""
    return [tried(kind, count, seconds, seed, keep) for kind in kinds]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Hostile files by the thousand.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of: {', '.join(TARGETS)}")
    parser.add_argument("--count", type=int, help="files of each kind, instead of seconds")
    parser.add_argument("--seconds", type=float, default=600, help="for each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("build/hostile"), help="where files that were found go")
    asked = parser.parse_args(argv)
    asked.keep.mkdir(parents=True, exist_ok=True)
    kept = asked.keep.resolve()
    found = everything(asked.kinds or list(TARGETS), asked.count, asked.seconds, asked.seed, kept)
    told: list[dict[str, Any]] = [asdict(one) for one in found]
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if any(one.wrong for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
