"""``edgelearn export``: from recipes and runs, in both kinds of numbers, all files or none, and what is wrong in one sentence."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgelearn as el
from edgelearn import backends, exporting, parity, restore, start, state
from edgelearn.backends import Artifact, Runner, Source
from edgelearn.errors import ConfigError, MismatchError, MissingToolError, StorageFullError, UsageError
from edgelearn.ir.interp import Interpreter
from edgelearn.runs import RunStore
from edgelearn.session import connect


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with RunStore(tmp_path / "runs.sqlite") as kept:
        yield kept


@pytest.fixture
def run(store: RunStore) -> str:
    with connect() as board:
        return board.train("digits", store, steps=300, seed=3).run


def test_a_run_goes_out_with_what_it_has_learnt(store: RunStore, run: str, tmp_path: Path) -> None:
    done = el.export(run, ["plan"], tmp_path, store=store, verify=(20, 10))
    plan, kept = done.written
    assert plan.proof == parity.Proof(0.0, 20, 10)
    checkpoint = store.newest_checkpoint(run)
    assert checkpoint is not None
    assert (plan.format, kept.format) == ("plan", "state")
    told, there = (
        json.loads(done.manifest.read_text())["start"],
        state.decode(el.compile("digits", seed=3).module, kept.artifact.raw),
    )
    assert told == {
        "step": 300,
        "seed": 3,
        "exps": there.exps,
        "stats": {name: [*pair] for name, pair in there.stats.items()},
    }
    assert (tmp_path / f"{run}.state").read_bytes() == kept.artifact.raw == checkpoint.state


def test_a_recipe_starts_from_its_seed(tmp_path: Path) -> None:
    (plan,) = el.export("digits", ["plan"], tmp_path, seed=4, verify=(5, 5)).written
    assert plan.proof is not None
    assert plan.artifact.raw == el.compile("digits", seed=4).plan


def test_integers_keep_their_values_as_floats(store: RunStore, run: str) -> None:
    own = exporting.find(run, None, store, {})
    floats = own.in_numbers("f32")
    q, f = (state.decode(o.job.module, o.source.state) for o in (own, floats))
    assert (f.step, f.seed) == (q.step, q.seed)
    for name, values in f.tensors.items():
        np.testing.assert_array_equal(values, np.ldexp(q.tensors[name].astype(np.float32), q.exps[name[1:]]))


def test_floats_become_the_nearest_integers(store: RunStore) -> None:
    with connect() as board:
        run = board.train("digits", store, steps=1400, dtype="f32").run
    own = exporting.find(run, None, store, {})
    ints = own.in_numbers("int8")
    f, q = (state.decode(o.job.module, o.source.state) for o in (own, ints))
    for name, values in f.tensors.items():
        unit = 2.0 ** q.exps[name[1:]]
        assert np.abs(q.tensors[name] * unit - values).max() <= unit / 2
    accuracy = [_accuracy(o) for o in (own, ints)]
    assert accuracy[1] >= accuracy[0] - 0.02


def _accuracy(origin: exporting.Origin) -> float:
    net = Interpreter(origin.job.module, origin.source.seed)
    state.restore(net, origin.source.state)
    return float(np.mean([net.infer(x) for x in origin.job.x_test] == origin.job.data.y_test))


def test_plans_and_c_go_out_in_both_kinds_of_numbers(store: RunStore, run: str, tmp_path: Path) -> None:
    done = el.export(run, ["plan", "c"], tmp_path, store=store, verify=(20, 10), dtype="both")
    proved = {(w.format, w.artifact.dtype): w for w in done.written if w.proof is not None}
    assert set(proved) == {(form, dtype) for form in ("plan", "c") for dtype in ("int8", "f32")}
    assert proved["plan", "f32"].path == tmp_path / f"{run}-f32.plan"
    assert (tmp_path / f"{run}-f32-c" / "CMakeLists.txt").is_file()
    assert (
        proved["plan", "int8"].artifact.raw == el.export(run, ["plan"], tmp_path, store=store).written[0].artifact.raw
    )


def test_the_manifest_says_what_the_files_are(tmp_path: Path) -> None:
    done = el.export("digits", ["plan", "plan-c"], tmp_path)
    told = json.loads(done.manifest.read_text())
    assert told["data"]["licence"].startswith("CC BY 4.0")
    assert [a["format"] for a in told["artifacts"]] == ["plan", "plan-c", "plan-c"]
    assert list(told["start"]["exps"]) == [slot["name"] for slot in told["slots"]]
    assert told["versions"]["edgelearn"] == el.__version__


# --- all or nothing -----------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_written_leaves_no_half(tmp_path: Path) -> None:
    (tmp_path / "digits.json").mkdir()  # the last file has no place
    with pytest.raises(StorageFullError, match=r"Cannot write .*digits\.json"):
        el.export("digits", ["plan", "plan-c"], tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["digits.json"]


def test_an_older_export_stays_whole(tmp_path: Path) -> None:
    el.export("digits", ["plan"], tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    (tmp_path / "digits_plan.h").mkdir()
    with pytest.raises(StorageFullError):
        el.export("digits", ["plan", "plan-c"], tmp_path, seed=9)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageFullError) as caught:
        el.export("digits", ["plan"], tmp_path / "out")
    assert "-o" in caught.value.hint


# --- what is wrong ------------------------------------------------------------------------------------------------------------------


def test_formats_that_there_are_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no format 'onx'") as caught:
        el.export("digits", ["onx"], tmp_path)
    assert "onnx" in caught.value.hint
    with pytest.raises(UsageError, match="No format is named"):
        el.export("digits", [], tmp_path)


def test_a_run_stays_in_its_numbers_on_a_board(store: RunStore, run: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is in int8") as caught:
        el.export(run, ["plan"], tmp_path, store=store, dtype="f32")
    assert "--dtype both" in caught.value.hint
    with pytest.raises(UsageError, match="--epochs is for recipes"):
        el.export(run, ["plan"], tmp_path, store=store, epochs=3)
    with pytest.raises(ConfigError, match="neither a recipe nor a run"):
        el.export("nothing", ["plan"], tmp_path, store=store)


@pytest.mark.parametrize(
    ("form", "module", "extra"), [("onnx", "onnxruntime", "onnx"), ("tflite", "ai_edge_litert", "tflite")]
)
def test_a_missing_extra_is_named(
    form: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = backends.find_spec
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == module else real(name))
    with pytest.raises(MissingToolError, match=module) as caught:
        el.export("digits", [form], tmp_path, verify=(1, 1))
    assert f"edgelearn[{extra}]" in caught.value.hint
    assert not list(tmp_path.iterdir())


# --- the judge ----------------------------------------------------------------------------------------------------------------------


class Liar:
    """Runs as the interpreter does, and then says something else of one sample, or forgets one step."""

    def __init__(self, source: Source, scores: int = 0, steps: int = 0) -> None:
        self.net, self.scores, self.steps = Interpreter(source.module, source.seed), scores, steps

    def infer(self, x: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        scores = np.stack([row for sample in x if (row := self.net.scores(sample)) is not None])
        scores[-1, 0] += self.scores
        return np.array([self.net.infer(row) for row in x]), scores

    def learn(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
        for row, label in list(zip(x, y, strict=True))[self.steps :]:
            self.net.learn(row, int(label))

    def state(self) -> bytes:
        return state.encode(self.net)


@pytest.mark.parametrize(("scores", "steps"), [(0, 0), (1, 0), (0, 1)])
def test_a_single_unit_is_seen(scores: int, steps: int) -> None:
    job = el.compile("digits")
    source = Source("digits", job.module, state.encode(Interpreter(job.module, 0)))
    runner: Runner = Liar(source, scores, steps)

    def proved() -> parity.Proof:
        return parity.prove(runner, Artifact("x", b"", "all", "int8"), source, job.x_test, job.data.y_test, 8, 8)

    if scores == steps == 0:
        assert proved().worst == 0
    else:
        with pytest.raises(MismatchError, match="disagree"):
            proved()


def test_a_plan_with_other_rates_is_seen() -> None:
    job = el.compile("digits-tiny")
    source = Source("digits", job.module, state.encode(Interpreter(job.module, 0)))
    made = backends.backend("plan")
    plan = Artifact("digits.plan", job.plan, "all", "int8")
    given = (job.x_test[:16], job.data.y_test[:16], 16, 5, True)
    assert parity.prove(made.open(plan, source), plan, source, *given).worst == 0
    other = Artifact("digits.plan", made.export(job.module.with_attrs(drops="1"), ""), "all", "int8")
    with pytest.raises(MismatchError, match="the state after 5 steps"):
        parity.prove(made.open(other, source), other, source, *given)


def test_a_strict_judge_takes_floats_as_they_are() -> None:
    large, off = np.array([100.0, 0.5]), np.array([100.0001, 0.5])
    assert parity.difference(off, large) < 2e-6
    assert parity.difference(off, large, absolute=True) > 9e-5


class Forgetful:
    """Does between steps what the interpreter does, but for one thing."""

    def __init__(self, source: Source, forgets: str) -> None:
        self.net, self.forgets = Interpreter(source.module, source.seed), forgets

    def rescale(self, raw: bytes) -> bytes:
        state.restore(self.net, raw)
        before = state.decode(self.net.module, raw)
        self.net.rescale()
        after = state.decode(self.net.module, state.encode(self.net))
        kept = {self.forgets: getattr(before, self.forgets)} if self.forgets else {}
        return state.pack(self.net.module, replace(after, **kept))


@pytest.mark.parametrize("forgets", ["", "tensors", "exps", "stats"])
def test_what_is_done_between_steps_is_judged(forgets: str) -> None:
    job = el.compile("digits")
    source = Source("digits", job.module, state.encode(Interpreter(job.module, 0)))
    file, x, y = Artifact("x", b"", "rescale", "int8"), job.x_test, job.data.y_test
    if not forgets:
        assert parity.prove(Forgetful(source, ""), file, source, x, y, 8, 24) == parity.Proof(0.0, 0, 24)
        return
    with pytest.raises(MismatchError, match=r"the state that follows \d+ steps"):
        parity.prove(Forgetful(source, forgets), file, source, x, y, 8, 24)


# --- what goes on from an export ----------------------------------------------------------------------------------------------------


def test_a_plan_that_was_cut_off_is_not_gone_on_from(store: RunStore, run: str, tmp_path: Path) -> None:
    plan = el.export(run, ["plan"], tmp_path, store=store).written[0]
    assert start.read(plan.path).snapshot.step == 300
    plan.path.write_bytes(plan.artifact.raw[:-8])
    with pytest.raises(ConfigError, match="is not the plan that"):
        start.read(plan.path)


def test_a_file_without_weights_is_no_run(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"TFL3")
    with pytest.raises(ConfigError, match=r"net\.tflite has no weights to go on from") as caught:
        restore.begin("digits", str(tmp_path / "net.tflite"), store, "sim")
    assert "--format plan" in caught.value.hint
