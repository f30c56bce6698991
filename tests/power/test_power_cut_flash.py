"""``edgelearn.testing.PowerCutFlash`` keeps the rules of flash, and the installed runtime's checkpoint survives it."""

from __future__ import annotations

import ctypes
from typing import Any, get_args

import numpy as np
import pytest

from edgelearn.host.native import library
from edgelearn.testing.power_cut import Done, Order, PowerCutFlash
from tests.power.test_checkpoint import LARGE, plan

STATE, POOL, SEED = 254, 2048, 7
NOT_KEPT, NONE, DAMAGED = -15, -15, -4  # EL_ERR_NV, EL_ERR_NV, EL_ERR_CRC


class Board:
    """A context of the C core with a flash; ``state`` is its memory."""

    def __init__(self, flash: PowerCutFlash) -> None:
        self.flash, self._hal, self._lib = flash, flash.hal("sim"), library()
        self._plan = np.frombuffer(plan(LARGE), np.uint8).copy()
        self._pool, self._el = np.zeros(POOL, np.uint8), np.zeros(self._lib.el_host_context_bytes(), np.uint8)
        opened = self._lib.el_open(
            self._el.ctypes.data, ctypes.byref(self._hal), self._plan.ctypes.data, len(self._plan),
            self._pool.ctypes.data, POOL, SEED,
        )  # fmt: skip
        assert opened == 0

    def restore(self, state: bytes) -> None:
        raw = np.frombuffer(state, np.uint8)
        self._lib.el_host_write_state(self._el.ctypes.data, raw.ctypes.data)

    def save(self, state: bytes) -> int:
        self.restore(state)
        return int(self._lib.el_save(self._el.ctypes.data))

    def load(self) -> bytes | None:
        return None if self.load_code() else self.state()

    def load_code(self) -> int:
        return int(self._lib.el_load(self._el.ctypes.data))

    def state(self) -> bytes:
        out = np.zeros(STATE, np.uint8)
        self._lib.el_host_read_state(self._el.ctypes.data, out.ctypes.data)
        return out.tobytes()


class Unsure(PowerCutFlash):
    """Flash that is read right by those who look at it in parts; of whole states the first ``wrong`` ones come with a bit turned."""

    wrong = 0

    def read(self, off: int, n: int) -> bytes:
        data = super().read(off, n)
        if n != STATE or not self.wrong:
            return data
        self.wrong -= 1
        return bytes((*data[:7], data[7] ^ 1, *data[8:]))


def state(number: int) -> bytes:
    return np.random.default_rng(number).bytes(STATE)


@pytest.mark.parametrize("order", get_args(Order))
def test_a_cut_at_every_operation_leaves_old_or_new(order: Any) -> None:
    old, new = state(1), state(2)
    operations = 0
    ends = set[bytes]()
    while True:
        flash = PowerCutFlash(page=1024, order=order, seed=operations)
        board = Board(flash)
        assert board.save(old) == 0
        flash.cut(operations, get_args(Done)[operations % 3])
        code = board.save(new)
        flash.restore()
        found = board.load()
        assert found in (old, new) and not flash.faults
        ends.add(found)
        if code == 0:
            break
        operations += 1
    assert operations == 70 and ends == {old, new}


def test_a_state_that_was_not_kept_is_not_said_to_be() -> None:
    flash = PowerCutFlash(nv_bytes=2048, page=1024)
    flash.stick(8 * (1024 + 100), 0)  # in the second slot
    board = Board(flash)
    ones = b"\xff" * STATE
    assert board.save(ones) == 0
    assert board.save(ones) == NOT_KEPT
    assert board.load() == ones


def test_a_broken_page_is_passed_over() -> None:
    flash = PowerCutFlash(nv_bytes=4096, page=1024)
    flash.break_page(1)
    board = Board(flash)
    for number in range(9):
        assert board.save(state(number)) == 0
        assert board.load() == state(number)
    assert flash.wear == [3, 0, 3, 3]


def test_nothing_saved_is_nothing_loaded() -> None:
    board = Board(PowerCutFlash())
    first = board.state()
    assert board.load_code() == NONE
    assert board.state() == first


def test_what_was_verified_is_not_trusted_when_it_is_read_again() -> None:
    """The bytes that are used are summed, not those that were looked at before."""
    flash = Unsure()
    board = Board(flash)
    first = board.state()
    assert board.save(state(1)) == 0
    flash.wrong = 1
    assert board.load() == state(1)  # at the second try
    flash.wrong = 100
    board.restore(first)
    assert board.load_code() == DAMAGED
    assert board.state() == first  # of the same seed


# --- the flash itself


def test_erase_before_program() -> None:
    flash = PowerCutFlash(page=64, nv_bytes=128)
    assert flash.program(0, b"\x0f" * 4)
    assert not flash.faults
    assert flash.program(0, b"\xf0" * 4)  # only clears bits, and is told of
    assert flash.read(0, 8) == bytes(4) + b"\xff" * 4
    assert len(flash.faults) == 5
    assert flash.erase(0)
    assert flash.read(0, 4) == b"\xff" * 4 and flash.wear == [1, 0]


@pytest.mark.parametrize(("done", "there"), [("nothing", b"\xff" * 4), ("all", bytes(4))])
def test_a_cut_ends_everything_until_the_power_is_back(done: Done, there: bytes) -> None:
    flash = PowerCutFlash()
    flash.cut(1, done)
    assert not flash.program(0, bytes(12))
    assert flash.read(0, 12) == bytes(4) + there + b"\xff" * 4
    assert not flash.erase(0) and not flash.program(8, bytes(4))
    assert flash.operations == 2
    flash.restore()
    assert flash.erase(0) and flash.program(0, bytes(4))


def test_half_a_word_is_some_of_its_bits() -> None:
    flash = PowerCutFlash(seed=3)
    flash.cut(0, "half")
    flash.program(0, bytes(4))
    assert flash.read(0, 4) not in (bytes(4), b"\xff" * 4)


def test_stuck_bits_stick() -> None:
    flash = PowerCutFlash()
    flash.stick(0, 0)
    flash.stick(9, 1)
    flash.erase(0)
    assert flash.read(0, 2) == b"\xfe\xff"
    flash.program(0, bytes(4))
    assert flash.read(0, 2) == b"\x00\x02"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PowerCutFlash(100, 64),
        lambda: PowerCutFlash(order="any"),  # pyright: ignore[reportArgumentType]
        lambda: PowerCutFlash().cut(-1),
        lambda: PowerCutFlash().erase(4),
        lambda: PowerCutFlash().program(0, b"abc"),
        lambda: PowerCutFlash().read(8190, 4),
    ],
)
def test_wrong_use_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"must|not|beyond"):
        wrong()
