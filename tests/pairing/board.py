"""firmware/tests/pairing_main.c from Python, and a transport to it."""

from __future__ import annotations

import ctypes
from pathlib import Path

from edgelearn.link.client import Client
from edgelearn.link.frame import Decoder, encode
from edgelearn.link.messages import Message, unpack
from edgelearn.pairing import image
from edgelearn.pairing.keys import Key

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
ENTROPY = bytes(range(16))


class Board:
    """The C core with its pairing. ``memory``: it has flash, which ``boot`` leaves as it is."""

    name = "here"

    def __init__(self, library: Path, key: Key, memory: bool = True, entropy: bytes | None = None) -> None:
        self.c = ctypes.CDLL(str(library))
        self.c.pairing_fingerprint.restype = self.c.pairing_sequence.restype = self.c.pairing_floor.restype = (
            ctypes.c_uint32
        )
        self._out = (ctypes.c_uint8 * (1 << 16))()
        self._inbox = b""
        self.sent: list[bytes] = []  # what went over the line to it
        self.c.pairing_wipe_flash()
        self.boot(key, memory, entropy)

    def boot(self, key: Key, memory: bool = True, entropy: bytes | None = None) -> None:
        self.c.pairing_boot(image.key_bytes(key), int(memory), entropy)
        self._inbox = b""

    @property
    def fingerprint(self) -> int:
        """Changes when anything does that an order could change."""
        return self.c.pairing_fingerprint()

    def talk(self, raw: bytes) -> bytes:
        n = self.c.pairing_talk(raw, len(raw), self._out)
        return bytes(self._out[:n])

    def ask(self, frame: bytes) -> list[Message]:
        """The answers to one frame."""
        return [m for found in Decoder().feed(self.talk(encode(frame))) if (m := unpack(found))]

    # -- a transport

    def read(self, timeout: float) -> bytes:
        found, self._inbox = self._inbox, b""
        return found

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        self._inbox += self.talk(data)

    def reset_input(self) -> None:
        self._inbox = b""

    def close(self) -> None:
        pass


def connect(board: Board, key: Key | None) -> Client:
    client = Client(board, key=key)
    client.connect("sim")
    return client
