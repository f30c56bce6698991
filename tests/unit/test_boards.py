"""Board files: all load, wrong ones are explained, and a checkout's own files come first."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgelearn import boards, paths
from edgelearn.errors import ConfigError, MissingToolError, NoBoardError

ROOT = Path(__file__).resolve().parents[2]


def test_all_load_with_the_default_first() -> None:
    found = boards.all_boards()
    assert found[0].id == boards.DEFAULT
    assert {"sim", "host", "microbit", "mps2-an386"} <= {board.id for board in found}
    assert [board.id for board in found if board.is_host] == ["host"]
    assert len({board.id for board in found}) == len(found)


def test_microbit_figures() -> None:
    board = boards.load("microbit")
    assert (board.ram, board.flash, board.dtypes) == (16_384, 262_144, ("int8",))
    assert (board.family, board.qemu_machine, board.usb) == ("nrf5x", "microbit", ("0d28:0204",))
    target = board.target
    assert target.pool == board.ram - board.stack - board.link
    assert target.pool > target.plan_max + 3_776, "64-32-32-10 in int8 must fit"


@pytest.mark.parametrize(("typed", "near"), [("microbitt", "'microbit'"), ("../sim", "'sim'"), ("xyzzy", "mps2-an386")])
def test_unknown_board(typed: str, near: str) -> None:
    with pytest.raises(NoBoardError) as caught:
        boards.load(typed)
    assert near in caught.value.hint
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("old", "new", "line", "message", "hint"),
    [
        ("ram = 16_384", 'ram = "16K"', 5, "'ram' must be a whole number", "ram ="),
        ("ram = 16_384", "ram = 1\nramm = 2", 6, "unknown key 'ramm'", "'ram'"),
        ("ram = 16_384", "ram = 2_048", 5, "no memory for a plan", "bytes"),
        ('"0d28:0204"', '"d28:204"', 13, "'d28:204' is no VID:PID", "hex"),
        ('"qemu", "serial"', '"qemu", "smoke"', 8, "'ports' has 'smoke'", "serial"),
        ('verified = "emulator"', 'verified = "yes"', 9, "'verified' is 'yes'", "not built"),
        ('qemu_machine = "microbit"', "", 8, "'qemu' needs a machine", "qemu_machine"),
        ("stack = 2_048", "stack = 0", 10, "'stack' is 0", "number from 1"),
        ('core = "cortex-m0"', "", 1, "the file has no 'core'", "core ="),
        ("ram_at = 0x2000_0000", "", 1, "the file has no 'ram_at'", "ram_at ="),
        ("clock = 16_000_000", "clock = 0", 22, "'clock' is 0", "number from 1"),
        (
            'prefix = "arm-none-eabi-"',
            'prefix = "arm-none-eab-"',
            16,
            "'arm-none-eab-' is no compiler",
            "arm-none-eabi-",
        ),
        ('optimize = "-Os"', 'optimize = "-O9"', 17, "'optimize' is '-O9'", "-O2"),
        ('"UART_IRQ=2"', '"uart irq"', 23, "'uart irq' is no define", "NAME=value"),
        ("nv = 16_384", "nv = 1_024", 20, "whole pages", "twice nv_page"),
        ("nv = 16_384", "nv = 262_144", 20, "no flash for the firmware", "less than flash"),
        ("nv_page = 1_024", "nv_page = 0", 20, "whole pages", "twice nv_page"),
    ],
)
def test_wrong_file(tmp_path: Path, old: str, new: str, line: int, message: str, hint: str) -> None:
    text = (ROOT / "boards" / "microbit.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        boards.read(path)
    assert f"mine.toml, line {line}:" in caught.value.message
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_qemu_needs_an_image(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((ROOT / "boards" / "sim.toml").read_text() + 'qemu_machine = "virt"\n')
    with pytest.raises(ConfigError, match="QEMU needs an image") as caught:
        boards.read(path)
    assert "avr-" in caught.value.hint


def test_the_copies_of_the_state_are_no_room_for_firmware() -> None:
    board = boards.load("microbit")
    assert board.target.flash == board.flash - board.nv == 245_760


def test_qemu_s_command() -> None:
    arm = boards.load("mps2-an386").qemu_command(Path("x.elf"))
    assert arm[:3] == ["qemu-system-arm", "-M", "mps2-an386"]
    assert arm[-2:] == ["-kernel", "x.elf"]
    more = replace(boards.load("mps2-an386"), prefix="avr-", qemu=("-smp", "1")).qemu_command(Path("x.elf"))
    assert (more[0], more[-4:]) == ("qemu-system-avr", ["-smp", "1", "-bios", "x.elf"])


def test_nobody_says_hardware_who_has_not_been_there() -> None:
    """None of us has run one. Who does changes this test, and says where the run is."""
    assert [board.id for board in boards.all_boards() if board.verified == "hardware"] == []


@pytest.mark.parametrize("board", [board for board in boards.all_boards() if board.prefix], ids=lambda board: board.id)
def test_a_board_with_an_image(board: boards.Board) -> None:
    assert board.verified == ("emulator" if board.qemu_machine else "built")
    assert ("qemu" in board.ports) == bool(board.qemu_machine)
    assert any(define.startswith("RING_BYTES=") for define in board.defines)
    sources = " ".join(board.source)
    assert all(word in sources for word in ("ram", "flash")), "which figure is from where?"


def test_an_id_must_fit_the_hello_message(tmp_path: Path) -> None:
    path = tmp_path / "a-board-with-a-long-name.toml"
    path.write_text((ROOT / "boards" / "sim.toml").read_text())
    with pytest.raises(ConfigError, match="longer than 16"):
        boards.read(path)


def test_the_checkout_comes_before_an_installed_copy() -> None:
    assert paths.resource("boards") == ROOT / "boards"
    assert paths.resource("firmware") == ROOT / "firmware"


def test_what_is_not_installed_is_said() -> None:
    with pytest.raises(MissingToolError, match="pip install") as caught:
        paths.native("no-such-program")
    assert caught.value.exit_code == 14
    with pytest.raises(MissingToolError):
        paths.resource("no-such-folder")
