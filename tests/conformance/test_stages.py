"""Runs that begin with learnt weights, or whose blocks learn one after the other: the same final bytes, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelearn import restore, state
from edgelearn.errors import ConfigError, Interrupted, UsageError
from edgelearn.ir.interp import Interpreter
from edgelearn.job import Job, prepare
from edgelearn.link.transport import Transport
from edgelearn.runs import RunStore
from edgelearn.session import Session, connect
from edgelearn.start import Start
from tests.faults import Mortal, interrupt

STEPS, CUT = 1201, 600  # two stages of unequal length, none of whole windows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunStore]:
    with RunStore(tmp_path_factory.mktemp("runs") / "runs.sqlite") as store:
        yield store


@pytest.fixture(scope="module")
def weights(store: RunStore) -> Start:
    """What a run of 700 samples has learnt."""
    with connect("sim") as board:
        run = board.train("digits", store, steps=700, seed=4).run
    return restore.learnt(store.get(run), store)


@pytest.fixture(scope="module", params=["block-by-block", "from a run", "both, float"])
def job(request: pytest.FixtureRequest, weights: Start) -> Job:
    match request.param:
        case "block-by-block":
            return prepare("digits", "sim", steps=STEPS, seed=2, schedule="block-by-block")
        case "from a run":
            return prepare("digits", "sim", weights, steps=STEPS, seed=2, freeze=[0])
        case _:
            return prepare("digits", "sim", weights, steps=STEPS, seed=2, schedule="block-by-block", dtype="f32")


@pytest.fixture(scope="module")
def clean(job: Job, store: RunStore) -> str:
    """The hash that every run of this job must end in."""
    with connect("sim") as board:
        data = board.train(job, store).data
    assert data["ram"]["planned"] == data["ram"]["measured"]
    assert data["accuracy"] > 0.6
    return data["state_sha256"]


def resumed(run: str, store: RunStore) -> str:
    with connect("sim") as board:
        return board.resume(run, store).data["state_sha256"]


@pytest.mark.parametrize("deaths", [{25}, {70}, {110, 130, 200}, {150, 151, 300}])
def test_a_board_that_restarts_is_brought_back(job: Job, clean: str, deaths: set[int], store: RunStore) -> None:
    pipes: list[Mortal] = []

    def wrap(inner: Transport) -> Transport:
        pipes.append(Mortal(inner, deaths))
        return pipes[0]

    with Session("sim", wrap=wrap) as board:
        assert board.train(job, store).data["state_sha256"] == clean
    assert pipes[0].writes > max(deaths), "it never died"


@pytest.mark.parametrize("method", ["send_plan", "init", "write_state", "learn", "read_state", "infer"])
def test_ctrl_c_anywhere_leaves_a_run_that_resumes(
    job: Job, clean: str, method: str, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = len(job.stages) - 1 + bool(job.starts)
    keeps = 4 if len(job.stages) > 1 else 3
    times = {"write_state": writes, "learn": keeps, "read_state": keeps + 1, "infer": 1}.get(method, len(job.stages))
    for nth in range(1, times + 1):
        with monkeypatch.context() as patch, connect("sim") as board:
            interrupt(patch, method, nth)
            with pytest.raises(Interrupted, match="is kept up to step"):
                board.train(job, store)
        run = store.list()[0]
        assert run.status == "interrupted"
        assert resumed(run.id, store) == clean


@pytest.mark.parametrize(
    ("method", "nth"), [("init", 1), ("learn", 1), ("read_state", 2), ("send_plan", 2), ("learn", 3)]
)
def test_a_killed_host_leaves_a_run_that_resumes(
    job: Job, clean: str, method: str, nth: int, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is recorded any more at that point; two stages have two plans, one has one."""
    nth = min(nth, len(job.stages)) if method == "send_plan" else nth
    with monkeypatch.context() as patch, connect("sim") as board:
        interrupt(patch, method, nth, error=SystemExit)
        with pytest.raises(SystemExit):
            board.train(job, store)
    run = store.list()[0]
    assert run.status == "running"
    assert resumed(run.id, store) == clean


# --- what the stages do -----------------------------------------------------------------------------------------------------------


def test_only_one_block_learns_at_a_time(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job = prepare("digits", "sim", steps=STEPS, seed=2, schedule="block-by-block", drops=(0.5,))
    first, second = job.stages
    assert [(s.first, s.last, s.module.drops) for s in job.stages] == [(0, CUT, (300,)), (CUT, STEPS, (900,))]
    with monkeypatch.context() as patch, connect("sim") as board:
        interrupt(patch, "read_state", 2)
        with pytest.raises(Interrupted, match="up to step 600"):
            board.train(job, store)
    run = store.list()[0].id
    half = store.newest_checkpoint(run)
    assert half is not None
    middle = state.decode(first.module, half.state)
    resumed(run, store)
    last = store.newest_checkpoint(run)
    assert last is not None
    end = state.decode(second.module, last.state)
    fresh = Interpreter(second.module, 2).state
    for name in ("W", "b"):
        assert np.array_equal(end.tensors[f"@b0.{name}"], middle.tensors[f"@b0.{name}"])
        assert not np.array_equal(end.tensors[f"@b1.{name}"], fresh[f"@b1.{name}"])
        assert np.array_equal(middle.tensors[f"@b1.{name}"], fresh[f"@b1.{name}"])
    assert "@b0.M" in middle.tensors, "the head that block 0 learns by"
    assert "@b0.M" not in end.tensors, "and that nothing reads any more"


def test_the_next_stage_takes_everything_over(store: RunStore) -> None:
    job = prepare("digits", "sim", steps=STEPS, seed=2, schedule="block-by-block")
    first, second = job.stages
    net = Interpreter(first.module, 2)
    for index in job.order(0, CUT):
        net.learn(job.x_train[index], int(job.data.y_train[index]))
    raw = job.state_at(CUT, state.encode(net))
    assert raw is not None
    found = state.decode(second.module, raw)
    assert (found.step, found.seed) == (CUT, 2)
    for name in ("@b0.W", "@b0.b", "@b1.W", "@b1.b", "@b1.M"):
        assert np.array_equal(found.tensors[name], net.state[name])
        assert found.exps[name[1:]] == net.exps[name[1:]]
    moving = {slot.name: slot.start for slot in first.module.slots if slot.kind == "moving"}
    moved = {name for name, start in moving.items() if net.exps[name] != start}
    assert moved, "no exponent has moved: nothing was tried"
    activation = next(op for op in first.module.entry("learn").ops if op.args[:1] == ("@b0.W",) and op.result)
    assert activation.type is not None
    assert activation.type.exp is not None
    here, there = activation.type.exp.slots[0], None
    for op in second.module.entry("learn").ops:
        if op.args[:1] == ("@b0.W",) and op.type is not None and op.type.exp is not None:
            there = op.type.exp.slots[0]
    assert there is not None
    assert here in moved
    assert found.exps[there] == net.exps[here]


def test_a_run_goes_on_from_the_very_same_integers(weights: Start) -> None:
    job = prepare("digits", "sim", weights, steps=300)
    raw = job.state_at(0, None)
    assert raw is not None
    begin, learnt = state.decode(job.module, raw), weights.snapshot
    assert begin.step == 0
    assert begin.exps == learnt.exps
    assert all(np.array_equal(q, learnt.tensors[name]) for name, q in begin.tensors.items())
    with connect("sim") as board:
        before = board.train(job, evaluate_before=True).data
    assert before["accuracy_before"] > 0.8
    assert before["from"] == weights.origin


def test_frozen_blocks_stay_what_they_are(weights: Start, store: RunStore) -> None:
    with connect("sim") as board:
        data = board.train("digits", store, start=weights, steps=600, freeze=[0], seed=9).data
    checkpoint = store.newest_checkpoint(data["run"])
    assert checkpoint is not None
    learnt = restore.learnt(store.get(data["run"]), store)
    for name in ("@b0.W", "@b0.b"):
        assert np.array_equal(learnt.tensors[name], weights.tensors[name])
    assert not np.array_equal(learnt.tensors["@b1.W"], weights.tensors["@b1.W"])
    assert (data["freeze"], data["schedule"]) == ([0], "simultaneous")


def test_without_a_recipe_the_run_brings_its_own(weights: Start, store: RunStore) -> None:
    run = weights.origin.split()[1].rstrip(",")
    with connect("sim") as board:
        data = board.train(store=store, start=run, epochs=1, seed=5, freeze=[0]).data
        assert (data["steps"], data["seed"], data["net"]) == (1400, 5, "64-32-32-10")
        with pytest.raises(UsageError, match="Nothing says what to train"):
            board.train(store=store)
        with pytest.raises(UsageError, match="weights and no recipe"):
            board.train(store=store, start=weights)
        with pytest.raises(UsageError, match="cannot be changed"):
            board.train(prepare("digits", steps=10), store, start=run)


def test_a_run_without_its_start_is_not_resumed_from_the_seed(
    weights: Start, store: RunStore, monkeypatch: Any
) -> None:
    job = prepare("digits", "sim", weights, steps=900)
    with monkeypatch.context() as patch, connect("sim") as board:
        interrupt(patch, "learn", 1)
        with pytest.raises(Interrupted):
            board.train(job, store)
    run = store.list()[0]
    store._db.execute("UPDATE runs SET start = ? WHERE id = ?", (run.start[:-1] if run.start else b"", run.id))
    with connect("sim") as board, pytest.raises(ConfigError, match="damaged"):
        board.resume(run.id, store)


def test_backpropagation_cannot_learn_block_by_block(tmp_path: Path) -> None:
    text = (
        '[model]\ninput = [8, 8]\nlayers = [16, 16]\nclasses = 10\n[rule]\nname = "backprop"\n[data]\nname = "digits"\n'
    )
    (tmp_path / "bp.toml").write_text(text + '[train]\nschedule = "block-by-block"\n')
    with pytest.raises(ConfigError, match=r"line 10: the rule backprop sees all blocks at once"):
        prepare(tmp_path / "bp.toml")
    assert len(prepare(tmp_path / "bp.toml", schedule="simultaneous", freeze=[0], steps=20).stages) == 1


@pytest.mark.parametrize("schedule", ["simultaneous", "block-by-block"])
def test_blocks_that_cannot_be_frozen(schedule: str) -> None:
    with pytest.raises(ConfigError, match="no block 2"):
        prepare("digits", freeze=[2], steps=20, schedule=schedule)
    with pytest.raises(ConfigError, match="Every block"):
        prepare("digits", freeze=[0, 1], steps=20, schedule=schedule)


def test_stages_are_of_blocks_that_learn() -> None:
    assert len(prepare("digits", steps=20, schedule="block-by-block", freeze=[0]).stages) == 1
    (only,) = prepare("digits", steps=1, schedule="block-by-block").stages
    assert (only.first, only.last) == (0, 1)


def test_blocks_after_the_one_that_learns_cost_nothing() -> None:
    """And the guesses are those of the block that learns, not of a head that nobody has trained yet."""
    first, _ = prepare("digits", steps=20, schedule="block-by-block").stages
    learn = first.module.entry("learn")
    assert not any(arg.startswith("@b1.") for op in learn.ops for arg in op.args)
    guess = next(op for op in learn.ops if op.result == learn.result)
    assert guess.name == "argmax"
    assert next(op for op in learn.ops if op.result == guess.args[0]).args[0] == "@b0.M"


def test_a_frozen_last_block_is_computed_so_that_its_exponents_follow() -> None:
    learn = prepare("digits", steps=20, freeze=[1]).module.entry("learn")
    assert any("@b1.W" in op.args for op in learn.ops)
    (stage,) = prepare("digits", steps=20, freeze=[1], schedule="block-by-block").stages
    assert stage.module.entry("learn").ops == learn.ops
