"""Instructions counted on other cores than the bench's first: one clock for all Cortex-M, the core's own counter on RISC-V."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgelearn import boards
from edgelearn.bench import instructions
from edgelearn.bench.instructions import Bench, Row, Samples
from edgelearn.bench.plans import compile_plans
from edgelearn.data import datasets
from edgelearn.errors import ConfigError, DoesNotFitError
from tests.emulated import params

pytestmark = pytest.mark.slow
NET, OURS, PLAIN = "64-32-10", "edgelearn int8", "backprop f32 plain C"


def measure(board_id: str, folder: Path, *rows: str, samples: int = 1797) -> list[Row]:
    """One pass over the first of the digits, of which a fifth is the test."""
    digits, board = datasets.load("digits"), boards.load(board_id)
    plan = compile_plans(NET, digits, boards.load("mps2-an386"), 0)  # such a plan says no board
    full = instructions.samples(digits)
    some = Samples(full.x[:samples], full.y[:samples], samples * 4 // 5)
    bench = Bench(board, NET, plan, some, folder, epochs=1)
    return [bench.measure(row) for row in rows]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Row:
    return measure("mps2-an386", tmp_path_factory.mktemp("reference"), OURS, samples=300)[0]


@pytest.mark.parametrize("board", params(("microbit",)))
def test_without_fpu_integers_cost_a_twelfth_of_floats(board: str, tmp_path: Path) -> None:
    ours, plain = measure(board, tmp_path, OURS, PLAIN)
    assert ours.train < 0.08 * plain.train  # 0.05 in the first pass, which has most to learn
    assert ours.infer < 0.05 * plain.infer
    assert ours.accuracy >= 0.9


@pytest.mark.parametrize("board", params(("stm32vldiscovery", "mps2-an500", "mps2-an505", "mps3-an547", "hifive1")))
def test_every_core_learns_the_same(board: str, tmp_path: Path, reference: Row) -> None:
    row = measure(board, tmp_path, OURS, samples=300)[0]
    assert (row.accuracy, row.ram) == (reference.accuracy, reference.ram)
    assert 0.2 * reference.infer < row.infer < 3 * reference.infer
    assert row.infer < row.train


@pytest.mark.parametrize("board", params(("stm32vldiscovery",)))
def test_what_does_not_fit_says_by_how_much(board: str, tmp_path: Path) -> None:
    with pytest.raises(DoesNotFitError, match=r"\d+ bytes more of RAM than stm32vldiscovery has"):
        measure(board, tmp_path, PLAIN, samples=10)


def test_a_board_without_semihosting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="arduino-uno"):
        measure("arduino-uno", tmp_path, OURS, samples=10)
