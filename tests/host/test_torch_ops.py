"""Every op of the table, for a batch in torch, is what the table's float column says of each of its samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch: Any = pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")

from edgelearn.host.torch_ops import Run, Site  # noqa: E402
from edgelearn.host.torch_program import KERNELS, UPDATES  # noqa: E402
from edgelearn.ir.core import Attr, Op  # noqa: E402
from edgelearn.ir.ops import OPS, Draw  # noqa: E402
from edgelearn.ir.types import Exp, Type  # noqa: E402
from edgelearn.passes.spread import OPEN  # noqa: E402

SEED, STEP, BATCH = 3, 5, 4
Shape = tuple[int, ...]
Case = tuple[str, list[Shape], dict[str, Attr]]

V, M, S = (12,), (2, 2, 3), (1,)  # a vector, a map with as many numbers, a scalar
TWO: list[list[Shape]] = [[V, V], [V, S], [S, V], [M, M], [M, V], [V, M], [M, S], [S, S]]
GEOMETRY: list[dict[str, Attr]] = [
    {"stride": 1, "pad": 1},
    {"stride": 2, "pad": 1},
    {"stride": 2, "pad": 0},
    {"stride": 3, "pad": 2},
]
UPDATE: dict[str, Attr] = {"id": 0, "rate": 1.0, "rate_log2": 0, "sign": 1}


def _reach(n: int, k: int, g: dict[str, Attr]) -> int:
    return (n + 2 * int(g["pad"]) - k) // int(g["stride"]) + 1


def _convolutions() -> list[Case]:
    cases: list[Case] = []
    for g in GEOMETRY:
        for h, w, k in ((5, 6, 3), (7, 4, 1), (8, 8, 4)):
            out = _reach(h, k, g), _reach(w, k, g)
            for name, W, c in (("conv", (4, k, k, 3), 4), ("depthwise", (k, k, 3), 3)):
                x, d = (h, w, 3), (*out, c)
                back = {**g, "shape": f"{h}x{w}x3"}
                cases += [
                    (name, [W, x], g), (f"{name}_affine", [W, x, (c,)], g), (f"{name}_affine", [W, x, (c,)], {**g, "relu": 1}),
                    (f"{name}_t", [W, d], back), (f"{name}_t_mask", [W, d, x], back),
                    (f"{name}_update", [W, d, x], {**UPDATE, **g}),
                ]  # fmt: skip
    return cases


CASES: list[Case] = [
    *((name, shapes, {}) for name in ("add", "sub", "mul", "minimum", "maximum", "mask") for shapes in TWO),
    ("add", [(4, 5, 3), (3,)], {}), ("add", [(3,), (4, 5, 3)], {}),
    *((name, [shape], {}) for name in ("relu", "abs", "sign", "gt0", "softmax", "quant", "argmax", "sum", "mean", "max", "rms_norm",
                                       "tanh", "sigmoid", "exp", "log", "sqrt", "rsqrt", "recip") for shape in (V, M, S)),
    *(("sign", [shape], {"dead": 0.5}) for shape in (V, M)),
    *(("scale", [shape], {"k": -0.3}) for shape in (V, M)),
    *(("gate", [shape], {"threshold": 1.5}) for shape in (V, M)),
    *(("leaky_relu", [shape], {"slope_log2": -3}) for shape in (V, M)),
    *(("where", shapes, {}) for shapes in ([V, V, V], [S, V, V], [V, S, M], [M, V, S])),
    *(("clip", shapes, {}) for shapes in ([V, S, S], [M, V, S], [V, V, V])),
    *(("dot", shapes, {}) for shapes in ([V, V], [M, V])),
    ("const", [], {"value": -0.75, "size": 1}), ("const", [], {"value": 2.5, "size": 4}),
    *(("overlay", shapes, {}) for shapes in ([V, (3,)], [M, V], [M, (5,)])),
    *(("slice", [shape], {"start": 3, "size": 4}) for shape in (V, M)),
    ("one_hot", [S], {"classes": 7}), ("sub_one_hot", [(7,), S], {}),
    *(("noise", [], {"id": 2, "kind": kind, "shape": shape}) for kind in ("normal", "uniform") for shape in ("9", "2x3x2")),
    *(("sample", [shape], {"id": 1}) for shape in ((7,), (1,))),
    *(("signs", [shape], {"rows": 40, "stream": 6}) for shape in (V, M, (33,))),
    *((name, [(4, 12), x], {}) for name in ("matvec",) for x in (V, M)),
    *(("affine", [(4, 12), x, (4,)], {"relu": relu}) for x in (V, M) for relu in (0, 1)),
    ("matvec_t", [(4, 12), (4,)], {}), ("matvec_t", [(4, 12), (4,)], {"shape": "2x2x3"}),
    ("matvec_t_mask", [(4, 12), (4,), V], {}), ("matvec_t_mask", [(4, 12), (4,), M], {"shape": "2x2x3"}),
    ("matvec_t_mask", [(4, 12), (4,), V], {"shape": "2x2x3"}),
    *(("outer_update", [(4, 12), (4,), x], UPDATE) for x in (V, M)), ("outer_update", [(12, 4), M, (4,)], UPDATE),
    ("vec_update", [(5,), (5,)], UPDATE), ("vec_update", [(3,), (4, 2, 3)], UPDATE), ("vec_update", [(1,), (1,)], UPDATE),
    ("decay_update", [(4, 12)], UPDATE), ("decay_update", [(3, 2, 2, 3)], UPDATE),
    *_convolutions(),
    *((name, [(6, 12, 3)], {"size": size}) for name in ("pool", "maxpool") for size in (2, 3)),
    *(("unpool", [shape], {"size": 2, "shape": "4x6x3"}) for shape in ((2, 3, 3), (18,))),
]  # fmt: skip


def _op(case: Case) -> tuple[Op, tuple[Type, ...]]:
    name, shapes, attrs = case
    row = OPS[name]
    types = tuple(
        Type("i32", s, Exp(0)) if r == "label" else Type("f32", s) for r, s in zip(row.roles, shapes, strict=True)
    )
    bare = Op(name, tuple(f"{'@' if r in ('W', 'b') else '%'}{i}" for i, r in enumerate(row.roles))).with_attrs(**attrs)
    if row.update:
        return bare, types
    result = Type("f32", row.shape(shapes, bare))
    return Op(bare.name, bare.args, bare.attrs, "%result", result), types


def _operands(op: Op, types: tuple[Type, ...]) -> list[NDArray[Any]]:
    """State once, everything else for each sample; now and then a zero and a large number."""
    rng = np.random.default_rng(1)
    made: list[NDArray[Any]] = []
    for role, type in zip(OPS[op.name].roles, types, strict=True):
        if role == "label":
            made.append(rng.integers(0, 7, (BATCH, 1)))
            continue
        shape = type.shape if role in ("W", "b") else (BATCH, *type.shape)
        v = rng.standard_normal(shape).astype(np.float32)
        v[rng.random(shape) < 0.1] = 0
        v[rng.random(shape) < 0.1] *= 50
        made.append(v)
    return made


def _run() -> Run:
    return Run(BATCH, torch.arange(STEP, STEP + BATCH).reshape(-1, 1))


def _of_sample(op: Op, operands: list[NDArray[Any]], i: int) -> list[NDArray[Any]]:
    """The operands as the interpreter would see them in sample i."""
    return [v if role in ("W", "b") else v[i] for role, v in zip(OPS[op.name].roles, operands, strict=True)]


def _expected(op: Op, operands: list[NDArray[Any]], i: int) -> NDArray[Any]:
    row = OPS[op.name]
    if row.update:
        W = operands[0]
        return W - row.f32(op, *_of_sample(op, operands, i), 0)
    chance = (Draw(SEED, STEP + i, 0),) if row.draws else ()
    if op.name in ("add", "sub", "mul", "mask"):  # of a map and a vector: the one in the other's shape
        assert op.type is not None
        size = op.type.size
        fitted = [v.reshape(op.type.shape) if v.size == size else v for v in _of_sample(op, operands, i)]
        return row.f32(op, *fitted)
    return row.f32(op, *_of_sample(op, operands, i), *chance)


def _close(got: Any, expected: NDArray[Any]) -> None:
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(np.asarray(got) - expected).max() <= 1e-5 * scale


def test_every_op_has_a_kernel_and_a_case() -> None:
    known = set(OPS) - {"update", *OPEN.values()}  # the pass `spread` makes those, and only of integers
    assert {*KERNELS, *UPDATES} == known == {name for name, _, _ in CASES}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("case", [c for c in CASES if not OPS[c[0]].update], ids=str)
def test_op_is_what_the_table_says(case: Case, overwrite: bool) -> None:
    op, types = _op(case)
    operands = _operands(op, types)
    given = [torch.from_numpy(v.copy()) for v in operands]
    result = KERNELS[op.name](Site(op, types, SEED, "cpu", overwrite))(_run(), *given)
    assert op.type is not None
    assert result.shape[1:] == op.type.shape
    for i in range(BATCH):
        _close(result[i % len(result)], _expected(op, operands, i).reshape(op.type.shape))
    kept = given[1:] if overwrite else given
    assert all((t.numpy() == v).all() for t, v in zip(kept, operands[len(operands) - len(kept) :], strict=True))


@pytest.mark.parametrize("case", [c for c in CASES if OPS[c[0]].update], ids=str)
def test_update_adds_the_batch_sum(case: Case) -> None:
    op, types = _op(case)
    operands = _operands(op, types)
    into = torch.full(types[0].shape, 10.0)
    UPDATES[op.name](Site(op, types, SEED, "cpu"))(into, -0.5, _run(), *map(torch.from_numpy, operands))
    total = np.sum([_expected(op, operands, i) for i in range(BATCH)], axis=0)
    _close(into, 10 - 0.5 * total)


@pytest.mark.parametrize("case", [("add", [V, V], {}), ("mask", [M, V], {}), ("sample", [(7,)], {"id": 1}),
                                  ("sub_one_hot", [(7,), S], {}), ("overlay", [V, (3,)], {})], ids=str)  # fmt: skip
def test_a_value_without_samples_is_the_same_for_all(case: Case) -> None:
    """What is made of state and constants alone has a batch of one."""
    op, types = _op(case)
    operands = _operands(op, types)
    operands[0] = operands[0][:1].repeat(BATCH, axis=0)
    given = [torch.from_numpy(v) for v in operands]
    given[0] = given[0][:1].clone()
    result = KERNELS[op.name](Site(op, types, SEED, "cpu", overwrite=True))(_run(), *given)
    for i in range(BATCH):
        _close(result[i], _expected(op, operands, i).reshape(result.shape[1:]))


@pytest.mark.parametrize("case", [("outer_update", [(4, 12), (4,), V], UPDATE), ("vec_update", [(3,), M], UPDATE),
                                  ("conv_update", [(4, 1, 1, 3), (2, 2, 4), M], {**UPDATE, "stride": 1, "pad": 0})], ids=str)  # fmt: skip
def test_an_update_without_samples_counts_for_all(case: Case) -> None:
    op, types = _op(case)
    operands = _operands(op, types)
    operands[1] = operands[1][:1].repeat(BATCH, axis=0)
    given = [torch.from_numpy(v) for v in operands]
    given[1] = given[1][:1]
    into = torch.zeros(types[0].shape)
    UPDATES[op.name](Site(op, types, SEED, "cpu"))(into, 1.0, _run(), *given)
    _close(into, np.sum([_expected(op, operands, i) for i in range(BATCH)], axis=0))
