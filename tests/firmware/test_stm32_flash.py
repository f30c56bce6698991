"""The flash drivers of the STM32, which no emulator can run: against a model of the controller, written from its manual."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgelearn import boards
from edgelearn.boards import Board
from tests.firmware.host import FIRMWARE, HERE, compile_host

WITH_NV = tuple(board.id for board in boards.all_boards() if board.family == "stm32" and board.nv)
STM32 = FIRMWARE / "ports/stm32"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="maps memory at the addresses of the chip")


def compiled(folder: Path, board: Board, *more: str, driver: Path | None = None) -> Path:
    """The model around the driver of ``board``'s series."""
    series = next(define.removeprefix("SERIES=") for define in board.defines if define.startswith("SERIES="))
    figures = {"CLOCK": board.clock, "NV_BYTES": board.nv, "NV_PAGE": board.nv_page}
    defines = [f"-DEL_{name}={value}u" for name, value in figures.items()] + [f"-DEL_{d}" for d in board.defines]
    at = board.flash_at + board.flash - board.nv
    place = ["-fno-pie", "-no-pie", f"-Wl,--defsym=__nv_start={at:#x}", "-Wno-pointer-to-int-cast"]
    folders = [f"-I{HERE / 'stm32'}", f"-I{STM32}"]
    sources = [HERE / "stm32/flash_model.c", driver or STM32 / f"f{series}.c"]
    return compile_host(folder / "flash", sources, *place, *folders, *defines, *more)


def said(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, timeout=60, check=False).stdout.strip()


@pytest.mark.parametrize("board_id", WITH_NV)
def test_the_driver_does_what_the_manual_asks(tmp_path: Path, board_id: str) -> None:
    assert said(compiled(tmp_path, boards.load(board_id))) == "good"


@pytest.mark.parametrize(
    ("board_id", "right", "wrong", "complaint"),
    [
        ("nucleo-f103rb", "KEY2 0xCDEF89ABu", "KEY2 0xCDEF89AAu", "a wrong key locks the flash until reset"),
        ("nucleo-f103rb", "i += 2", "i += 4", "other bytes than were given"),
        ("nucleo-f103rb", "__nv_start + off);\n", "__nv_start + off + EL_NV_PAGE);\n", "an erase misses its page"),
        ("nucleo-f411re", "4u + ((uint32_t)", "3u + ((uint32_t)", "erases what is not its own"),
        ("nucleo-f411re", "CR_PROGRAM | CR_BY_32_BITS", "CR_PROGRAM", "programming fails"),
        ("nucleo-f411re", "  while (FLASH_SR & SR_BUSY) continue;\n", "", "while the flash is busy"),
        ("nucleo-f446re", "  FLASH_CR = CR_LOCK;\n  return", "  return", "programming leaves the flash open"),
    ],
)
def test_the_model_sees_a_wrong_driver(tmp_path: Path, board_id: str, right: str, wrong: str, complaint: str) -> None:
    board = boards.load(board_id)
    text = (STM32 / ("f1.c" if "SERIES=1" in board.defines else "f4.c")).read_text()
    assert right in text
    driver = tmp_path / "driver.c"
    driver.write_text(text.replace(right, wrong))
    assert complaint in said(compiled(tmp_path, board, driver=driver))
