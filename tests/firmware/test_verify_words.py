"""Plans that call the kernels of functions, reductions, choices and draws: what the verifier accepts stays within its memory."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgelearn.compiler import Net, compile_net
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn_export.plan import encode
from tests.conformance.one_op import OneOp
from tests.conformance.test_words import CASES
from tests.firmware.test_verify import CRC, HAVOC_LARGE, field_mutants, havoc, roomy, run
from tests.firmware.test_verify import runner as runner

pytestmark = pytest.mark.slow  # compilers with sanitizers, and mutants of every word

RULE = f"{Path(__file__).with_name('words_rule.py')}:AllWords"
DTYPES = ("int8", "f32")


@cache
def golden(dtype: str) -> bytes:
    draw = np.random.default_rng(0)
    x, y = draw.random((200, 6), np.float32), draw.integers(0, 3, 200)
    return encode(compile_net(find(RULE, {}), Net(6, (5,), 3), Calibration(x, y), dtype, (3,)).module)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mutants", [field_mutants, havoc], ids=lambda mutants: mutants.__name__)
def test_what_is_accepted_stays_within_its_memory(dtype: str, mutants, runner: Path) -> None:  # type: ignore[no-untyped-def]
    codes = run(runner, [golden(dtype), *mutants(golden(dtype))])
    assert codes[0] == 0
    assert CRC not in codes
    assert len(set(codes)) > 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_tensors_stay_within_their_memory(dtype: str, runner: Path) -> None:
    base = roomy(golden(dtype))
    codes = run(runner, [base, *havoc(base, HAVOC_LARGE)])
    assert codes[0] == 0
    assert len(set(codes)) > 4


@pytest.mark.parametrize("floats", [False, True])
def test_every_kernel_by_itself_stays_within_its_memory(floats: bool, runner: Path) -> None:
    """Also those that no word calls, on operands of all kinds."""
    plans = []
    for name, kinds, shapes, attrs in CASES:
        plan = OneOp(name, "f" * len(kinds) if floats else kinds, shapes, attrs, floats).plan
        plans += [plan, *havoc(plan, 40), *havoc(roomy(plan), 5)]
    codes = run(runner, plans)
    assert codes[0] == 0
    assert codes.count(0) > len(CASES)
