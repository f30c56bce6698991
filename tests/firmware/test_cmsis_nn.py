"""CMSIS-NN where the user has it: EDGELEARN_CMSIS_NN names a copy, and its dense layer is bit by bit ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgelearn import boards, cmsis_nn, images
from edgelearn.bench import instructions, qemu
from edgelearn.bench.instructions import Bench, Samples
from edgelearn.bench.plans import compile_plans
from edgelearn.data import datasets
from edgelearn.errors import ConfigError, UsageError
from edgelearn.paths import resource
from edgelearn.session import connect
from tests.conformance.test_boards import SHORT, digits_for, interpreted
from tests.emulated import params

CORES = ("microbit", "mps2-an386", "mps3-an547")  # its portable C, its DSP and its Helium
COPY = os.environ.get(cmsis_nn.VARIABLE)
needs_a_copy = pytest.mark.skipif(not COPY, reason=f"{cmsis_nn.VARIABLE} names no copy of CMSIS-NN")
LAYER = "arm_fully_connected_s8"


@pytest.fixture
def copy() -> Path:
    return cmsis_nn.given(Path(COPY or ""), cmsis_nn.PREFIX)


def digits(count: int) -> Samples:
    full = instructions.samples(datasets.load("digits"))
    return Samples(full.x[:count], full.y[:count], count * 4 // 5)


def layers(board_id: str, folder: Path, copy: Path | None = None) -> tuple[str, bool]:
    """What firmware/tests/cmsis_main.c printed, and whether CMSIS-NN's layer was in it."""
    board, firmware = boards.load(board_id), resource("firmware")
    include = [firmware / part for part in ("include", "hal", "core", "gen")]
    files, flags = [firmware / "tests/cmsis_main.c", firmware / "core/kernels_int.c"], ["-DEL_NO_F32", "-Werror"]
    if copy:
        files += cmsis_nn.sources(copy)
        flags += [cmsis_nn.DEFINE, *cmsis_nn.include(copy)]
    elf = qemu.build(board, files, folder / "layers.elf", include, flags)
    return qemu.execute(board, elf, timeout_s=60), LAYER in qemu.symbols(board, elf)


@pytest.mark.slow
@needs_a_copy
@pytest.mark.parametrize("board", params(CORES))
def test_results_and_what_is_counted_are_ours(board: str, tmp_path: Path, copy: Path) -> None:
    said, linked = layers(board, tmp_path)
    assert not linked
    assert int(said.split()[1]) > 10_000  # so many results were cut, and counted
    assert layers(board, tmp_path, copy) == (said, True)


@pytest.mark.slow
@needs_a_copy
@pytest.mark.parametrize("board", params(CORES))
def test_a_board_learns_the_same(board: str) -> None:
    job = digits_for(board, SHORT)
    with connect(board, "qemu") as session:
        result = session.train(job)
    assert LAYER in qemu.symbols(job.board, images.build(job.board).path)
    assert result.data["state_sha256"] == interpreted(job.recipe.name, job.steps)
    assert result.data["ram"]["stack"] <= result.data["ram"]["stack_bound"]


@pytest.mark.slow
@needs_a_copy
@pytest.mark.parametrize("board", params(("mps2-an386", "mps3-an547")))
def test_the_bench_counts_its_layer_beside_ours(board: str, tmp_path: Path, copy: Path) -> None:
    ours, theirs = instructions.dense(board), instructions.dense(board, copy)
    assert ours is not None
    assert theirs is not None
    assert ours < theirs < 2.2 * instructions.DENSE
    plans = compile_plans("64-32-10", datasets.load("digits"), boards.load("mps2-an386"), 0)
    bench = Bench(boards.load(board), "64-32-10", plans, digits(300), tmp_path, 1)
    row = bench.measure("edgelearn int8")
    linked = Bench(bench.board, bench.net, plans, bench.data, tmp_path, 1, cmsis=copy).measure(instructions.LINKED)
    assert (linked.accuracy, linked.ram) == (row.accuracy, row.ram)
    assert linked.infer != row.infer


def test_a_folder_without_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cmsis_nn.VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match=r"it lacks Include/arm_nnfunctions\.h") as caught:
        images.build(boards.load("microbit"))
    assert cmsis_nn.VARIABLE in caught.value.hint
    with pytest.raises(UsageError, match="no row"):
        instructions.run("mps2-an386", "64-10", {}, digits(2), rows=[instructions.LINKED])
    with pytest.raises(ConfigError, match="Cortex-M only"):
        cmsis_nn.given(tmp_path, boards.load("hifive1").prefix)


def test_it_is_part_of_what_an_image_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cmsis_nn.VARIABLE, raising=False)
    arm, other = boards.load("microbit"), boards.load("hifive1")
    plain = images.source_hash(arm), images.source_hash(other)
    header = tmp_path / "Include/arm_nnfunctions.h"
    for file in (*cmsis_nn.sources(tmp_path), header):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setenv(cmsis_nn.VARIABLE, str(tmp_path))
    linked = images.source_hash(arm)
    header.write_text("/* changed */")
    assert len({plain[0], linked, images.source_hash(arm)}) == 3
    with pytest.raises(ConfigError, match="Images of the package"):
        images.main(["microbit"])
    assert images.source_hash(other) == plain[1]
