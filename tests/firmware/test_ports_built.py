"""Images of chips that no emulator has: what the chip looks at first is where it looks, and everything is in its memories.

Those that an emulator has are looked at too: so this test is known to pass for images that run.
"""

from __future__ import annotations

import re
import struct
import subprocess
import time
from pathlib import Path

import pytest

from edgelearn import boards, elffile, images, uf2
from edgelearn.boards import Board
from edgelearn.link.children import QemuTransport
from tests import emulated

ALL = {board.id: board for board in boards.all_boards()}
CORTEX_M = tuple(i for i in emulated.BUILT if ALL[i].prefix == "arm-none-eabi-")
RISC_V = tuple(i for i in emulated.BUILT if ALL[i].prefix == "riscv64-unknown-elf-")
RESTARTED = ("microbit", "mps2-an386", "hifive1", "virt-rv32")
SYMBOL = re.compile(r"^([0-9a-f]+) (\w) (\S+)$", re.MULTILINE)
BOOT2 = 256
pytestmark = pytest.mark.slow


def flash(board: Board) -> bytes:
    """What is in its flash, from its first address on; nothing is in the part for the state."""
    content = bytearray()
    for segment in elffile.segments(images.build(board).path):
        at = segment.address - board.flash_at
        assert at >= len(content)
        content[len(content) :] = b"\xff" * (at - len(content)) + segment.data
    assert len(content) <= board.flash - board.nv
    return bytes(content)


def symbols(board: Board) -> dict[str, int]:
    listing = subprocess.run(
        [board.prefix + "nm", images.build(board).path], capture_output=True, text=True, check=True
    ).stdout
    return {name: int(address, 16) for address, _, name in SYMBOL.findall(listing)}


def check_vectors(board: Board) -> None:
    """As a Cortex-M reads them: stack pointer, entry, faults, the one interrupt."""
    content, names = flash(board), symbols(board)
    start = BOOT2 if board.family == "rp2040" else 0
    irq = next(int(define.partition("=")[2], 0) for define in board.defines if define.startswith("UART_IRQ="))
    table = struct.unpack_from(f"<{16 + irq + 1}I", content, start)
    assert table[0] == names["__stack_top"] == board.ram_at + board.stack
    assert table[1] == names["Reset_Handler"] | 1
    assert {vector for vector in table[2:7] if vector} == {names["Fault_Handler"] | 1}
    assert table[3] != 0, "hard faults"
    assert table[16 + irq] == names["Uart_IRQHandler"] | 1
    assert not any(table[16 : 16 + irq])
    code = range(board.flash_at + start, board.flash_at + len(content))
    assert all(vector in code for vector in table[1:] if vector)
    alignment = 1 << (len(table) * 4 - 1).bit_length()  # of the vector table, in VTOR
    assert (board.flash_at + start) % alignment == 0


def check_start(board: Board) -> None:
    """A RISC-V core begins with the first instruction."""
    names = symbols(board)
    assert len(flash(board)) > 0
    assert names["_start"] == board.flash_at
    assert names["Trap_Vector"] % 4 == 0  # mtvec's lowest two bits are no address
    assert names["__stack_top"] == board.ram_at + board.stack


def check_memories(board: Board) -> None:
    built = images.build(board)
    assert len(flash(board)) > 0
    names = symbols(board)
    assert names["__stack_limit"] == board.ram_at
    assert board.ram_at <= names["__bss_start"] <= names["__bss_end"] <= names["__pool_start"]
    assert names["__pool_end"] == board.ram_at + board.ram
    assert built.pool_bytes == names["__pool_end"] - names["__pool_start"]
    if board.nv:
        assert names["__nv_start"] == board.flash_at + board.flash - board.nv


@pytest.mark.parametrize("board_id", emulated.params(CORTEX_M))
def test_a_cortex_m_finds_its_vectors_and_all_is_in_its_memories(board_id: str) -> None:
    check_vectors(ALL[board_id])
    check_memories(ALL[board_id])


@pytest.mark.parametrize("board_id", emulated.params(RISC_V))
def test_a_risc_v_core_finds_its_start_and_all_is_in_its_memories(board_id: str) -> None:
    check_start(ALL[board_id])
    check_memories(ALL[board_id])


def crc32_mpeg2(data: bytes) -> int:
    """The RP2040's sum of its second stage: CRC-32 with the usual polynomial, not reflected, not inverted."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C1_1DB7 if crc >> 31 else 0)) & 0xFFFF_FFFF
    return crc


def test_the_sum_itself() -> None:
    assert crc32_mpeg2(b"123456789") == 0x0376_E6E7  # the check value of CRC-32/MPEG-2


@pytest.mark.qemu
def test_the_rp2040_accepts_the_second_stage() -> None:
    content = flash(ALL["pico"])
    (said,) = struct.unpack_from("<I", content, BOOT2 - 4)
    assert said == crc32_mpeg2(content[: BOOT2 - 4]), "write this sum into ports/rp2040/boot2.c"


@pytest.mark.qemu
def test_the_rp2040_changes_its_flash_from_ram() -> None:
    board = ALL["pico"]
    assert symbols(board)["change_flash"] in range(board.ram_at, board.ram_at + board.ram)


@pytest.mark.qemu
def test_the_rp2040_s_drive_gets_all_of_the_image() -> None:
    board = ALL["pico"]
    segments = [(segment.address, segment.data) for segment in elffile.segments(images.build(board).path)]
    raw = uf2.encode(segments, uf2.RP2040)
    blocks = [raw[i : i + 512] for i in range(0, len(raw), 512)]
    assert struct.unpack_from("<I", blocks[0], 12)[0] == board.flash_at
    content = flash(board)
    assert b"".join(block[32:288] for block in blocks)[: len(content)] == content


APP = """
#include "port.h"

static void say(const el_hal *hal, char what) { hal->tx(hal->ctx, (const uint8_t *)&what, 1); }

int main(void) {
  const el_hal *hal = el_port_open();
  say(hal, 'a');
  for (uint32_t start = hal->now_us(hal->ctx); hal->now_us(hal->ctx) - start < 1000000u;) continue;
  say(hal, 'b');
  FAULT
  say(hal, 'c');
  for (;;) continue;
}
"""
TRAP = "__builtin_trap();"
NO_STACK = '__asm volatile("la sp, __stack_limit\\n sw zero, -4(sp)");'
PATIENCE_S = 30


def hear(line: QemuTransport, letters: int) -> tuple[bytes, list[float]]:
    """So many letters, and when each of them came."""
    heard, times = b"", []
    give_up = time.monotonic() + PATIENCE_S
    while len(heard) < letters and time.monotonic() < give_up:
        heard += line.read(1.0)
        times += [time.monotonic()] * (len(heard) - len(times))
    return heard[:letters], times


def restarts(board: Board, fault: str, folder: Path) -> tuple[bytes, list[float]]:
    """What the board says, and when, while its program runs into a fault again and again."""
    (folder / "app").mkdir()
    (folder / "app" / "main.c").write_text(APP.replace("FAULT", fault))
    elf = images.build_app(board, folder / "app").path
    line = QemuTransport(board.qemu_command(elf))
    try:
        return hear(line, 4)
    finally:
        line.close()


@pytest.mark.parametrize("board_id", emulated.params(RESTARTED))
def test_a_second_lasts_a_second_and_a_fault_restarts_the_board(board_id: str, tmp_path: Path) -> None:
    heard, times = restarts(ALL[board_id], TRAP, tmp_path)
    assert heard == b"abab"
    assert 0.9 < times[3] - times[2] < 10, "between 'a' and 'b': one of the board's seconds, on a busy computer"


@pytest.mark.qemu("riscv64-unknown-elf-")
def test_a_stack_that_left_the_memory_restarts_the_board_too(tmp_path: Path) -> None:
    """The fault's own handler has no stack then, and nothing lies below the RAM of this chip."""
    assert restarts(ALL["hifive1"], NO_STACK, tmp_path)[0] == b"abab"
