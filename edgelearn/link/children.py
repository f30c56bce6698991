"""Boards that are programs on this computer: the sim board and QEMU.

They run in their own process group, so that Ctrl-C does not reach them, and die with us: each watches a pipe from us.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from edgelearn.errors import LinkLostError, MissingToolError
from edgelearn.link import guard
from edgelearn.link.transport import SocketTransport, TcpTransport, Transport, open_serial
from edgelearn.toolchains import install_emulator

_START_S = 10.0
_STOP_S = 2.0
_BOOT_S = 0.1  # what reaches QEMU before the firmware has enabled its UART may lie there for a second


class Child:
    """A program that ends when its standard input does, which may begin with a ``secret``. ``name`` is for messages."""

    def __init__(self, name: str, command: Sequence[str], secret: bytes = b"") -> None:
        self.name = name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            self._stderr.close()
            raise MissingToolError(
                f"Cannot start {command[0]}: {error.strerror}.", "pip install --force-reinstall edgelearn"
            ) from error
        if secret and self.process.stdin:
            with contextlib.suppress(BrokenPipeError):  # it has ended: its first line will be missed
                self.process.stdin.write(secret)
                self.process.stdin.flush()

    def first_line(self) -> str:
        """The first line of its output; "" if it ends, or says nothing for 10 s (it is stopped then)."""
        assert self.process.stdout
        alarm = threading.Timer(_START_S, self.process.kill)
        alarm.start()
        try:
            return self.process.stdout.readline().decode(errors="replace").strip()
        finally:
            alarm.cancel()

    def failure(self, what: str) -> LinkLostError:
        """``what`` happened, in its own last words."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # just gone? then let its status come in
            self.process.wait(0.2)
        self._stderr.seek(0)
        words = self._stderr.read()[-600:].decode(errors="replace").strip()
        status = self.process.poll()
        ended = "" if status is None else f" (exit status {status})"
        said = f": {words}" if words else ""
        return LinkLostError(f"{self.name} {what}{ended}{said}.", "Run it again; if that persists, `edgelearn doctor`.")

    def stop(self) -> None:
        """Ends it; returns when it is gone."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self._stderr.close()


class ChildTransport:
    """A transport to a child; closing it ends the child."""

    def __init__(self, name: str, child: Child, inner: Transport) -> None:
        self.name = name
        self._child: Child | None = child
        self._inner = inner

    @property
    def pid(self) -> int:
        """Process id of the child (of QEMU's guard), 0 when closed."""
        return self._child.process.pid if self._child else 0

    def read(self, timeout: float) -> bytes:
        try:
            return self._inner.read(timeout)
        except LinkLostError as error:
            raise self._explained(error) from error

    def write(self, data: bytes) -> None:
        try:
            self._inner.write(data)
        except LinkLostError as error:
            raise self._explained(error) from error

    def reset_input(self) -> None:
        self._inner.reset_input()

    def close(self) -> None:
        child, self._child = self._child, None
        if child:
            self._inner.close()
            child.stop()

    def _explained(self, error: LinkLostError) -> LinkLostError:
        return self._child.failure("ended") if self._child else error


class SimTransport(ChildTransport):
    """Starts the sim board ``program`` (el-sim) with ``arguments`` and talks to it.

    Raises:
        MissingToolError: it is not there.
        LinkLostError: it did not start.
    """

    def __init__(self, program: Path, arguments: Sequence[str] = (), secret: bytes = b"") -> None:
        if not program.exists():
            raise MissingToolError(
                f"The sim board {program} is not there.", "pip install . (it is built with the package)"
            )
        listen = ["--tcp", "127.0.0.1:0"] if sys.platform == "win32" else ["--pty"]
        child = Child("The sim board", [str(program), *listen, *arguments], secret)
        try:
            super().__init__("sim", child, _sim_port(child))
        except BaseException:
            child.stop()
            raise


def _sim_port(child: Child) -> Transport:
    word, _, address = child.first_line().partition(" ")
    if word != "port":
        raise child.failure("did not start")
    return TcpTransport(address) if address.startswith("tcp://") else open_serial(address)


class QemuTransport(ChildTransport):
    """Starts QEMU with an image in it (``command``, see Board.qemu_command) and talks to its first serial port.

    QEMU connects to us, so that no port number can be taken by somebody else between choosing and using it.

    Raises:
        MissingToolError: QEMU is not installed.
        LinkLostError: it did not start.
    """

    def __init__(self, command: Sequence[str]) -> None:
        demand_emulator(command[0])
        with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
            line = f"socket,id=link,host=127.0.0.1,port={listener.getsockname()[1]},nodelay=on"
            child = emulator(command, line)
            try:
                super().__init__("qemu", child, SocketTransport("qemu", _accept(listener, child)))
                time.sleep(_BOOT_S)
            except BaseException:
                child.stop()
                raise


def demand_emulator(program: str) -> None:
    """Raises MissingToolError, with the line that installs it, if the emulator is not here."""
    if not shutil.which(program):
        raise MissingToolError(f"{program} is not installed.", install_emulator(program))


def emulator(command: Sequence[str], line: str) -> Child:
    """QEMU as a child, its first serial port on the character device ``line``, which is called ``link``."""
    serial = ("-chardev", line, "-serial", "chardev:link")
    return Child("QEMU", [sys.executable, "-I", "-S", guard.__file__, *command, *serial])


def _accept(listener: socket.socket, child: Child) -> socket.socket:
    listener.settimeout(0.1)
    give_up = time.monotonic() + _START_S
    while child.process.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(TimeoutError):
            return listener.accept()[0]
    raise child.failure("did not start")
