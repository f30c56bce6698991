"""What a board checks, written down a second time: docs/plan.md in Python, from the text of the format and not from the C.

``verdict`` says with which code ``el_verify`` must answer. Slow, and of no other use than to be compared with it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgelearn_export.plan import format as F

MAGIC, VERSION, CRC, SIZE, BOARD, KERNEL, OPERAND, SLOT, LABEL = -2, -3, -4, -5, -6, -8, -9, -10, -11
CRC_BYTES, REQUIRED_TLV, BOARD_BYTES = 4, 0x80, 16
WIDTHS = {"i8": 1, "i16": 2, "i32": 4, "f32": 4}
DTYPES = {number: name for name, number in F.TENSOR_DTYPES.items()}
ARENA, STATE = F.REGIONS["arena"], F.REGIONS["state"]
EXP_LIMIT, SHIFT_LIMIT, SCALE_LIMIT = 40, 40, 1 << 13
LARGEST_REGION, LARGEST_INPUT = 0x7FFFFFFF, 0xFFFF
TAIL, PER_SLOT = 8, 5  # step and seed; statistics and exponent of a slot
SIGNATURES = {code: (name, [arg.split(":") for arg in args]) for name, code, args in F.KERNELS}

Fields = dict[str, int]


class Refused(Exception):
    """``code``: the answer."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def demand(holds: bool, code: int) -> None:
    if not holds:
        raise Refused(code)


def verdict(plan: bytes, board: str | None = None) -> int:
    """0, or the code of the first rule that is broken, in the order of docs/plan.md."""
    try:
        _Plan(plan, board).check()
    except Refused as refused:
        return refused.code
    return 0


def _fields(record: str, raw: bytes, at: int = 0) -> Fields:
    names = [name for name, _ in F.RECORDS[record]]
    return dict(zip(names, F.STRUCTS[record].unpack_from(raw, at), strict=True))


@dataclass
class _Operand:
    """A tensor as an operation sees it."""

    record: Fields

    @property
    def n(self) -> int:
        return self.record["rows"] * self.record["cols"]

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of a map; none where its rows are not whole."""
        width, rows = self.record["width"], self.record["rows"]
        demand(width > 0 and rows % width == 0, OPERAND)
        return rows // width, width

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.sides, self.record["cols"])


class _Plan:
    def __init__(self, raw: bytes, board: str | None) -> None:
        self.raw, self.board = raw, board
        self.header: Fields = {}
        self.rows: dict[str, list[Fields]] = {}

    def check(self) -> None:
        self._whole()
        self._sections()
        demand(self.header["dtype"] in F.PLAN_DTYPES.values(), OPERAND)
        self.floats = self.header["dtype"] == F.DTYPE_F32
        slots = self.header["n_slots"]
        demand(slots == 1 if self.floats else slots > 0, SLOT)
        demand(self.header["classes"] > 0, LABEL)
        self._regions()
        for record, one in (("tensor", self._tensor), ("slot", self._slot), ("init", self._init), ("op", self._op)):
            for i, fields in enumerate(self.rows[record]):
                one(fields, i)
        self._ports()

    def _whole(self) -> None:
        raw, header_bytes = self.raw, F.STRUCTS["header"].size
        demand(len(raw) >= header_bytes + CRC_BYTES, SIZE)
        self.header = _fields("header", raw)
        demand(self.header["magic"] == F.MAGIC, MAGIC)
        demand(self.header["version"] >> 8 == F.VERSION >> 8, VERSION)
        demand(self.header["header_bytes"] == header_bytes, VERSION)
        demand(self.header["total_bytes"] == len(raw), SIZE)
        demand(zlib.crc32(raw[:-CRC_BYTES]) == int.from_bytes(raw[-CRC_BYTES:], "little"), CRC)
        wanted = self.header["board"]
        demand(not self.board or wanted in (0, zlib.crc32(self.board.encode()[:BOARD_BYTES])), BOARD)

    def _sections(self) -> None:
        h, at, end = self.header, F.STRUCTS["header"].size + 4 * self.header["n_drops"], len(self.raw) - CRC_BYTES
        counts = {
            "slot": h["n_slots"],
            "tensor": h["n_tensors"],
            "init": h["n_inits"],
            "op": h["n_infer"] + h["n_learn"],
        }
        needed = at + sum(count * F.STRUCTS[record].size for record, count in counts.items())
        demand(needed <= end and end - needed == h["tlv_bytes"], SIZE)
        for record, count in counts.items():
            size = F.STRUCTS[record].size
            self.rows[record] = [_fields(record, self.raw, at + i * size) for i in range(count)]
            at += count * size
        tlvs = self.raw[at:end]
        while len(tlvs) > 1:  # a last odd byte is padding
            demand(not tlvs[0] & REQUIRED_TLV, VERSION)
            demand(2 + tlvs[1] <= len(tlvs), SIZE)
            tlvs = tlvs[2 + tlvs[1] :]

    def _regions(self) -> None:
        h = self.header
        tail = TAIL + (0 if self.floats else PER_SLOT * h["n_slots"])
        demand(h["meta"] % 4 == 0 and h["meta"] + tail == h["state_bytes"], SIZE)
        demand(h["state_bytes"] <= LARGEST_REGION and h["arena_bytes"] <= LARGEST_REGION, SIZE)

    def _tensor(self, t: Fields, _: int) -> None:
        known = ("i32", "f32") if self.floats else ("i8", "i16", "i32")
        dtype = DTYPES.get(t["dtype"])
        demand(dtype in known and t["region"] in (ARENA, STATE) and t["rows"] > 0 and t["cols"] > 0, OPERAND)
        assert dtype is not None
        room = self.header["meta"] if t["region"] == STATE else self.header["arena_bytes"]
        demand(t["off"] % 4 == 0 and t["off"] + t["rows"] * t["cols"] * WIDTHS[dtype] <= room, SIZE)
        demand(max(t["slot0"], t["slot1"]) < self.header["n_slots"], SLOT)

    def _stored(self, index: int, code: int) -> Fields:
        """A tensor in the state."""
        demand(index < len(self.rows["tensor"]), code)
        demand(self.rows["tensor"][index]["region"] == STATE, code)
        return self.rows["tensor"][index]

    def _slot(self, s: Fields, number: int) -> None:
        constant, weight = F.SLOT_KINDS["constant"], F.SLOT_KINDS["weight"]
        demand((s["kind"] == constant) == (number == 0) and s["kind"] in F.SLOT_KINDS.values(), SLOT)
        demand(abs(s["start"]) <= EXP_LIMIT and s["bits"] <= 15 and (number > 0 or s["start"] == 0), SLOT)
        if s["kind"] == weight:
            dtype = DTYPES[self._stored(s["tensor"], SLOT)["dtype"]]
            most = {"i8": 7, "i16": 15}.get(dtype, 0)
            demand(7 <= s["bits"] <= most, SLOT)

    def _init(self, i: Fields, _: int) -> None:
        dtype = DTYPES[self._stored(i["tensor"], OPERAND)["dtype"]]
        demand(i["kind"] in F.INIT_KINDS.values() and i["shift"] <= SHIFT_LIMIT and dtype != "i32", OPERAND)
        demand(dtype == "f32" or i["scale"] < SCALE_LIMIT, OPERAND)

    def _op(self, op: Fields, _: int) -> None:
        demand(op["kernel"] in SIGNATURES, KERNEL)
        name, args = SIGNATURES[op["kernel"]]
        indices = [op[f"a{i}"] for i in range(4)]
        demand(op["flags"] >> F.OP_ARGS_SHIFT == len(args) and max(indices) < len(self.rows["tensor"]), OPERAND)
        operands = [_Operand(self.rows["tensor"][i]) for i in indices[: len(args)]]
        for (letters, _shape, access), operand in zip(args, operands, strict=True):
            demand(F.LETTERS[DTYPES[operand.record["dtype"]]] in letters, OPERAND)
            regions = {"s": (STATE,), "u": (STATE,), "x": (ARENA, STATE)}.get(access, (ARENA,))
            demand(operand.record["region"] in regions, OPERAND)
        shapes = [shape for _, shape, _ in args]
        if F.has_maps(name):
            _check_maps(shapes, operands, op["id"])
        else:
            _check_vectors(shapes, operands)

    def _ports(self) -> None:
        h = self.header
        ports = {"input": "f32" if self.floats else "i8", "label": "i32", "output": "i32"}
        if h["flags"] & F.FLAG_GUESS:
            ports["guess"] = "i32"
        for port, dtype in ports.items():
            demand(h[port] < len(self.rows["tensor"]), OPERAND)
            t = self.rows["tensor"][h[port]]
            demand(t["region"] == ARENA and DTYPES[t["dtype"]] == dtype, OPERAND)
            if port == "input":
                demand(t["off"] == 0, OPERAND)
                demand(_Operand(t).n * WIDTHS[dtype] <= LARGEST_INPUT, SIZE)
            else:
                demand(_Operand(t).n == 1, OPERAND)


def _check_vectors(shapes: Sequence[str], operands: Sequence[_Operand]) -> None:
    """Those that say how many rows or columns there are agree; a matrix says both."""
    rows = cols = 0
    for shape, operand in zip(shapes, operands, strict=True):
        if shape == "m":
            rows, cols = operand.record["rows"], operand.record["cols"]
        elif shape == "1":
            demand(operand.n == 1, OPERAND)
        elif shape == "n":
            demand(cols > 0 and operand.n % cols == 0, OPERAND)
        elif shape == "r":
            rows = rows or operand.n
            demand(operand.n == rows, OPERAND)
        elif shape == "c" or operand.n > 1:
            cols = cols or operand.n
            demand(operand.n == cols, OPERAND)


def _check_maps(shapes: Sequence[str], operands: Sequence[_Operand], window: int) -> None:
    by = dict(zip(shapes, operands, strict=True))
    if "l" in by:
        _check_windows(by["l"], by["p"].n, window)
    else:
        _check_kernel(shapes, operands)


def _check_windows(large: _Operand, made: int, window: int) -> None:
    height, width, channels = large.shape
    if window:
        demand(height % window == 0 and width % window == 0, OPERAND)
    windows = (height // window) * (width // window) if window else 1
    demand(made == windows * channels, OPERAND)


def _check_kernel(shapes: Sequence[str], operands: Sequence[_Operand]) -> None:
    kernel, depthwise = operands[0].record, shapes[0] == "d"
    k, stride, pad = kernel["width"], kernel["geo"] & F.GEO_MAX, kernel["geo"] >> F.GEO_PAD_SHIFT
    demand(k > 0 and stride > 0, OPERAND)
    demand(kernel["rows"] == k * k if depthwise else kernel["cols"] % (k * k) == 0, OPERAND)
    before, after = (
        kernel["cols"] if depthwise else kernel["cols"] // (k * k),
        kernel["cols"] if depthwise else kernel["rows"],
    )
    vectors = {"r": operands[0].n if depthwise else kernel["rows"], "c": kernel["cols"]}
    for shape, operand in zip(shapes[1:], operands[1:], strict=True):
        if shape in vectors:
            demand(operand.n == vectors[shape], OPERAND)
    maps = {side: [o.shape for s, o in zip(shapes, operands, strict=True) if s == side] for side in ("i", "o")}
    demand(all(shape == same[0] for same in maps.values() for shape in same), OPERAND)
    (*seen, channels), (*made, channels_made) = maps["i"][0], maps["o"][0]
    demand(channels == before and channels_made == after, OPERAND)
    demand(list(_positions(seen, k, stride, pad)) == made, OPERAND)


def _positions(sides: Sequence[int], k: int, stride: int, pad: int) -> Iterator[int]:
    for side in sides:
        demand(k <= side + 2 * pad, OPERAND)
        yield (side + 2 * pad - k) // stride + 1


def changed(plan: bytes, at: int, letter: str, value: int) -> bytes:
    """The plan with another number at this offset, and the CRC that belongs to it."""
    body = bytearray(plan[:-CRC_BYTES])
    struct.pack_into("<" + letter, body, at, value)
    return bytes(body) + struct.pack("<I", zlib.crc32(body))
