"""``edgelearn doctor``: is everything here, and if not, which one command repairs it and which boards need it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output
from edgelearn.errors import EdgeLearnError, MissingToolError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from edgelearn.boards import Board
    from edgelearn.toolchains import Toolchain

app = typer.Typer(rich_markup_mode=None)
OLDEST = (3, 11)
RULES = "/etc/udev/rules.d/70-edgelearn.rules"
REINSTALL = "pip install --force-reinstall ."
SHOWN = 4  # boards named in a line, before "and 3 more"
One = Annotated[str | None, typer.Argument(metavar="[BOARD]", help="Only what this board needs.")]
BoardPort = Annotated[
    str | None, typer.Option("--port", metavar="PORT", help="Ask the BOARD there who it is, and who may write to it.")
]
Udev = Annotated[bool, typer.Option("--udev", help="Print a udev rules file for the boards' serial ports.")]


@dataclass(frozen=True)
class Check:
    """One line. ``needed``: edgelearn is of no use without it. ``code`` is the exit code that it would cause.

    ``boards``: those that this is for; none: all of them.
    """

    name: str
    ok: bool
    detail: str
    repair: str = ""
    needed: bool = False
    code: int = 0
    boards: tuple[str, ...] = ()


@app.command()
def doctor(
    board: One = None,
    port: BoardPort = None,
    udev: Udev = False,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> None:
    """Check the installation and say how to repair it."""
    from edgelearn.boards import all_boards, load

    if udev:
        print(_udev_rules(), end="")
        return
    found = all_boards() if board is None else (load(board),)
    if port is None and key_file is None:
        checks = list(_checks(found, board is not None))
    else:
        checks = [_try("board", lambda: _board(board, port, key_file), "docs/hardware.md", needed=True)]
    broken = [check for check in checks if check.needed and not check.ok]
    told = {"ok": not broken, "checks": [asdict(check) for check in checks]}
    output.report("doctor", told, as_json, _human)
    if broken:
        raise typer.Exit(broken[0].code)


def _board(board: str | None, port: str | None, key_file: Path | None) -> str:
    """Who is at a port, and who may write to it."""
    from edgelearn.session import Session

    if board is None or port is None:
        raise UsageError("Nothing says which board to ask.", "Name it and its port: edgelearn doctor BOARD --port PORT")
    with Session(board, port, key_file=key_file) as session:
        hello = session.client.hello
    who = f"{hello.board}, chip {hello.chip.hex()}"
    if hello.paired is None:
        return f"{who}: open, whoever reaches its line may write to it (docs/pairing.md)"
    kept = "in its memory" if hello.paired.kept else "in RAM alone: it forgets that without power"
    asked = "" if key_file is None else ", which is the one in the file"
    return f"{who}: paired with key {hello.paired.key}{asked}; plan counter {hello.paired.counter}, kept {kept}"


def _checks(found: tuple[Board, ...], one: bool) -> Iterator[Check]:
    yield _try("Python", _python, REINSTALL, needed=True)
    yield _try("C library", _library, REINSTALL, needed=True)
    yield _try("simulated board", _sim, REINSTALL, needed=True)
    yield _try("run store", _store, "Set EDGELEARN_RUNS to a file that you may write.", needed=True)
    yield from _emulators(found)
    yield from _compilers(found)
    yield from _programmers(found)
    yield from _images(found)
    if any(board.is_host for board in found):
        yield _try("PyTorch", _torch, REINSTALL)
    if one and "serial" in found[0].ports:
        yield from _serial_group()
    yield from _ports(found)


def _emulators(found: tuple[Board, ...]) -> Iterator[Check]:
    users: dict[Toolchain, list[str]] = {}
    for board in found:
        if board.qemu_machine and board.toolchain:
            users.setdefault(board.toolchain, []).append(board.id)
    for chain, who in users.items():
        yield replace(_tool(chain.emulator, chain.install_emulator), boards=tuple(who))


def _compilers(found: tuple[Board, ...]) -> Iterator[Check]:
    users: dict[Toolchain, list[str]] = {}
    for board in found:
        if board.toolchain:
            users.setdefault(board.toolchain, []).append(board.id)
    for chain, who in users.items():
        check = _tool(f"{chain.prefix}gcc", chain.install)
        if check.ok and not _has_libc(chain):
            lacks = f"{check.detail}, but its C library is not installed"
            check = replace(check, ok=False, detail=lacks, repair=chain.install, code=MissingToolError.exit_code)
        yield replace(check, boards=tuple(who))


def _has_libc(chain: Toolchain) -> bool:
    """Debian packs it apart from the compiler, which names a file that it finds by its whole path."""
    ask = [f"{chain.prefix}gcc", *chain.specs, "-print-file-name=libc.a"]
    told = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=20)
    return told.returncode == 0 and (bool(chain.specs) or os.path.isabs(told.stdout.strip()))


def _programmers(found: tuple[Board, ...]) -> Iterator[Check]:
    """A line for each set of tools of which one is enough; a board that is a drive needs none."""
    from edgelearn.programmers import TOOLS, ways

    users: dict[tuple[str, ...], list[str]] = {}
    for board in found:
        able = ways(board)
        if able and not any(way.is_drive for way in able):
            users.setdefault(tuple(dict.fromkeys(way.name for way in able)), []).append(board.id)
    for names, who in users.items():
        programs = [TOOLS[name].program for name in names]
        here = next(filter(None, map(shutil.which, programs)), None)
        told = Check(" or ".join(programs), here is not None, here or "not installed", boards=tuple(who))
        easy = min((TOOLS[name].get for name in names), key=lambda get: get.startswith("http"))
        yield told if here else replace(told, repair=easy, code=MissingToolError.exit_code)


def _images(found: tuple[Board, ...]) -> Iterator[Check]:
    """One line: that an image is not built yet is no fault, the first use builds it."""
    from edgelearn.images import ready

    with_one = [board for board in found if board.prefix and not board.has_plan]
    if with_one:
        built = sum(ready(board) is not None for board in with_one)
        rest = "" if built == len(with_one) else "; the first use builds the others"
        yield Check("firmware images", True, f"{built} of {len(with_one)} built{rest}")


def _try(name: str, look: Callable[[], str], repair: str, needed: bool = False) -> Check:
    """What ``look`` says; what it raises becomes the line."""
    try:
        return Check(name, True, look(), needed=needed)
    except EdgeLearnError as error:
        return Check(name, False, error.message, error.hint or repair, needed, error.exit_code)
    except (OSError, ImportError) as error:  # the loader's own words: a library for another machine, say
        return Check(name, False, str(error), repair, needed, MissingToolError.exit_code)


def _python() -> str:
    if sys.version_info < OLDEST:
        raise MissingToolError(f"{sys.version.split()[0]} is too old.", "Install Python 3.11 or newer.")
    return f"{sys.version.split()[0]}, {sys.executable}"


def _library() -> str:
    from edgelearn.host.native import verify_plan
    from edgelearn.job import prepare
    from edgelearn.paths import native

    if code := verify_plan(prepare("digits").plan):
        raise MissingToolError(f"libelrt refuses a plan of this edgelearn (code {code}).", REINSTALL)
    return f"{native('libelrt')}, accepts the plan of 'digits'"


def _sim() -> str:
    from edgelearn.session import Session

    with Session("sim", "sim") as session:
        hello = session.client.hello
    return f"answers: link {hello.proto >> 8}.{hello.proto & 0xFF}, {hello.pool:,} B for plan, state and arena"


def _store() -> str:
    from edgelearn.runs import RunStore

    with RunStore() as store:
        return f"{store.path}, {len(store.list())} runs"


def _tool(name: str, repair: str) -> Check:
    def version() -> str:
        if not shutil.which(name):
            raise MissingToolError("not installed", repair)
        shown = subprocess.run([name, "--version"], capture_output=True, text=True, check=False, timeout=20)
        return (shown.stdout.splitlines() or ["no version"])[0]

    return _try(name, version, repair)


def _torch() -> str:
    from edgelearn.host.torch_lib import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count)]
    return f"{torch.__version__}: {', '.join(['cpu', *names])}"


def _serial_group() -> Iterator[Check]:
    """On Linux serial ports belong to a group; root, and who has udev rules, needs none."""
    if sys.platform != "linux" or os.geteuid() == 0 or os.path.exists(RULES):
        return
    import grp

    groups = {name for name, gid in _groups_of_ports(grp) if gid in os.getgroups()}
    if not groups:
        repair = "sudo usermod -aG dialout $USER   # then log in again; or: edgelearn doctor --udev"
        yield Check("serial ports' group", False, "you are not in dialout: a board's port may be closed to you", repair)


def _groups_of_ports(grp: Any) -> list[tuple[str, int]]:
    """Debian and Fedora call it dialout, Arch uucp."""
    return [(group.gr_name, group.gr_gid) for group in grp.getgrall() if group.gr_name in ("dialout", "uucp")]


def _ports(boards: tuple[Board, ...]) -> Iterator[Check]:
    """Serial ports that are here, and whether we may use them."""
    from serial.tools.list_ports import comports

    known: dict[str, list[str]] = {}
    for board in boards:
        for usb in board.usb:
            known.setdefault(usb, []).append(board.id)
    found = 0
    for port in comports():
        usb = "" if port.vid is None else f"{port.vid:04x}:{port.pid:04x}"
        may = sys.platform == "win32" or os.access(port.device, os.R_OK | os.W_OK)
        if not usb and not may:
            continue  # a computer's own port, which nobody has asked for
        found += 1
        what = " or ".join(known.get(usb, ())) or (port.description if usb else "a serial port without a USB id")
        repair = "" if may else "sudo usermod -aG dialout $USER   # then log in again; or: edgelearn doctor --udev"
        yield Check(port.device, may, what if may else f"{what}: no permission", repair)
    if not found:
        yield Check("serial ports", True, "none plugged in")


def _udev_rules() -> str:
    """Gives the user at the screen access to every board's serial port, and to the probe that writes its image."""
    from edgelearn.boards import all_boards

    users: dict[str, list[str]] = {}
    for board in all_boards():
        for usb in board.usb:
            users.setdefault(usb, []).append(board.name)
    lines = [f"# edgelearn: save as {RULES}, then: sudo udevadm control --reload"]
    for usb, names in users.items():
        vid, pid = usb.split(":")
        match = f'SUBSYSTEM=="tty|usb|hidraw", ATTRS{{idVendor}}=="{vid}", ATTRS{{idProduct}}=="{pid}"'
        lines += [f"# {', '.join(names)}", f'{match}, TAG+="uaccess"']
    return "\n".join(lines) + "\n"


def _human(data: dict[str, Any]) -> RenderableType:
    rows = [("ok" if c["ok"] else "missing", c["name"], c["detail"] + _users(c)) for c in data["checks"]]
    shown = output.table(("", "what", ""), rows, wrap=("what", ""))
    repairs = [f"  {c['name']}: {c['repair']}" for c in data["checks"] if not c["ok"]]
    ready = "Ready, but for what is missing above." if repairs else "Ready."
    verdict = ready if data["ok"] else "edgelearn cannot work like this."
    head = [output.text("To repair:")] if repairs else []
    return output.group(shown, *head, *map(output.command, repairs), output.text(verdict, "bold"))


def _users(check: dict[str, Any]) -> str:
    """Who needs what is missing."""
    if check["ok"] or not check["boards"]:
        return ""
    named = ", ".join(check["boards"][:SHOWN])
    more = len(check["boards"]) - SHOWN
    return f"; needed by {named}" + (f" and {more} more" if more > 0 else "")
