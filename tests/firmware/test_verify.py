"""The device's plan verifier: what it accepts runs within its memory, whatever the bytes.

Its promise is memory safety and an end, not meaning: a damaged plan with the right CRC may well compute nonsense.
"""

from __future__ import annotations

import random
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgelearn.compiler import Net, compile_net
from edgelearn.host.native import verify_plan
from edgelearn.passes.memory import plan_memory
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn_export.plan import encode
from edgelearn_export.plan import format as F
from tests.conformance.maps import Maps
from tests.firmware.host import FIRMWARE, compile_host

UNFUSED = Path(__file__).with_name("unfused_rule.py")
RULES = {"mono-forward": "int8", "mono-forward f32": "f32", "unfused": "int8", "unfused f32": "f32"}
PLANS = (*RULES, "maps", "maps f32")
SANITIZERS = ("-g", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
SECONDS, SEED = 180, 5  # of a machine that others use too
HAVOC, HAVOC_LARGE = 1500, 300  # mutants
ROOM = 200_000  # bytes
CRC = -4


@cache
def golden(name: str) -> bytes:
    """A plan, small, so that each of its bits can be tried."""
    if name.startswith("maps"):
        return encode(plan_memory(maps("f32" if name.endswith("f32") else "int8").module()))
    rule = f"{UNFUSED}:Unfused" if name.startswith("unfused") else "mono-forward"
    draw = np.random.default_rng(0)
    x, y = draw.random((200, 6), np.float32), draw.integers(0, 3, 200)
    compiled = compile_net(find(rule, {}), Net(6, (5,), 3), Calibration(x, y), RULES[name], (3,))
    return encode(compiled.module)


def maps(dtype: str) -> Maps:
    """Every kernel that moves over a map, on weights of 8 and of 16 bits."""
    m = Maps(dtype, (4, 5, 2), np.random.default_rng(0))
    W, D, b = m.weight("W", (5, 3, 3, 2), 12), m.weight("D", (2, 2, 5), 7), m.weight("b", (5,), 15)
    a = m.value("conv_affine", (W, "%x", b), "i8", relu=1, stride=1, pad=1)
    p = m.value("maxpool", (m.value("depthwise_affine", (D, a, b), "i8", stride=1, pad=1),), size=1)
    d = m.error((5, 6, 5))
    back = m.value("depthwise_t_mask", (D, d, a), "i16", stride=1, pad=1, shape="4x5x5")
    m.value("conv_t", (W, back), stride=1, pad=1, shape="4x5x2")
    m.value("conv_t_mask", (W, back, "%x"), stride=1, pad=1, shape="4x5x2")
    m.value("unpool", (m.value("depthwise_t", (D, d), "i16", stride=1, pad=1, shape="4x5x5"),), size=2, shape="8x10x5")
    m.value("pool", (m.value("maxpool", (p,), size=1),), size=1)
    m.value("conv", (m.weight("V", (2, 1, 1, 2), 7), "%x"), stride=3, pad=0)
    m.value("depthwise", (D, a), stride=1, pad=1)
    m.update("conv_update", (W, back, "%x"), stride=1, pad=1)
    m.update("depthwise_update", (D, d, a), stride=1, pad=1)
    m.update("vec_update", (b, d))
    m.update("decay_update", (W,))
    return m


def sealed(body: bytes | bytearray) -> bytes:
    """``body`` with the CRC that makes it look whole."""
    return bytes(body) + struct.pack("<I", zlib.crc32(body))


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """verify_main.c with the whole core, under sanitizers."""
    core = [*sorted((FIRMWARE / "core").glob("*.c")), FIRMWARE / "gen/el_kernels_all.c"]
    out = tmp_path_factory.mktemp("verify") / "verify"
    return compile_host(out, [FIRMWARE / "tests/verify_main.c", *core], *SANITIZERS)


def run(runner: Path, plans: Sequence[bytes]) -> list[int]:
    """The code that each plan was refused with; 0 where it was accepted and stayed within its memory."""
    batch = runner.with_suffix(".batch")
    batch.write_bytes(b"".join(struct.pack("<I", len(plan)) + plan for plan in plans))
    done = subprocess.run([runner, batch], capture_output=True, text=True, timeout=SECONDS, check=False)
    codes = list(map(int, done.stdout.split()))
    if done.returncode:
        body, culprit = plans[0], plans[len(codes)]
        changed = [
            (i, a, b) for i, (a, b) in enumerate(zip(body, culprit, strict=False)) if a != b and i < len(body) - 4
        ]
        pytest.fail(f"plan {len(codes)}, changed (offset, from, to): {changed}\n{done.stderr[:3000]}", pytrace=False)
    assert len(codes) == len(plans)
    assert max(codes) <= 0, f"plan {codes.index(max(codes))} wrote beyond its memory"
    return codes


def bit_flips(plan: bytes) -> Iterator[bytes]:
    for bit in range(8 * (len(plan) - 4)):
        body = bytearray(plan[:-4])
        body[bit // 8] ^= 1 << bit % 8
        yield sealed(body)


def sections(plan: bytes) -> Iterator[tuple[str, int]]:
    """(record, offset) of everything in a plan."""
    header = dict(zip((name for name, _ in F.HEADER), F.STRUCTS["header"].unpack_from(plan), strict=True))
    at = F.STRUCTS["header"].size + 4 * header["n_drops"]
    yield "header", 0
    counts = {"slot": header["n_slots"], "tensor": header["n_tensors"], "init": header["n_inits"]}
    for record, count in (*counts.items(), ("op", header["n_infer"] + header["n_learn"])):
        for _ in range(count):
            yield record, at
            at += F.STRUCTS[record].size


def field_mutants(plan: bytes) -> Iterator[bytes]:
    """Each field of each record at its most unlikely values, one more and one less than it is, and negated."""
    for record, start in sections(plan):
        for field, letter in F.RECORDS[record]:
            size = struct.calcsize(letter)
            at, top = start + F.offsets(record)[field], 1 << 8 * size
            now = int.from_bytes(plan[at : at + size], "little")
            fixed = {0, 1, 2, 3, top // 2 - 1, top // 2, top - 2, top - 1}
            for value in sorted(fixed | {(now + 1) % top, (now - 1) % top, -now % top} - {now}):
                body = bytearray(plan[:-4])
                body[at : at + size] = value.to_bytes(size, "little")
                yield sealed(body)


def havoc(plan: bytes, n: int = HAVOC) -> Iterator[bytes]:
    """Some fields at once, small values preferred: what no single change can reach."""
    draw = random.Random(SEED)
    places = [
        (start + F.offsets(record)[field], struct.calcsize(letter))
        for record, start in sections(plan)
        for field, letter in F.RECORDS[record]
        if record != "header" or field in ("dtype", "classes", "input", "label", "guess", "output", "flags")
    ]
    for _ in range(n):
        body = bytearray(plan[:-4])
        for at, size in draw.sample(places, draw.randint(2, 4)):
            value = draw.choice((draw.randrange(20), draw.randrange(1 << 8 * size)))
            body[at : at + size] = value.to_bytes(size, "little")
        yield sealed(body)


def roomy(plan: bytes) -> bytes:
    """The same with so much more state and arena that large tensors pass."""
    body, at = bytearray(plan[:-4]), F.offsets("header")
    for field, more in (("state_bytes", ROOM), ("meta", ROOM), ("arena_bytes", 2 * ROOM)):
        (old,) = struct.unpack_from("<I", body, at[field])
        struct.pack_into("<I", body, at[field], old + more)
    return sealed(body)


Mutants = Callable[[bytes], Iterator[bytes]]
MUTANTS: tuple[Mutants, ...] = (bit_flips, field_mutants, havoc)


@pytest.mark.parametrize("name", PLANS)
def test_every_truncation_is_refused(name: str) -> None:
    plan = golden(name)
    assert verify_plan(plan) == 0
    assert all(verify_plan(plan[:n]) < 0 for n in range(len(plan)))
    assert all(verify_plan(sealed(plan[: n - 4])) < 0 for n in range(4, len(plan)))


@pytest.mark.parametrize("name", PLANS)
def test_every_flipped_bit_breaks_the_crc(name: str) -> None:
    plan = golden(name)
    flipped = (
        bytes((*plan[: bit // 8], plan[bit // 8] ^ 1 << bit % 8, *plan[bit // 8 + 1 :])) for bit in range(8 * len(plan))
    )
    assert all(verify_plan(bytes(damaged)) < 0 for damaged in flipped)


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("mutants", MUTANTS, ids=lambda mutants: mutants.__name__)
def test_what_is_accepted_stays_within_its_memory(name: str, mutants: Mutants, runner: Path) -> None:
    codes = run(runner, [golden(name), *mutants(golden(name))])
    assert codes[0] == 0
    assert CRC not in codes
    assert len(set(codes)) > 4


@pytest.mark.parametrize("name", PLANS)
def test_large_tensors_stay_within_their_memory(name: str, runner: Path) -> None:
    base = roomy(golden(name))
    codes = run(runner, [base, *havoc(base, HAVOC_LARGE)])
    assert codes[0] == 0
    assert len(set(codes)) > 4
