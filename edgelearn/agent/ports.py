"""Where an agent listens: a TCP port, for one client at a time, or a serial device.

One thread does everything. While a sample is learnt nobody is heard, as on any other board.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgelearn.agent.conversation import Busy, Conversation
from edgelearn.agent.device import Device
from edgelearn.errors import EdgeLearnError, LinkLostError, PortBusyError, UsageError
from edgelearn.link import token
from edgelearn.link.transport import open_serial, split_address, tune

TCP_BUFFER = 65535  # bytes that a client may send ahead: the kernel holds them
SERIAL_BUFFER = 4096  # what Linux keeps of a terminal's input
_CHUNK = 65536
_MOST_PENDING = 1 << 20  # bytes that a client has not taken yet: then it is not heard either
_MOST_WAITING = 8  # clients that came too late and are told so
_BUSY_S = 5.0  # for one of those to say something
_REFUSED_S = 1.0  # before anybody is let in after a wrong token
_REOPEN_S = 0.5
_READ_S = 1.0

Told = Callable[[str], None]


@dataclass
class _Peer:
    stream: socket.socket
    name: str
    talk: Conversation | Busy
    since: float = field(default_factory=time.monotonic)
    pending: bytearray = field(default_factory=bytearray)

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def hears(self) -> bool:
        return len(self.pending) < _MOST_PENDING and not self.talk.over

    @property
    def done(self) -> bool:
        """Was told everything that it will ever be told."""
        return self.talk.over and not self.pending

    def receive(self) -> bool:
        """Takes what is there; False: it has gone."""
        try:
            data = self.stream.recv(_CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.pending += self.talk.feed(data)
        return bool(data) and self.send()

    def send(self) -> bool:
        """Sends what the line takes; False: it has gone."""
        try:
            if self.pending:
                del self.pending[: self.stream.send(self.pending)]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


class TcpPort:
    """Listens at ``tcp://host:port``; port 0 takes a free one.

    Args:
        secret: what clients must prove to have; needed wherever others than this computer can connect.

    Raises:
        UsageError: the address makes no sense, or is open to others without a secret.
        PortBusyError: somebody listens there already.
    """

    def __init__(self, device: Device, address: str, secret: bytes | None, told: Told = lambda line: None) -> None:
        any_port = address.endswith(":0")  # good to listen on, none to connect to: split_address refuses it
        host, port = split_address(address[:-1] + "1" if any_port else address)
        if secret is None:
            _demand_loopback(host, address)
        self._device, self._secret, self._told = device, secret, told
        self._listener = _listen(host, 0 if any_port else port)
        name = f"[{host}]" if ":" in host else host
        self.name = f"tcp://{name}:{self._listener.getsockname()[1]}"
        self._client: _Peer | None = None
        self._late: list[_Peer] = []
        self._shut_until = 0.0

    def serve(self) -> None:
        """Until Ctrl-C."""
        while True:
            self.turn(_READ_S)

    def close(self) -> None:
        for peer in self._peers():
            peer.stream.close()
        self._listener.close()

    def _peers(self) -> list[_Peer]:
        return [*([self._client] if self._client else []), *self._late]

    def turn(self, timeout: float) -> None:
        """Waits until something comes and handles it. The client comes before who is new: its end frees the place."""
        peers = self._peers()
        reading: list[_Peer | socket.socket] = [peer for peer in peers if peer.hears]
        open_now = time.monotonic() >= self._shut_until
        writing = [peer for peer in peers if peer.pending]
        ready, writable, _ = select.select(
            [*reading, *([self._listener] if open_now else [])], writing, [], timeout if open_now else min(timeout, 0.1)
        )
        for peer in peers:
            alive = (peer not in ready or peer.receive()) and (peer not in writable or peer.send())
            if not alive or peer.done or self._overdue(peer):
                self._drop(peer)
        if self._listener in ready:
            self._accept()

    def _overdue(self, peer: _Peer) -> bool:
        return isinstance(peer.talk, Busy) and time.monotonic() - peer.since > _BUSY_S

    def _drop(self, peer: _Peer) -> None:
        peer.stream.close()
        if peer is not self._client:
            self._late.remove(peer)
            return
        self._client = None
        self._device.left()
        if peer.talk.over:
            self._shut_until = time.monotonic() + _REFUSED_S
            self._told(f"{peer.name} has another token")
        else:
            self._told(f"{peer.name} has gone")

    def _accept(self) -> None:
        try:
            stream, (host, port, *_) = self._listener.accept()
        except OSError:  # it gave up meanwhile
            return
        if len(self._late) >= _MOST_WAITING:
            stream.close()
            return
        tune(stream)
        _keep_alive(stream)
        name = f"{host}:{port}"
        if self._client is not None:
            self._late.append(_Peer(stream, name, Busy()))
            return
        self._told(f"{name} connects")
        self._client = _Peer(stream, name, Conversation(self._device, self._secret))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise PortBusyError(
            f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.", "Choose another port; 0 finds one."
        ) from error
    listener.setblocking(False)
    return listener


def _demand_loopback(host: str, address: str) -> None:
    """Raises UsageError where others than this computer could connect."""
    try:
        alone = token.is_loopback(host)
    except OSError as error:
        raise UsageError(f"There is no host '{host}': {error.strerror}.", "Use tcp://127.0.0.1:7000.") from error
    port = address.rpartition(":")[2]
    if not alone:
        raise UsageError(
            f"At {address} everybody on the network could train this board.",
            f"Add --token-file FILE, or listen on tcp://127.0.0.1:{port} and come in by ssh -L {port}:127.0.0.1:{port}.",
        )


def _keep_alive(stream: socket.socket) -> None:
    """A client whose cable was pulled must not hold the board for ever: after a minute it is gone."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


class SerialPort:
    """Serves a serial device, such as /dev/ttyGS0; waits for it again whenever the other side has gone.

    Raises:
        NoBoardError, PortBusyError: it cannot be opened.
    """

    def __init__(self, device: Device, path: str, baud: int, told: Told = lambda line: None) -> None:
        self.name, self._device, self._baud, self._told = path, device, baud, told
        self._line = open_serial(path, baud)

    def serve(self) -> None:
        """Until Ctrl-C."""
        while True:
            with contextlib.suppress(LinkLostError):
                self._converse()
            self._device.left()
            self._line.close()
            self._told(f"{self.name} was closed by the other side")
            self._reopen()

    def close(self) -> None:
        self._line.close()

    def _converse(self) -> None:
        talk = Conversation(self._device)
        while True:
            if reply := talk.feed(self._line.read(_READ_S)):
                self._line.write(reply)

    def _reopen(self) -> None:
        while True:
            time.sleep(_REOPEN_S)
            with contextlib.suppress(EdgeLearnError):
                self._line = open_serial(self.name, self._baud)
                return
