"""The site as `make site` builds it: once for all of these tests, however many processes they run in."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.documents import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site. A warning of Sphinx is an error, as it is for `make site`."""
    pytest.importorskip("furo", reason="needs Sphinx: pip install 'edgelearn[docs]'")
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    built = shared / "site"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait for the first, and find what it has built
        if not (built / "index.html").exists():
            _build(built, shared / "site-cache")
    return built


def _build(to: Path, cache: Path) -> None:
    words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", str(cache), ".", str(to)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        (to / "index.html").unlink(missing_ok=True)
        pytest.fail(f"make site would fail:\n{done.stdout}{done.stderr}")
