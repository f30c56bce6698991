"""``edgelearn bench throughput``: every contender runs and is compared with the right one; what is missing is said."""

from __future__ import annotations

import numpy as np
import pytest

from edgelearn.bench import throughput
from edgelearn.bench.throughput import BACKPROP, How, race
from edgelearn.errors import MissingToolError

pytest.importorskip("onnxruntime", reason="ONNX Runtime is an extra: pip install 'edgelearn[onnx]'")
QUICK = How(1, 0.002)
OURS = "edgelearn, ONNX Runtime"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "NET", (64, 16, 16, 10))


def test_what_takes_twice_as_long_is_half_as_fast() -> None:
    a = np.random.default_rng(0).random((64, 64))

    def work(times: int, n: int) -> None:
        for _ in range(times * n):
            np.dot(a, a)

    found = race({"one": lambda n: work(10, n), "two": lambda n: work(20, n)}, How(9, 0.02))
    assert 1.5 < found["two"] / found["one"] < 2.7


def test_training_is_compared_with_backpropagation() -> None:
    pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")
    rows = list(throughput.training(QUICK))
    assert [row.batch for row in rows] == [1] * 4 + [32] * 3 + [256] * 3
    assert {row.name for row in rows} == {OURS, BACKPROP, "PyTorch, Mono-Forward", "edgelearn, C core"}
    for row in rows:
        twin = next(other for other in rows if (other.name, other.batch) == (BACKPROP, row.batch))
        assert row.us and twin.us and row.per_second == pytest.approx(1e6 / row.us)
        assert row.ratio == (None if row is twin else pytest.approx(twin.us / row.us))
        assert row.asked == (throughput.ASKED[row.batch or 0] if row.name == OURS else None)


def test_pytorchs_mono_forward_is_ours() -> None:
    """The contender does the same work: from the same weights it ends in the same weights."""
    torch = pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")
    from edgelearn.backends import backend

    x, y = throughput.samples()
    ours = backend("onnx").trainer(throughput.compiled("f32").module)
    theirs = throughput._torch_mono_forward()
    assert theirs.__closure__ is not None
    blocks = dict(zip(theirs.__code__.co_freevars, (cell.cell_contents for cell in theirs.__closure__), strict=True))[
        "blocks"
    ]
    for i, block in enumerate(blocks):
        for name, tensor in zip("WbM", block, strict=True):
            tensor.copy_(torch.from_numpy(ours.tensors()[f"@b{i}.{name}"]))
    for _ in range(3):
        ours.learn_batch(x[:32], y[:32])
        theirs(x[:32], y[:32])
    for i, block in enumerate(blocks):
        for name, tensor in zip("WbM", block, strict=True):
            np.testing.assert_allclose(tensor.numpy(), ours.tensors()[f"@b{i}.{name}"], atol=1e-6)


def test_integers_are_compared_with_floats() -> None:
    rows = {row.name: row for row in throughput.inference(QUICK)}
    one, other = rows["inference, ONNX Runtime, f32"], rows["inference, ONNX Runtime, int8"]
    assert one.us and other.us and other.ratio == pytest.approx(one.us / other.us)
    assert (one.ratio, other.against, other.asked) == (None, one.name, 1.5)


def test_what_is_not_installed_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingToolError("PyTorch is not installed.", "Install it.")

    monkeypatch.setattr(throughput, "_torch", missing)
    rows = list(throughput.training(QUICK))
    assert {row.name for row in rows if row.reason == "PyTorch is not installed. Install it."} == {
        BACKPROP,
        "PyTorch, Mono-Forward",
    }
    assert all(row.us and row.ratio is None for row in rows if row.name == OURS)


def test_an_export_that_fails_is_a_reason() -> None:
    row = throughput.export("no-such-recipe")
    assert row.us is None
    assert "no-such-recipe" in row.reason
