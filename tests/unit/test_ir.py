"""The IR: its text is exact, its verifier objects, its types round as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.errors import ConfigError
from edgelearn.ir import rng
from edgelearn.ir.core import Op
from edgelearn.ir.text import parse, print_module
from edgelearn.ir.types import Exp, Type, exponent_for, shift_round
from edgelearn.ir.verify import verify
from tests.factory import compiled


@pytest.mark.parametrize("rule", ["mono-forward", "backprop"])
@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_every_stage_survives_its_text(rule: str, dtype: str) -> None:
    for name, module in compiled(rule, dtype=dtype, drops=(10, 20)).stages:
        assert parse(print_module(module)) == module, name


@given(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(-35, 45))
def test_shift_rounds_half_away_from_zero_and_saturates(q: int, shift: int) -> None:
    exact = q / 2.0**shift
    expected = np.clip(np.sign(exact) * np.floor(abs(exact) + 0.5), -(2**31) + 1, 2**31 - 1)
    assert int(shift_round(q, shift)) == int(expected)


@given(st.integers(-40, 40), st.lists(st.sampled_from(["a", "b0.W", "q_3"]), max_size=2))
def test_exponents_survive_their_text(const: int, slots: list[str]) -> None:
    exp = Exp(const, tuple(sorted(slots)))
    assert Exp.parse(str(exp)) == exp
    assert Type.parse(str(Type("i8", (3, 4), exp))) == Type("i8", (3, 4), exp)


def test_exponent_for_fits_the_maximum_without_headroom() -> None:
    assert exponent_for(1.0, 7) == -7
    assert exponent_for(1.01, 7) == -6
    assert exponent_for(0.0, 7) == -7


def test_verifier_names_the_op() -> None:
    module = compiled().module
    learn = module.entry("learn")
    broken = replace(learn, ops=(*learn.ops, Op("relu", ("%nowhere",), (), "%new", Type("f32", (3,)))))
    with pytest.raises(ConfigError, match="%nowhere is used before it is defined"):
        verify(module.with_entries(broken, module.entry("infer")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda op: replace(op, name="teleport"), "unknown op"),
        (lambda op: replace(op, args=op.args[:1]), "operands instead of"),
        (lambda op: replace(op, type=Type("i8", (7,), Exp(0))), "instead of"),
        (lambda op: replace(op, type=Type("i8", (32,), Exp(0, ("ghost",)))), "ghost"),
    ],
)
def test_verifier_objects(change, said: str) -> None:  # type: ignore[no-untyped-def]
    module = compiled().module
    infer = module.entry("infer")
    broken = replace(infer, ops=(change(infer.ops[0]), *infer.ops[1:]))
    with pytest.raises(ConfigError, match=said):
        verify(module.with_entries(module.entry("learn"), broken))


def test_parse_names_the_line() -> None:
    text = print_module(compiled().module).splitlines()
    text[3] = "slot one too few"
    with pytest.raises(ConfigError, match="Line 4"):
        parse("\n".join(text))


def test_random_streams_are_what_they_always_were() -> None:
    """Initial weights of every stored run depend on these."""
    assert rng.raw_bits(0, 0, 3).tolist() == [2926543089, 2685500393, 2830445535]
    assert rng.normal_units(7, 1, 4).tolist() == [-28681, 453, -27898, 28548]
    units = rng.normal_units(1, 2, 100_000)
    assert abs(units.mean()) < 500
    assert abs(units.std() / rng.NORMAL_STD - 1) < 0.01
    assert sorted(rng.permutation(3, 1, 100).tolist()) == list(range(100))


def test_dither_is_uniform_over_steps_and_columns() -> None:
    draws = np.stack([rng.dither(5, step, 1, 4, 64) for step in range(200)])
    assert 0 <= draws.min() <= draws.max() < 65536
    assert abs(draws.mean() / 32767.5 - 1) < 0.01
    assert np.abs(draws.mean(axis=0) / 32767.5 - 1).max() < 0.2  # no weight is always rounded the same way
