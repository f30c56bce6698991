"""Boards: one flat, schema-checked TOML file each, ``boards/<id>.toml``."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

from edgelearn import tomlfile
from edgelearn.errors import NoBoardError
from edgelearn.paths import resource
from edgelearn.target import DTYPES, Target

DEFAULT = "sim"
TORCH = "torch"  # the family of the host: this computer, without firmware and link
PORTS = ("sim", "qemu", "serial", "tcp", "cpu", "cuda")
VERIFIED = ("hardware", "emulator", "built", "not built")


@dataclass(frozen=True)
class Board:
    """A thing on a desk. All sizes in bytes."""

    id: str
    name: str
    core: str
    family: str  # which firmware/ports/<family> runs on it, or TORCH
    ram: int
    flash: int
    dtypes: tuple[str, ...]
    ports: tuple[str, ...]  # ways to reach it, of PORTS
    verified: str  # how far it has been tried, of VERIFIED
    stack: int  # reserved for the stack
    link: int  # receive ring, frame buffers and control blocks
    plan_max: int  # largest plan that it takes over the link
    source: tuple[str, ...]  # where these figures come from
    usb: tuple[str, ...] = ()  # VID:PID of its serial port, hexadecimal
    baud: int = 115200
    cflags: tuple[str, ...] = ()
    prefix: str = ""  # of the cross compiler, "arm-none-eabi-"
    qemu_machine: str = ""  # "" where QEMU has no such machine

    @property
    def is_host(self) -> bool:
        """Is it this computer itself, which learns in batches and needs no plan?"""
        return self.family == TORCH

    @property
    def target(self) -> Target:
        """What the compiler needs to know of it."""
        return Target(self.id, self.dtypes, self.ram, self.flash, self.stack, self.link, self.plan_max)


_KEYS = tuple(f.name for f in fields(Board) if f.name != "id")  # the file's name is the id


def ids() -> tuple[str, ...]:
    """Every board's id, sorted, the default first."""
    return tuple(sorted((file.stem for file in resource("boards").glob("*.toml")), key=lambda i: (i != DEFAULT, i)))


def load(board_id: str) -> Board:
    """The board called ``board_id``.

    Raises:
        NoBoardError: there is no such board file.
        ConfigError: the file is wrong; the message names file and line.
    """
    known = ids()
    if board_id not in known:  # also keeps "../x" from being a path
        hint = tomlfile.nearest(board_id, known) + " `edgelearn boards` lists all."
        raise NoBoardError(f"There is no board '{board_id}'.", hint)
    return read(resource("boards") / f"{board_id}.toml")


def all_boards() -> tuple[Board, ...]:
    """Every board, the default first."""
    return tuple(load(board_id) for board_id in ids())


def read(path: Path) -> Board:
    """Reads and checks one board file.

    Raises:
        ConfigError: unknown or missing key, wrong type or impossible figure; names file and line.
    """
    table = tomlfile.read(path).table("", _KEYS)
    family = table.text("family")
    board = Board(
        id=path.stem,
        name=table.text("name"),
        core=table.text("core"),
        family=family,
        ram=table.integer("ram", low=1),
        flash=table.integer("flash", low=1),
        dtypes=table.texts("dtypes", one_of=DTYPES),
        ports=table.texts("ports", one_of=PORTS),
        verified=table.text("verified", one_of=VERIFIED),
        stack=table.integer("stack", low=0 if family == TORCH else 1),
        link=table.integer("link"),
        plan_max=table.integer("plan_max"),
        source=table.texts("source"),
        usb=table.texts("usb", ()),
        baud=table.integer("baud", 115200, low=300),
        cflags=table.texts("cflags", ()),
        prefix=table.text("prefix", ""),
        qemu_machine=table.text("qemu_machine", ""),
    )
    _check(board, table)
    return board


def _check(board: Board, table: tomlfile.Table) -> None:
    if len(board.id) > 16:  # el_hal.board has room for 16
        raise table.fault("", f"the id '{board.id}' is longer than 16 characters.", "Rename the file.")
    for usb in board.usb:
        if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", usb):
            raise table.fault("usb", f"'{usb}' is no VID:PID.", 'Write four lower-case hex digits each: "0d28:0204".')
    if board.target.pool <= 0:
        raise table.fault("ram", "stack and link leave no memory for a plan.", "Check ram, stack and link (bytes).")
    if "qemu" in board.ports and not board.qemu_machine:
        raise table.fault("ports", "'qemu' needs a machine.", "Add qemu_machine = ... (see qemu-system-arm -M help).")
