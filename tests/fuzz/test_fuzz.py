"""Fuzzing of the board's link and of the plan verifier: every input that was ever found still passes, and a few seconds find no other.

``python -m tests.fuzz.soak`` fuzzes for ten minutes, adds what it finds to tests/fuzz/corpus, and prints the branch coverage.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fuzz.targets import SANITIZERS, TARGETS, build, clang, fuzz, objects, replay, write_corpus

FUZZ_SECONDS = 5


class Core(NamedTuple):
    """The core, compiled with sanitizers, for both targets."""

    compiler: str
    objects: tuple[Path, ...]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Core:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    return Core(compiler, tuple(objects(compiler, tmp_path_factory.mktemp("replayed"), *SANITIZERS)))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Core:
    compiler = clang()
    if compiler is None:
        pytest.skip("no clang with libFuzzer: apt-get install clang")
    flags = (*SANITIZERS, "-fsanitize=fuzzer-no-link")
    return Core(compiler, tuple(objects(compiler, tmp_path_factory.mktemp("fuzzed"), *flags)))


@pytest.mark.parametrize("target", TARGETS)
def test_every_known_input_passes_under_sanitizers(target: str, replayed: Core, tmp_path: Path) -> None:
    files = write_corpus(target, tmp_path / "corpus")
    done = replay(build(replayed.compiler, target, tmp_path, *SANITIZERS, "-DREPLAY", core=replayed.objects), files)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"{len(files)}\n"


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_few_seconds_find_nothing(target: str, fuzzed: Core, tmp_path: Path) -> None:
    program = build(fuzzed.compiler, target, tmp_path, *SANITIZERS, "-fsanitize=fuzzer", core=fuzzed.objects)
    write_corpus(target, tmp_path / "corpus")
    found = fuzz(program, tmp_path / "corpus", FUZZ_SECONDS, tmp_path / "work")
    print(f"\n{target}: {found.runs:,} inputs, {found.edges:,} edges")  # noqa: T201
    assert found.code == 0, found.log[-3000:]
    assert found.runs > 100
