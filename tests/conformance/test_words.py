"""Functions, reductions, choices and draws: the C kernels against the definition, bit for bit in integers, to rounding in floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgelearn.host.native import verify_plan
from tests.conformance.one_op import OneOp

N = 37
V, ONE, MAP = (N,), (1,), (3, 4, 5)
TRIALS = 60

ANY = ("b", "h", "w")
FUNCTIONS = ("tanh", "sigmoid", "exp", "log", "sqrt", "rsqrt", "recip")
CASES: list[tuple[str, str, tuple[tuple[int, ...], ...], dict[str, Any]]] = [
    *((name, kind, (V,), {}) for name in (*FUNCTIONS, "max") for kind in ANY),
    *((name, "h", (MAP,), {}) for name in (*FUNCTIONS, "max", "sum", "mean")),
    *((name, "w", (ONE,), {}) for name in (*FUNCTIONS, "max")),
    *(("rms_norm", "b", (shape,), {}) for shape in (V, ONE, (2,), MAP, (300,), (4096,))),
    *((name, kind, (V,), {}) for name in ("sum", "mean") for kind in "bh"),
    *(("dot", "bb", shapes, {}) for shapes in ((V, V), (MAP, MAP), ((60,), MAP))),
    *(("const", "", (), {"value": value}) for value in (0.0, 1.0, -1.0, 0.3, -1000.5, 1e-9, 3.0)),
    ("const", "", (), {"value": -0.7, "size": 9}),
    *((name, kinds, (V, V), {}) for name in ("minimum", "maximum") for kinds in ("bb", "bh", "hw", "ww")),
    *((name, "hw", (V, ONE), {}) for name in ("minimum", "maximum")),
    *((name, "hh", ((60,), MAP), {}) for name in ("minimum", "maximum")),
    *(("where", kinds, (V, V, V), {}) for kinds in ("bbb", "whb", "hww")),
    *(("where", "bhh", shapes, {}) for shapes in ((V, ONE, V), (ONE, V, V), (V, ONE, ONE), (MAP, (60,), ONE))),
    *(("clip", kinds, (V, ONE, ONE), {}) for kinds in ("bhh", "whh", "hwb")),
    ("clip", "hhh", (V, V, ONE), {}),
    *(("leaky_relu", kind, (V,), {"slope_log2": log2}) for kind in ANY for log2 in (-2, -15, 0)),
    *(("overlay", kinds, (V, (5,)), {}) for kinds in ("bb", "bw", "wh", "hw")),
    ("overlay", "bh", (MAP, (10,)), {}),
    *(("slice", kind, (V,), {"start": 7, "size": 11}) for kind in ANY),
    ("slice", "b", (MAP,), {"start": 20, "size": 40}),
    *(("sign", kind, (V,), {"dead": dead}) for kind in ANY for dead in (0.0, 0.25)),
    *(("signs", kind, ((n,),), {"rows": rows, "stream": 9}) for kind in "bh" for n, rows in ((1, 3), (32, 4), (70, 33))),
    *(("sample", kind, ((n,),), {"id": 3}) for kind in "bh" for n in (1, 2, 10, 200)),
    *(("noise", "", (), {"id": i, "kind": kind, "shape": shape}) for i, kind, shape in
      ((0, "normal", "33"), (255, "normal", "1"), (1, "uniform", "33"), (2, "uniform", "2x3x4"))),
]  # fmt: skip


def label(case: object) -> str | None:
    return str(case).replace(" ", "") if isinstance(case, str | tuple | dict) else None


def test_every_new_kernel_has_a_case() -> None:
    files = ("functions", "reductions", "choices", "draws")
    rows = {row.name for file in files for row in __import__(f"edgelearn.ir.ops.{file}", fromlist=["ROWS"]).ROWS}
    assert rows <= {case[0] for case in CASES}


@pytest.mark.parametrize(("name", "kinds", "shapes", "attrs"), CASES, ids=label)
def test_int8_is_equal_bit_for_bit(
    name: str, kinds: str, shapes: tuple[tuple[int, ...], ...], attrs: dict[str, Any]
) -> None:
    run = OneOp(name, kinds, shapes, attrs)
    assert verify_plan(run.plan) == 0
    draw = np.random.default_rng(len(CASES))
    for trial in range(TRIALS if kinds else 5):
        run.fill(draw, (-40, 40) if trial % 5 == 4 else (-24, 4))
        found, expected = run.run(step=trial * 97)
        assert found.tolist() == expected.tolist(), trial


@pytest.mark.parametrize("narrow", ["i8", "i16"])
@pytest.mark.parametrize("name", ["sum", "mean", "dot", "signs"])
def test_sums_can_give_the_narrowed_result_themselves(name: str, narrow: str) -> None:
    kinds = "bb" if name == "dot" else "b"
    run = OneOp(name, kinds, (V,) * len(kinds), {"rows": 9, "stream": 1} if name == "signs" else {}, narrow=narrow)
    assert verify_plan(run.plan) == 0
    draw = np.random.default_rng(2)
    for _ in range(TRIALS):
        run.fill(draw, (-8, -2))
        found, expected = run.run()
        assert found.tolist() == expected.tolist()


FLOAT_CASES = {(name, shapes, str(attrs)): (name, shapes, attrs) for name, _, shapes, attrs in CASES}


@pytest.mark.parametrize(("name", "shapes", "attrs"), FLOAT_CASES.values(), ids=label)
def test_f32_is_equal_to_rounding(name: str, shapes: tuple[tuple[int, ...], ...], attrs: dict[str, Any]) -> None:
    run = OneOp(name, "f" * len(shapes), shapes, attrs, floats=True)
    assert verify_plan(run.plan) == 0
    draw = np.random.default_rng(1)
    for trial in range(20):
        run.fill(draw)
        found, expected = run.run(step=trial * 97)
        assert np.isfinite(found).all()
        largest = max((float(np.abs(v).max()) for v in run.twin.state.values()), default=1.0)
        terms = {"sum": largest, "mean": largest, "signs": largest, "dot": largest**2}
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, terms.get(name, 1.0)))
