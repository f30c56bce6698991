"""From what the user wrote after ``--board`` and ``--port`` to an open transport."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgelearn.errors import AmbiguousBoardError, NoBoardError, UsageError
from edgelearn.link.children import QemuTransport, SimTransport
from edgelearn.link.claim import claim
from edgelearn.link.reopen import ReopeningTransport
from edgelearn.link.replay import ReplayTransport
from edgelearn.link.transport import TcpTransport, Transport, open_serial, split_address

FORMS = "sim, qemu, /dev/ttyACM0 (or COM3), tcp://host:port, replay:FILE"
_DEVICE = re.compile(r"COM\d+|.*[/\\].*", re.IGNORECASE)


class BoardLike(Protocol):
    """What we need to know of a board; ``edgelearn.boards.Board`` is one."""

    @property
    def id(self) -> str: ...
    @property
    def ports(self) -> Sequence[str]: ...
    @property
    def usb(self) -> Sequence[str]: ...
    @property
    def baud(self) -> int: ...
    @property
    def qemu_machine(self) -> str: ...
    @property
    def is_linux(self) -> bool: ...
    def qemu_command(self, image: Path) -> list[str]: ...


@dataclass(frozen=True)
class Found:
    """A serial port with one of the boards that were looked for. ``serial`` is the USB serial number, "" if none."""

    board: str
    device: str
    serial: str


def serial_boards(boards: Iterable[BoardLike]) -> list[Found]:
    """The plugged-in boards, by the VID:PID of their serial ports. A VID:PID that two boards share lists both."""
    from serial.tools.list_ports import comports

    by_usb: dict[str, list[str]] = {}
    for board in boards:
        for usb in board.usb:
            by_usb.setdefault(usb, []).append(board.id)
    return [
        Found(board, port.device, port.serial_number or "")
        for port in comports()
        if port.vid is not None
        for board in by_usb.get(f"{port.vid:04x}:{port.pid:04x}", ())
    ]


def find_port(board: BoardLike) -> str:
    """The device of the one such board that is plugged in.

    Raises:
        NoBoardError: there is none.
        AmbiguousBoardError: there are several.
    """
    return _plugged_in(board).device


def _plugged_in(board: BoardLike) -> Found:
    found = serial_boards([board])
    if not found:
        also = ", or run it in QEMU with --port qemu" if board.qemu_machine else ""
        raise NoBoardError(f"No {board.id} is plugged in.", f"Plug one in, or name its port with --port{also}.")
    if len(found) > 1:
        listed = "".join(f"\n     --port {f.device}" + (f"   (serial {f.serial})" if f.serial else "") for f in found)
        raise AmbiguousBoardError(f"{len(found)} boards of kind {board.id} are plugged in.", f"Add one of:{listed}")
    return found[0]


def open_port(
    board: BoardLike, port: str | None, image: Callable[[], Path], sim: Path, secret: bytes = b""
) -> Transport:
    """Opens the way to ``board``. One that breaks and comes back, a device or an address, is opened again.

    Args:
        port: ``sim``, ``qemu``, ``/dev/tty...``, ``COM3``, ``tcp://host:port``, ``replay:FILE``, or None: sim for the
            sim board, else the board found by its VID:PID, else QEMU for boards that have no serial port. Boards that
            run Linux need one.
        image: gives the firmware image for QEMU; called only when it is needed.
        sim: the ``el-sim`` program. secret: what it shall be told before it starts.

    Raises:
        NoBoardError, AmbiguousBoardError, PortBusyError, MissingToolError: as the way in question may fail.
        UsageError: this is no way at all, or none to this board.
    """
    if port is None and not _has_default(board):
        return _discovered(board)
    port = port or _default(board)
    if port == "sim":
        _demand(board, "sim", "sim" in board.ports)
        return SimTransport(sim, ["--board", board.id], secret)
    if port == "qemu":
        _demand(board, "qemu", bool(board.qemu_machine))
        return QemuTransport(board.qemu_command(image()))
    if port.startswith("tcp://"):
        return _tcp(port)
    if port.startswith("replay:"):
        return ReplayTransport(Path(port.removeprefix("replay:")))
    if not _DEVICE.fullmatch(port):
        raise UsageError(f"'{port}' is no port.", f"Ports are: {FORMS}.")
    return ReopeningTransport(lambda: open_serial(port, board.baud))


def _tcp(address: str) -> Transport:
    let_go = claim(*split_address(address))
    try:
        return ReopeningTransport(lambda: TcpTransport(address), let_go)
    except BaseException:
        let_go()
        raise


def _discovered(board: BoardLike) -> Transport:
    """The one that is plugged in; when it comes back its device may have another name, but its serial number is the same."""
    first = _plugged_in(board)

    def device() -> str:
        again = [f.device for f in serial_boards([board]) if first.serial and f.serial == first.serial]
        return again[0] if again else first.device

    return ReopeningTransport(lambda: open_serial(device(), board.baud))


def lasting(port: str | None) -> str | None:
    """``port`` if it leads to the same board tomorrow; None for devices, whose names change, and for recordings."""
    return port if port is not None and (port in ("sim", "qemu") or port.startswith("tcp://")) else None


def _has_default(board: BoardLike) -> bool:
    return "sim" in board.ports or board.is_linux or not (board.usb or "qemu" not in board.ports)


def _default(board: BoardLike) -> str:
    if "sim" in board.ports:
        return "sim"
    if board.is_linux:
        where = "tcp://127.0.0.1:7000"
        raise UsageError(
            f"A {board.id} is reached by its agent, and no --port says where that listens.",
            f"Start it there, edgelearn agent --listen {where}, and name its address here: --port {where}.",
        )
    return "qemu"


def _demand(board: BoardLike, port: str, possible: bool) -> None:
    if not possible:
        ways = ", ".join(board.ports)
        raise UsageError(f"{board.id} cannot be reached with --port {port}.", f"It can be reached by: {ways}.")
