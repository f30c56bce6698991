"""The tools that write images into boards: how each is called, what it must be told, how to get it.

A board file names its tools in ``programmer``, the most usual first: ``["st-flash", "openocd board/st_nucleo_f4.cfg"]``.
The first word is a row of ``TOOLS``; the words after it are what that tool must know of the board.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Protocol

from edgelearn.errors import ConfigError
from edgelearn.tomlfile import nearest

COPY = ""  # the program of a board that is a drive: nothing but a copy


class Board(Protocol):
    """What we need to know of a board (see edgelearn.boards.Board)."""

    @property
    def id(self) -> str: ...
    @property
    def programmer(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Tool:
    """One way to write an image. ``{image}``, ``{port}`` and ``{0}``, ``{1}`` (the board's words) are filled in."""

    program: str
    format: str  # of the image it takes: elf, hex or uf2
    words: tuple[str, ...]  # what a board file says after its name, the last as often as needed if it ends in ...
    commands: tuple[tuple[str, ...], ...]
    debian: str = ""
    macos: str = ""
    windows: str = ""

    @property
    def needs_port(self) -> bool:
        return any("{port}" in word for command in self.commands for word in command)

    @property
    def get(self) -> str:
        """How to get it on this computer."""
        return {"darwin": self.macos, "win32": self.windows}.get(sys.platform, self.debian)


_PYOCD = "pip install pyocd"
_NORDIC = "https://www.nordicsemi.com/Products/Development-tools/nRF-Util"
_PROBE_RS = "https://probe.rs/docs/getting-started/installation"
_CUBE = "https://www.st.com/en/development-tools/stm32cubeprog.html"
_PICOTOOL = "https://github.com/raspberrypi/pico-sdk-tools/releases"

TOOLS = {
    "drive": Tool(COPY, "hex", ("LABEL", "ID..."), ()),
    "uf2": Tool(COPY, "uf2", ("LABEL", "FAMILY", "ID..."), ()),
    "st-flash": Tool(
        "st-flash", "hex", (), (("st-flash", "--reset", "--format", "ihex", "write", "{image}"),),
        "sudo apt-get install stlink-tools", "brew install stlink", "https://github.com/stlink-org/stlink/releases",
    ),
    "openocd": Tool(
        "openocd", "elf", ("SCRIPT",), (("openocd", "-f", "{0}", "-c", "program {{{image}}} verify reset exit"),),
        "sudo apt-get install openocd", "brew install open-ocd",
        "https://github.com/xpack-dev-tools/openocd-xpack/releases",
    ),
    "stm32cubeprogrammer": Tool(
        "STM32_Programmer_CLI", "hex", (), (("STM32_Programmer_CLI", "-c", "port=SWD", "-w", "{image}", "-v", "-rst"),),
        _CUBE, _CUBE, _CUBE,
    ),
    "nrfutil": Tool(
        "nrfutil", "hex", (),
        ((
            "nrfutil", "device", "program", "--firmware", "{image}", "--options",
            "chip_erase_mode=ERASE_RANGES_TOUCHED_BY_FIRMWARE,verify=VERIFY_READ,reset=RESET_SYSTEM",
        ),),
        _NORDIC, _NORDIC, _NORDIC,
    ),
    "nrfjprog": Tool(
        "nrfjprog", "hex", ("FAMILY",),
        (("nrfjprog", "-f", "{0}", "--program", "{image}", "--sectorerase", "--verify", "--reset"),),
        _NORDIC, _NORDIC, _NORDIC,
    ),
    "probe-rs": Tool(
        "probe-rs", "elf", ("CHIP",),
        (("probe-rs", "download", "--chip", "{0}", "--verify", "{image}"), ("probe-rs", "reset", "--chip", "{0}")),
        _PROBE_RS, _PROBE_RS, _PROBE_RS,
    ),
    "pyocd": Tool(
        "pyocd", "hex", ("TARGET",), (("pyocd", "load", "--no-wait", "--target", "{0}", "{image}"),),
        _PYOCD, _PYOCD, _PYOCD,
    ),
    "picotool": Tool(
        "picotool", "elf", (), (("picotool", "load", "-v", "-x", "{image}"),),
        _PICOTOOL, "brew install picotool", _PICOTOOL,
    ),
    "avrdude": Tool(
        "avrdude", "hex", ("PART", "PROGRAMMER", "BAUD"),
        (("avrdude", "-p", "{0}", "-c", "{1}", "-P", "{port}", "-b", "{2}", "-D", "-U", "flash:w:{image}:i"),),
        "sudo apt-get install avrdude", "brew install avrdude", "https://github.com/avrdudes/avrdude/releases",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Way:
    """A tool with what it must know of one board."""

    name: str  # in TOOLS
    words: tuple[str, ...]

    @property
    def tool(self) -> Tool:
        return TOOLS[self.name]

    @property
    def is_drive(self) -> bool:
        return self.tool.program == COPY

    def __str__(self) -> str:
        """As people call it: a drive by its label."""
        return f"the drive {self.words[0]}" if self.is_drive else self.tool.program


def ways(board: Board) -> tuple[Way, ...]:
    """Every tool that writes this board, the most usual first; none if nothing is to be written.

    Raises:
        ConfigError: its file names a tool that we do not know, or too few words for one.
    """
    return tuple(_way(board, text) for text in board.programmer)


def _way(board: Board, text: str) -> Way:
    name, *words = text.split() or [""]
    told = f"The board file of {board.id}: programmer has '{text}'"
    if name not in TOOLS:
        raise ConfigError(f"{told}, which is no tool that we know.", nearest(name, tuple(TOOLS)))
    wanted = TOOLS[name].words
    least = sum(not word.endswith("...") for word in wanted)
    if len(words) < least or (len(words) > len(wanted) and least == len(wanted)):
        raise ConfigError(f"{told}, which says too much or too little.", f'Write "{" ".join((name, *wanted))}".')
    return Way(name, tuple(words))
