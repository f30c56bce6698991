"""The error of a head that read a map's average is not spread over the map: kernels, compiler and the memory that it saves."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from edgelearn import state
from edgelearn.compiler import Net, compile_net
from edgelearn.host.native import verify_plan
from edgelearn.ir.interp import HALVE_EVERY, RESCALE_EVERY, Interpreter
from edgelearn.ir.ops import OPS, shape_text
from edgelearn.ir.ops.base import Draw, Q
from edgelearn.layers import Layer
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn_export.plan import encode
from edgelearn_export.plan import format as F
from tests.conformance.maps import Maps, Pair, spread_out
from tests.conformance.test_maps import KINDS, start, window
from tests.factory import X, Y, native, order

SEEDS = range(40)
LAYERS = (
    Layer("conv", 6, kernel=3, stride=2, pad=1, head=1, bits=7),
    Layer("depthwise", kernel=3, pad=1, head=1, bits=12),
    Layer("conv", 5, kernel=1, head=1),
)

WIDER = (
    Layer("depthwise", kernel=3, stride=2, pad=1, head=1, bits=12),
    Layer("conv", 32, kernel=1, head=1),
)


def updates(seed: int, name: str) -> Maps:
    """One layer and its error, as a vector for all positions."""
    shape, k, geometry = window(seed)
    m, bits = start(seed, "int8" if seed % 2 else "int16 weights", shape)
    out = shape[2] if name == "depthwise" else int(m.draw.integers(1, 10))
    W = m.weight("W", (k, k, out) if name == "depthwise" else (out, k, k, shape[2]), bits)
    b = m.weight("b", (out,), 15)
    a = m.value(f"{name}_affine", (W, "%x", b), "i8", relu=1, **geometry)
    d = m.error((out,))
    m.update(f"{name}_update_open", (W, d, a, "%x"), **geometry)
    m.update("vec_update_open", (b, d, a))
    return m


@pytest.mark.parametrize("name", ["conv", "depthwise"])
def test_the_core_does_what_the_interpreter_does(name: str) -> None:
    changed = 0
    for seed in SEEDS:
        m = updates(seed, name)
        pair = Pair(spread_out(m.module()), seed, step=(RESCALE_EVERY, HALVE_EVERY)[seed % 2] - 2)
        before = pair.twin.state["@W"].copy(), pair.twin.state["@b"].copy()
        for _ in range(4):
            pair.learn(m.sample(), 0)
            pair.agree()
        changed += any((pair.twin.state[f"@{n}"] != old).any() for n, old in zip("Wb", before, strict=True))
    assert changed > len(SEEDS) / 2


@pytest.mark.parametrize("name", ["conv", "depthwise"])
def test_it_is_what_a_masked_map_of_errors_would_do(name: str) -> None:
    """Of one state the two updates make the same."""
    for seed in SEEDS:
        m = updates(seed, name)
        pair = Pair(spread_out(m.module()), seed)
        old = {n: Q(pair.twin.state[f"@{n}"].astype(np.int64), -9) for n in "Wb"}
        pair.learn(m.sample(), 0)
        for op in [op for op in m.ops if op.name.endswith("_open")]:
            d, a, *x = (Q(pair.values[arg].astype(np.int64), -7) for arg in op.args[1:])
            every = Q(np.where(a.q > 0, d.q.reshape(-1), 0), d.e)
            own, plain = old[op.args[0][1:]], OPS[op.name.removesuffix("_open")]
            draw = Draw(seed, 3, 0)
            there = plain.i32(op, own, every, *x, draw, 127)
            assert (OPS[op.name].i32(op, own, d, a, *x, draw, 127).q == there.q).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 3, 4), (1, 6, 2), (4, 4, 3)])
def test_a_pool_may_be_the_whole_map(shape: tuple[int, int, int], kind: str) -> None:
    count = shape[0] * shape[1]
    for numbers in ("int8", "f32"):
        m, _ = start(3, numbers, shape)
        m.value("pool", ("%x",), kind, size=0, count=count)
        m.value("maxpool", ("%x",), size=0, count=count)
        m.value("unpool", (m.error((shape[2],)),), kind, size=0, count=count, shape=shape_text(shape))
        pair = Pair(spread_out(m.module()), 2)
        for _ in range(3):
            pair.learn(m.sample(), 0)
            pair.agree()


def test_a_net_with_pooled_heads_learns_the_same_and_keeps_no_map_of_errors() -> None:
    net = compile_net(find("mono-forward"), Net((8, 8, 1), LAYERS, 10), Calibration(X, Y), "int8", (100, 200))
    ops = {op.name for op in net.module.entry("learn").ops}
    assert {"conv_update_open", "depthwise_update_open", "vec_update_open"} <= ops
    assert not ops & {"unpool", "mask", "conv_update", "depthwise_update"}
    two_maps, sample = 2 * 4 * 4 * 6, 64
    assert net.module.integer("arena_bytes") < 2 * two_maps + sample + 4 * 64
    core, twin = native(net, 3), Interpreter(net.module, 3)
    x, indices = net.encode(X), order(RESCALE_EVERY + 44, 3)
    assert core.learn(x, Y, indices).tolist() == [twin.learn(x[i], int(Y[i])) for i in indices]
    assert core.read_state() == state.encode(twin)


def test_a_net_with_pooled_heads_learns_the_digits() -> None:
    """About as well as it does in floats, where the map of errors is made."""
    layers = (Layer("conv", 16, kernel=3, pad=1, head=1, bits=7), *WIDER)
    right = {}
    for dtype in ("int8", "f32"):
        net = compile_net(find("mono-forward", {"lr": 2**-3}), Net((8, 8, 1), layers, 10), Calibration(X, Y), dtype)
        core = native(net, 1)
        core.learn(net.encode(X), Y, order(8 * len(X), 1))
        right[dtype] = float((core.infer(net.encode(X)) == Y).mean())
    assert right["int8"] > 0.65, right
    assert abs(right["int8"] - right["f32"]) < 0.12, right


def test_the_verifier_refuses_an_error_of_another_size() -> None:
    """On the board, whatever wrote the plan."""
    m = updates(5, "conv")
    plan = bytearray(encode(spread_out(m.module())))
    assert verify_plan(bytes(plan)) == 0
    records, size = F.STRUCTS["header"].size, F.STRUCTS["op"].size
    code = F.KERNEL_CODES["conv_update_open"]
    at = next(i for i in range(len(plan) - 4 - size, records, -4) if plan[i] == code and plan[i + 1] >> 4 == 4)
    plan[at + 5] = plan[at + 7]  # the error is the map that the layer reads
    plan[-4:] = zlib.crc32(plan[:-4]).to_bytes(4, "little")
    assert verify_plan(bytes(plan)) < 0
