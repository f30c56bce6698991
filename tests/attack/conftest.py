"""A process that runs commands as quickly as an attacker could wish for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.warm import Warm, compiler


@pytest.fixture(scope="session")
def warm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warm")


@pytest.fixture(scope="session")
def warm(warm_folder: Path) -> Iterator[Warm]:
    """Commands in processes of their own; the run store is ``warm_store``."""
    if not sys.platform.startswith("linux") or compiler() is None:
        pytest.skip("needs Linux and a C compiler, for a library that fails on demand")
    store = warm_folder / "store"
    with Warm(warm_folder, {"EDGELEARN_RUNS": str(store / "runs.sqlite"), "EDGELEARN_CACHE": str(warm_folder)}) as run:
        yield run


@pytest.fixture
def store(warm_folder: Path) -> Path:
    """Where the run store of ``warm`` is: an empty place, at the beginning of each test."""
    import shutil

    shutil.rmtree(warm_folder / "store", ignore_errors=True)
    return warm_folder / "store" / "runs.sqlite"
