"""The verifier's answer to thousands of damaged plans is, code by code, that of the rules written down a second time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from edgelearn.host.native import verify_plan
from edgelearn.passes.memory import plan_memory
from edgelearn_export.plan import encode
from edgelearn_export.plan import format as F
from tests.conformance.maps import Maps
from tests.firmware.reference_verifier import changed, verdict
from tests.firmware.test_verify import bit_flips, field_mutants, golden, havoc, roomy, sealed, sections

pytestmark = pytest.mark.slow  # tens of thousands of plans, each also by rules in Python

PLANS = ("mono-forward", "mono-forward f32", "unfused", "maps", "maps f32", "whole maps")
HAVOC, FLIPS_EVERY = 500, 7
HEADER = F.STRUCTS["header"].size
GIANT = 0x7FFFFFFF  # the largest region
BOARD = "a board with 16."


class Case(NamedTuple):
    plan: bytes
    board: str = ""


def at(plan: bytes, record: str, index: int, field: str) -> tuple[int, str]:
    """Offset and type of a field of the record number ``index``."""
    start = [offset for kind, offset in sections(plan) if kind == record][index]
    return start + F.offsets(record)[field], dict(F.RECORDS[record])[field]


def put(plan: bytes, record: str, index: int, **fields: int) -> bytes:
    for field, value in fields.items():
        plan = changed(plan, *at(plan, record, index, field), value)
    return plan


def get(plan: bytes, record: str, index: int, field: str) -> int:
    offset, letter = at(plan, record, index, field)
    return int(struct.unpack_from("<" + letter, plan, offset)[0])


def count(plan: bytes, record: str) -> int:
    return sum(kind == record for kind, _ in sections(plan))


def with_tlvs(plan: bytes, tlvs: bytes, claimed: int | None = None) -> bytes:
    longer = plan[:-4] + tlvs
    claimed = len(tlvs) if claimed is None else claimed
    return put(sealed(longer), "header", 0, tlv_bytes=claimed, total_bytes=len(longer) + 4)


def tlvs(plan: bytes) -> Iterator[bytes]:
    short = (b"\x01\0", b"\x01\x02ab", b"\x01\x03ab", b"\x7f\0", b"\x80\0", b"\x81\x01a", b"\0", b"\x80", b"\x01\0\0")
    for some in (*short, b"\x01\0\x80\0"):
        yield with_tlvs(plan, some)
    yield with_tlvs(plan, b"\x01\0", 3)
    yield with_tlvs(plan, b"\x01\0", 1)
    yield with_tlvs(plan, b"\x01\xff" + bytes(255))
    yield with_tlvs(plan, b"\x01\xff" + bytes(254))
    yield with_tlvs(plan, bytes(512) + b"\x80\0")


def records(plan: bytes) -> Iterator[bytes]:
    """One record more or less than is said, of each kind, and a drop."""
    for record, field in (("slot", "n_slots"), ("tensor", "n_tensors"), ("init", "n_inits"), ("op", "n_infer")):
        size, start = F.STRUCTS[record].size, at(plan, record, 0, F.RECORDS[record][0][0])[0]
        many = get(plan, "header", 0, field)
        longer = plan[:start] + plan[start : start + size] + plan[start:-4]
        yield put(sealed(longer), "header", 0, total_bytes=len(longer) + 4, **{field: many + 1})
        shorter = plan[:start] + plan[start + size : -4]
        yield put(sealed(shorter), "header", 0, total_bytes=len(shorter) + 4, **{field: many - 1})
    drops = get(plan, "header", 0, "n_drops")
    longer = plan[:HEADER] + bytes(4) + plan[HEADER:-4]
    yield put(sealed(longer), "header", 0, total_bytes=len(longer) + 4, n_drops=drops + 1)


def tensors(plan: bytes) -> Iterator[bytes]:
    """Each at the end of its region, and one element or four bytes beyond; and ones whose size needs more than 32 bits."""
    for i in range(count(plan, "tensor")):
        width = {0: 1, 1: 2}.get(get(plan, "tensor", i, "dtype"), 4)
        room = get(plan, "header", 0, "meta" if get(plan, "tensor", i, "region") else "arena_bytes")
        for off in (0, room // 4 * 4 - 8, room // 4 * 4 - 4, room // 4 * 4, room // 4 * 4 + 4):
            whole = min((room - off) // width, 0xFFFF)
            for cols in (whole, whole + 1):
                if off >= 0 and 0 < cols <= 0xFFFF:
                    yield put(plan, "tensor", i, off=off, rows=1, cols=cols)
                    yield put(plan, "tensor", i, off=off, rows=cols, cols=1)
        yield put(plan, "tensor", i, rows=0x8000, cols=0x8000)
        yield put(plan, "tensor", i, rows=0xFFFF, cols=0xFFFF)


def regions(plan: bytes) -> Iterator[bytes]:
    tail = get(plan, "header", 0, "state_bytes") - get(plan, "header", 0, "meta")
    for meta in (0, 4, GIANT - tail, (GIANT - tail) // 4 * 4, (GIANT - tail) // 4 * 4 + 4, 0xFFFFFFFC - tail):
        yield put(plan, "header", 0, meta=meta, state_bytes=meta + tail)
    for wrong in (-8, -4, -1, 1, 4):
        yield put(plan, "header", 0, state_bytes=get(plan, "header", 0, "state_bytes") + wrong)
    yield put(plan, "header", 0, state_bytes=tail - 1, meta=0)
    yield put(plan, "header", 0, state_bytes=tail - 4, meta=0xFFFFFFFC)
    for arena in (GIANT - 1, GIANT, GIANT + 1, 0xFFFFFFFF):
        yield put(plan, "header", 0, arena_bytes=arena)


def inputs(plan: bytes) -> Iterator[bytes]:
    """The input alone, as long as a sample may be and longer: nothing else of the plan reads it."""
    i, first = get(plan, "header", 0, "input"), at(plan, "op", 0, "kernel")[0]
    base = put(roomy(plan), "header", 0, n_infer=0, n_learn=0)
    without = base[:first] + base[first + count(plan, "op") * F.STRUCTS["op"].size : -4]
    bare = put(sealed(without), "header", 0, total_bytes=len(without) + 4)
    for rows, cols in (
        (1, 0xFFFF),
        (0x8000, 2),
        (257, 255),
        (0x3FFF, 1),
        (0x4000, 1),
        (0x7FFF, 2),
        (0x7FFF, 1),
        (0x8000, 1),
    ):
        yield put(bare, "tensor", i, rows=rows, cols=cols)
    yield put(bare, "tensor", i, off=4)
    for port in ("label", "output", "guess"):
        tensor = get(plan, "header", 0, port)
        yield put(bare, "tensor", tensor, rows=1, cols=2)
        yield put(bare, "tensor", tensor, rows=2, cols=1)
        yield put(put(bare, "tensor", tensor, rows=1, cols=2), "header", 0, flags=0)


def others(plan: bytes) -> Iterator[bytes]:
    """Each port at every tensor, and each slot of each weight."""
    for port in ("input", "label", "output", "guess"):
        for i in range(count(plan, "tensor") + 1):
            for flags in (0, 1, 3):
                yield put(plan, "header", 0, **{port: i, "flags": flags})
    for i in range(count(plan, "slot")):
        for start in (-128, -41, -40, 40, 41, 127):
            yield put(plan, "slot", i, start=start)
        for kind in range(5):
            for tensor in range(count(plan, "tensor") + 1):
                yield put(plan, "slot", i, kind=kind, tensor=tensor)
        for bits in range(18):
            yield put(plan, "slot", i, bits=bits)
    for i in range(count(plan, "init")):
        for tensor in range(count(plan, "tensor") + 1):
            yield put(plan, "init", i, tensor=tensor)
        for shift in (39, 40, 41):
            yield put(plan, "init", i, shift=shift, scale=1)
        for scale in ((1 << 13) - 1, 1 << 13, (1 << 13) + 1):
            yield put(plan, "init", i, scale=scale)


def kernels(plan: bytes) -> Iterator[bytes]:
    """Every kernel that there is, and some that there are not, in place of each."""
    for i in range(count(plan, "op")):
        for code in (*range(0, 128, 1 if i == 0 else 13), 255):
            args = len(F.KERNEL_ARGS[next((n for n, c in F.KERNEL_CODES.items() if c == code), "add")])
            yield put(plan, "op", i, kernel=code, flags=args << F.OP_ARGS_SHIFT)
        for a in range(4):
            yield put(plan, "op", i, **{f"a{a}": count(plan, "tensor") - 1})
            yield put(plan, "op", i, **{f"a{a}": count(plan, "tensor")})


def cut(plan: bytes) -> Iterator[bytes]:
    """Of every length, whole by its own account."""
    for n in range(HEADER + 1, len(plan) - 4):
        yield put(sealed(plan[:n]), "header", 0, total_bytes=n + 4)
    yield sealed(plan[: HEADER - 1])
    yield plan[: HEADER + 3]
    yield put(sealed(plan[:HEADER]), "header", 0, total_bytes=HEADER + 4, n_drops=0)


def beyond(plan: bytes) -> Iterator[bytes]:
    """More records than there are bytes, and TLVs that make up for it where 32 bits wrap; and the shortest plan, of no records."""
    end = len(plan) - 4
    sizes = {"n_drops": 4, "n_slots": F.STRUCTS["slot"].size, "n_tensors": F.STRUCTS["tensor"].size}
    sizes |= {"n_inits": F.STRUCTS["init"].size, "n_infer": F.STRUCTS["op"].size, "n_learn": F.STRUCTS["op"].size}
    for field, _size in sizes.items():
        for most in (0xFF, 0xFFFF) if field in ("n_infer", "n_learn") else (0xFF,):
            more = {**{each: get(plan, "header", 0, each) for each in sizes}, field: most}
            needed = HEADER + sum(sizes[each] * number for each, number in more.items())
            yield put(plan, "header", 0, **{field: most, "tlv_bytes": (end - needed) % (1 << 32)})
            yield put(plan, "header", 0, **{field: most, "tlv_bytes": 0})
    bare = put(sealed(plan[:HEADER]), "header", 0, **dict.fromkeys(sizes, 0), tlv_bytes=0, total_bytes=HEADER + 4)
    yield bare
    yield put(bare, "header", 0, tlv_bytes=0xFFFFFFFF, total_bytes=HEADER + 3)[:-1]


def damaged(plan: bytes) -> Iterator[bytes]:
    """With the CRC as it was, or a wrong one."""
    yield plan[:-1] + bytes([plan[-1] ^ 1])
    for place in range(0, len(plan) - 4, FLIPS_EVERY):
        yield plan[:place] + bytes([plan[place] ^ 1 << place % 8]) + plan[place + 1 :]


def boards(plan: bytes) -> Iterator[Case]:
    for meant in ("", BOARD, BOARD[:-1], "sim"):
        mutant = put(plan, "header", 0, board=zlib.crc32(meant.encode()) if meant else 0)
        for board in ("", BOARD, BOARD + "X", BOARD[:-1], "sim"):
            yield Case(mutant, board)


EDGES = (tlvs, records, tensors, regions, inputs, others, kernels, cut, beyond, damaged)


def whole_maps() -> bytes:
    """Kernels as large as what they read, and a window that is all of it."""
    m = Maps("int8", (3, 3, 2), np.random.default_rng(0))
    W, D = m.weight("W", (5, 3, 3, 2), 7), m.weight("D", (3, 3, 2), 7)
    m.value("conv", (W, "%x"), stride=2, pad=0)
    m.value("conv", (m.weight("V", (5, 5, 5, 2), 12), "%x"), stride=3, pad=1)
    m.value("depthwise", (D, "%x"), stride=1, pad=0)
    m.value("pool", ("%x",), size=3)
    one = m.value("maxpool", ("%x",), size=3)
    m.value("conv", (m.weight("U", (4, 2, 2, 2), 7), one), stride=2, pad=1)  # which a map of no width would fit too
    m.update("conv_update", (W, m.error((1, 1, 5)), "%x"), stride=2, pad=0)
    return encode(plan_memory(m.module()))


@cache
def cases(name: str) -> tuple[tuple[Case, int], ...]:
    """(a plan for some board, the code that it must get)."""
    plan = whole_maps() if name == "whole maps" else golden(name)
    mutants = [
        plan,
        *list(bit_flips(plan))[::FLIPS_EVERY],
        *field_mutants(plan),
        *havoc(plan, HAVOC),
        *havoc(roomy(plan), HAVOC),
    ]
    for edges in EDGES:
        mutants += edges(plan)
    every = [*map(Case, dict.fromkeys(mutants)), *boards(plan)]
    return tuple((case, verdict(case.plan, case.board)) for case in every)


@pytest.mark.parametrize("name", PLANS)
def test_every_code_is_that_of_the_rules(name: str) -> None:
    found = [(verify_plan(*case), code) for case, code in cases(name)]
    wrong = [(i, answer, code) for i, (answer, code) in enumerate(found) if answer != code]
    print(f"\n{name}: {len(found):,} plans, {sum(code == 0 for _, code in found):,} accepted, {len({code for _, code in found})} codes")  # noqa: T201 # fmt: skip
    assert not wrong, f"(case, answer, what the rules say): {wrong[:5]}"
    assert {code for _, code in found} >= {0, -2, -3, -4, -5, -6, -8, -9, -10, -11}
