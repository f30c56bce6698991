"""Board files: all load, wrong ones are explained, and a checkout's own files come first."""

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
    assert (board.family, board.qemu_machine, board.usb) == ("nrf51", "microbit", ("0d28:0204",))
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
