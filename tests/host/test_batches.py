"""Training in mini-batches: the order of a session, going on after a stop, and augmentation."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch: Any = pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")

from edgelearn.errors import ConfigError  # noqa: E402
from edgelearn.host.batches import SHIFT, flip_crop, train  # noqa: E402
from edgelearn.host.torch_net import TorchNet  # noqa: E402
from edgelearn.ir import rng  # noqa: E402
from edgelearn.ir.core import Module  # noqa: E402
from tests.factory import DIGITS as DATA  # noqa: E402
from tests.factory import X, Y, compiled  # noqa: E402

DIGITS = X.astype(np.float32)
N = 50  # samples of an epoch, where few are enough
SHAPE = (8, 8, 1)


def module(rule: str = "mono-forward", **params: Any) -> Module:
    return compiled(rule, (16, 12), "f32", **params).module


def same(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> bool:
    assert a.keys() == b.keys()
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_it_learns_the_digits() -> None:
    net = TorchNet(module(lr=2**-4), scale=4.0)
    train(net, DIGITS, Y, 5 * len(Y), batch=16)
    assert (net.infer(DATA.x_test.reshape(len(DATA.x_test), -1)) == DATA.y_test).mean() > 0.9


def test_samples_come_in_a_sessions_order_and_the_last_batch_is_short() -> None:
    net, by_hand = TorchNet(module()), TorchNet(module())
    train(net, DIGITS[:N], Y[:N], 2 * N, batch=16, seed=4)
    for epoch in range(2):
        order = rng.permutation(4, epoch, N)
        for chosen in (order[:16], order[16:32], order[32:48], order[48:]):
            by_hand.learn(DIGITS[chosen], Y[chosen])
    assert net.step == 2 * N
    assert same(net.tensors(), by_hand.tensors())


def test_it_stops_at_the_last_sample_asked_for() -> None:
    net = TorchNet(module())
    train(net, DIGITS[:N], Y[:N], N + 20, batch=16)
    assert net.step == N + 20
    before = net.tensors()
    train(net, DIGITS[:N], Y[:N], N, batch=16)  # it has learnt as many already
    assert same(net.tensors(), before)


@pytest.mark.parametrize("every", [None, 20])
def test_progress_tells_the_accuracy_of_guesses_since_the_last_time(every: int | None) -> None:
    net, watched, seen = TorchNet(module()), TorchNet(module()), []
    train(net, DIGITS[:N], Y[:N], 120, 16, 3, lambda *told: seen.append(told), every)
    ends, right, last = ([50, 100, 120] if every is None else [32, 48, 66, 82, 100, 120]), 0, 0
    expected = []
    while watched.step < 120:
        epoch, at = divmod(watched.step, N)
        chosen = rng.permutation(3, epoch, N)[at : min(at + 16, at + 120 - watched.step)]
        guesses = watched.learn(DIGITS[chosen], Y[chosen])
        assert guesses is not None
        right += int((guesses.numpy() == Y[chosen]).sum())
        if watched.step in ends:
            expected.append((watched.step, 120, right / (watched.step - last)))
            right, last = 0, watched.step
    assert seen == expected


def test_a_rule_that_does_not_guess_has_no_accuracy() -> None:
    seen: list[tuple[int, int, float | None]] = []
    train(TorchNet(module("tpsgd")), DIGITS[:N], Y[:N], N, on_progress=lambda *told: seen.append(told))
    assert [told[:2] for told in seen] == [(N, N)]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("rule", ["mono-forward", "noprop"])
def test_a_run_that_was_stopped_ends_where_it_would_have(rule: str, optimizer: str) -> None:
    """In the middle of an epoch, through a file, into a new net."""
    options: dict[str, Any] = {"batch": 8, "seed": 6, "augment": "flip-crop", "shape": SHAPE}
    whole, first, second = (TorchNet(module(rule), 1, optimizer=optimizer) for _ in range(3))
    train(whole, DIGITS[:N], Y[:N], 3 * N, **options)
    train(first, DIGITS[:N], Y[:N], N + 24, **options)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **first.state_dict())
    file.seek(0)
    second.load_state_dict(dict(np.load(file)))
    train(second, DIGITS[:N], Y[:N], 3 * N, **options)
    assert same(second.state_dict(), whole.state_dict())
    assert not same(second.tensors(), first.tensors())


@pytest.mark.parametrize(
    ("change", "said"),
    [({"y": Y[:9]}, "10 samples and 9 classes"), ({"y": np.full(10, 10)}, "Use 0 to 9"), ({"y": np.full(10, -1)}, "Use 0 to 9"),
     ({"batch": 0}, "at least 1"), ({"x": DIGITS[:10, :9]}, "does not fit 64 inputs"), ({"augment": "rotate"}, "flip-crop"),
     ({"augment": "flip-crop"}, "height, width, channels"), ({"augment": "flip-crop", "shape": (8, 8, 3)}, "64 numbers are no images")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train(TorchNet(module()), **{"x": DIGITS[:10], "y": Y[:10], "steps": 10, **change})


# --- augmentation ---------------------------------------------------------------------------------------------------------------------


def images(n: int, shape: tuple[int, int, int]) -> Any:
    return torch.from_numpy(np.random.default_rng(0).random((n, *shape), np.float32) + 1)  # no pixel is 0


def variants(image: NDArray[Any]) -> dict[bytes, tuple[bool, int, int]]:
    """Every way to mirror and shift an image, done one by one."""
    h, w, _ = image.shape
    found = {}
    for mirrored in (False, True):
        padded = np.pad(image[:, ::-1] if mirrored else image, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
        for down in range(2 * SHIFT + 1):
            for right in range(2 * SHIFT + 1):
                found[padded[down : down + h, right : right + w].tobytes()] = mirrored, down - SHIFT, right - SHIFT
    return found


def test_images_are_mirrored_and_shifted_as_a_whole() -> None:
    x = images(600, (7, 10, 3))
    out = flip_crop(x, (7, 10, 3), seed=1, step=0).numpy()
    changes = [variants(before)[after.tobytes()] for before, after in zip(x.numpy(), out, strict=True)]
    assert 0.4 < np.mean([mirrored for mirrored, _, _ in changes]) < 0.6
    for axis in (1, 2):
        counts = np.unique([change[axis] for change in changes], return_counts=True)
        assert counts[0].tolist() == list(range(-SHIFT, SHIFT + 1))
        assert counts[1].min() > 600 / 9 / 2


def test_augmentation_depends_on_seed_and_step_not_on_the_batch() -> None:
    x = images(20, (8, 8, 3)).reshape(20, -1)
    whole = flip_crop(x, (8, 8, 3), seed=5, step=100)
    parts = [flip_crop(x[i : i + 5], (8, 8, 3), seed=5, step=100 + i) for i in range(0, 20, 5)]
    assert whole.shape == x.shape
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, flip_crop(x, (8, 8, 3), seed=6, step=100))
    assert not torch.equal(whole, flip_crop(x, (8, 8, 3), seed=5, step=101))
