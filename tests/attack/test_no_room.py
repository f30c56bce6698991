"""A full disk, a used up quota or a folder that may not be written, at each change of a file that a command makes.

The message has code 13 and says what to do; the store opens, what it had is whole, and the run goes on when there is room again.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack.killing import integrity
from tests.attack.warm import ROOT, Ended, Fault, Warm

TRAIN = ("train", "digits-tiny", "--steps", "600", "--json")
MOST = 6  # of the changes that a command makes are tried here; all of them in the soak
REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def check_message(ended: Ended, place: Path) -> None:
    """Code 13, one sentence that names the place, and how many bytes it was about where anything was to be written."""
    error = ended.json["error"]
    assert (ended.code, error["code"], error["kind"]) == (13, 13, "storage-full")
    assert str(place) in error["message"]
    assert re.search(r"Cannot (write [\d,]+ bytes to|open|make) ", error["message"]), error
    assert error["hint"]
    assert ended.err == ""


def check_store(warm: Warm, store: Path, whole: str) -> None:
    """The store opens, and a run that is in it goes on to the end that it would have had."""
    listed = warm.run("runs", "--json")
    assert listed.code == 0, listed
    assert integrity(store) == "ok"
    for run in listed.json["runs"]:
        assert run["status"] in ("running", "failed")
        resumed = warm.run("resume", run["id"], "--json")
        assert resumed.code == 0, resumed
        assert resumed.json["state_sha256"] == whole


@pytest.mark.slow
def test_a_run_stops_at_each_write_and_goes_on_later(warm: Warm, store: Path) -> None:
    counted = warm.run(*TRAIN, fault=Fault(str(store.parent), 0, 0))
    assert counted.code == 0, counted
    assert counted.changes > 40
    stopped = 0
    for at in spread(counted.changes, MOST):
        shutil.rmtree(store.parent, ignore_errors=True)
        ended = warm.run(*TRAIN, fault=Fault(str(store.parent), at, REASONS[at % len(REASONS)]))
        if ended.code != 0:  # what fails after the result is stored is no loss
            check_message(ended, store)
            check_store(warm, store, counted.json["state_sha256"])
            stopped += 1
    assert stopped > 3


WRITERS = (
    (("export", "digits-tiny", "--format", "plan,plan-c"), "-o", "out"),
    (("report", "RUN", "--stored-only"), "-o", "out/report.html"),
    (("runs", "export"), "-o", "out"),
    (("train", "digits-tiny", "--steps", "30"), "--record", "out/talk"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("args", "option", "file"), WRITERS, ids=[args[0] for args, _, _ in WRITERS])
def test_files_are_written_whole_or_not_at_all(
    args: tuple[str, ...], option: str, file: str, warm: Warm, store: Path, tmp_path: Path
) -> None:
    run = warm.run("train", "digits-tiny", "--steps", "10", "--json").json["run"]
    out = tmp_path / "out"
    out.mkdir()
    command = (*(run if arg == "RUN" else arg for arg in args), option, tmp_path / file, "--json")
    whole = warm.run(*command, fault=Fault(str(out), 0, 0))
    assert whole.code == 0, whole
    before = contents(out)
    check_message(warm.run(*command, fault=Fault(str(out), 1, errno.ENOSPC)), out)
    if option == "-o":
        assert contents(out) == before
    for at in spread(whole.changes, MOST):
        shutil.rmtree(out)
        out.mkdir()
        check_message(warm.run(*command, fault=Fault(str(out), at, REASONS[at % len(REASONS)])), out)
        if option == "-o":
            assert contents(out) == {}, "something was written by half"


def spread(count: int, most: int) -> list[int]:
    """1 to ``count``, first and last among them, at most about so many."""
    return sorted({*range(1, count + 1, -(-count // most)), count})


def contents(folder: Path) -> dict[str, int]:
    """Every file below a folder, and its bytes."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def test_standard_output_may_be_full_too() -> None:
    """A full disk behind ``> file`` is no bug of ours."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgelearn.cli", "boards", "--json"],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "export")])},
        )  # fmt: skip
    assert done.returncode == 13
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("edgelearn: ")
