"""``edgelearn doctor``: is everything here, and if not, which one command repairs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output
from edgelearn.errors import EdgeLearnError, MissingToolError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.boards import Board

app = typer.Typer(rich_markup_mode=None)
OLDEST = (3, 11)
REINSTALL = "pip install --force-reinstall ."
QEMU = "qemu-system-arm"
Udev = Annotated[bool, typer.Option("--udev", help="Print a udev rules file for the boards' serial ports.")]


@dataclass(frozen=True)
class Check:
    """One line. ``needed``: edgelearn is of no use without it. ``code`` is the exit code that it would cause."""

    name: str
    ok: bool
    detail: str
    repair: str = ""
    needed: bool = False
    code: int = 0


@app.command()
def doctor(udev: Udev = False, as_json: options.Json = False) -> None:
    """Check the installation and say how to repair it."""
    if udev:
        print(_udev_rules(), end="")
        return
    checks = list(_checks())
    broken = [check for check in checks if check.needed and not check.ok]
    told = {"ok": not broken, "checks": [asdict(check) for check in checks]}
    output.report("doctor", told, as_json, _human)
    if broken:
        raise typer.Exit(broken[0].code)


def _checks() -> Iterator[Check]:
    from edgelearn.boards import all_boards

    found = all_boards()
    yield _try("Python", _python, REINSTALL, needed=True)
    yield _try("C library", _library, REINSTALL, needed=True)
    yield _try("simulated board", _sim, REINSTALL, needed=True)
    yield _try("run store", _store, "Set EDGELEARN_RUNS to a file that you may write.", needed=True)
    yield _tool(QEMU, f"sudo apt-get install {QEMU}")
    for prefix in sorted({board.prefix for board in found if board.prefix}):
        yield _tool(f"{prefix}gcc", _compiler_package(prefix))
    yield from (_image(board) for board in found if board.prefix)
    yield _try("PyTorch", _torch, REINSTALL)
    yield from _ports(found)


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


def _compiler_package(prefix: str) -> str:
    from edgelearn.images import INSTALL

    return INSTALL.get(prefix, f"Install {prefix}gcc.")


def _image(board: Board) -> Check:
    def state() -> str:
        from edgelearn.images import ready

        image = ready(board)
        if image is None:
            raise MissingToolError("not built yet; the first use builds it", f"python -m edgelearn.images {board.id}")
        return str(image.path)

    return _try(f"image {board.id}", state, REINSTALL)


def _ports(boards: tuple[Board, ...]) -> Iterator[Check]:
    """Serial ports that are here, and whether we may use them."""
    from serial.tools.list_ports import comports

    known = {usb: board.id for board in boards for usb in board.usb}
    found = 0
    for port in comports():
        usb = "" if port.vid is None else f"{port.vid:04x}:{port.pid:04x}"
        may = sys.platform == "win32" or os.access(port.device, os.R_OK | os.W_OK)
        if not usb and not may:
            continue  # a computer's own port, which nobody has asked for
        found += 1
        what = known.get(usb) or (port.description if usb else "a serial port without a USB id")
        repair = "" if may else "sudo usermod -aG dialout $USER   # then log in again; or: edgelearn doctor --udev"
        yield Check(port.device, may, what if may else f"{what}: no permission", repair)
    if not found:
        yield Check("serial ports", True, "none plugged in")


def _udev_rules() -> str:
    """Gives the user at the screen access to every board's serial port."""
    from edgelearn.boards import all_boards

    lines = ["# edgelearn: save as /etc/udev/rules.d/70-edgelearn.rules, then: sudo udevadm control --reload"]
    for board in all_boards():
        for usb in board.usb:
            vid, pid = usb.split(":")
            match = f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vid}", ATTRS{{idProduct}}=="{pid}"'
            lines += [f"# {board.name}", f'{match}, TAG+="uaccess"']
    return "\n".join(lines) + "\n"


def _human(data: dict[str, Any]) -> RenderableType:
    rows = [("ok" if c["ok"] else "missing", c["name"], c["detail"]) for c in data["checks"]]
    shown = output.table(("", "what", ""), rows, wrap=("",))
    repairs = [f"  {c['name']}: {c['repair']}" for c in data["checks"] if not c["ok"]]
    verdict = "Ready." if data["ok"] else "edgelearn cannot work like this."
    head = [output.text("To repair:")] if repairs else []
    return output.group(shown, *head, *map(output.text, repairs), output.text(verdict, "bold"))
