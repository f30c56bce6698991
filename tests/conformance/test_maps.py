"""Kernels of feature maps and of 16-bit weights against the interpreter, over random modules: every value and the whole state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgelearn import state
from edgelearn.compiler import Net, compile_net
from edgelearn.errors import ConfigError
from edgelearn.host.native import verify_plan
from edgelearn.ir.core import Module
from edgelearn.ir.interp import HALVE_EVERY, RESCALE_EVERY, Interpreter
from edgelearn.ir.ops import OPS, shape_text
from edgelearn.ir.text import parse, print_module
from edgelearn.layers import Layer
from edgelearn.passes.memory import arena_types, plan_memory, scratch_name
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn_export.plan import encode
from tests.conformance.maps import Maps, Pair, spread_out
from tests.factory import X, Y, native, order

KINDS = ("i8", "i16", "i32")
NUMBERS = {"int8": ("int8", 7), "int16 weights": ("int8", 0), "f32": ("f32", 7)}
SEEDS = range(40)


def start(seed: int, numbers: str, shape: tuple[int, ...]) -> tuple[Maps, int]:
    """An empty module with samples of this shape, and the bits of its weights."""
    draw = np.random.default_rng(seed)
    dtype, bits = NUMBERS[numbers]
    return Maps(dtype, shape, draw), bits or int(draw.integers(10, 14))


def window(seed: int) -> tuple[tuple[int, int, int], int, dict[str, int]]:
    """(shape of a map, kernel's width, stride and pad) that fit each other, odd sizes among them."""
    draw = np.random.default_rng(seed)
    k, stride, pad = int(draw.integers(1, 6)), int(draw.integers(1, 4)), int(draw.integers(0, 3))
    least = max(1, k - 2 * pad)
    h, w, c = draw.integers((least, least, 1), (least + 6, least + 5, 10)).tolist()
    return (h, w, c), k, {"stride": stride, "pad": pad}


def convolution(seed: int, numbers: str, name: str) -> Maps:
    """Both directions and every update of one convolution."""
    shape, k, geometry = window(seed)
    m, bits = start(seed, numbers, shape)
    out = shape[2] if name == "depthwise" else int(m.draw.integers(1, 10))
    W = m.weight("W", (k, k, out) if name == "depthwise" else (out, k, k, shape[2]), bits)
    b = m.weight("b", (out,), 15)
    z = m.value(f"{name}_affine", (W, "%x", b), KINDS[seed % 3], relu=seed // 3 % 2, **geometry)
    m.value(name, (W, "%x"), KINDS[(seed + 1) % 3], **geometry)
    d = m.error(m.types[z].shape)
    m.value(f"{name}_t", (W, d), KINDS[(seed + 2) % 3], shape=shape_text(shape), **geometry)
    m.value(f"{name}_t_mask", (W, d, "%x"), KINDS[seed % 3], shape=shape_text(shape), **geometry)
    m.update(f"{name}_update", (W, d, "%x"), **geometry)
    m.update("vec_update", (b, d))
    m.update("decay_update", (W,))
    return m


def dense(seed: int, numbers: str) -> Maps:
    """A dense layer on a map."""
    draw = np.random.default_rng(seed)
    h, w, c, rows = draw.integers((1, 1, 1, 1), (5, 5, 6, 12)).tolist()
    m, bits = start(seed, numbers, (h, w, c))
    W, b = m.weight("W", (rows, h * w * c), bits), m.weight("b", (rows,), 15)
    m.value("affine", (W, "%x", b), KINDS[seed % 3], relu=seed // 3 % 2)
    m.value("matvec", (W, "%x"), KINDS[(seed + 1) % 3])
    d = m.error((rows,))
    m.value("matvec_t", (W, d), KINDS[(seed + 2) % 3], shape=shape_text((h, w, c)))
    m.value("matvec_t_mask", (W, d, "%x"), KINDS[seed % 3], shape=shape_text((h, w, c)))
    m.update("outer_update", (W, d, "%x"))
    m.update("vec_update", (b, d))
    m.update("decay_update", (W,))
    m.update("decay_update", (b,))
    return m


def pooled(seed: int, numbers: str) -> Maps:
    """Pools, and what gives their errors back."""
    draw = np.random.default_rng(seed)
    size, h, w, c = draw.integers((1, 1, 1, 1), (6, 4, 4, 10)).tolist()
    shape = (h * size, w * size, c)
    m, _ = start(seed, numbers, shape)
    m.value("pool", ("%x",), KINDS[seed % 3], size=size)
    m.value("maxpool", ("%x",), size=size)
    for i, of in enumerate(((h, w, c), (h * w * c,))):
        m.value("unpool", (m.error(of, f"E{i}"),), KINDS[(seed + i) % 3], size=size, shape=shape_text(shape))
    return m


def elementwise(seed: int, numbers: str) -> Maps:
    """Maps where vectors go, and numbers that go with every element of a map."""
    draw = np.random.default_rng(seed)
    shape = tuple(draw.integers((1, 1, 1), (6, 6, 6)).tolist())
    m, _ = start(seed, numbers, shape)
    d, e, one = m.error(shape), m.error(shape, "F"), m.error((1,), "G")
    total = m.value("mul", (d, e), KINDS[seed % 3])
    for name in ("relu", "abs", "sign", "gt0"):
        m.value(name, (total,))
    for args in ((d, one), (one, e), (one, one)):
        m.value("mul", args, KINDS[(seed + 1) % 3])
    m.value("mask", (d, "%x"))
    m.value("mask", (one, "%x"))
    m.value("scale", (d,), KINDS[(seed + 2) % 3], k=0.3)
    m.value("gate", (e,), threshold=0.5)
    m.value("softmax", (total,))
    m.value("argmax", (total,))
    if numbers != "f32":
        m.value("add", (d, d))
        m.value("quant", (m.value("mul", (d, e)),), "i8")
    return m


FAMILIES: dict[str, Callable[[int, str], Maps]] = {
    "conv": lambda seed, numbers: convolution(seed, numbers, "conv"),
    "depthwise": lambda seed, numbers: convolution(seed, numbers, "depthwise"),
    "dense": dense,
    "pool": pooled,
    "elementwise": elementwise,
}


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_value_and_the_state_are_equal(family: str, numbers: str) -> None:
    for seed in SEEDS:
        m = FAMILIES[family](seed, numbers)
        pair = Pair(spread_out(m.module()), seed, step=(RESCALE_EVERY, HALVE_EVERY)[seed % 2] - 2)
        for _ in range(4):  # rates halve, and exponents move or weights are halved on the way
            pair.learn(m.sample(), 0)
            pair.agree()


@pytest.mark.parametrize("family", ["conv", "depthwise", "dense"])
def test_the_modules_reach_what_they_are_for(family: str) -> None:
    """Most values are no zeros, weights change, are halved and saturate, and exponents move."""
    moved: set[str] = set()
    counts: dict[str, list[int]] = {}

    def count(name: str, hits: int, of: int) -> None:
        pair = counts.setdefault(name, [0, 0])
        pair[0] += hits
        pair[1] += of

    for seed in SEEDS:
        m = FAMILIES[family](seed, "int16 weights")
        pair = Pair(spread_out(m.module()), seed, step=(RESCALE_EVERY, HALVE_EVERY)[seed % 2] - 2)
        before = pair.twin.state["@W"].copy()
        count("at the limit", int((np.abs(before) == pair.twin.limit(m.types["@W"])).sum()), before.size)
        for _ in range(4):
            pair.learn(m.sample(), 0)
        count("changed", int((pair.twin.state["@W"] != before).sum()), before.size)
        for op in pair.module.entry("learn").ops:
            if op.result is not None:
                value = pair.values[op.result]
                count(op.name, int((value != 0).sum()), value.size)
        moved |= {slot.kind for slot in m.slots if pair.twin.moves[slot.name]}
    assert moved == {"weight", "moving"}
    shares = {name: hits / of for name, (hits, of) in counts.items()}
    assert 0.02 < shares.pop("at the limit") < 0.4
    assert min(shares.values()) > 0.15, shares


@pytest.mark.parametrize("family", FAMILIES)
def test_planned_memory_gives_the_same_state(family: str) -> None:
    """Values and scratch may lie where others have died."""
    for seed in SEEDS:
        m = FAMILIES[family](seed, "int8")
        spread, planned = (Pair(lay_out(m.module()), seed) for lay_out in (spread_out, plan_memory))
        for _ in range(3):
            x = m.sample()
            spread.learn(x, 0)
            planned.learn(x, 0)
            assert planned.core.read_state() == spread.core.read_state()


def overlaps(module: Module, entry: str) -> list[tuple[str, str]]:
    """Pairs of a scratch and a value that lie on each other while the op of the scratch runs."""
    types, ops = arena_types(module, module.entry(entry)), module.entry(entry).ops
    at = {p.value: p.offset for p in module.places if p.entry == entry}
    found = []
    for i, op in enumerate(ops):
        own = scratch_name(i)
        if own not in types:
            continue
        born = {"%x", "%y", *(o.result for o in ops[:i])} & set(at)
        needed = {a for o in ops[i:] for a in o.args} | {module.entry(entry).result, "%x", "%y"}
        for name in born & needed:
            if at[name] < at[own] + types[own].nbytes and at[own] < at[name] + types[name].nbytes:
                found.append((own, name))
        assert types[own].size == (OPS[op.name].scratch or (lambda shapes: 0))([module.state_types()[op.args[0]].shape])
    return found


@pytest.mark.parametrize("name", ["conv", "depthwise"])
def test_scratch_has_a_place_of_its_own(name: str) -> None:
    for seed in SEEDS:
        module = plan_memory(convolution(seed, "int8", name).module())
        assert parse(print_module(module)) == module
        (scratch,) = (p for p in module.places if p.value.startswith("scratch:"))
        assert scratch.entry == "learn"
        assert scratch.offset % 4 == 0
        types = arena_types(module, module.entry("learn"))
        assert scratch.offset + types[scratch.value].nbytes <= module.integer("arena_bytes")
        assert overlaps(module, "learn") == []


def test_floats_need_no_scratch() -> None:
    module = plan_memory(convolution(0, "f32", "conv").module())
    assert not any(p.value.startswith("scratch:") for p in module.places)


def test_a_kernel_has_one_geometry() -> None:
    m, _ = start(0, "int8", (6, 6, 2))
    W = m.weight("W", (3, 3, 3, 2))
    m.value("conv", (W, "%x"), stride=1, pad=0)
    m.value("conv", (W, "%x"), stride=1, pad=1)
    with pytest.raises(ConfigError, match="W is used with two strides or pads"):
        encode(plan_memory(m.module()))


@pytest.mark.parametrize(("stride", "pad"), [(16, 0), (1, 16)])
def test_a_geometry_beyond_the_plan_is_refused(stride: int, pad: int) -> None:
    m, _ = start(0, "int8", (6, 6, 2))
    m.value("conv", (m.weight("W", (3, 3, 3, 2)), "%x"), stride=stride, pad=pad)
    with pytest.raises(ConfigError, match=f"stride {stride} and pad {pad}"):
        encode(plan_memory(m.module()))


def test_more_updates_than_a_plan_can_number_are_refused() -> None:
    m, _ = start(0, "int8", (1, 1, 1))
    W = m.weight("W", (2, 1))
    for _ in range(257):
        m.update("decay_update", (W,))
    with pytest.raises(ConfigError, match="more updates than a plan can number"):
        encode(plan_memory(m.module()))


def test_a_map_of_more_elements_than_a_window_counts_has_a_moving_exponent() -> None:
    """The window's counter saturates at 65535: the exponent of 70,000 elements must go up all the same."""
    m, _ = start(0, "int8", (50, 50, 1))
    W = m.weight("W", (28, 1, 1, 1))
    m.value("conv", (W, "%x"), "i8", stride=1, pad=0)
    slots = {s.name: s for s in m.slots}
    moving = next(s for s in slots.values() if s.kind == "moving")
    m.slots[m.slots.index(moving)] = type(moving)(moving.name, "moving", -20, 7, 28 * 50 * 50)
    pair = Pair(spread_out(m.module()), 0, step=RESCALE_EVERY - 2)
    assert verify_plan(encode(pair.module)) == 0
    for _ in range(2):
        pair.learn(m.sample(), 0)
    pair.agree()
    assert pair.twin.exps[moving.name] == -19


LAYERS = (
    Layer("conv", 4, kernel=3, pad=1, bits=12),
    Layer("pool", kernel=2),
    Layer("depthwise", kernel=3, pad=1),
    Layer("conv", 6, kernel=3, stride=2, pad=1, head=1, bits=7),
    8,
)


@pytest.mark.parametrize(("rule", "dtype"), [("mono-forward", "int8"), ("mono-forward", "f32"), ("backprop", "f32")])
def test_a_compiled_net_of_maps_learns_the_same(rule: str, dtype: str) -> None:
    """The whole way, from layers through the passes: 16-bit and 8-bit kernels, pools, moving exponents."""
    net = compile_net(find(rule), Net((8, 8, 1), LAYERS, 10), Calibration(X, Y), dtype, (100, 200))
    core, twin = native(net, 3), Interpreter(net.module, 3)
    x, indices = net.encode(X), order(RESCALE_EVERY + 44 if dtype == "int8" else 60, 3)
    said = core.learn(x, Y, indices)
    guesses = [twin.learn(x[i], int(Y[i])) for i in indices]
    found = state.decode(net.module, core.read_state())
    if dtype == "int8":
        assert said.tolist() == guesses
        assert core.read_state() == state.encode(twin)
    for name, value in twin.tensors().items():
        np.testing.assert_allclose(found.tensors[name], value, atol=1e-5, err_msg=name)
    assert len({op.name for op in net.module.entry("learn").ops} & {"conv_update", "depthwise_update", "unpool"}) >= 2
