"""Planned against measured memory: what is said before flashing is what a board finds."""

from __future__ import annotations

import json

import pytest

from edgelearn import boards, footprint
from edgelearn.bench import memory, memory_cases, memory_page
from edgelearn.job import prepare
from edgelearn.passes import budget
from tests.cli.documents import ROOT, text

STEPS = 30
# State, arena and stack over the weights as floats, the stack of the link included. Without that, as others measure, the M4 needs less.
SMALLEST_ON, MOST = ("microbit", "mps2-an386"), 0.40  # of the float weights
EMULATED = [board.id for board in boards.all_boards() if "qemu" in board.ports]
BUILT = [board for board in boards.all_boards() if board.toolchain is not None and not board.has_plan]
FIGURES = ROOT / "docs/benchmarks/memory.json"


@pytest.mark.parametrize("case", ["rules", "smallest"])
def test_the_sim_board_finds_what_was_planned(case: str) -> None:
    rows = memory.run(case, ["sim"], STEPS)
    assert rows
    assert all(row.agrees and row.state == row.state_measured and row.arena == row.arena_measured for row in rows), rows
    assert list(memory.disagreements(rows)) == []


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("board", SMALLEST_ON)
def test_an_emulated_board_finds_what_was_planned(board: str) -> None:
    """And its stack stays within what the call graphs say."""
    (row,) = memory.run("smallest", [board], STEPS)
    assert row.agrees, row
    assert row.stack is not None
    assert row.stack_bound is not None
    assert row.planned is not None
    assert 0 < row.stack <= row.stack_bound <= (row.stack_size or 0)
    assert row.planned + row.stack <= MOST * memory_page.FLOAT_WEIGHTS


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("board", BUILT, ids=lambda board: board.id)
def test_the_compiler_sets_aside_what_the_image_takes(board: boards.Board) -> None:
    """What `budget` lets through fits: stack and link of the board file are no less than the image's own."""
    image, reason = footprint.image_of(board, prepare("digits-tiny", "sim").module)
    if image is None:
        pytest.skip(reason)
    assert image.data + image.bss <= board.link
    assert image.stack <= board.stack
    assert image.text + image.data <= board.target.flash
    job = prepare("digits-tiny", board)
    found = footprint.of_job(job)
    assert found.ram <= budget.needed(job.module, board.target, job.plan_bytes) <= board.ram
    assert found.ram == found.ram_size - image.pool_bytes + _pool(found)


def _pool(found: footprint.Footprint) -> int:
    """What of the pool is used."""
    return -(-found.plan // 8) * 8 + -(-found.state // 8) * 8 + found.arena


def test_activations_take_no_more_with_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of dense nets and of maps; backpropagation keeps every one of them. (The page has 8 and 16 blocks, too.)"""
    monkeypatch.setattr(memory_cases, "DEPTHS", (2, 4))
    found = {row.recipe: row for row in memory.run("depth", ["sim"], STEPS)}
    for kind in ("dense", "conv"):
        ours = {found[f"mono-forward-{depth}-{kind}"].arena for depth in (2, 4)}
        theirs = [found[f"backprop-{depth}-{kind}"].arena or 0 for depth in (2, 4)]
        assert len(ours) == 1
        assert theirs == sorted(set(theirs))
        assert theirs[-1] > max(arena or 0 for arena in ours)


def test_a_keyword_spotter_learns_in_less_than_forward_forward_s_published_memory() -> None:
    rows = {row.recipe: row for row in memory.run("keywords", ["sim"], STEPS)}
    best, back = rows["ds-cnn-by-block"], rows["ds-cnn-backprop"]
    assert (best.planned or 0) < 43_200
    assert (back.planned or 0) > 95_200
    assert all(row.agrees for row in rows.values()), rows


def test_what_does_not_fit_says_why() -> None:
    rows = memory.run("keywords", ["microbit"], STEPS)
    assert all("does not fit" in row.reason and row.agrees is None for row in rows)


def test_the_largest_tensors_include_what_kernels_need_while_they_run() -> None:
    from edgelearn.compiler import Net, compile_net
    from edgelearn.layers import Layer
    from edgelearn.passes.quantize import Calibration
    from edgelearn.rules import find
    from tests.factory import X, Y

    layers = (Layer("conv", 2, kernel=7, pad=3, bits=7),)
    net = compile_net(find("mono-forward"), Net((8, 8, 1), layers, 10), Calibration(X, Y), "int8")
    names = [name for name, _, _ in budget.largest(net.module, 100)]
    assert any("scratch" in name for name in names)


def test_the_page_has_what_was_to_be_reached() -> None:
    """Of the figures that were measured on emulated boards."""
    rows = {(row["case"], row["recipe"], row["board"]): row for row in json.loads(FIGURES.read_text())["rows"]}
    for board in SMALLEST_ON:
        small = rows["smallest", "64-32-10", board]
        assert small["measured"] + small["stack"] <= MOST * memory_page.FLOAT_WEIGHTS
    assert rows["keywords", "ds-cnn-by-block", "mps2-an386"]["measured"] < 43_200
    for kind in ("dense", "conv"):
        deep = [rows["depth", f"mono-forward-{depth}-{kind}", "mps2-an386"] for depth in memory_cases.DEPTHS]
        assert len({row["arena_measured"] for row in deep}) == 1


def test_the_tables_of_the_page_are_those_of_the_figures() -> None:
    rows = json.loads(FIGURES.read_text())["rows"]
    page = text("docs/memory.md")
    assert memory_page.filled(page, rows) == page, "python -m edgelearn.bench.memory_page"
    assert not [row["name"] for row in rows if row["agrees"] is False]
