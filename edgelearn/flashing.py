"""Writing an image into a board, by the tool that the board's owners use, called as a program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgelearn import drives, elffile, uf2
from edgelearn.boards import ARDUINO, Board
from edgelearn.errors import (
    AmbiguousBoardError,
    ConfigError,
    LinkLostError,
    MissingToolError,
    NoBoardError,
    StorageFullError,
    UsageError,
    WrongBoardError,
)
from edgelearn.link.discover import find_port, serial_boards
from edgelearn.paths import cache_dir
from edgelearn.programmers import Way, ways

_DEVICE = re.compile(r"COM\d+|/dev/.*", re.IGNORECASE)
_LAST_WORDS = 300
Echo = Callable[[str], None]


@dataclass(frozen=True)
class Flashing:
    """What is to be done: copy ``file`` to ``drive``, or call ``commands`` one after the other."""

    board: Board
    way: Way
    file: Path
    drive: Path | None
    commands: tuple[tuple[str, ...], ...]


def choose(board: Board, port: str | None = None, tool: str | None = None, here: bool = True) -> Way:
    """The first way to write ``board`` that can be gone now.

    Args:
        port: the folder of a drive, or a serial port; None: found by itself. tool: only this one, a name in ``TOOLS``.
        here: False: it is only to be shown, so that it may be a tool that is not installed.

    Raises:
        UsageError: there is nothing to write, or no such way to this board.
        NoBoardError: it is a drive, which is not there. MissingToolError: no tool for it is installed.
    """
    if not board.programmer:
        raise _nothing_to_write(board)
    able = [way for way in ways(board) if tool in (None, way.name) and _takes(way, port)]
    if not able:
        raise _no_such_way(board, port, tool)
    if ready := next((way for way in able if _is_here(way, port)), None):
        return ready
    if drive := next((way for way in able if way.is_drive), None):
        raise _no_drive(board, drive)
    if not here:
        return able[0]
    raise _no_tool(board, able)


def _is_here(way: Way, port: str | None) -> bool:
    if way.is_drive:
        return port is not None or bool(drives.find(way.words[0]))
    return shutil.which(way.tool.program) is not None


def _no_tool(board: Board, able: Sequence[Way]) -> MissingToolError:
    names = " or ".join(way.tool.program for way in able)
    first = able[0].tool
    hint = f"{first.program}: {first.get}" if len(able) > 1 else first.get
    return MissingToolError(f"To write the image to {board.id}, {names} must be installed.", hint)


def _takes(way: Way, port: str | None) -> bool:
    """Does this way go by the port that the user names? A probe or a drive is found without one."""
    if port is None:
        return True
    if way.is_drive:
        return not _DEVICE.fullmatch(port)
    return way.tool.needs_port and bool(_DEVICE.fullmatch(port))


def _nothing_to_write(board: Board) -> UsageError:
    try_it = f"edgelearn train digits --board {board.id}"
    if board.family == ARDUINO:
        problem = f"{board.id} is built and written by Arduino's tools, with edgelearn as a library."
        return UsageError(problem, "docs/arduino.md says how.")
    if not board.prefix:
        return UsageError(f"{board.id} needs no firmware: there is nothing to write.", try_it)
    if "serial" not in board.ports and board.qemu_machine:
        return UsageError(f"{board.id} lives in an emulator: there is nothing to write.", f"{try_it} --port qemu")
    add = 'Add programmer = ["..."] to its board file: docs/add-a-board.md'
    return UsageError(f"The board file of {board.id} does not say what writes an image to it.", add)


def _no_such_way(board: Board, port: str | None, tool: str | None) -> UsageError:
    named = [way.name for way in ways(board)]
    if tool is not None and tool not in named:
        return UsageError(f"{board.id} is not written by '{tool}'.", f"By: {', '.join(named)}.")
    meant = [way for way in ways(board) if tool in (None, way.name)]
    takers = " or ".join(map(str, meant))
    if not any(way.is_drive or way.tool.needs_port for way in meant):
        return UsageError(f"{takers} finds {board.id} by itself.", "Leave --port out.")
    wants = "the folder of the drive" if any(way.is_drive for way in meant) else "a serial port"
    return UsageError(
        f"'{port}' is no port by which {takers} writes {board.id}.", f"Give {wants}, or leave --port out."
    )


def _no_drive(board: Board, way: Way) -> NoBoardError:
    label = way.words[0]
    how = "hold BOOTSEL while you plug the board in" if way.tool.format == "uf2" else "plug the board in"
    return NoBoardError(
        f"No drive called {label} is there, which {board.id} would be.",
        f"To see it, {how} and wait until the drive is mounted; or name its folder: --port /media/.../{label}",
    )


def prepare(board: Board, image: Path, way: Way, port: str | None = None) -> Flashing:
    """Writes the file that the tool takes and fills in its command line; touches no board.

    Raises:
        NoBoardError, AmbiguousBoardError: the serial port or the drive cannot be found.
        WrongBoardError: the drive says that it is another board.
        StorageFullError: the file cannot be written.
    """
    file = _file(board, image, way)
    if way.is_drive:
        return Flashing(board, way, file, _drive(board, way, port), ())
    if port is not None and port.startswith("/dev/") and not Path(port).exists():  # avrdude might ask for it for ever
        raise NoBoardError(f"There is no {port}.", "`edgelearn doctor` lists the ports that are there.")
    port = port or (find_port(board) if way.tool.needs_port else "")
    filled = tuple(
        tuple(word.format(*way.words, image=file.as_posix(), port=port) for word in command)
        for command in way.tool.commands
    )
    return Flashing(board, way, file, None, filled)


def _file(board: Board, image: Path, way: Way) -> Path:
    if way.tool.format == "elf":
        return image
    loaded = elffile.segments(image)
    if way.tool.format == "uf2":
        raw = uf2.encode([(s.address, s.data) for s in loaded], _family(board, way))
    else:
        raw = elffile.intel_hex(loaded).encode()
    path = cache_dir() / "flash" / f"{board.id}.{way.tool.format}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    except OSError as error:
        raise StorageFullError(f"Cannot write {path}: {error.strerror}.", "Set EDGELEARN_CACHE to a folder.") from error
    return path


def _family(board: Board, way: Way) -> int:
    """By which a boot loader knows that a file is for its chip."""
    try:
        return int(way.words[1], 16)
    except ValueError:
        problem = f"The board file of {board.id}: programmer has the UF2 family '{way.words[1]}'."
        raise ConfigError(problem, "Write it in hexadecimal: e48bff56.") from None


def _drive(board: Board, way: Way, port: str | None) -> Path:
    if port is not None and not Path(port).is_dir():
        raise NoBoardError(
            f"{port} is no folder.", f"Give the folder of the drive {way.words[0]}, or leave --port out."
        )
    found = [Path(port)] if port is not None else drives.find(way.words[0])
    if not found:
        raise _no_drive(board, way)
    if len(found) > 1:
        listed = "".join(f"\n     --port {folder}" for folder in found)
        raise AmbiguousBoardError(f"{len(found)} drives are called {way.words[0]}.", f"Add one of:{listed}")
    fits = way.words[sum(not word.endswith("...") for word in way.tool.words) :]
    said = drives.identity(found[0])
    if fits and said and not said.startswith(fits):
        raise WrongBoardError(
            f"The board behind {found[0]} is no {board.name}: it calls itself {said[:16]}.",
            f"A {board.name} begins with {' or '.join(fits)}. `edgelearn boards` lists the others.",
        )
    return found[0]


def perform(flashing: Flashing, echo: Echo) -> None:
    """Writes the board; ``echo`` is told what the tool says.

    Raises:
        NoBoardError: the tool failed and no such board is plugged in. LinkLostError: it failed otherwise.
    """
    if flashing.drive is not None:
        drives.copy(flashing.file, flashing.drive)
        return
    for command in flashing.commands:
        code, said = _call(command, echo)
        if code:
            raise _failed(flashing.board, command[0], code, said)


def _call(command: Sequence[str], echo: Echo) -> tuple[int, str]:
    """Exit code and last words of a program, told on while it speaks: some take a minute."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        raise MissingToolError(f"Cannot start {command[0]}: {error.strerror}.", "edgelearn doctor") from error
    assert process.stdout is not None
    said = ""
    with process:
        while part := os.read(process.stdout.fileno(), 4096).decode(errors="replace"):
            echo(part)
            said = (said + part)[-4096:]
    return process.returncode, said


def _failed(board: Board, program: str, code: int, said: str) -> NoBoardError | LinkLostError:
    lines = [line.strip() for line in said.replace("\r", "\n").splitlines() if line.strip()]
    words = "; ".join(_complaints(lines))[:_LAST_WORDS] or f"exit status {code}"
    if board.usb and not serial_boards([board]):
        return NoBoardError(f"No {board.id} is plugged in, and {program} says: {words}", "Plug it in; then again.")
    return LinkLostError(
        f"{program} could not write {board.id}: {words}",
        "Is it plugged in, and nothing else using it? On Linux: edgelearn doctor --udev",
    )


def _complaints(lines: Sequence[str]) -> Iterable[str]:
    """The lines that say what went wrong, as tools write them; else the last one."""
    wrong = [
        line for line in lines if re.search(r"error|fail|cannot|couldn't|unable|no .*(device|probe|board)", line, re.I)
    ]
    return wrong[:2] or lines[-1:]
