"""The server: threads, and bounds on what any client can take of them.

Every connection is one request: its head within HEAD_S seconds and MAX_HEAD bytes, its answer within SEND_S. So however slow a client
is, it holds one of MAX_AT_ONCE threads for a bounded time; who comes meanwhile waits in the system's queue. Nothing that a client
sends after the head is used.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
import time
from http import HTTPStatus
from pathlib import Path

from edgelearn.errors import PortBusyError, UsageError
from edgelearn.link import token
from edgelearn.serve.pages import problem
from edgelearn.serve.request import MAX_HEAD, Refusal, Request, check_host, check_token, names_of, parse
from edgelearn.serve.site import HTML, Answer, Site

HOST = "127.0.0.1"
PORT = 7080
HEAD_S = 5.0
SEND_S = 20.0
MAX_AT_ONCE = 32
QUEUE = 128
_DRAIN = 64 * 1024  # bytes that a client may still be sending: unread, they would make it lose the answer
_DRAIN_S = 0.2
_HEADERS = {
    # Scripts and styles come from here, everything else from nowhere; no page may be put into another.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Connection": "close",
}


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves the store ``path`` at ``host``.

    Args:
        host: an address or name of this computer. port: 0 takes a free one. secret: what clients must send; needed wherever others than
            this computer can connect.

    Raises:
        UsageError: the address is open to others and there is no secret, or there is no such host. PortBusyError: it is taken.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = QUEUE

    def __init__(self, path: Path, host: str = HOST, port: int = PORT, secret: bytes | None = None) -> None:
        self.site, self.secret, self.names = Site(path), secret, names_of(host)
        self._room = threading.BoundedSemaphore(MAX_AT_ONCE)
        _demand_secret(host, port, secret)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family = found[0][0]
            super().__init__((host, port), Conversation)
        except OSError as error:
            problem = f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}."
            raise PortBusyError(problem, "Choose another port; 0 finds one.") from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_address[1]}/"

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        self._room.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is no error of ours."""


class Conversation(socketserver.BaseRequestHandler):
    """One request and its answer."""

    request: socket.socket

    def handle(self) -> None:
        method, extra = "GET", {}
        try:
            asked = parse(_head(self.request))
            method = asked.method
            answer = self._answer(asked)
        except Refusal as why:
            title = HTTPStatus(why.status).phrase
            answer, extra = Answer(why.status, HTML, problem(title, why.message, why.remedy)), why.headers
        self.request.settimeout(SEND_S)
        self.request.sendall(_wire(answer, extra, method == "HEAD"))
        self._end()

    def _answer(self, asked: Request) -> Answer:
        server = self.server
        assert isinstance(server, Server)
        check_host(asked.host, server.names)
        check_token(asked.authorization, server.secret)
        try:
            return server.site.answer(asked.target, asked.known)
        except Exception as error:
            raise Refusal(
                500, f"This is a defect of edgelearn: {type(error).__name__}.", "Please report it."
            ) from error

    def _end(self) -> None:
        """Takes what the client was still sending, for a moment."""
        with contextlib.suppress(OSError):
            self.request.shutdown(socket.SHUT_WR)
            self.request.settimeout(_DRAIN_S)
            left = _DRAIN
            while left > 0 and (piece := self.request.recv(min(left, 16384))):
                left -= len(piece)


def _head(stream: socket.socket) -> bytes:
    """The head of a request, if it comes in time.

    Raises:
        Refusal: it does not, or is too long.
    """
    found, end = bytearray(), time.monotonic() + HEAD_S
    while b"\r\n\r\n" not in found:
        if len(found) >= MAX_HEAD:
            raise Refusal(431, f"The head of a request has up to {MAX_HEAD:,} bytes.")
        try:
            stream.settimeout(max(end - time.monotonic(), 0.001))
            piece = stream.recv(MAX_HEAD - len(found))
        except TimeoutError:
            raise Refusal(408, f"A request comes within {HEAD_S:.0f} seconds.") from None
        if not piece:
            raise Refusal(400, "The request ends in its head.")
        found += piece
    return bytes(found[: found.index(b"\r\n\r\n") + 4])


def _wire(answer: Answer, extra: dict[str, str], head_only: bool) -> bytes:
    headers = {**_HEADERS, **extra}
    if answer.status != HTTPStatus.NOT_MODIFIED:
        headers |= {"Content-Type": f"{answer.kind}; charset=utf-8", "Content-Length": str(len(answer.body))}
    if answer.tag:
        headers["ETag"] = answer.tag
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if head_only else answer.body)


def _demand_secret(host: str, port: int, secret: bytes | None) -> None:
    try:
        alone = bool(host) and token.is_loopback(host)
    except OSError as error:
        raise UsageError(f"There is no host '{host}': {error.strerror}.", f"Use --host {HOST}.") from error
    if not alone and secret is None:
        raise UsageError(
            f"At {host}:{port} everybody on the network could read the run store.",
            f"Add --token-file FILE, or serve on {HOST} and come in by ssh -L {port}:{HOST}:{port}.",
        )
