"""Flashing: the right program gets the right arguments, the right drive the right file, and everything else is explained.

No board was there: programs that write down how they were called stand for the tools, folders for the drives.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgelearn import boards, drives, flashing, images, programmers
from edgelearn.errors import ConfigError, EdgeLearnError, LinkLostError, NoBoardError
from tests.cli.conftest import ROOT, Cli
from tests.cli.documents import section, text
from tests.unit.test_elffile import make_elf, read_hex

CODE = bytes(range(200)) * 3
PATH = os.environ["PATH"]
Fake = Callable[..., Path]


@pytest.fixture
def elf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A linked image, as if it had been packaged: no cross compiler is needed. The cache is empty."""
    path = make_elf(tmp_path / "fw.elf", [(0x0800_0000, 0x0800_0000, CODE)])
    monkeypatch.setattr(images, "build", lambda board: SimpleNamespace(path=path))
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path / "cache"))
    return path


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What is plugged in by USB: serial ports and, by ``folder``, drives. None at first."""
    found: list[SimpleNamespace] = []
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [p for p in found if hasattr(p, "device")])
    monkeypatch.setattr(drives, "_mounts", lambda: [p.folder for p in found if hasattr(p, "folder")])
    return found


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts programs that write their arguments down on a PATH with nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, says: str = "", code: int = 0) -> Path:
        log = tmp_path / f"{name}.log"
        program = folder / name
        words = f'for word in "$@"; do printf "%s\\n" "$word" >>{log}; done; printf "%b" "{says}"; exit {code}'
        program.write_text(f"#!/bin/sh\n{words}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return log

    return make


def serial(usb: str, device: str = "/dev/ttyACM7") -> SimpleNamespace:
    vid, pid = (int(part, 16) for part in usb.split(":"))
    return SimpleNamespace(device=device, vid=vid, pid=pid, serial_number="1", description="")


def drive(folder: Path, **papers: str) -> SimpleNamespace:
    folder.mkdir(parents=True)
    for name, words in papers.items():
        (folder / f"{name}.TXT").write_text(words)
    return SimpleNamespace(folder=folder)


def written_by(*programmer: str, **other: str) -> boards.Board:
    return replace(boards.load("microbit"), programmer=programmer, **other)


# --- programs -------------------------------------------------------------------------------------------------------

CALLS = {
    "st-flash": ("st-flash", ["--reset", "--format", "ihex", "write", "HEX"]),
    "openocd board/st_nucleo_f4.cfg": (
        "openocd", ["-f", "board/st_nucleo_f4.cfg", "-c", "program {ELF} verify reset exit"],
    ),
    "stm32cubeprogrammer": ("STM32_Programmer_CLI", ["-c", "port=SWD", "-w", "HEX", "-v", "-rst"]),
    "nrfjprog NRF52": (
        "nrfjprog", ["-f", "NRF52", "--program", "HEX", "--sectorerase", "--verify", "--reset"],
    ),
    "nrfutil": (
        "nrfutil",
        [
            "device", "program", "--firmware", "HEX", "--options",
            "chip_erase_mode=ERASE_RANGES_TOUCHED_BY_FIRMWARE,verify=VERIFY_READ,reset=RESET_SYSTEM",
        ],
    ),
    "probe-rs nRF52840_xxAA": (
        "probe-rs",
        ["download", "--chip", "nRF52840_xxAA", "--verify", "ELF", "reset", "--chip", "nRF52840_xxAA"],
    ),
    "pyocd nrf52840": ("pyocd", ["load", "--no-wait", "--target", "nrf52840", "HEX"]),
    "picotool": ("picotool", ["load", "-v", "-x", "ELF"]),
    "avrdude atmega328p arduino 115200": (
        "avrdude",
        ["-p", "atmega328p", "-c", "arduino", "-P", "/dev/ttyACM7", "-b", "115200", "-D", "-U", "flash:w:HEX:i"],
    ),
}  # fmt: skip


def test_every_tool_has_its_call() -> None:
    drives_apart = {name for name, tool in programmers.TOOLS.items() if tool.program}
    assert {text.split()[0] for text in CALLS} == drives_apart


@pytest.mark.parametrize("programmer", CALLS)
def test_a_tool_is_called_as_its_owners_call_it(
    programmer: str, elf: Path, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path
) -> None:
    program, words = CALLS[programmer]
    log = fake(program)
    board = written_by(programmer)
    plugged.append(serial(board.usb[0]))
    planned = flashing.prepare(board, elf, flashing.choose(board))
    assert not log.exists(), "preparing touches no board"
    flashing.perform(planned, lambda part: None)
    file = tmp_path / "cache/flash/microbit.hex"
    wanted = [word.replace("HEX", str(file)).replace("ELF", str(elf)) for word in words]
    assert log.read_text().splitlines() == wanted
    if "HEX" in " ".join(words):
        assert read_hex(file.read_text()) == {0x0800_0000 + i: byte for i, byte in enumerate(CODE)}


def test_the_first_tool_that_is_here_does_it(elf: Path, fake: Fake, plugged: list[SimpleNamespace]) -> None:
    fake("pyocd")
    board = written_by("nrfjprog NRF52", "pyocd nrf52840", "probe-rs nRF52840_xxAA")
    assert flashing.choose(board).name == "pyocd"
    fake("nrfjprog")
    assert flashing.choose(board).name == "nrfjprog"
    assert flashing.choose(board, tool="pyocd").name == "pyocd"


@pytest.mark.parametrize(
    ("platform", "get"),
    [
        ("linux", "apt-get install stlink-tools"),
        ("darwin", "brew install stlink"),
        ("win32", "https://github.com/stlink"),
    ],
)
def test_a_missing_tool_is_named_with_the_way_to_it(
    platform: str, get: str, fake: Fake, plugged: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programmers.sys, "platform", platform)
    with pytest.raises(EdgeLearnError, match="st-flash or openocd must be installed") as caught:
        flashing.choose(written_by("st-flash", "openocd board/st_nucleo_f4.cfg"))
    assert caught.value.exit_code == 14
    assert get in caught.value.hint


def test_the_page_has_every_tool_as_the_code_has_it() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", text("docs/hardware.md"), re.MULTILINE
    )
    assert [row[0] for row in rows[1:]] == list(programmers.TOOLS)
    for name, program, form, debian, macos, windows in rows[1:]:
        tool = programmers.TOOLS[name]
        assert tool.program in program
        assert form in (f".{tool.format}", tool.format.upper())
        for shown, get in ((debian, tool.debian), (macos, tool.macos), (windows, tool.windows)):
            assert get in shown or shown == "the same"


def test_the_page_wires_every_board_that_people_own() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("docs/hardware.md", "3. Wire it"), re.MULTILINE)
    wired = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert wired == {board.id for board in boards.all_boards() if "serial" in board.ports and board.prefix}


def test_every_tool_can_be_got_everywhere() -> None:
    for name, tool in programmers.TOOLS.items():
        if tool.program:
            assert all(
                re.match(r"https://|sudo apt-get |brew |pip ", get) for get in (tool.debian, tool.macos, tool.windows)
            ), name


@pytest.mark.parametrize(("there", "error"), [(False, NoBoardError), (True, LinkLostError)])
def test_a_tool_that_fails_is_quoted(
    there: bool, error: type[EdgeLearnError], elf: Path, fake: Fake, plugged: list[SimpleNamespace]
) -> None:
    fake("st-flash", says="st-flash 1.7.0\\nWARN usb.c: Couldn't find any ST-Link devices\\nbye\\n", code=3)
    board = written_by("st-flash")
    if there:
        plugged.append(serial(board.usb[0]))
    heard: list[str] = []
    with pytest.raises(error, match="Couldn't find any ST-Link devices") as caught:
        flashing.perform(flashing.prepare(board, elf, flashing.choose(board)), heard.append)
    assert "bye" not in caught.value.message
    assert "st-flash 1.7.0" in "".join(heard), "the tool's own words are shown while it works"


def test_a_tool_that_fails_without_a_word(elf: Path, fake: Fake, plugged: list[SimpleNamespace]) -> None:
    fake("st-flash", code=9)
    board = written_by("st-flash", usb=())  # pyright: ignore[reportArgumentType]
    with pytest.raises(LinkLostError, match="exit status 9"):
        flashing.perform(flashing.prepare(board, elf, flashing.choose(board)), lambda part: None)


def test_a_boot_loader_behind_a_serial_port_must_be_plugged_in(
    elf: Path, fake: Fake, plugged: list[SimpleNamespace]
) -> None:
    log = fake("avrdude")
    board = written_by("avrdude atmega328p arduino 115200")
    with pytest.raises(NoBoardError, match="is plugged in"):
        flashing.prepare(board, elf, flashing.choose(board))
    named = flashing.prepare(board, elf, flashing.choose(board, "/dev/null"), "/dev/null")
    flashing.perform(named, lambda part: None)
    assert "/dev/null" in log.read_text().splitlines()
    with pytest.raises(NoBoardError, match="There is no /dev/ttyNONE"):
        flashing.prepare(board, elf, flashing.choose(board, "/dev/ttyNONE"), "/dev/ttyNONE")


# --- drives ---------------------------------------------------------------------------------------------------------


def test_a_micro_bit_is_a_drive(
    cli: Cli, elf: Path, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path
) -> None:
    folder = tmp_path / "media" / "MICROBIT"
    plugged.append(drive(folder, DETAILS="# DAPLink Firmware\nUnique ID: 9901000051864e45\nHIC ID: 97969901\n"))
    answer = cli("flash", "microbit")
    assert answer.code == 0, answer.err
    assert read_hex((folder / "microbit.hex").read_text())[0x0800_0000 + 5] == 5
    assert f"microbit.hex is on{folder}" in answer.out.replace("\n", "").replace("is on ", "is on")
    assert "edgelearn train digits --board microbit" in answer.out


def test_json_and_dry_run(cli: Cli, elf: Path, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path) -> None:
    folder = tmp_path / "MICROBIT"
    plugged.append(drive(folder))
    told = cli("flash", "microbit", "--dry-run", "--json").json
    assert (told["board"], told["tool"], told["drive"], told["done"]) == ("microbit", "drive", str(folder), False)
    assert not [key for key in told if f"`{key}`" not in section("docs/cli.md", "flash") and key != "schema"]
    assert list(folder.iterdir()) == []
    assert cli("flash", "microbit", "--dry-run").out == f"cp {told['file']} {folder}/\n"
    assert Path(told["file"]).is_file(), "the command that was printed can be typed"
    assert cli("flash", "microbit", "--json").json["done"] is True
    assert [file.name for file in folder.iterdir()] == ["microbit.hex"]


def test_dry_run_prints_one_line_that_a_shell_takes(
    cli: Cli, elf: Path, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGELEARN_CACHE", str(tmp_path / "a folder with spaces, long enough to be wrapped at eighty"))
    log = fake("pyocd")
    answer = cli("flash", "microbit", "--dry-run", "--tool", "pyocd")
    assert not log.exists()
    assert os.system(answer.out) == 0
    hex_file = log.read_text().splitlines()[-1]
    assert hex_file.endswith("eighty/flash/microbit.hex")
    assert Path(hex_file).is_file()


def test_no_drive(cli: Cli, elf: Path, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path) -> None:
    answer = cli("flash", "microbit", "--json")
    assert answer.code == 4
    assert "No drive called MICROBIT is there" in answer.json["error"]["message"]
    assert "--port" in answer.json["error"]["hint"]
    assert cli("flash", "microbit", "--port", str(tmp_path / "nowhere")).code == 4
    (tmp_path / "usb").mkdir()
    assert cli("flash", "microbit", "--port", str(tmp_path / "usb")).code == 0


def test_two_drives_are_listed(cli: Cli, elf: Path, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path) -> None:
    plugged += [drive(tmp_path / "MICROBIT"), drive(tmp_path / "MICROBIT1"), drive(tmp_path / "MICROBITS")]
    answer = cli("flash", "microbit")
    assert answer.code == 5
    assert re.findall(r"--port (\S+)", answer.err) == [str(tmp_path / "MICROBIT"), str(tmp_path / "MICROBIT1")]


def test_a_drive_of_another_board_is_refused(
    cli: Cli, elf: Path, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path
) -> None:
    """Both generations of the micro:bit show a drive of the same name; only one of them runs this image."""
    plugged.append(drive(tmp_path / "MICROBIT", DETAILS="Unique ID: 9904360258824e45\n"))
    answer = cli("flash", "microbit")
    assert answer.code == 6
    assert "calls itself 9904" in answer.err
    assert not (tmp_path / "MICROBIT" / "microbit.hex").exists()


def test_a_full_drive(elf: Path, plugged: list[SimpleNamespace], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    plugged.append(drive(tmp_path / "MICROBIT"))
    (tmp_path / "MICROBIT" / "microbit.hex").symlink_to("/dev/full")
    board = written_by("drive MICROBIT")
    with pytest.raises(EdgeLearnError, match="does not fit") as caught:
        flashing.perform(flashing.prepare(board, elf, flashing.choose(board)), lambda part: None)
    assert caught.value.exit_code == 13


def test_a_drive_that_goes_with_the_last_byte_has_taken_it(
    elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A boot loader restarts the board as soon as it has all: then there is nothing left to wait for."""
    folder = tmp_path / "RPI-RP2"
    folder.mkdir()

    def gone(descriptor: int) -> None:
        (folder / "fw.elf").unlink()
        folder.rmdir()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", gone)
    drives.copy(elf, folder)
    folder.mkdir()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(LinkLostError, match="Input/output error"):
        drives.copy(elf, folder)


def test_mounted_drives_are_found_by_their_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "/dev/sda1 / ext4 rw 0 0\n/dev/sdb /media/me/MICROBIT vfat rw 0 0\n/dev/sdc /run/media/a\\040b/RPI-RP2 vfat rw 0 0\n"
    monkeypatch.setattr(drives.sys, "platform", "linux")
    monkeypatch.setattr(Path, "read_text", lambda self, **how: table)
    assert drives.find("MICROBIT") == [Path("/media/me/MICROBIT")]
    assert drives.find("RPI-RP2") == [Path("/run/media/a b/RPI-RP2")]
    assert drives.find("MICRO") == []


def test_a_pico_is_a_drive_for_uf2(
    cli: Cli, elf: Path, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path
) -> None:
    plugged.append(
        drive(tmp_path / "RPI-RP2", INFO_UF2="UF2 Bootloader v2.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
    )
    answer = cli("flash", "pico", "--json")
    assert answer.code == 0, answer.out
    (file,) = (tmp_path / "RPI-RP2").glob("*.uf2")
    block = file.read_bytes()[:512]
    assert struct.unpack_from("<8I", block)[:2] == (0x0A324655, 0x9E5D5157)
    assert struct.unpack_from("<8I", block)[3] == 0x0800_0000
    assert struct.unpack_from("<8I", block)[7] == 0xE48B_FF56
    assert block[32 : 32 + 256] == CODE[:256]


def test_a_family_that_is_no_number(elf: Path) -> None:
    board = written_by("uf2 RPI-RP2 rp2040")
    with pytest.raises(ConfigError, match="UF2 family 'rp2040'"):
        flashing.prepare(board, elf, programmers.ways(board)[0], str(elf.parent))


# --- boards that nothing is written to, and wrong words ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "said", "remedy"),
    [
        (("flash", "sim"), 2, "needs no firmware", "edgelearn train digits --board sim"),
        (("flash", "host"), 2, "needs no firmware", "--board host"),
        (("flash", "mps2-an386"), 2, "lives in an emulator: there is nothing to write", "--port qemu"),
        (("flash", "teensy41"), 2, "Arduino's tools", "docs/arduino.md"),
        (("flash", "nosuch"), 4, "There is no board 'nosuch'", "edgelearn boards"),
        (("flash", "microbit", "--tool", "st-flash"), 2, "is not written by 'st-flash'", "drive, pyocd"),
        (("flash", "microbit", "--port", "/dev/ttyACM0"), 2, "is no port by which", "folder of the drive"),
        (("flash", "microbit", "--port", "/dev/ttyACM0", "--tool", "pyocd"), 2, "finds microbit by itself", "Leave"),
    ],
)
def test_nothing_to_write_is_said(
    cli: Cli, elf: Path, plugged: list[SimpleNamespace], args: tuple[str, ...], code: int, said: str, remedy: str
) -> None:
    answer = cli(*args, "--json")
    told = answer.json["error"]
    assert (answer.code, told["code"]) == (code, code)
    assert said in told["message"]
    assert remedy in told["hint"]


def test_a_board_file_without_a_programmer() -> None:
    with pytest.raises(EdgeLearnError, match="does not say what writes") as caught:
        flashing.choose(written_by())
    assert "programmer" in caught.value.hint


@pytest.mark.parametrize("text", ["st-flahs", "openocd", "avrdude atmega328p", "st-flash now", "", "uf2 RPI-RP2"])
def test_wrong_words_in_a_board_file(text: str) -> None:
    with pytest.raises(ConfigError, match="The board file of microbit") as caught:
        programmers.ways(written_by(text))
    assert caught.value.hint


@pytest.mark.parametrize("board_id", boards.ids())
def test_every_board_that_people_own_can_be_written(board_id: str) -> None:
    board = boards.load(board_id)
    able = programmers.ways(board)
    if "serial" in board.ports and board.family != boards.ARDUINO and not board.is_linux:
        assert able, f"boards/{board_id}.toml names no programmer"
    for way in able:
        if way.tool.format == "uf2":
            int(way.words[1], 16)


@pytest.mark.qemu
def test_an_app_of_one_s_own(cli: Cli, plugged: list[SimpleNamespace], tmp_path: Path) -> None:
    plugged.append(drive(tmp_path / "MICROBIT"))
    app = ROOT / "firmware" / "examples" / "sensor"
    answer = cli("flash", "microbit", "--app", str(app), "--json")
    assert answer.code == 0, answer.out
    assert answer.json["next"] == []
    assert len(read_hex((tmp_path / "MICROBIT" / "microbit.hex").read_text())) > 4_000


def test_json_is_alone_on_standard_output(cli: Cli, elf: Path, fake: Fake, plugged: list[SimpleNamespace]) -> None:
    fake("pyocd", says="[====] 100%\\n")
    answer = cli("flash", "microbit", "--json")
    assert json.loads(answer.out)["done"] is True
    assert "100%" in answer.err


@pytest.mark.qemu
@pytest.mark.slow
def test_a_plan_that_is_compiled_in(cli: Cli, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path) -> None:
    """The recipe, with the flags that it will be trained with, is part of the image."""
    if shutil.which("avr-gcc", path=PATH) is None:
        pytest.skip("needs avr-gcc")
    log = fake("avrdude")
    os.environ["PATH"] += os.pathsep + PATH  # the compiler's, behind our avrdude; `fake` puts it back
    told = cli("flash", "arduino-uno", "digits-tiny", "--steps", "100", "--port", "/dev/null", "--json").json
    assert told["next"] == ["edgelearn train digits-tiny --board arduino-uno --steps 100"]
    assert f"flash:w:{told['file']}:i" in log.read_text()
    first = read_hex(Path(told["file"]).read_text())
    cli("flash", "arduino-uno", "digits-tiny", "--steps", "200", "--port", "/dev/null")
    assert read_hex(Path(told["file"]).read_text()) != first, "the rate's steps are in the plan"
    assert max(first) < boards.load("arduino-uno").flash


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("flash", "arduino-uno"), "has its plan compiled in, and no recipe is named"),
        (("flash", "microbit", "digits"), "no use for a recipe"),
        (("flash", "microbit", "--epochs", "3"), "no use for a recipe"),
        (("flash", "arduino-uno", "digits-tiny", "--app", "."), "a program of your own"),
    ],
)
def test_a_recipe_belongs_to_a_plan_that_is_compiled_in(
    cli: Cli, elf: Path, fake: Fake, plugged: list[SimpleNamespace], tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    plugged.append(drive(tmp_path / "MICROBIT"))
    fake("avrdude")
    answer = cli(*args, "--json")
    assert answer.code == 2
    assert said in answer.json["error"]["message"]
