"""What a block says by itself: the C core's word is the interpreter's, and that of the paper's equations; the run never notices."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelearn import changes, connect, probes, state
from edgelearn.errors import ConfigError
from edgelearn.host.native import NativeCore
from edgelearn.ir.interp import Interpreter
from edgelearn.job import Job, prepare
from edgelearn.runs import RunStore
from edgelearn.state import Snapshot
from edgelearn.training import checkpoint_every

STEPS = 600
RECIPE = (
    '[model]\ninput = [8, 8]\nlayers = {layers}\nclasses = 10\n[rule]\nname = "{rule}"\n{more}[data]\nname = "digits"\n'
)


def job_of(folder: Path, rule: str = "mono-forward", layers: str = "[20, 16, 12]", more: str = "", **given: Any) -> Job:
    file = folder / "recipe.toml"
    file.write_text(RECIPE.format(rule=rule, layers=layers, more=more))
    return prepare(file, steps=STEPS, **given)


def learnt(job: Job, steps: int = STEPS) -> Snapshot:
    """What the first stage has learnt."""
    stage = job.stages[0]
    core = NativeCore(stage.plan, stage.module.integer("state_bytes"), stage.module.integer("arena_bytes"))
    core.learn(job.x_train, job.data.y_train, job.order(0, steps))
    return state.decode(stage.module, core.read_state())


def by_interpreter(made: probes.Cut, whole: Snapshot, job: Job, n: int) -> list[int]:
    net = Interpreter(made.module, whole.seed)
    state.restore(net, state.pack(made.module, made.snapshot(whole)))
    return [net.infer(x) for x in job.x_train[:n]]


LAYERS = {
    "dense": "[20, 16, 12]",
    "conv": "[{ conv = 6 }, { pool = 2 }, { conv = 8 }, 12]",
}


@pytest.mark.parametrize("dtype", ["int8", "f32"])
@pytest.mark.parametrize(
    ("rule", "more", "layers", "answering"),
    [
        ("mono-forward", "", "dense", [0, 1, 2]),
        ("mono-forward", 'heads = "sum"\n', "dense", [0, 1, 2]),
        ("mono-forward", "", "conv", [0, 1, 2]),
        ("cascaded-forward", "", "dense", [0, 1, 2]),
        ("forward-forward", "", "dense", [1, 2]),
        ("noprop", "", "dense", [0, 1, 2]),
        ("tpsgd", "", "dense", [2]),
        ("backprop", "", "dense", [2]),
    ],
)
def test_the_core_says_of_a_cut_net_what_the_interpreter_says(
    tmp_path: Path, rule: str, more: str, layers: str, answering: list[int], dtype: str
) -> None:
    job = job_of(tmp_path, rule, LAYERS[layers], more, dtype=dtype)
    found = learnt(job)
    for block in range(3):
        if block not in answering:
            with pytest.raises(ConfigError, match=r"^predict cannot do without the others: [^\n]*\.\n  -> "):
                probes.cut(job, job.stages[0], block)
            continue
        made = probes.cut(job, job.stages[0], block)
        answers = probes.in_core(made)(found, job.x_train[:60]).tolist()
        judged = by_interpreter(made, found, job, 60)
        assert answers == judged if dtype == "int8" else np.mean(np.equal(answers, judged)) > 0.98


def test_a_block_by_itself_is_what_the_paper_says(tmp_path: Path) -> None:
    """Mono-Forward, block l: argmax M a_l, in real numbers; of the last block it is the net's own answer."""
    job = job_of(tmp_path, dtype="f32")
    found, x = learnt(job), job.x_train[:300]
    a, answers = x, np.empty(0)
    for block in range(3):
        W, b, M = (found.tensors[f"@b{block}.{name}"] for name in "WbM")
        a = np.maximum(a @ W.T + b, 0)
        answers = probes.in_core(probes.cut(job, job.stages[0], block))(found, x)
        assert np.mean(answers == (a @ M.T).argmax(axis=1)) > 0.99
    core = NativeCore(job.plan, job.state_bytes, job.arena_bytes)
    core.write_state(state.pack(job.module, found))
    assert (core.infer(x) == answers).all()


def test_a_block_without_its_head_is_not_asked(tmp_path: Path) -> None:
    """Block by block, a stage keeps no heads but its own and the last; of a frozen block nobody needs one."""
    with RunStore(tmp_path / "runs.sqlite") as store, connect("sim") as board:
        job = prepare(job_of(tmp_path).recipe, steps=6000, schedule="block-by-block")
        result = board.train(job, store)
        curves = store.metrics(result.run)
    assert result.data["blocks"]["reasons"] == {}
    assert [step for step, _ in curves["block_accuracy/b1"] if step <= 2000] == []
    assert max(value for _, value in curves["block_accuracy/b0"]) > 0.7
    assert curves["block_accuracy/b2"][0][1] < 0.5 < curves["block_accuracy/b2"][-1][1]
    frozen = job_of(tmp_path, freeze=[0])
    with pytest.raises(ConfigError, match=r"the run keeps no b0\.M"):
        probes.cut(frozen, frozen.stages[0], 0)


# --- over a run -------------------------------------------------------------------------------------------------------------------


def test_a_run_asks_its_blocks_and_learns_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    for path, share in ((tmp_path / "with.sqlite", probes.SHARE), (tmp_path / "without.sqlite", 0.0)):
        monkeypatch.setattr(probes, "SHARE", share)
        with RunStore(path) as store, connect("sim") as board:
            result = board.train("digits", store, steps=3000)
            curves = store.metrics(result.run)
        hashes.append(result.data["state_sha256"])
        told = result.data["blocks"]
        if share:
            points = [step for step, _ in curves["block_accuracy/b0"]]
            assert told["samples"] >= probes.FEWEST
            assert told["of"] == 1400
            assert points[-1] == 3000
            assert len(points) >= probes.POINTS
            assert curves["block_accuracy/b1"][-1][1] > 0.7
        else:
            assert "multiplications" in told["reasons"]["all"]
            assert "block_accuracy/b0" not in curves
    assert hashes[0] == hashes[1]


def test_a_resumed_run_asks_about_the_same_samples(tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole.sqlite", tmp_path / "halves.sqlite"
    with RunStore(whole) as store, connect("sim") as board:
        told = store.metrics(board.train("digits", store, steps=3000).run)

    def stop(progress: object) -> None:
        if getattr(progress, "step", 0) > 1500:
            raise KeyboardInterrupt

    with RunStore(halves) as store, connect("sim") as board:
        with pytest.raises(Exception, match="Stopped"):
            board.train("digits", store, stop, steps=3000)
        (run,) = store.list()
        board.resume(run.id, store)
        again = store.metrics(run.id)
    for name in ("block_accuracy/b0", "block_accuracy/b1", "limit/b0.W"):
        assert set(told[name]) <= set(again[name]), name


def test_the_work_is_bounded(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    every = checkpoint_every(job.steps)
    for steps in (600, 3000, 20_000, 1_000_000):
        for macs in (100, 5000, 100_000):
            long = replace(job, steps=steps)
            plan = probes.planned(long, macs, every)
            asked = plan.samples * macs * ceil(ceil(steps / every) / plan.stride)
            assert asked <= probes.SHARE * steps * (job.macs("learn") + probes.HANDLING) * 1.01
            assert bool(plan.reason) == (plan.samples == 0)
    assert probes.planned(replace(job, steps=10**6), 5000, 50_000).samples == probes.SAMPLES


# --- tensors ----------------------------------------------------------------------------------------------------------------------


def test_what_changed_is_counted_in_real_numbers(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    found, module = learnt(job), job.stages[0].module
    same = changes.measure(module, found, found)
    assert {same[f"{kind}/b0.W"] for kind in (changes.CHANGED, changes.MOVED)} == {0.0}
    q = found.tensors["@b0.W"].copy()
    q.flat[:32] = np.where(q.flat[:32] == 5, 6, 5)
    tensors = dict(found.tensors) | {"@b0.W": q}
    assert changes.measure(module, found, replace(found, tensors=tensors))["changed/b0.W"] == 32 / q.size
    exps = dict(found.exps) | {"b1.M": found.exps["b1.M"] + 1}
    doubled = changes.measure(module, found, replace(found, exps=exps))
    assert doubled["moved/b1.M"] == pytest.approx(0.5)
    assert doubled["changed/b1.M"] == (found.tensors["@b1.M"] != 0).mean()
    q = np.full_like(q, 127)
    q.flat[:64] = -127
    q.flat[64:96] = 126
    full = changes.measure(module, None, replace(found, tensors=tensors | {"@b0.W": q}))
    assert full["limit/b0.W"] == 1 - 32 / q.size
    assert "changed/b0.W" not in full


def test_floats_that_are_no_numbers_have_no_reading(tmp_path: Path) -> None:
    job = job_of(tmp_path, dtype="f32")
    found = learnt(job, 10)
    W = found.tensors["@b0.W"].copy()
    W.flat[0] = np.nan
    told = changes.measure(job.module, found, replace(found, tensors=dict(found.tensors) | {"@b0.W": W}))
    assert "moved/b0.W" not in told
    assert told["changed/b0.W"] == 1 / W.size
    assert not any(name.startswith("limit/") for name in told)


def test_a_rule_that_fails_without_its_last_block_costs_no_run(tmp_path: Path) -> None:
    """Whatever predict does with fewer blocks than it knows, the run goes on, and says why there is no curve."""
    (tmp_path / "odd.py").write_text(
        "import edgelearn as el\nfrom edgelearn.rules.mono_forward import MonoForward\n"
        "@el.rule('odd')\nclass Odd(MonoForward):\n"
        "    def predict(self, blocks, x):\n        1 / (len(blocks) - 1)\n        return MonoForward.predict(self, blocks, x)\n"
    )
    file = tmp_path / "odd.toml"
    file.write_text(RECIPE.format(layers="[16, 16]", rule="odd.py:Odd", more=""))
    with RunStore(tmp_path / "runs.sqlite") as store, connect("sim") as board:
        result = board.train(file, store, steps=3000)
        curves = store.metrics(result.run)
    assert "ZeroDivisionError" in result.data["blocks"]["reasons"]["b0"]
    assert "block_accuracy/b0" not in curves
    assert curves["block_accuracy/b1"][-1][0] == 3000
