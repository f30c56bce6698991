"""Plans read back: the same bytes again, the same learning, and one sentence for whatever is no plan."""

from __future__ import annotations

import random
import struct
import zlib
from functools import cache

import numpy as np
import pytest

from edgelearn import state
from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.errors import ConfigError, EdgeLearnError, VersionError
from edgelearn.ir.core import Module
from edgelearn.ir.interp import Interpreter
from edgelearn.layers import Layer
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.rules.registry import BUILT_IN
from edgelearn_export.plan import Backend, encode
from edgelearn_export.plan import format as F
from edgelearn_export.plan.decode import decode
from tests.factory import X, Y
from tests.firmware.test_verify import PLANS, golden, sealed

NETS = {
    "dense": Net((64,), (12, 9), 10),
    "one": Net((64,), (12,), 10),
    "conv": Net((8, 8), (Layer("conv", 4, 3, 1, 1), Layer("pool", kernel=2), Layer("conv", 5, 3, 2, 1)), 10),
    "depthwise": Net((8, 8), (Layer("conv", 4, 3, 1, 1), Layer("depthwise", kernel=3, stride=1, pad=1)), 10),
    "recurrent": Net((8, 8), (Layer("recurrent", 12),), 10),
}
DTYPES = ("int8", "f32")
STEPS = 3
DROPS = (1, 2)
FEW = Calibration(X[:30], Y[:30], 1)


@cache
def compiled(rule: str, net: str, dtype: str) -> Compiled | None:
    """None: the rule does not go with such layers."""
    try:
        return compile_net(find(rule), NETS[net], FEW, dtype, DROPS)
    except ConfigError:
        return None


def plans() -> list[tuple[str, str, str]]:
    return [(rule, net, dtype) for rule in BUILT_IN for net in NETS for dtype in DTYPES]


@pytest.mark.parametrize(("rule", "net", "dtype"), plans())
def test_every_rule_and_layer_comes_back(rule: str, net: str, dtype: str) -> None:
    made = compiled(rule, net, dtype)
    if made is None:
        pytest.skip("not this rule on this net")
    plan = encode(made.module, "sim")
    read = decode(plan)
    assert encode(read, "sim") == plan
    assert_same(made.module, read, made.encode(X[:STEPS]))


def test_all_pairs_but_the_impossible_ones_are_tried() -> None:
    tried = {(rule, net) for rule, net, dtype in plans() if compiled(rule, net, dtype)}
    assert {rule for rule, _ in tried} == set(BUILT_IN)
    assert {net for _, net in tried} == set(NETS)
    assert len(tried) >= 20


def assert_same(module: Module, read: Module, x: np.ndarray) -> None:
    """Both begin in the same state and learn the same bytes."""
    ours, theirs = Interpreter(module, 3), Interpreter(read, 3)
    assert state.encode(ours) == state.encode(theirs)
    for sample, label in zip(x, Y, strict=False):
        assert ours.learn(sample, int(label)) == theirs.learn(sample, int(label))
    assert ours.infer(x[0]) == theirs.infer(x[0])
    assert state.encode(ours) == state.encode(theirs)


@pytest.mark.parametrize("name", PLANS)
def test_every_kernel_comes_back(name: str) -> None:
    """Modules that no rule makes, of every op on maps among others."""
    assert encode(decode(golden(name))) == golden(name)
    assert Backend().decode(golden(name)) == decode(golden(name))


def test_the_board_is_not_part_of_a_module() -> None:
    plan = golden("mono-forward")
    bound = encode(decode(plan), "microbit")
    assert bound != plan
    assert decode(bound) == decode(plan)


# --- hostile bytes ----------------------------------------------------------------------------------------------------------------


FLIPS, MUTANTS = 80, 120


def refused(plan: bytes) -> bool:
    """Is it refused in one sentence with a remedy? What is not is a plan, and is written again as it came."""
    try:
        again = encode(decode(plan))
    except EdgeLearnError as error:
        said = error
    else:
        assert again[16:-4] == plan[16:-4]
        return False
    assert "\n" not in said.message and said.message.endswith(".") and said.hint
    return True


@pytest.mark.parametrize("name", PLANS)
def test_truncated_and_altered_plans(name: str) -> None:
    plan, draw = golden(name), random.Random(name)
    assert all(refused(plan[:n]) for n in range(0, len(plan), 7))
    assert refused(plan + b"\0")
    flips = draw.sample(range(8 * (len(plan) - 4)), FLIPS)
    for bit in flips:
        body = bytearray(plan[:-4])
        body[bit // 8] ^= 1 << bit % 8
        assert refused(bytes(body) + plan[-4:]), "the CRC"
        refused(sealed(body))
    for _ in range(MUTANTS):
        body = bytearray(plan[:-4])
        for _ in range(draw.randrange(1, 5)):
            body[draw.randrange(len(body))] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        refused(sealed(body))


def test_random_bytes() -> None:
    draw = random.Random(1)
    for n in (0, 1, 4, 55, 56, 57, 300):
        assert refused(draw.randbytes(n))
        assert refused(sealed(draw.randbytes(n)))


def header_with(field: str, value: int) -> bytes:
    body = bytearray(golden("mono-forward")[:-4])
    letter = dict(F.HEADER)[field]
    struct.pack_into(f"<{letter}", body, F.offsets("header")[field], value)
    return bytes(body) + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize(
    ("field", "value", "kind", "problem"),
    [
        ("magic", 0, ConfigError, "does not begin as plans do"),
        ("version", 0x0201, VersionError, "of version 2.1; this edgelearn reads 1.x"),
        ("header_bytes", 60, ConfigError, "its header has 60 bytes"),
        ("total_bytes", 9, ConfigError, "of 9 bytes"),
        ("dtype", 7, ConfigError, "of no known kind"),
        ("n_tensors", 200, ConfigError, "do not add up"),
        ("tlv_bytes", 0xFFFFFFF0, ConfigError, "do not add up"),
        ("arena_bytes", 8, ConfigError, "a tensor is not where tensors are"),
        ("state_bytes", 0x7FFFFFFF, ConfigError, "would not say so"),
        ("input", 250, ConfigError, "a port is no tensor"),
        ("label", 0, ConfigError, "its label is no label"),
        ("rescale_every", 1, ConfigError, "would not say so"),
    ],
)
def test_what_is_wrong_is_said(field: str, value: int, kind: type[EdgeLearnError], problem: str) -> None:
    with pytest.raises(kind, match=problem) as caught:
        decode(header_with(field, value))
    assert caught.value.hint


def test_a_value_that_was_overwritten_is_not_read() -> None:
    """Two values may share bytes, one after the other; a plan that reads the first then has no meaning in a module."""
    plan = golden("mono-forward")
    tensors = F.STRUCTS["header"].size + 4 * plan[17] + F.STRUCTS["slot"].size * plan[18]
    size, off = F.STRUCTS["tensor"].size, F.offsets("tensor")
    reasons = set()
    for i in range(plan[19]):
        record = tensors + i * size
        if plan[record + off["region"]] != F.REGIONS["arena"]:
            continue
        for place in range(0, 64, 8):
            body = bytearray(plan[:-4])
            struct.pack_into("<I", body, record + off["off"], place)
            try:
                decode(sealed(body))
            except ConfigError as error:
                reasons.add(error.message)
    assert any("overwritten" in reason for reason in reasons)
    assert any("overwrites its own operand" in reason for reason in reasons)
