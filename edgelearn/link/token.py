"""A shared secret: how a host shows an agent that it may use it, without sending the secret over the line.

The agent sends random bytes, the host answers with their HMAC under the secret. That says who opens a connection, and nothing of what
goes over it afterwards: it is neither encrypted nor signed. Where others can write to the line, put it through ssh.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from pathlib import Path

from edgelearn import secretfile
from edgelearn.errors import ConfigError

VARIABLE = "EDGELEARN_TOKEN_FILE"
CHALLENGE_BYTES = 16
LEAST_BYTES = 16  # of a secret
MOST_BYTES = 4096
_PURPOSE = b"edgelearn agent 1:"  # so that an answer is good for nothing else
_MAKE = "Make one: (umask 077; head -c 32 /dev/urandom | base64 > token)"


def proof(secret: bytes, challenge: bytes) -> bytes:
    """What only somebody who has the secret can answer to ``challenge``: 32 bytes."""
    return hmac.digest(secret, _PURPOSE + challenge, "sha256")


def is_proof(secret: bytes, challenge: bytes, answer: bytes) -> bool:
    return hmac.compare_digest(proof(secret, challenge), answer)


def read(file: Path) -> bytes:
    """The secret in a file, without the line's end.

    Raises:
        ConfigError: it cannot be read, others can read it too, or it is too short to be one.
    """
    raw = secretfile.read(file, "the token file", _MAKE, MOST_BYTES)
    secret = raw.strip()
    if not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        problem = f"The token file {file} holds {len(secret)} bytes; a token has {LEAST_BYTES} to {MOST_BYTES}."
        raise ConfigError(problem, _MAKE)
    return secret


def is_loopback(host: str) -> bool:
    """Whether only this computer can connect to an address of ``host``: else a token is needed.

    Raises:
        OSError: there is no such host.
    """
    found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found)


def own(file: Path | None = None) -> bytes | None:
    """The secret in ``file``, or in the one that EDGELEARN_TOKEN_FILE names; None if that names none.

    Raises:
        ConfigError: as ``read``.
    """
    name = file or os.environ.get(VARIABLE)
    return read(Path(name)) if name else None
