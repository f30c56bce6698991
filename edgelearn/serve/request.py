"""What a browser asks, read with care: anybody may have sent it."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import socket
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, parse_headers
from io import BytesIO

MAX_HEAD = 16 * 1024  # bytes: browsers send about one
MAX_TARGET = 2048
METHODS = ("GET", "HEAD")
_CHALLENGE = 'Basic realm="edgelearn serve", charset="UTF-8"'


class Refusal(Exception):  # noqa: N818 (an answer like others)
    """Why a request is not served: the status, and a sentence."""

    def __init__(self, status: int, message: str, remedy: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.remedy, self.headers = status, message, remedy, headers


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    host: str
    known: str  # of If-None-Match
    authorization: str


def parse(head: bytes) -> Request:
    """The request whose head, up to its empty line, this is.

    Raises:
        Refusal: it is none, or none that is served.
    """
    first, _, rest = head.partition(b"\r\n")
    words = first.decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Refusal(400, "This is no HTTP request.")
    method, target, _ = words
    if len(target) > MAX_TARGET:
        raise Refusal(414, f"An address has up to {MAX_TARGET} characters.")
    if not target.startswith("/") or not target.isascii() or not target.isprintable():
        raise Refusal(400, "An address begins with a slash.")
    try:
        headers = parse_headers(BytesIO(rest))
    except HTTPException:
        raise Refusal(431, "There are too many headers.") from None
    if method not in METHODS:
        raise Refusal(405, "This server only reads: it knows GET and HEAD.", Allow=", ".join(METHODS))
    return Request(
        method, target, _one(headers, "Host"), _one(headers, "If-None-Match"), _one(headers, "Authorization")
    )


def _one(headers: Message, name: str) -> str:
    found = headers.get_all(name) or [""]
    if len(found) > 1:
        raise Refusal(400, f"{name} is given twice.")
    return str(found[0]).strip()


def names_of(host: str) -> frozenset[str]:
    """Names that a browser may call a server by that listens at ``host``."""
    own = socket.gethostname().lower()
    return frozenset({"localhost", host.lower(), own, f"{own}.local"})


def check_host(value: str, names: frozenset[str]) -> None:
    """Against DNS rebinding: a page of somebody else's, whose name has come to lead here, must read nothing. An address cannot be rebound.

    Raises:
        Refusal: ``value``, of the header Host, is neither an address nor a name of this server.
    """
    name = value.lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name in names:
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise Refusal(403, "This server does not go by the name that was asked for.", "Use its address.") from None


def check_token(authorization: str, secret: bytes | None) -> None:
    """The secret comes as a password (of any user), as browsers ask for one, or as a bearer token.

    Raises:
        Refusal: it does not.
    """
    if secret is None:
        return
    kind, _, rest = authorization.partition(" ")
    given = rest.strip().encode("latin-1", "replace")
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            given = b""
    elif kind.lower() != "bearer":
        given = b""
    if not hmac.compare_digest(hmac.digest(b"", given, "sha256"), hmac.digest(b"", secret, "sha256")):
        remedy = "Any user name will do; the password is what the token file holds."
        raise Refusal(401, "This server asks for its token.", remedy, **{"WWW-Authenticate": _CHALLENGE})
