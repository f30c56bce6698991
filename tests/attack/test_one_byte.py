"""A board that is one byte too small: refused when it is compiled for, with the largest tensors named, and never when it runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgelearn import boards, images
from edgelearn.boards import Board
from edgelearn.cli import main
from edgelearn.errors import DoesNotFitError
from edgelearn.job import prepare
from edgelearn.passes import budget
from edgelearn.paths import resource
from edgelearn.recipe import Recipe, load

PLENTY = 1 << 24
BOARDS = ("sim", "microbit", "mps2-an386", "virt-rv32", "arduino-uno", "pico", "nucleo-f411re")
RULES = ("mono-forward", "forward-forward", "noprop", "backprop")
ALIGNMENT = 16  # of plan and state within the pool, 7 bytes each at most


def needed(board: Board, rule: str) -> int:
    """Bytes of RAM that a recipe needs there."""
    job = prepare(recipe(rule), replace(board, ram=PLENTY))
    return budget.needed(job.module, job.board.target, job.plan_bytes)


def recipe(rule: str) -> Recipe:
    given = load("digits-tiny")
    return replace(given, rule=replace(given.rule, name=rule, params={}), train=replace(given.train, epochs=1))


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("rule", RULES)
def test_one_byte_of_ram_decides(name: str, rule: str) -> None:
    board = boards.load(name)
    need = needed(board, rule)
    assert prepare(recipe(rule), replace(board, ram=need)).module
    with pytest.raises(DoesNotFitError) as caught:
        prepare(recipe(rule), replace(board, ram=need - 1))
    first, parts, _, *table = caught.value.message.splitlines()
    assert f"needs {need:,} bytes of RAM, {name} has {need - 1:,}" in first
    assert sum(int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", parts)) == need
    sizes = [int(line.split()[0].replace(",", "")) for line in table]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == budget.LARGEST


@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_the_command_line_says_it_with_exit_code_9(
    dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A board file of one's own, one byte short, and with that byte."""
    board = boards.load("sim")
    job = prepare("digits-tiny", replace(board, ram=PLENTY), dtype=dtype)
    need = budget.needed(job.module, job.board.target, job.plan_bytes)
    text = (resource("boards") / "sim.toml").read_text()
    for short in (1, 0):
        file = tmp_path / "own.toml"
        file.write_text(re.sub(r"(?m)^ram = .*$", f"ram = {need - short}", text))
        code = main(["export", "digits-tiny", "--board", str(file), "--dtype", dtype, "-o", str(tmp_path), "--json"])
        told = json.loads(capsys.readouterr().out)
        assert code == (9 if short else 0), told
        if short:
            assert told["error"]["kind"] == "does-not-fit"
            assert "The largest tensors" in told["error"]["message"]
            assert not (tmp_path / "digits-tiny.plan").exists()


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["microbit", "mps2-an386"])
def test_what_the_compiler_lets_pass_the_board_has_room_for(name: str) -> None:
    """The compiler reckons with what a board file sets aside; the image leaves at least as much, alignment included."""
    board = boards.load(name)
    assert images.build(board).pool_bytes >= board.target.pool + ALIGNMENT


@pytest.mark.slow
@pytest.mark.qemu
def test_one_byte_of_flash_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = boards.load("mps2-an386")
    image = images.build(board)
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path))
    need = image.text + image.data + board.nv
    assert images.build(replace(board, flash=need)).text == image.text
    with pytest.raises(DoesNotFitError, match=r"needs \d+ bytes of flash more") as caught:
        images.build(replace(board, flash=need - 1))
    assert caught.value.exit_code == 9
