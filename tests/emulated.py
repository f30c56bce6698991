"""The boards that QEMU knows, as test parameters: a new board file is in every matrix by itself."""

from __future__ import annotations

import pytest
from _pytest.mark.structures import ParameterSet

from edgelearn import boards, build

EMULATED = tuple(board.id for board in boards.all_boards() if board.qemu_machine)
# An image with a plan compiled in is one of a recipe, not of its board: tests/firmware/test_avr.py.
BUILT = tuple(board.id for board in boards.all_boards() if board.family in build.FAMILIES and not board.has_plan)


def params(ids: tuple[str, ...], *marks: pytest.MarkDecorator) -> list[ParameterSet]:
    """A parameter for each board, skipped where its compiler and emulator are missing."""
    return [pytest.param(i, id=i, marks=[pytest.mark.qemu(boards.load(i).prefix), *marks]) for i in ids]
