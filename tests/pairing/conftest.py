"""A paired board in this process, the key that it was built with, and a host that has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgelearn.errors import MissingToolError
from edgelearn.pairing import fetch, image, keys
from tests.pairing.board import FIRMWARE, Board


@pytest.fixture(scope="session", autouse=True)
def monocypher() -> None:
    """Skipped where it has not been fetched; in CI, which has the net, it is fetched."""
    if os.environ.get("CI"):
        fetch.fetch()
        return
    pytest.importorskip("cryptography")
    try:
        fetch.sources()
    except MissingToolError:
        pytest.skip("Monocypher has not been fetched: make pairing")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paired") / "paired.so"
    files = [file for file in image.sim_sources() if file.parent.name != "sim" and file.name != "sim_pair.c"]
    undefined = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover")
    image.compile_sim([*files, FIRMWARE / "tests/pairing_main.c"], out, "-shared", "-fPIC", *undefined)
    return out


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    keys.new(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def key(key_file: Path) -> keys.Key:
    return keys.read(key_file)


@pytest.fixture
def board(library: Path, key: keys.Key) -> Board:
    return Board(library, key)


@pytest.fixture(scope="session")
def image_key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests that build images: each key needs another."""
    file = tmp_path_factory.mktemp("keys") / "key"
    keys.new(file)
    return file
