"""The two numbers that only grow: through page changes, and through a power cut at every operation."""

from __future__ import annotations

import pytest

from edgelearn.pairing import keys
from tests.pairing.board import Board

RECORDS = 2 * 256 // 16  # in both pages


def test_they_outlive_restarts_and_page_changes(board: Board, key: keys.Key) -> None:
    for n in range(1, 3 * RECORDS):
        assert board.c.pairing_raise(n // 5) == 0
        board.boot(key)
        assert (board.c.pairing_sequence(), board.c.pairing_floor()) == (n, n // 5)


@pytest.mark.parametrize("before", [0, 1, 14, 15, 16, 17, 31, 32, 47])
def test_a_power_cut_leaves_the_old_or_the_new(board: Board, key: keys.Key, before: int) -> None:
    """At every operation of a change, and then at every operation of the next one."""
    for first in range(3):
        for second in range(3):
            board.c.pairing_wipe_flash()
            board.boot(key)
            for n in range(before):
                assert board.c.pairing_raise(n) == 0
            seen = board.c.pairing_sequence()
            for cut in (first, second):
                board.c.pairing_limit_flash(cut)
                done = board.c.pairing_raise(1000) == 0
                board.boot(key)
                now = board.c.pairing_sequence()
                assert now == seen + 1 if done else now in (seen, seen + 1)
                assert board.c.pairing_floor() in (max(before - 1, 0), 1000)
                seen = now
            assert board.c.pairing_raise(2000) == 0
            board.boot(key)
            assert board.c.pairing_floor() == 2000


def test_checkpoints_keep_their_own_part(board: Board) -> None:
    assert board.c.pairing_own_flash() == 4 * 256 - 2 * 256


def test_a_page_that_takes_nothing_is_an_error(board: Board) -> None:
    board.c.pairing_limit_flash(0)
    assert board.c.pairing_raise(1) == -15
    assert board.c.pairing_floor() == 0
