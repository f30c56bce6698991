"""The verifier again, with the core as boards run it: no sanitizers, but pages around every block that the program does not own.

The plans are those of a rule on a dense net and on a convolution, in integers, and on a dense net in floats. test_verify.py tries more
kernels, under sanitizers.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgelearn.compiler import Net, compile_net
from edgelearn.host.native import verify_plan
from edgelearn.layers import Layer
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn_export.plan import encode
from tests.firmware.host import FIRMWARE, compile_host
from tests.firmware.test_verify import CRC, bit_flips, field_mutants, golden, havoc, run, sealed

PLANS = ("mono-forward", "mono-forward f32", "conv")
HAVOC = 800


@cache
def plan(name: str) -> bytes:
    if name != "conv":
        return golden(name)
    draw = np.random.default_rng(0)
    x, y = draw.random((200, 4, 4), np.float32), draw.integers(0, 3, 200)
    net = Net((4, 4), (Layer("conv", 3, 3, 1, 1), Layer("pool", kernel=2)), 3)
    return encode(compile_net(find("mono-forward", {}), net, Calibration(x, y), "int8", (3,)).module)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    core = [*sorted((FIRMWARE / "core").glob("*.c")), FIRMWARE / "gen/el_kernels_all.c"]
    out = tmp_path_factory.mktemp("guard") / "verify"
    return compile_host(out, [FIRMWARE / "tests/verify_main.c", *core], "-DGUARD_PAGES", "-lm")


@pytest.mark.parametrize("name", PLANS)
def test_what_is_accepted_stays_between_its_guard_pages(name: str, guarded: Path) -> None:
    golden_plan = plan(name)
    mutants = [*bit_flips(golden_plan), *field_mutants(golden_plan), *havoc(golden_plan, HAVOC)]
    codes = run(guarded, [golden_plan, *mutants])
    print(f"\n{name}: {len(mutants):,} mutants, {codes.count(0) - 1:,} accepted, {len(set(codes)) - 1} codes")  # noqa: T201
    assert codes[0] == 0
    assert CRC not in codes
    assert len(set(codes)) > 4


def test_every_truncation_of_a_convolution_is_refused() -> None:
    whole = plan("conv")
    assert verify_plan(whole) == 0
    assert all(verify_plan(whole[:n]) < 0 for n in range(len(whole)))
    assert all(verify_plan(sealed(whole[: n - 4])) < 0 for n in range(4, len(whole)))
