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
from collections.abc import Mapping
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
TLV_POWER = (
    0x02  # of stats: number of a window (u8), a new one begins a new peak; of stats_r: POWER, then the meter's name
)
TLV_MARKER = 0x03  # of stats: what the marker pin shall do, MARKER_*; of stats_r: what it does, where there is one
TLV_PAIRING = 0x04  # of hello_r: the board is paired (docs/pairing.md): key id 8s, plan counter u32, is that kept in its memory? u8
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
    # Of a paired image alone: others answer EL_ERR_UNKNOWN. ``sealed`` holds a frame of another message.
    ("pair", 0x10, "paired host", "nonce:16s", "tlv"),
    ("sealed", 0x11, "paired host", "counter:I tag:16s", "data"),
    ("plan_sign", 0x12, "paired host", "counter:I size:I digest:32s signature:64s", "tlv"),
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
    ("pair_r", 0x90, "board", "nonce:16s tag:16s", "tlv"),
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

# What a board with a meter in its supply has counted since it started; differences are modulo 2^32 and 2^64. Times are in us by the board's
# clock: of readings that stand for them, without any, of computing, and of readings that lie wholly in it. Energy is in pJ (uW x us).
POWER = (
    ("kind", "B"), ("period_us", "I"), ("count", "I"), ("failed", "I"), ("covered_us", "I"), ("missed_us", "I"), ("work_us", "I"),
    ("seen_us", "I"), ("energy_pj", "Q"), ("work_pj", "Q"), ("resolution_ua", "I"), ("peak_uw", "I"), ("ua", "i"), ("mv", "I"),
)  # fmt: skip
POWER_SILENT, POWER_MEASURED, POWER_SYNTHETIC = (
    0,
    1,
    2,
)  # kind; where nothing is measured, the text after POWER says why
MARKER_LOW, MARKER_HIGH, MARKER_WORK = 0, 1, 2  # the last: high while the board computes


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
_POWER = struct.Struct("<" + "".join(letter for _, letter in POWER))
_POWER_WORDS = struct.Struct(_POWER.format.upper())


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
    return Message(kind.name, seq, fields, b"", _tlvs(rest, kind.name, fields.get("proto")))


def version(proto: int) -> str:
    """A version of the link, for people."""
    return f"version {proto >> 8}.{proto & 0xFF}"


def _tlvs(rest: bytes, name: str, proto: int | bytes | None) -> tuple[tuple[int, bytes], ...]:
    found: list[tuple[int, bytes]] = []
    spoken = f" of {version(proto)}" if isinstance(proto, int) else ""
    while len(rest) >= 2 and len(rest) >= 2 + rest[1]:
        tag, value, rest = rest[0], rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        if tag & TLV_REQUIRED and (name, tag) != ("hello_r", TLV_CHALLENGE):
            raise VersionError(
                f"The board's {name} message{spoken} requires feature {tag:#x}, which this edgelearn does not know: it speaks"
                f" {version(PROTOCOL)}.",
                "Update edgelearn on this computer: pip install -U edgelearn",
            )
        found.append((tag, value))
    return tuple(found)


def pack_power(counted: Mapping[str, int], text: str) -> tuple[int, bytes]:
    """TLV_POWER of stats_r: the fields of POWER, cut to their widths, and the meter's name or why there is none."""
    words = (counted[name] & (1 << 8 * struct.calcsize("<" + letter)) - 1 for name, letter in POWER)
    fixed = _POWER_WORDS.pack(*words)
    return TLV_POWER, (fixed + text.encode("ascii", "replace"))[:255]


def unpack_power(value: bytes) -> tuple[dict[str, int], str] | None:
    """The fields of POWER, those that wrap as unsigned numbers, and the text; None: it is none."""
    if len(value) < _POWER.size:
        return None
    fields = dict(zip((name for name, _ in POWER), _POWER.unpack_from(value), strict=True))
    return fields, value[_POWER.size :].decode("ascii", "replace")
