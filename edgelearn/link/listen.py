"""A simulated or emulated board that waits for others to connect over TCP."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgelearn.errors import PortBusyError, UsageError
from edgelearn.link.children import Child, demand_emulator, emulator
from edgelearn.link.discover import BoardLike
from edgelearn.link.transport import split_address

_START_S = 10.0


def listen(
    board: BoardLike,
    address: str,
    image: Callable[[], Path],
    sim: Path,
    arguments: Sequence[str] = (),
    secret: bytes = b"",
) -> tuple[Child, str]:
    """Starts ``board`` as a child of ours; returns it and the address where it listens.

    Args:
        address: ``tcp://host:port``; port 0 takes a free one.
        image: gives the firmware image for QEMU. sim: the ``el-sim`` program, which ``arguments`` and ``secret`` are for.

    Raises:
        UsageError: the address makes no sense, or this board is neither simulated nor emulated.
        PortBusyError: somebody listens there already.
        MissingToolError, LinkLostError: the program is not there, or did not start.
    """
    any_port = address.endswith(":0")  # good to listen on, none to connect to: split_address refuses it
    host, port = split_address(address[:-1] + "1" if any_port else address)
    port = _free(host, 0 if any_port else port)
    where = f"{host}:{port}"
    if arguments and "sim" not in board.ports:
        raise UsageError(
            f"{board.id} takes no {arguments[0]}.", "Only the board sim can be told its baud rate and ring."
        )
    if "sim" in board.ports:
        child = Child("The sim board", [str(sim), "--tcp", where, "--board", board.id, *arguments], secret)
        started = child.first_line().startswith("port ")
    elif board.qemu_machine:
        child = _emulated(board.qemu_command(image()), where)
        started = _answers(host, port, child)
    else:
        raise UsageError(
            f"{board.id} is neither simulated nor emulated.",
            "Serve sim, or a board that `edgelearn boards` shows with qemu.",
        )
    if not started:
        try:
            raise child.failure("did not start")
        finally:
            child.stop()
    return child, f"tcp://{where}"


def _free(host: str, port: int) -> int:
    """``port``, or a free one for 0, that nobody else listens on right now."""
    try:
        with socket.create_server((host, port)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise PortBusyError(
            f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.", "Choose another port; 0 finds one."
        ) from error


def _emulated(command: Sequence[str], where: str) -> Child:
    demand_emulator(command[0])
    host, _, port = where.rpartition(":")
    return emulator(command, f"socket,id=link,host={host},port={port},server=on,wait=off,nodelay=on")


def _answers(host: str, port: int, child: Child) -> bool:
    """Waits until the port takes a connection; QEMU does not say when."""
    give_up = time.monotonic() + _START_S
    while child.process.poll() is None and time.monotonic() < give_up:
        try:
            socket.create_connection((host, port), timeout=1.0).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False
