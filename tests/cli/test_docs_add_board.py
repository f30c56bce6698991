"""The page that adds a board in 20 lines is typed as it stands, and the board's mistakes are explained."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from edgelearn import boards
from edgelearn.errors import ConfigError
from tests.cli.conftest import ROOT, Cli
from tests.cli.documents import blocks, run_shell, section, text, write_files

PAGE = "docs/add-a-board.md"
ID = "nucleo-f401re"
needs_compiler = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's folder with the page's file in it, on the reader's list of folders."""
    (tmp_path / "boards").mkdir()
    write_files(PAGE, tmp_path)
    monkeypatch.setenv("EDGELEARN_BOARDS", str(tmp_path / "boards"))
    return tmp_path


def test_the_file_has_twenty_lines(folder: Path) -> None:
    lines = (folder / "boards" / f"{ID}.toml").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 20
    assert ID not in {file.stem for file in (ROOT / "boards").glob("*.toml")}, "it is the reader's board, not ours"


@pytest.mark.qemu
@pytest.mark.slow
def test_the_page_can_be_typed(folder: Path) -> None:
    """All of it, in one shell; the two runs end in the same state."""
    script = "\n".join(block.text for block in blocks(PAGE, "sh") if block.note == "run")
    done = run_shell(script, folder)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "built, not run on hardware" in done.stdout
    assert f"64-32-32-10, mono-forward, int8, on {ID}" in done.stdout
    told = re.search(r"`(st-flash [^`]*) \.\.\./(nucleo-f401re\.hex)`", text(PAGE))
    assert told is not None
    assert re.search(rf"^{re.escape(told[1])} \S*/{re.escape(told[2])}$", done.stdout, re.MULTILINE), done.stdout
    states = re.findall(r"^ run .*, state (\w+)$", done.stdout, re.MULTILINE)
    assert len(states) == 2
    assert states[0] == states[1]


def test_a_board_of_one_s_own_is_a_board(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ID in {board["id"] for board in cli("boards", "--json").json["boards"]}
    assert cli("show", "digits", "--board", ID, "--json").json["board"] == ID
    monkeypatch.delenv("EDGELEARN_BOARDS")
    assert cli("boards", ID).code == 4
    by_file = cli("boards", str(folder / "boards" / f"{ID}.toml"), "--json").json["boards"]
    assert [board["id"] for board in by_file] == [ID]
    assert cli("show", "digits", "--board", str(folder / "boards" / f"{ID}.toml"), "--json").json["board"] == ID


@pytest.mark.qemu
@pytest.mark.slow
def test_a_run_remembers_a_board_of_one_s_own(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id, so that its folder must still be known, which is said."""
    file = folder / "boards" / f"{ID}.toml"
    more = 'qemu_machine = "netduinoplus2"\nqemu = ["-serial", "null"]\n'
    file.write_text(file.read_text().replace('ports = ["serial"', 'ports = ["qemu", "serial"') + more)
    run = cli("train", "digits-tiny", "--board", str(file), "--port", "qemu", "--steps", "40", "--json").json
    assert run["board"] == ID
    assert cli("infer", run["run"], "--json").code == 0
    monkeypatch.delenv("EDGELEARN_BOARDS")
    answer = cli("infer", run["run"], "--json")
    assert answer.code == 4
    assert "EDGELEARN_BOARDS" in answer.json["error"]["hint"]


# --- what is wrong is said ----------------------------------------------------------------------------------------


def test_a_second_board_of_the_same_name_is_refused(cli: Cli, folder: Path) -> None:
    second = folder / "boards" / "microbit.toml"
    shutil.copyfile(folder / "boards" / f"{ID}.toml", second)
    for args in (("boards",), ("show", "digits", "--board", str(second))):
        answer = cli(*args, "--json")
        assert answer.code == 3
        assert f"{second} has the name of another board" in answer.json["error"]["message"]
    second.unlink()
    shipped = ROOT / "boards" / "microbit.toml"
    assert cli("boards", str(shipped), "--json").code == 0, "the file itself is no second one"


def test_folders_that_are_not_there(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELEARN_BOARDS", f"{folder / 'boards'}:{folder / 'nowhere'}")
    answer = cli("boards", "--json")
    assert answer.code == 3
    assert f"EDGELEARN_BOARDS names {folder / 'nowhere'}, which is no folder" in answer.json["error"]["message"]
    missing = cli("show", "digits", "--board", "nowhere/my.toml", "--json")
    assert missing.code == 3


MISTAKES = [
    ("ram = 98_304", "ram = 98 KB", "is not valid TOML", "line"),
    ("ram = 98_304", "rma = 98_304", "unknown key 'rma'", "'ram'"),
    ('usb = ["0483:374b"]', 'usb = ["ST-Link"]', "no VID:PID", "hex digits"),
    ('prefix = "arm-none-eabi-"', 'prefix = "arm-none-"', "'arm-none-' is no compiler", "'arm-none-eabi-'"),
    ("UART=0x40004400", "UART at 0x40004400", "is no define", "NAME=value"),
    ('"serial", "tcp"]', '"serial", "qemu"]', "'qemu' needs a machine", "qemu_machine"),
    ('"st-flash"', '"st-flahs"', "no tool that we know", "'st-flash'"),
]


@pytest.mark.parametrize(("old", "new", "said", "remedy"), MISTAKES)
def test_a_mistake_in_the_file(cli: Cli, folder: Path, old: str, new: str, said: str, remedy: str) -> None:
    file = folder / "boards" / f"{ID}.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    answer = cli("boards", ID, "--json")
    assert answer.code == 3, answer.out
    told = answer.json["error"]
    assert said in told["message"]
    assert remedy in told["message"] + told["hint"]
    assert told["message"].count(". ") == 0, "one sentence"


BUILT_MISTAKES = [
    ('family = "stm32"', 'family = "stm23"', "no firmware image for the family 'stm23'", "stm32"),
    ('"UART=0x40004400", ', "", "does not say UART", "defines"),
    (', "RING_BYTES=2048"', "", "receive ring", "RING_BYTES"),
    ("clock = 84_000_000", "clock = 100_000_000", "168 or 84 MHz", "clock"),
    ("SERIES=4", "SERIES=7", "SERIES is 1 or 4", "defines"),
    ("UART=0x40004400", "UART=0x40011400", "UART is USART1, 2 or 3", "defines"),
    ("link = 3_200", "link = 1_000", "take 2", "Raise link"),
    ("stack = 4_096", "stack = 256", "may need", "Raise stack"),
]


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("old", "new", "said", "remedy"), BUILT_MISTAKES)
def test_a_mistake_that_the_build_finds(cli: Cli, folder: Path, old: str, new: str, said: str, remedy: str) -> None:
    file = folder / "boards" / f"{ID}.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    answer = cli("flash", ID, "--dry-run", "--json")
    assert answer.code in (3, 9), answer.out
    told = answer.json["error"]
    assert said in told["message"]
    assert remedy in told["message"] + told["hint"]
    assert "Traceback" not in answer.err


# --- its tables are those of the code --------------------------------------------------------------------------------


def test_every_key_is_named() -> None:
    table = section(PAGE, "Every key").split("| in `defines`")[0]
    named = {
        key for cells in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", cells)
    }
    assert named == set(boards._KEYS)


def test_every_define_is_named() -> None:
    """Those that a board file says; what else the C is told comes from the other keys."""
    table = section(PAGE, "Every key").split("| in `defines`")[1]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE)
    named = {name: where for names, where in rows for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", names)}
    said = {(define.split("=")[0], board.family) for board in boards.all_boards() for define in board.defines}
    assert {name for name, _ in said} <= set(named)
    read = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "firmware/ports").rglob("*.[ch]"))
    for name in set(named) - {name for name, _ in said}:  # a meter, a marker: what no board that we know has
        assert re.search(rf"\bEL_{name}\b", read), f"nothing reads {name}"
    for name, family in said:
        assert f"`{family}`" in named[name] or named[name] == "all" or "all but" in named[name], (name, family)


def test_the_example_agrees_with_its_relative(folder: Path) -> None:
    """What the two chips share is the same in both files."""
    mine = tomllib.loads((folder / "boards" / f"{ID}.toml").read_text())
    theirs = tomllib.loads((ROOT / "boards" / "nucleo-f411re.toml").read_text())
    for key in ("core", "family", "flash_at", "ram_at", "usb", "prefix", "cflags", "link"):
        assert mine[key] == theirs[key], key
    assert set(mine["defines"]) <= {define.split(" ")[0] for define in theirs["defines"]}


def test_wrong_boards_are_refused_from_python_too(folder: Path) -> None:
    (folder / "boards" / "bad.toml").write_text("name = 1\n")
    with pytest.raises(ConfigError, match=r"bad\.toml, line 1"):
        boards.load("bad")
    assert "bad" in boards.ids()
