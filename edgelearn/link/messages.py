"""The link's messages: the one definition that Python uses and the C header is generated from.

A frame before encoding is ``type u8 | seq u8 | length u16 | body | crc32 u32`` (little-endian; the CRC is zlib's, over all that
precedes it). It is COBS-encoded and ended by one zero byte. ``type | seq | length | body`` is at most 371 bytes, because up to
there CRC-32 detects every error of up to four bits.

Each message has fixed fields and then either raw bytes (``tail="data"``) or TLVs (``tail="tlv"``: tag u8, length u8, value; a tag
with bit 7 set is *required*: who does not know it must refuse the message with ``EL_ERR_VERSION``; other unknown tags are skipped).
A reply carries the ``seq`` of its request.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edgelearn.errors import VersionError

PROTOCOL = 0x0100  # major, minor: another major is refused, another minor is fine
MAX_FRAME = 371  # bytes before the CRC
MIN_FRAME = 64
TLV_REQUIRED = 0x80
TLV_CHALLENGE = (
    0x81  # of hello_r: random bytes; who is to be let in says hello again with TLV_PROOF (edgelearn/link/token.py)
)
TLV_PROOF = 0x01  # of hello: the answer to them
TLV_ENGINE = 0x01  # of stats_r: memory was not found by scanning; it is what this program's memory grew by
RESULTS = 8  # results of so many last steps ride on every ACK

# name, code, direction, fields (struct letters: B H I h, or "16s"), tail
_TABLE: tuple[tuple[str, int, str, str, str], ...] = (
    ("hello", 0x01, "host", "proto:H nonce:I", "tlv"),
    ("plan_begin", 0x02, "host", "size:I hash:I", "tlv"),
    ("plan_data", 0x03, "host", "off:I", "data"),
    ("plan_end", 0x04, "host", "", "tlv"),
    ("init", 0x05, "host", "seed:I", "tlv"),
    ("sample", 0x06, "host", "step:I off:H label:H", "data"),
    ("infer", 0x07, "host", "id:I off:H", "data"),
    ("state_read", 0x08, "host", "off:I len:H", "tlv"),
    ("state_write", 0x09, "host", "off:I", "data"),
    ("state_done", 0x0A, "host", "crc:I", "tlv"),
    ("stats", 0x0B, "host", "", "tlv"),
    ("save", 0x0C, "host", "", "tlv"),
    ("load", 0x0D, "host", "", "tlv"),
    ("results", 0x0E, "host", "", "tlv"),
    (
        "hello_r",
        0x81,
        "board",
        "proto:H boot_id:I board:16s chip:8s firmware:I plan_hash:I step:I seed:I phase:B caps:B max_frame:H rx_buffer:H pool:I",
        "tlv",
    ),
    ("status", 0x82, "board", "code:h detail:I", "tlv"),
    (
        "ack",
        0x86,
        "board",
        "step:I off:H code:h",
        "data",
    ),  # data: u16 predictions of the steps before `step`, oldest first
    ("result", 0x87, "board", "id:I off:H code:h label:H", "tlv"),
    ("state_data", 0x88, "board", "off:I step:I", "data"),
    (
        "stats_r",
        0x8B,
        "board",
        "state:I arena:I stack:I stack_size:I link:I plan:I samples:I busy_us:I overruns:I bad_frames:I",
        "tlv",
    ),
)

# What a board can be asked for (hello_r.caps) and how far it has come (hello_r.phase).
CAP_INT8, CAP_F32, CAP_NV = 1, 2, 4
PHASE_EMPTY, PHASE_PLAN, PHASE_READY = 0, 1, 2
NO_LABEL = 0xFFFF  # a prediction that does not exist


@dataclass(frozen=True)
class MessageType:
    """One row of the table: ``fields`` are (name, struct letter) in wire order."""

    name: str
    code: int
    sender: str
    fields: tuple[tuple[str, str], ...]
    tail: str

    @property
    def fixed(self) -> struct.Struct:
        return struct.Struct("<" + "".join(letter for _, letter in self.fields))


def _row(name: str, code: int, sender: str, fields: str, tail: str) -> MessageType:
    pairs = tuple((n, letter) for n, _, letter in (f.partition(":") for f in fields.split()))
    return MessageType(name, code, sender, pairs, tail)


MESSAGES: tuple[MessageType, ...] = tuple(_row(*row) for row in _TABLE)
BY_NAME = {m.name: m for m in MESSAGES}
BY_CODE = {m.code: m for m in MESSAGES}
_STRUCTS = {m.name: m.fixed for m in MESSAGES}


@dataclass(frozen=True)
class Message:
    """A decoded message: fixed fields by name, then raw ``data`` or ``tlvs``."""

    name: str
    seq: int
    fields: dict[str, int | bytes]
    data: bytes = b""
    tlvs: tuple[tuple[int, bytes], ...] = ()

    def __getitem__(self, key: str) -> int:
        value = self.fields[key]
        assert isinstance(value, int)
        return value


def pack(
    name: str, seq: int, data: bytes = b"", /, tlvs: tuple[tuple[int, bytes], ...] = (), **fields: int | bytes
) -> bytes:
    """The frame (without CRC and COBS) of one message."""
    kind = BY_NAME[name]
    body = _STRUCTS[name].pack(*(fields[n] for n, _ in kind.fields)) + data
    for tag, value in tlvs:
        body += bytes((tag, len(value))) + value
    return struct.pack("<BBH", kind.code, seq & 0xFF, len(body)) + body


def unpack(frame: bytes) -> Message | None:
    """Reads a frame whose CRC was right; None if it is no message that we know or its length field disagrees.

    Raises:
        VersionError: it carries a required TLV that we do not know.
    """
    if len(frame) < 4:
        return None
    code, seq, length = struct.unpack_from("<BBH", frame)
    kind = BY_CODE.get(code)
    body = frame[4:]
    if kind is None or length != len(body):
        return None
    fixed = _STRUCTS[kind.name]
    if len(body) < fixed.size:
        return None
    fields: dict[str, int | bytes] = dict(zip((n for n, _ in kind.fields), fixed.unpack_from(body), strict=True))
    rest = body[fixed.size :]
    if kind.tail == "data":
        return Message(kind.name, seq, fields, rest)
    return Message(kind.name, seq, fields, b"", _tlvs(rest, kind.name))


def _tlvs(rest: bytes, name: str) -> tuple[tuple[int, bytes], ...]:
    found: list[tuple[int, bytes]] = []
    while len(rest) >= 2 and len(rest) >= 2 + rest[1]:
        tag, value, rest = rest[0], rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        if tag & TLV_REQUIRED and (name, tag) != ("hello_r", TLV_CHALLENGE):
            raise VersionError(
                f"The board's {name} message requires feature {tag:#x}, which this edgelearn does not know.",
                "Update edgelearn on this computer: pip install -U edgelearn",
            )
        found.append((tag, value))
    return tuple(found)
