"""Boards: one flat, schema-checked TOML file each, ``boards/<id>.toml``, or a file of the user's own."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path

from edgelearn import tomlfile
from edgelearn.errors import ConfigError, NoBoardError
from edgelearn.paths import resource
from edgelearn.target import DTYPES, Target
from edgelearn.toolchains import TOOLCHAINS, Toolchain

DEFAULT = "sim"
OWN = "EDGELEARN_BOARDS"  # folders with board files of the user's own, separated as in PATH
ARDUINO = "arduino"  # the family of boards that a vendor's Arduino core is for: our library, and no image of ours
LINUX = "linux"  # the family of boards that run Linux: `edgelearn agent` is their firmware
TORCH = "torch"  # the family of the host: this computer, without firmware and link
PORTS = ("sim", "qemu", "serial", "tcp", "cpu", "cuda")
COMPILED_IN = "compiled in"
PLANS = ("over the link", COMPILED_IN)
VERIFIED = ("hardware", "emulator", "built", "not built")
OPTIMIZE = ("-Os", "-O1", "-O2", "-O3")
_DEFINE = re.compile(r"[A-Z][A-Z0-9_]*(=\S+)?")
_QUIET = ("-display", "none", "-monitor", "none", "-parallel", "none")


@dataclass(frozen=True)
class Board:
    """A thing on a desk, as its file says; docs/add-a-board.md has what each key means. Sizes are bytes, clocks Hz."""

    id: str
    name: str
    core: str
    family: str  # which firmware/ports/<family> runs on it, or ARDUINO, LINUX, TORCH
    ram: int
    flash: int
    dtypes: tuple[str, ...]
    ports: tuple[str, ...]  # ways to reach it, of PORTS
    verified: str  # how far it has been tried, of VERIFIED
    stack: int  # reserved for the stack
    link: int  # receive ring, frame buffers and control blocks
    plan_max: int  # largest plan that it takes
    source: tuple[str, ...]  # where these figures come from
    usb: tuple[str, ...] = ()  # VID:PID of its serial port, hexadecimal
    baud: int = 115200
    plan: str = PLANS[0]  # how it comes to its plan, of PLANS
    cflags: tuple[str, ...] = ()
    prefix: str = ""  # of the cross compiler, "arm-none-eabi-"; "" where no image is built
    optimize: str = "-Os"
    defines: tuple[str, ...] = ()  # what the port is told: "UART_IRQ=2" is -DEL_UART_IRQ=2
    flash_at: int = 0  # addresses
    ram_at: int = 0
    nv: int = 0  # at the end of the flash, for checkpoints: two copies of the state, or more
    nv_page: int = 0  # erased at once
    clock: int = 0  # Hz of the core as the image runs it; 0: not a chip of ours
    qemu_machine: str = ""  # "" where QEMU has no such machine
    qemu: tuple[str, ...] = ()  # more arguments for QEMU
    programmer: tuple[str, ...] = ()  # what writes the image into the chip, see edgelearn.flashing
    device_tree: str = ""  # how the model in its device tree begins, by which `edgelearn agent` knows it
    active_ua: int = 0  # typical supply current of the chip while its core computes, in microamperes; 0: not known
    supply_mv: int = 0  # the voltage that this is at

    def reference(self, key: str) -> str:
        """What ``source`` says of a key; empty if it says nothing."""
        return next((text for text in self.source if key in text.partition(":")[0]), "")

    @property
    def is_host(self) -> bool:
        """Is it this computer itself, which learns in batches and needs no plan?"""
        return self.family == TORCH

    @property
    def is_linux(self) -> bool:
        """Does it run Linux, and `edgelearn agent` for firmware?"""
        return self.family == LINUX

    @property
    def target(self) -> Target:
        """What the compiler needs to know of it."""
        return Target(
            self.id, self.dtypes, self.ram, self.flash - self.nv, self.stack, self.link, self.plan_max, self.has_plan
        )

    @property
    def has_plan(self) -> bool:
        """Is the plan compiled into its image, and no other taken?"""
        return self.plan == COMPILED_IN

    @property
    def toolchain(self) -> Toolchain | None:
        """What builds and emulates its images; None where there are none."""
        return TOOLCHAINS.get(self.prefix)

    def qemu_command(self, image: Path) -> list[str]:
        """QEMU with ``image`` in it and nothing on the screen; the serial port is the caller's to add."""
        assert self.toolchain is not None
        program, boot = self.toolchain.emulator, self.toolchain.boot
        return [program, "-M", self.qemu_machine, *_QUIET, *self.qemu, boot, str(image)]


_KEYS = tuple(f.name for f in fields(Board) if f.name != "id")  # the file's name is the id


def ids() -> tuple[str, ...]:
    """Every board's id, sorted, the default first.

    Raises:
        ConfigError: EDGELEARN_BOARDS names no folder, or a file there has the name of another board.
    """
    return tuple(sorted(_files(), key=lambda i: (i != DEFAULT, i)))


def load(board: str) -> Board:
    """The board with this id, or in this file (``my/board.toml``).

    Raises:
        NoBoardError: there is no such board.
        ConfigError: the file is wrong; the message names file and line.
    """
    files = _files()
    if board.endswith(".toml"):
        path = Path(board).expanduser()
        _refuse_second(path, files)
        return read(path)
    if board not in files:  # also keeps "../x" from being a path
        more = f"`edgelearn boards` lists all; a file of your own is named as --board my/board.toml, or lies in {OWN}."
        raise NoBoardError(f"There is no board '{board}'.", f"{tomlfile.nearest(board, tuple(sorted(files)))} {more}")
    return read(files[board])


def _files() -> dict[str, Path]:
    """Board files by id: the package's, and those in the folders of EDGELEARN_BOARDS."""
    found = {file.stem: file for file in resource("boards").glob("*.toml")}
    for name in filter(None, os.environ.get(OWN, "").split(os.pathsep)):
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise ConfigError(f"{OWN} names {name}, which is no folder.", f"Make it, or take it out of {OWN}.")
        for file in sorted(folder.glob("*.toml")):
            _refuse_second(file, found)
            found[file.stem] = file
    return found


def _refuse_second(path: Path, known: dict[str, Path]) -> None:
    """A run remembers its board by the id: it must not mean another board tomorrow."""
    first = known.get(path.stem)
    if first is not None and path.exists() and not first.samefile(path):
        raise ConfigError(f"{path} has the name of another board, {first}.", "Rename the file: its name is the id.")


def all_boards() -> tuple[Board, ...]:
    """Every board, the default first."""
    return tuple(load(board_id) for board_id in ids())


def read(path: Path) -> Board:
    """Reads and checks one board file.

    Raises:
        ConfigError: unknown or missing key, wrong type or impossible figure; names file and line.
    """
    table = tomlfile.read(path).table("", _KEYS)
    family, prefix = table.text("family"), table.text("prefix", "")
    if prefix and prefix not in TOOLCHAINS:
        raise table.fault("prefix", f"'{prefix}' is no compiler that we know.", tomlfile.nearest(prefix, [*TOOLCHAINS]))
    need = None if prefix else 0  # of a board without an image nobody asks for addresses
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
        plan=table.text("plan", PLANS[0], one_of=PLANS),
        cflags=table.texts("cflags", ()),
        prefix=prefix,
        optimize=table.text("optimize", "-Os", one_of=OPTIMIZE),
        defines=table.texts("defines", ()),
        flash_at=table.integer("flash_at", need),
        ram_at=table.integer("ram_at", need),
        nv=table.integer("nv", 0),
        nv_page=table.integer("nv_page", 0),
        clock=table.integer("clock", need, low=1 if prefix else 0),
        qemu_machine=table.text("qemu_machine", ""),
        qemu=table.texts("qemu", ()),
        programmer=table.texts("programmer", ()),
        device_tree=table.text("device_tree", ""),
        active_ua=table.integer("active_ua", 0),
        supply_mv=table.integer("supply_mv", 0),
    )
    _check(board, table)
    return board


def _check(board: Board, table: tomlfile.Table) -> None:
    if len(board.id) > 16:  # el_hal.board has room for 16
        raise table.fault("", f"the id '{board.id}' is longer than 16 characters.", "Rename the file.")
    for usb in board.usb:
        if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", usb):
            raise table.fault("usb", f"'{usb}' is no VID:PID.", 'Write four lower-case hex digits each: "0d28:0204".')
    for define in board.defines:
        if not _DEFINE.fullmatch(define):
            raise table.fault("defines", f"'{define}' is no define.", 'Write NAME or NAME=value: "UART=0x40002000".')
    if board.target.pool <= 0:
        raise table.fault("ram", "stack and link leave no memory for a plan.", "Check ram, stack and link (bytes).")
    if "qemu" in board.ports and not board.qemu_machine:
        raise table.fault("ports", "'qemu' needs a machine.", "Add qemu_machine = ... (see qemu-system-arm -M help).")
    if board.qemu_machine and not board.prefix:
        raise table.fault("qemu_machine", "QEMU needs an image.", f"Add prefix = ..., one of: {', '.join(TOOLCHAINS)}.")
    _check_current(board, table)
    _check_nv(board, table)


def _check_current(board: Board, table: tomlfile.Table) -> None:
    """A current is worth something with its voltage and the data sheet that says it."""
    if bool(board.active_ua) != bool(board.supply_mv):
        raise table.fault("active_ua", "'active_ua' and 'supply_mv' go together.", "Give both, as the data sheet does.")
    if board.active_ua and not board.reference("active_ua"):
        hint = 'Add to source: "active_ua: ..., table ..."'
        raise table.fault("source", "'source' does not say which data sheet 'active_ua' is from.", hint)


def _check_nv(board: Board, table: tomlfile.Table) -> None:
    """Two copies of whole pages that leave room for the firmware."""
    if board.nv == 0:
        return
    if board.nv_page == 0 or board.nv % (2 * board.nv_page):
        raise table.fault("nv", "'nv' holds two copies, each of whole pages.", "Give a multiple of twice nv_page.")
    if board.nv >= board.flash:
        raise table.fault("nv", "'nv' leaves no flash for the firmware.", f"Give less than flash = {board.flash}.")
