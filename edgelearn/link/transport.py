"""Ways to move bytes to and from a board; they know nothing of frames.

Writing never blocks: what the line does not take at once goes out while we read. A board that answers slowly (or QEMU,
which stops taking bytes while the firmware is busy) can therefore never hold both sides in a write for ever.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from edgelearn.errors import EdgeLearnError, LinkLostError, MissingToolError, NoBoardError, PortBusyError, UsageError
from edgelearn.link.claim import port_holder, process

if TYPE_CHECKING:
    import serial

_CHUNK = 65536
_MOST_CHUNKS = 256
_CONNECT_S = 5.0


class LineReopened(LinkLostError):  # noqa: N818 (it tells what happened; a client asks who is there and goes on)
    """The port was gone and is back. Whatever was on its way is lost, and another board may be at the other end."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The connection to {name} broke and is back.", "Run the same command again: it resumes.")


class Transport(Protocol):
    """A byte stream to one board."""

    @property
    def name(self) -> str:
        """What the user calls it: ``/dev/ttyACM0``, ``tcp://host:port``, ``sim``."""
        ...

    def read(self, timeout: float) -> bytes:
        """What arrived, as soon as something did; ``b""`` after ``timeout`` seconds without anything.

        Raises:
            LinkLostError: the other end is gone.
        """
        ...

    def write(self, data: bytes) -> None:
        """Hands ``data`` over for sending; does not wait for the line."""
        ...

    def reset_input(self) -> None:
        """Forgets what arrived and was not read yet."""
        ...

    def close(self) -> None:
        """Lets go of the port. May be called twice."""
        ...


class StreamTransport:
    """A transport over a non-blocking descriptor; subclasses say how to receive and send."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pending = bytearray()

    def fileno(self) -> int:
        raise NotImplementedError

    def _receive(self) -> bytes:
        """What is there; ``b""`` at the end of the stream."""
        raise NotImplementedError

    def _send(self, data: bytes | bytearray) -> int:
        raise NotImplementedError

    def read(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while True:
            with self._lost_on_error():
                wait = max(0.0, deadline - time.monotonic())
                readable, writable, _ = select.select([self], [self] if self._pending else [], [], wait)
                if readable and (data := self._pull()):
                    return data
            if writable:
                self._push()
            elif not readable or time.monotonic() >= deadline:
                return b""

    def write(self, data: bytes) -> None:
        self._pending += data
        self._push()

    def reset_input(self) -> None:
        for _ in range(_MOST_CHUNKS):  # there may be something that talks without end
            if not self.read(0.0):
                return

    def _pull(self) -> bytes:
        try:
            data = self._receive()
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed by the other end")
        return data

    def _push(self) -> None:
        try:
            with self._lost_on_error():
                sent = self._send(self._pending)
        except BlockingIOError:
            return
        del self._pending[:sent]

    @contextlib.contextmanager
    def _lost_on_error(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except (OSError, ValueError) as error:  # ValueError: select on a closed descriptor
            raise LinkLostError(
                f"The connection to {self.name} broke: {getattr(error, 'strerror', None) or error}.",
                "Check cable and power, then run the same command again: it resumes.",
            ) from error


class TcpTransport(StreamTransport):
    """A board behind ``tcp://host:port``: a sim, QEMU, or a serial server.

    Raises:
        NoBoardError: nobody listens there.
        UsageError: the address makes no sense.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address)
        try:
            self._socket = socket.create_connection(split_address(address), timeout=_CONNECT_S)
        except OSError as error:
            raise NoBoardError(
                f"Nobody answers at {address}: {error.strerror or error}.",
                "Start the board there, or name another way with --port.",
            ) from error
        tune(self._socket)

    def fileno(self) -> int:
        return self._socket.fileno()

    def _receive(self) -> bytes:
        return self._socket.recv(_CHUNK)

    def _send(self, data: bytes | bytearray) -> int:
        return self._socket.send(data)

    def close(self) -> None:
        self._socket.close()


class SocketTransport(TcpTransport):
    """The same over a socket that is connected already."""

    def __init__(self, name: str, connected: socket.socket) -> None:
        StreamTransport.__init__(self, name)
        self._socket = connected
        tune(connected)


def tune(stream: socket.socket) -> None:
    """Small frames must leave at once, and nothing may block."""
    stream.setblocking(False)
    if stream.family in (socket.AF_INET, socket.AF_INET6):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``tcp://host:port``.

    Raises:
        UsageError: it is none.
    """
    host, colon, port = address.removeprefix("tcp://").rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(
            f"'{address}' is no address.", "Write it as tcp://host:port, for example tcp://127.0.0.1:5555."
        )
    return host.strip("[]") or "127.0.0.1", int(port)


class SerialTransport(StreamTransport):
    """A serial port on Linux and macOS: pyserial sets the line up, we read and write its descriptor."""

    def __init__(self, device: str, baud: int = 115200) -> None:
        super().__init__(device)
        self._port = _open_pyserial(device, baud)
        _claim(self._port)

    def fileno(self) -> int:
        return self._port.fileno()

    def _receive(self) -> bytes:
        return os.read(self._port.fileno(), _CHUNK)

    def _send(self, data: bytes | bytearray) -> int:
        return os.write(self._port.fileno(), data)

    def close(self) -> None:
        self._port.close()


class WindowsSerialTransport:
    """A serial port where descriptors cannot be waited for. Its driver buffers writes, so that they do not block."""

    def __init__(self, device: str, baud: int = 115200) -> None:
        self.name = device
        self._port = _open_pyserial(device, baud)

    def read(self, timeout: float) -> bytes:
        with self._lost_on_error():
            self._port.timeout = timeout
            first = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""

    def write(self, data: bytes) -> None:
        with self._lost_on_error():
            self._port.write(data)

    def reset_input(self) -> None:
        with self._lost_on_error():
            self._port.reset_input_buffer()

    def close(self) -> None:
        self._port.close()

    @contextlib.contextmanager
    def _lost_on_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # pyserial's SerialException is one
            raise LinkLostError(
                f"The connection to {self.name} broke: {error}.", "Check the cable, then resume."
            ) from error


def open_serial(device: str, baud: int = 115200) -> Transport:
    """Opens a serial port for us alone.

    Raises:
        NoBoardError: there is no such device, or no right to use it.
        PortBusyError: another program holds it.
    """
    return WindowsSerialTransport(device, baud) if sys.platform == "win32" else SerialTransport(device, baud)


def _open_pyserial(device: str, baud: int) -> serial.Serial:
    try:
        import serial
    except ImportError as error:
        raise MissingToolError("Serial ports need pyserial.", "pip install pyserial") from error
    posix = sys.platform != "win32"
    try:
        # dsrdtr keeps pyserial from touching DTR on POSIX (on Windows it means flow control): a change resets boards.
        return serial.Serial(device, baud, timeout=0, exclusive=True if posix else None, dsrdtr=posix)
    except (serial.SerialException, OSError, ValueError) as error:
        raise _open_error(device, error) from error


def _claim(port: serial.Serial) -> None:
    """Keeps others out (pyserial's flock stops only those that ask), and the next open from resetting the board."""
    import fcntl
    import termios

    with contextlib.suppress(OSError, termios.error):  # a courtesy that some drivers do not know
        fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
        settings = termios.tcgetattr(port.fileno())
        settings[2] &= ~termios.HUPCL
        termios.tcsetattr(port.fileno(), termios.TCSANOW, settings)


def _open_error(device: str, error: Exception) -> EdgeLearnError:
    code = getattr(error, "errno", None)
    if code in (errno.EBUSY, errno.EAGAIN) or (sys.platform == "win32" and "PermissionError" in str(error)):
        holder = port_holder(device)
        owner = process(holder) if holder else "another program"
        return PortBusyError(
            f"{device} is in use by {owner}.", "Close that program, or choose another port with --port."
        )
    if code in (errno.EACCES, errno.EPERM):
        return NoBoardError(f"No permission to open {device}.", "sudo usermod -aG dialout $USER, then log in again.")
    reason = os.strerror(code) if isinstance(code, int) else str(error)
    return NoBoardError(
        f"Cannot open {device}: {reason}.", "Plug the board in; see which ports there are with: edgelearn doctor"
    )
