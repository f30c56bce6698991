"""What the checkpoint refuses, what it does where reads and writes fail, and how many slots it looks at."""

from __future__ import annotations

import ctypes
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from edgelearn.host.hal import Hal
from edgelearn.host.native import library
from edgelearn.testing.power_cut import PowerCutFlash
from edgelearn_export.plan import format as F
from tests.fuzz.targets import plans
from tests.power.test_power_cut_flash import NONE, POOL, SEED, STATE, Board, state

ARG, DAMAGED, SIZE, NO_NV, FAILED = -1, -4, -5, -14, -15
HEADER, WORDS = 20, 64  # bytes of a slot's header; words of a state, the last one partly filled
SLOT = 1024


class Failing(PowerCutFlash):
    """Flash whose reads or programs fail where ``fails`` says so: (offset, bytes)."""

    fails: Callable[[int, int], bool] | None = None
    fails_to_program: Callable[[int, int], bool] | None = None

    def program(self, off: int, data: bytes) -> bool:
        return not (self.fails_to_program and self.fails_to_program(off, len(data))) and super().program(off, data)

    def _hal_read(self, _: int, off: int, out: int, n: int) -> int:
        if self.fails and self.fails(off, n):
            return FAILED
        return super()._hal_read(_, off, out, n)


def test_without_a_context_a_plan_or_a_flash_there_is_nothing_to_save() -> None:
    lib = library()
    board = Board(PowerCutFlash())
    unopened = np.zeros(lib.el_host_context_bytes(), np.uint8)
    for call in (lib.el_save, lib.el_load):
        assert call(None) == ARG
        assert call(unopened.ctypes.data) == ARG
        for hal in (None, Hal(), Hal(nv_bytes=8192), Hal(nv_page=1024)):
            with_hal(board, hal)
            assert call(board._el.ctypes.data) == NO_NV


def with_hal(board: Board, hal: Hal | None) -> None:
    """The same board with another flash: a context starts with the address of its hal."""
    board._other = hal  # type: ignore[attr-defined]  # kept as long as the board
    address = ctypes.addressof(hal) if hal is not None else 0
    board._el[: ctypes.sizeof(ctypes.c_void_p)] = np.frombuffer(address.to_bytes(8, "little"), np.uint8)


ONE_OR_TWO = [(512, 256, SIZE), (768, 256, SIZE), (1024, 256, 0), (2 * 272, 272, SIZE), (2 * 276, 276, 0)]


@pytest.mark.parametrize(("nv_bytes", "page", "code"), ONE_OR_TWO)
def test_one_slot_is_not_enough(nv_bytes: int, page: int, code: int) -> None:
    """A slot has 274 bytes, so 272 are two pages of a small size, and 276 one."""
    board = Board(PowerCutFlash(nv_bytes, page))
    assert board.save(state(1)) == code
    assert board.load_code() == (NONE if code == 0 and board.load() is None else code)


@pytest.mark.parametrize(("pages", "slots"), [(2, 2), (3, 3), (16, 16), (17, 16), (40, 16)])
def test_there_are_at_most_sixteen_slots(pages: int, slots: int) -> None:
    flash = PowerCutFlash(pages * SLOT, SLOT)
    board = Board(flash)
    for number in range(slots + 3):
        assert board.save(state(number)) == 0
        assert board.load() == state(number)
    assert (
        flash.wear == [2, 2, 2][:slots] + [1] * (slots - 3) + [0] * (pages - slots)
        if slots > 2
        else flash.wear == [3, 2]
    )


def test_a_slot_whose_header_cannot_be_read_is_passed_over() -> None:
    flash = Failing(4 * SLOT, SLOT)
    board = Board(flash)
    for number in range(3):
        assert board.save(state(number)) == 0
    flash.fails = lambda off, n: off == 2 * SLOT and n == HEADER
    assert board.load() == state(1)
    flash.fails = lambda off, n: n == HEADER
    assert board.load_code() == NONE


def test_a_slot_whose_state_cannot_be_read_is_passed_over() -> None:
    flash = Failing(4 * SLOT, SLOT)
    board = Board(flash)
    for number in range(3):
        assert board.save(state(number)) == 0
    flash.fails = lambda off, n: off > 2 * SLOT + HEADER and n != HEADER
    assert board.load() == state(1)
    flash.fails = lambda off, n: off == 2 * SLOT + HEADER + 224 and n == 30  # the last part of it
    assert board.load() == state(1)


def test_a_state_that_can_no_longer_be_read_whole_is_refused_and_begun_anew() -> None:
    """It was summed in parts; the reading that would be used fails."""
    flash = Failing(4 * SLOT, SLOT)
    board = Board(flash)
    first = board.state()
    assert board.save(state(1)) == 0
    board.restore(first)
    flash.fails = lambda off, n: n == STATE
    assert board.load_code() == DAMAGED
    assert board.state() == first
    assert board._lib.el_seed(board._el.ctypes.data) == SEED


@pytest.mark.parametrize("part", ["state", "last word", "header", "read back"])
def test_a_save_that_fails_in_any_part_takes_the_next_slot(part: str) -> None:
    flash = Failing(4 * SLOT, SLOT)
    board = Board(flash)
    assert board.save(state(0)) == 0
    fails: dict[str, Callable[[int, int], bool]] = {
        "state": lambda off, n: off == SLOT + HEADER and n > 4,
        "last word": lambda off, n: off == SLOT + HEADER + STATE // 4 * 4,
        "header": lambda off, n: off == SLOT and n == HEADER,
    }
    reads = 0

    def read_back(off: int, n: int) -> bool:
        nonlocal reads
        reads += off == SLOT and n == HEADER
        return off == SLOT and n == HEADER and reads > 1

    if part == "read back":
        flash.fails = read_back
    else:
        flash.fails_to_program = fails[part]
    assert board.save(state(1)) == 0
    flash.fails = flash.fails_to_program = None
    assert board.load() == state(1)
    assert flash.wear == [1, 1, 1, 0]


def test_where_no_slot_beside_the_newest_can_be_written_the_save_is_refused() -> None:
    flash = Failing(4 * SLOT, SLOT)
    board = Board(flash)
    assert board.save(state(0)) == 0
    flash.fails_to_program = lambda off, n: True
    assert board.save(state(1)) == FAILED
    assert flash.wear == [1, 1, 1, 1]  # each but the newest was tried, and that one not touched
    flash.fails_to_program = None
    assert board.load() == state(0)


def test_an_empty_flash_of_which_no_page_works_is_refused() -> None:
    flash = Failing(3 * SLOT, SLOT)
    flash.fails_to_program = lambda off, n: True
    board = Board(flash)
    assert board.save(state(0)) == FAILED
    assert flash.wear == [1, 1, 1]


@pytest.mark.parametrize("at", [0, 8, 12], ids=["magic", "plan", "state bytes"])
def test_a_state_of_another_kind_plan_or_size_is_none_of_ours(at: int) -> None:
    """Whole, with the right sum, but not for this plan: a slot of an earlier one."""
    flash = PowerCutFlash(2 * SLOT, SLOT)
    board = Board(flash)
    assert board.save(state(0)) == 0
    kept = bytes(flash.content)
    flash.content[at] ^= 1
    assert board.load_code() == NONE
    whole = bytes(flash.content[: HEADER - 4] + flash.content[HEADER : HEADER + STATE])
    flash.content[HEADER - 4 : HEADER] = zlib.crc32(whole).to_bytes(4, "little")
    assert board.load_code() == NONE
    flash.content[:] = kept
    assert board.load() == state(0)


def sized(rest: int) -> tuple[bytes, int]:
    """A plan whose slots, header and state, have so many bytes more than whole words; and how many they have."""
    for raw in plans().values():
        (size,) = struct.unpack_from("<I", raw, F.offsets("header")["state_bytes"])
        if (HEADER + size) % 4 == rest:
            return raw, HEADER + size
    raise AssertionError(f"no plan has a state of so many bytes: {rest} above whole words")


@pytest.mark.parametrize(
    ("rest", "page", "wear"), [(0, 0, [2, 1, 1, 0]), (0, 4, [2, 1, 1, 0]), (1, -1, [2, 2, 2, 2]), (1, 3, [2, 1, 1, 0])]
)
def test_a_slot_is_as_many_pages_as_it_needs(rest: int, page: int, wear: list[int]) -> None:
    """Four saves in memory for three slots of a page, or two of two pages."""
    plan, slot = sized(rest)
    flash = PowerCutFlash((4 if len(set(wear)) == 1 else 3) * (slot + page), slot + page)
    raw, pool = np.frombuffer(plan, np.uint8).copy(), np.zeros(POOL, np.uint8)
    hal, lib = flash.hal(), library()
    el = np.zeros(lib.el_host_context_bytes(), np.uint8)
    assert lib.el_open(el.ctypes.data, ctypes.byref(hal), raw.ctypes.data, len(raw), pool.ctypes.data, POOL, SEED) == 0
    for _ in range(4):
        assert lib.el_save(el.ctypes.data) == 0
    assert flash.wear == wear[: len(flash.wear)]
    assert lib.el_load(el.ctypes.data) == 0


def test_what_the_flash_holds_is_where_the_format_says() -> None:
    flash = PowerCutFlash(2 * SLOT, SLOT)
    board = Board(flash)
    for number in range(3):
        assert board.save(state(number)) == 0
    magic, sequence, plan_hash, size = (int.from_bytes(flash.content[at : at + 4], "little") for at in (0, 4, 8, 12))
    assert (magic, sequence, size) == (0x53534C45, 2, STATE)
    assert plan_hash == int.from_bytes(board._plan[-4:].tobytes(), "little")
    assert bytes(flash.content[HEADER : HEADER + STATE]) == state(2)
    assert bytes(flash.content[HEADER + STATE : HEADER + WORDS * 4]) == b"\xff" * 2
    assert int.from_bytes(flash.content[SLOT + 4 : SLOT + 8], "little") == 1
