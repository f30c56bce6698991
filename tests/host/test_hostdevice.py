"""The board `host` as a session sees it: what it learns is what the sim board learns, it goes on after a stop, and runs move to boards."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch: Any = pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'edgelearn[torch]'")

from edgelearn import hostdevice, trainspec  # noqa: E402
from edgelearn.errors import ConfigError, Interrupted, UsageError  # noqa: E402
from edgelearn.host import batches, torch_optim  # noqa: E402
from edgelearn.host.torch_net import TorchNet  # noqa: E402
from edgelearn.job import Job, prepare  # noqa: E402
from edgelearn.runs import RunStore  # noqa: E402
from edgelearn.session import connect  # noqa: E402
from tests.host.runs import difference, digits, recipe, stopper, tensors  # noqa: E402

# --- the same as on a board -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [{}, {"freeze": [0]}, {"schedule": "block-by-block"}, {"drops": (0.25, 0.5)}],
    ids=["plain", "freeze", "block-by-block", "drops"],
)
def test_one_by_one_it_learns_what_the_sim_board_learns(given: dict[str, Any], store: RunStore) -> None:
    results = []
    for board in ("sim", "host"):
        job = prepare("digits", board, dtype="f32", steps=200, seed=3, **given)
        with connect(board) as session:
            results.append((session.train(job, store, evaluate_before=True), job))
    (sim, job), (host, _) = results
    assert host.accuracy == pytest.approx(sim.accuracy, abs=1e-4)
    assert host.data["accuracy_before"] == sim.data["accuracy_before"]
    assert difference(tensors(store, host.run, job), tensors(store, sim.run, job)) < 1e-4
    here, there = store.metrics(host.run), store.metrics(sim.run)
    assert here.keys() == there.keys()
    assert here["train_accuracy"] == there["train_accuracy"]
    for name, curve in there.items():
        assert [step for step, _ in here[name]] == [step for step, _ in curve]
        assert [value for _, value in here[name]] == pytest.approx([value for _, value in curve], abs=1e-6), name


def test_its_result_has_the_keys_of_a_board_s(store: RunStore) -> None:
    with connect("sim") as sim, connect("host") as host:
        board = sim.train("digits", store, dtype="f32", steps=60).data
        here = host.train("digits", store, dtype="f32", steps=60, batch=20, optimizer="momentum").data
    assert here.keys() == board.keys()
    for part in ("ram", "link"):
        assert here[part].keys() == board[part].keys()
    ram = here["ram"]
    assert (ram["planned"], ram["measured"], ram["stack"]) == (board["ram"]["planned"], None, None)
    assert "torch" in ram["reason"]
    assert board["ram"]["reason"] is None
    assert (here["board"], here["device"], board["device"], here["emulated"]) == ("host", "cpu", None, False)
    assert [here[key] for key in trainspec.HOST_KEYS] == [20, "momentum", "none", "mean"]
    assert here["board_us_per_sample"] > 0
    kept = store.get(here["run"])
    assert (kept.status, kept.board, kept.port) == ("finished", "host", None)


# --- batches --------------------------------------------------------------------------------------------------------------------------


def by_hand(job: Job, size: int, scale: Callable[[int], float], **options: Any) -> dict[str, NDArray[Any]]:
    """The run without a session: a net, and batches cut out of the job's order."""
    net, n = TorchNet(job.module, job.recipe.train.seed, **options), len(job.x_train)
    while net.step < job.steps:
        rest = n - net.step % n
        chosen = job.order(net.step, min(net.step + min(size, rest), job.steps))
        net.scale = scale(len(chosen))
        net.learn(job.x_train[chosen], job.data.y_train[chosen])
    return net.tensors()


@pytest.mark.parametrize(
    ("train", "factor"),
    [({"batch": 96}, lambda n: 1.0), ({"batch": 32, "scale": "sum"}, float), ({"batch": 96, "optimizer": "momentum"}, lambda n: 1.0),
     ({"batch": 100, "optimizer": "adam"}, lambda n: 1.0)],
    ids=["mean", "sum", "momentum", "adam"],
)  # fmt: skip
def test_a_batch_steps_by_the_mean_or_the_sum(
    train: dict[str, Any], factor: Callable[[int], float], tmp_path: Path, store: RunStore
) -> None:
    """More than an epoch, so that a batch is short, and the last one too."""
    job = prepare(recipe(tmp_path, 'name = "mono-forward"\nlr = 0.01'), "host", steps=2000, seed=2, **train)
    with connect("host") as session:
        result = session.train(job, store)
    options = {"optimizer": train["optimizer"]} if "optimizer" in train else {}
    assert difference(tensors(store, result.run, job), by_hand(job, train["batch"], factor, **options)) == 0


def test_it_learns_the_digits(tmp_path: Path, store: RunStore) -> None:
    rule = recipe(tmp_path, 'name = "mono-forward"\nlr = 0.004', 'batch = 32\noptimizer = "adam"\nepochs = 6\n')
    told = []
    with connect("host") as session:
        result = session.train(rule, store, told.append)
    assert result.accuracy > 0.9
    assert result.data["health"] == []
    assert told[-1].step == told[-1].steps == 6 * 1400
    rising = [value for _, value in store.metrics(result.run)["train_accuracy"]]
    assert rising[-1] > rising[0]


def test_augmentation_changes_images_and_nothing_else(tmp_path: Path, store: RunStore) -> None:
    rule = recipe(tmp_path, 'name = "mono-forward"', 'batch = 50\nsteps = 300\naugment = "flip-crop"\n')
    job = prepare(rule, "host")
    with connect("host") as session:
        result = session.train(job, store)
    net = TorchNet(job.module)
    batches.train(net, job.x_train, job.data.y_train, 300, 50, augment="flip-crop", shape=(8, 8, 1))
    assert difference(tensors(store, result.run, job), net.tensors()) == 0
    with connect("host") as session:
        plain = session.train(prepare(rule, "host", augment="none"), store)
    assert difference(tensors(store, plain.run, job), net.tensors()) > 0.001


def test_the_words_of_a_recipe_are_those_of_the_host() -> None:
    assert tuple(torch_optim.OPTIMIZERS) == trainspec.OPTIMIZERS
    for augment in trainspec.AUGMENTS[1:]:
        assert batches.Batches(TorchNet(digits().module), *DATA, augment=augment, shape=(8, 8, 1))


DATA = (np.zeros((3, 64), np.float32), np.zeros(3, np.int64))


# --- going on -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", trainspec.OPTIMIZERS)
@pytest.mark.parametrize("schedule", trainspec.SCHEDULES)
def test_ctrl_c_keeps_a_state_that_goes_on_to_the_same_end(schedule: str, optimizer: str, store: RunStore) -> None:
    """Also in the second stage, and in the middle of an epoch."""
    job = digits(steps=3000, seed=1, schedule=schedule, optimizer=optimizer, batch=48, augment="flip-crop")
    with connect("host") as session:
        whole = session.train(job, store).data["state_sha256"]
    for stop in (700, 1500, 2400):
        with connect("host") as session, pytest.raises(Interrupted, match="is kept up to step"):
            session.train(job, store, stopper(stop))
        run = store.list()[0].id
        kept = store.newest_checkpoint(run)
        assert kept is not None
        assert stop <= kept.step < 3000
        assert (kept.moments is None) == (optimizer == "sgd")
        with connect("host") as session:
            assert session.resume(run, store).data["state_sha256"] == whole


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_killed_program_goes_on_from_its_checkpoint(
    optimizer: str, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is recorded at its death; the moments are those of the checkpoint."""
    job = digits(steps=2500, batch=16, optimizer=optimizer)
    with connect("host") as session:
        whole = session.train(job, store).data["state_sha256"]
    learn, calls = hostdevice.Batches.learn, [0]

    def die(self: Any, end: int) -> Any:
        calls[0] += 1
        if calls[0] == 90:
            raise SystemExit
        return learn(self, end)

    with monkeypatch.context() as patch, connect("host") as session:
        patch.setattr(hostdevice.Batches, "learn", die)
        with pytest.raises(SystemExit):
            session.train(job, store)
    run = store.list()[0]
    kept = store.newest_checkpoint(run.id)
    assert kept is not None
    assert (run.status, 0 < kept.step < 89 * 16) == ("running", True)
    with connect("host") as session:
        assert session.resume(run.id, store).data["state_sha256"] == whole


def test_ctrl_c_waits_for_the_end_of_a_batch(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes while the net has learnt half of a batch."""
    job = digits(steps=1000, batch=16)
    with connect("host") as session:
        whole = session.train(job, store).data["state_sha256"]
    learn, calls, before = TorchNet.learn, [0], signal.getsignal(signal.SIGINT)

    def signalled(self: Any, x: Any, y: Any) -> Any:
        calls[0] += 1
        if calls[0] == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return learn(self, x, y)

    with monkeypatch.context() as patch, connect("host") as session:
        patch.setattr(TorchNet, "learn", signalled)
        with pytest.raises(Interrupted, match="up to step 320"):
            session.train(job, store)
    assert signal.getsignal(signal.SIGINT) is before
    with connect("host") as session:
        assert session.resume(store.list()[0].id, store).data["state_sha256"] == whole


def test_other_threads_learn_too(store: RunStore) -> None:
    """They may not touch signals; nor may SQLite be used by two of them, so the store is their own."""
    found: list[float] = []

    def work() -> None:
        with RunStore(store.path) as own, connect("host") as session:
            found.append(session.train(digits(steps=60, batch=20), own).accuracy)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert len(found) == 1


def test_a_damaged_memory_of_the_optimizer_is_no_checkpoint(store: RunStore) -> None:
    job = digits(steps=2500, batch=16, optimizer="adam")
    with connect("host") as session, pytest.raises(Interrupted):
        session.train(job, store, stopper(1500))
    run = store.list()[0].id
    newest = store.newest_checkpoint(run)
    assert newest is not None
    store._db.execute("UPDATE checkpoints SET moments = x'00' WHERE run = ? AND step = ?", (run, newest.step))
    older = store.newest_checkpoint(run)
    assert older is not None
    assert older.step < newest.step
    store.checkpoint(run, newest.step, newest.state, 0, b"no moments")
    with connect("host") as session, pytest.raises(ConfigError, match="memory in this run is damaged"):
        session.resume(run, store)


# --- to other boards and back ---------------------------------------------------------------------------------------------------------


def test_a_run_of_the_host_is_a_run(store: RunStore) -> None:
    """Measured by the sim board, classified there, and gone on with in integers; its recipe leaves out there what only the host does."""
    with connect("host") as session:
        result = session.train("digits", store, dtype="f32", batch=8, scale="sum", epochs=3, augment="none", seed=4)
        again = session.eval(result.run, store)
    assert result.accuracy == again.accuracy > 0.9
    with connect("sim") as session:
        assert session.eval(result.run, store).accuracy == pytest.approx(result.accuracy, abs=1e-4)
        job = session.load_run(store.get(result.run), store)
        guesses = session.infer(job, job.data.x_test[:20])
        ints = session.train(start=result.run, store=store, dtype="int8", steps=300)
    assert (ints.data["dtype"], ints.data["batch"], ints.data["scale"]) == ("int8", 1, "mean")
    assert ints.data["from"] == f"run {result.run}, step 4,200"
    assert ints.accuracy > 0.9
    with connect("host") as session:
        job = session.load_run(store.get(result.run), store)
        assert session.infer(job, job.data.x_test[:20]) == guesses
        back = session.train(start=ints.run, store=store, dtype="f32", batch=4, steps=300)
        kept = session.train(start=result.run, store=store, steps=16)
    assert back.accuracy > 0.9
    assert (kept.data["batch"], kept.data["scale"]) == (8, "sum")


def test_a_host_that_holds_nothing_says_so() -> None:
    with connect("host") as session:
        with pytest.raises(UsageError, match="holds no net yet"):
            session.infer(digits(), np.zeros((1, 8, 8)))
        with pytest.raises(UsageError, match="no link to it"):
            _ = session.client


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_learns_what_the_processor_learns(store: RunStore) -> None:
    job, found = digits(steps=600, batch=50), []
    for device in ("cpu", "cuda"):
        with connect("host", device) as session:
            found.append(tensors(store, session.train(job, store).run, job))
        assert store.list()[0].port == device
    assert difference(*found) < 1e-3
