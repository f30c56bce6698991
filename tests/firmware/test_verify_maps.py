"""Shapes of kernels and maps, one op at a time: what the device's verifier accepts is exactly what fits, and so stays in bounds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelearn.host.native import verify_plan
from edgelearn.ir.ops import shape_text
from edgelearn.passes.memory import plan_memory
from edgelearn_export.plan import encode
from edgelearn_export.plan import format as F
from edgelearn_export.plan.carray import c_source, kernels
from tests.conformance.maps import Maps
from tests.firmware.host import FIRMWARE, compile_host
from tests.firmware.test_verify import SANITIZERS, roomy, run, sealed, sections

pytestmark = pytest.mark.slow  # tens of thousands of mutants, and compilers with sanitizers

KERNEL, OPERAND = -8, -9
STRIDE, PAD, K, OUT, SIZE = 2, 1, 3, 4, 3
SHAPE = (9, 6, 2)  # of the map that is read: both sides can be cut into windows of 3
MADE = {"conv": (5, 3, OUT), "depthwise": (5, 3, SHAPE[2])}
FIELDS = ("rows", "cols", "width", "geo")


def plan(name: str, dtype: str) -> bytes:
    """A plan whose ``learn`` has this op, and so much memory that no larger tensor is refused for its size."""
    m = Maps(dtype, SHAPE, np.random.default_rng(1))
    family, _, kind = name.partition("_")
    geometry: dict[str, Any] = {"stride": STRIDE, "pad": PAD}
    shape = shape_text(SHAPE)
    if family in ("pool", "maxpool"):
        m.value(name, ("%x",), size=SIZE)
    elif family == "unpool":
        m.value(name, (m.error((3, 2, 2)),), size=SIZE, shape=shape)
    else:
        W = m.weight("W", (K, K, SHAPE[2]) if family == "depthwise" else (OUT, K, K, SHAPE[2]))
        if kind in ("", "affine"):
            b = (m.weight("b", MADE[family][2:], 15),) if kind else ()
            m.value(name, (W, "%x", *b), **geometry)
        elif kind == "update":
            m.update(name, (W, m.error(MADE[family]), "%x"), **geometry)
        else:
            m.value(name, (W, m.error(MADE[family]), *(("%x",) if kind == "t_mask" else ())), shape=shape, **geometry)
    return roomy(roomy(encode(plan_memory(m.module()))))


@dataclass(frozen=True)
class Operand:
    """A tensor record: what it says, and where it says so."""

    at: int
    rows: int
    cols: int
    width: int
    geo: int

    @property
    def size(self) -> int:
        return self.rows * self.cols

    @property
    def is_map(self) -> bool:
        return self.width > 0 and self.rows % self.width == 0

    @property
    def sides(self) -> tuple[int, int]:
        return self.rows // self.width, self.width


def operands(plan: bytes, name: str) -> tuple[list[Operand], int]:
    """Of the op that calls this kernel, and the op's id."""
    found = list(sections(plan))
    tensors, ops = ([at for record, at in found if record == wanted] for wanted in ("tensor", "op"))
    (op,) = (at for at in ops if plan[at] == F.KERNEL_CODES[name])
    at = F.offsets("op")
    indices = [plan[op + at[f"a{i}"]] for i in range(plan[op + at["flags"]] >> F.OP_ARGS_SHIFT)]
    names = [field for field, _ in F.TENSOR]
    records = [dict(zip(names, F.STRUCTS["tensor"].unpack_from(plan, tensors[i]), strict=True)) for i in indices]
    return [
        Operand(tensors[i], *(record[field] for field in FIELDS)) for i, record in zip(indices, records, strict=True)
    ], plan[op + at["id"]]


def fits(name: str, operands: list[Operand], window: int) -> bool:
    """The rules of docs/plan.md, written down a second time."""
    family, _, kind = name.removesuffix("_f32").partition("_")
    if family in ("pool", "maxpool", "unpool"):
        large, small = operands[::-1] if family == "unpool" else operands
        if not large.is_map or window == 0 or any(side % window for side in large.sides):
            return False
        return small.size * window**2 == large.size
    W, *maps = operands
    k, stride, pad = W.width, W.geo & F.GEO_MAX, W.geo >> F.GEO_PAD_SHIFT
    other = [maps.pop(1)] if kind == "affine" else [maps.pop()] if kind == "update" and len(maps) == 3 else []
    seen, made = (maps[1:], maps[:1]) if kind[:1] in ("t", "u") else (maps[:1], maps[1:])
    if not k or not stride or not all(m.is_map for m in maps):
        return False
    depthwise = family == "depthwise"
    inputs, outputs = (W.cols, W.cols) if depthwise else (W.cols // k**2, W.rows)
    if (W.rows != k**2) if depthwise else W.cols % k**2:
        return False
    wanted = {"affine": outputs, "update": W.size if depthwise else W.cols}.get(kind)
    if any(vector.size != wanted for vector in other) or len({(m.sides, m.cols) for m in seen}) != 1:
        return False
    positions = [(side + 2 * pad - k) // stride + 1 if side + 2 * pad >= k else 0 for side in seen[0].sides]
    return tuple(positions) == made[0].sides and seen[0].cols == inputs and made[0].cols == outputs


def mutations(operand: Operand) -> Iterator[tuple[str, int]]:
    """(field, value): small ones, neighbours and multiples of what is there, and the largest."""
    for field in FIELDS:
        now, top = getattr(operand, field), 0xFF if field == "geo" else 0xFFFF
        near = {now + 1, now - 1, 2 * now, 3 * now, now // 2, now // 3, top, top // 2 + 1, 255, 256}
        values = range(256) if field == "geo" else {*range(40), *near}
        yield from ((field, v) for v in values if 0 <= v <= top and v != now)


def changed(plan: bytes, operand: Operand, field: str, value: int) -> bytes:
    body = bytearray(plan[:-4])
    struct.pack_into("<B" if field == "geo" else "<H", body, operand.at + F.offsets("tensor")[field], value)
    return sealed(body)


CONVOLUTIONS = ("", "_affine", "_t", "_t_mask", "_update")
KERNELS = ("pool", "maxpool", "unpool", *(f"{family}{kind}" for family in MADE for kind in CONVOLUTIONS))


@pytest.mark.parametrize("dtype", ["int8", "f32"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_changed_shape_is_accepted_only_if_it_fits(kernel: str, dtype: str) -> None:
    name = kernel if dtype == "int8" else f"{kernel}_f32"
    whole = plan(kernel, dtype)
    assert name in kernels(whole)
    found, window = operands(whole, name)
    assert fits(name, found, window)
    assert verify_plan(whole) == 0
    for i, operand in enumerate(found):
        refused = set()
        for field, value in mutations(operand):
            mutant = changed(whole, operand, field, value)
            code = verify_plan(mutant)
            if code:
                refused.add(field)
            else:
                assert fits(name, *operands(mutant, name)), f"operand {i}: {field} = {value} is accepted"
        must = {"rows", "cols"} | ({"width"} if operand.width and not is_flat(kernel, i) else set())
        assert refused >= must | ({"geo"} if i == 0 and kernel.startswith(tuple(MADE)) else set())


def is_flat(kernel: str, operand: int) -> bool:
    """Is it read by its elements alone, whatever map they are?"""
    return (kernel, operand) in {("unpool", 0), ("pool", 1), ("maxpool", 1)}


@pytest.mark.parametrize("kernel", KERNELS)
def test_two_changes_at_once_are_accepted_only_if_they_fit(kernel: str) -> None:
    """Strides and sizes that agree with each other again are another convolution, and fine."""
    whole = plan(kernel, "int8")
    draw = np.random.default_rng(0)
    accepted = 0
    for _ in range(4000):
        mutant = whole
        for i in draw.permutation(len(operands(whole, kernel)[0]))[: draw.integers(1, 4)]:
            operand = operands(mutant, kernel)[0][i]
            field = FIELDS[draw.integers(len(FIELDS) if i == 0 else 3)]
            value = int(draw.integers(0, 40 if field != "geo" else 64))
            mutant = changed(mutant, operand, field, value)
        if verify_plan(mutant) == 0:
            accepted += 1
            assert fits(kernel, *operands(mutant, kernel))
    assert accepted


@pytest.mark.parametrize("kernel", ["pool", "maxpool", "unpool"])
@pytest.mark.parametrize("window", [0, 1, 2, 4, 6, 9, 255])
def test_windows_must_cut_the_map(kernel: str, window: int) -> None:
    whole = plan(kernel, "int8")
    (op,) = (at for record, at in sections(whole) if record == "op" and whole[at] == F.KERNEL_CODES[kernel])
    body = bytearray(whole[:-4])
    body[op + F.offsets("op")["id"]] = window
    assert verify_plan(sealed(body)) == OPERAND


@pytest.mark.parametrize(
    ("bits", "accepted"), [(0, False), (6, False), (7, True), (8, False), (15, False), (16, False)]
)
def test_a_weight_of_8_bits_has_seven_and_a_sign(bits: int, accepted: bool) -> None:
    assert (verify_plan(with_bits(7, bits)) == 0) == accepted


@pytest.mark.parametrize(("bits", "accepted"), [(6, False), (7, True), (8, True), (12, True), (15, True), (16, False)])
def test_a_weight_of_16_bits_has_up_to_fifteen_and_a_sign(bits: int, accepted: bool) -> None:
    assert (verify_plan(with_bits(12, bits)) == 0) == accepted


def with_bits(stored: int, claimed: int) -> bytes:
    """A plan whose weights have ``stored`` bits, and a slot that claims others."""
    m = Maps("int8", (1, 1, 3), np.random.default_rng(0))
    m.value("matvec", (m.weight("W", (2, 3), stored), "%x"))
    plan = encode(plan_memory(m.module()))
    slots = [at for record, at in sections(plan) if record == "slot"]
    body = bytearray(plan[:-4])
    body[slots[1] + F.offsets("slot")["bits"]] = claimed
    return sealed(body)


def products(shape: tuple[int, ...], bits: int) -> Maps:
    """A dense layer on this map, with weights of so many bits."""
    m = Maps("int8", shape, np.random.default_rng(0))
    W = m.weight("W", (5, int(np.prod(shape))), bits)
    d = m.error((5,))
    m.value("matvec_t", (W, d), "i16")
    m.value("matvec", (W, "%x"), "i8")
    m.update("outer_update", (W, d, "%x"))
    return m


def convolved(bits: int) -> Maps:
    """The same for a convolution, whose bias learns from a map."""
    m = Maps("int8", (4, 4, 3), np.random.default_rng(0))
    W, b = m.weight("W", (5, 3, 3, 3), bits), m.weight("b", (5,), 15)
    m.value("conv_affine", (W, "%x", b), "i8", stride=1, pad=1)
    m.update("vec_update", (b, m.error((4, 4, 5))))
    return m


def test_a_compiled_in_plan_brings_the_smaller_functions_and_no_checks_of_maps() -> None:
    sources = {}
    for name, m in (("i8", products((3,), 7)), ("i16", products((3,), 12)), ("map", convolved(7))):
        module = plan_memory(m.module())
        sources[name] = c_source(encode(module), module)
    assert "= el_k_matvec," in sources["i8"]
    assert "= el_k_outer_update," in sources["i8"]
    assert "el_check_map_shapes" not in sources["i8"]
    assert "= el_k_matvec_any," in sources["i16"]
    assert "= el_k_outer_update_any," in sources["i16"]
    assert "= el_k_vec_update_any," in sources["map"]
    assert "el_map_shapes = el_check_map_shapes;" in sources["map"]


def test_a_compiled_in_image_refuses_what_it_has_no_function_for(tmp_path: Path) -> None:
    """Its signatures allow no more than its kernels do."""
    plans = [encode(plan_memory(m.module())) for m in (products((3,), 7), products((3,), 12), convolved(7))]
    module = plan_memory(products((3,), 7).module())
    (tmp_path / "plan.c").write_text(c_source(encode(module), module))
    units = [FIRMWARE / "tests/verify_main.c", tmp_path / "plan.c", *sorted((FIRMWARE / "core").glob("*.c"))]
    image = compile_host(tmp_path / "image", units, *SANITIZERS)
    assert run(image, plans) == [0, OPERAND, KERNEL]
