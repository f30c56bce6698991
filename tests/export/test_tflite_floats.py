"""TFLite files of floats: every op is what the table says, what learns learns the same, and damaged files are refused."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is an extra: pip install 'edgelearn[tflite]'")

from ai_edge_litert import schema_py_generated as schema

from edgelearn import state
from edgelearn.backends import Artifact, Source
from edgelearn.compiler import Compiled, compile_net
from edgelearn.errors import ConfigError, MismatchError
from edgelearn.ir.core import Loc
from edgelearn.ir.interp import Interpreter
from edgelearn.ir.ops import OPS
from edgelearn.nets import Net
from edgelearn.parity import difference as apart
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.testing.backend import BLOCKS, RULES
from edgelearn_export.tflite import Backend, floats
from edgelearn_export.tflite.builder import Model, is_whole
from edgelearn_export.tflite.quiet import quiet
from edgelearn_export.tflite.runner import FloatRunner, interpreter
from tests.cli.documents import blocks, run_shell, text
from tests.export.float_ops import AT_ONCE, CASES, TOLERANCE, compare, together
from tests.factory import DIGITS, X, Y

SEED = 1
INFER, TRAIN = 0, 1


# --- ops ----------------------------------------------------------------------------------------------------------------------------


def test_every_op_is_written_and_has_a_case() -> None:
    assert {*floats.KERNELS, *floats.UPDATES} == set(OPS) == {case.name for case in CASES}


@pytest.mark.parametrize("resolver", ["AUTO", "BUILTIN_REF"])
@pytest.mark.parametrize("start", range(0, len(CASES), AT_ONCE))
def test_ops_are_what_the_table_says(start: int, resolver: str) -> None:
    cases = CASES[start : start + AT_ONCE]
    model, _, given = together(cases)
    compare(cases, interpreter(model.bytes(), resolver).get_signature_runner("main")(**given))


def test_an_op_without_counterpart_is_named_with_its_line() -> None:
    _, source = _source()
    infer, learn = source.module.entry("infer"), source.module.entry("learn")
    odd = replace(learn.ops[0], name="fft", loc=Loc("rule.py", 12))
    module = source.module.with_entries(infer, replace(learn, ops=(odd, *learn.ops[1:])))
    assert Backend().gap(module, "train") == "no counterpart of fft (rule.py:12)"
    assert Backend().gap(module, "infer") == ""
    assert [a.entry for a in Backend().artifacts(replace(source, module=module))] == ["infer"]
    with pytest.raises(ConfigError, match=r"TFLite has no counterpart of fft \(rule\.py:12\)\."):
        floats.train_model(replace(source, module=module))


# --- nets ---------------------------------------------------------------------------------------------------------------------------


@cache
def _compiled(rule: str, block: str, drops: tuple[int, ...] = (2, 4)) -> Compiled | None:
    """A net whose rates are halved on the way; None if the rule is not for such layers."""
    name, params = RULES[rule]
    found, net = find(name, dict(params)), BLOCKS[block]
    most = getattr(found.instance, "most_blocks", None)
    cut = net if most is None else Net(net.shape, net.stack[:most], net.classes)
    try:
        return compile_net(found, cut, Calibration(X, Y, SEED), "f32", drops, name="t")
    except ConfigError:
        return None


def _nets() -> Iterator[Any]:
    for rule in RULES:
        for block in BLOCKS:
            if _compiled(rule, block) is not None:
                yield pytest.param(rule, block, id=f"{rule}-{block}")


def _source(
    rule: str = "mono-forward", block: str = "dense", drops: tuple[int, ...] = (2, 4)
) -> tuple[Compiled, Source]:
    net = _compiled(rule, block, drops)
    assert net is not None
    return net, Source("t", net.module, state.encode(Interpreter(net.module, SEED)), "sim", SEED)


def _scores(judge: Interpreter, x: Any) -> Any:
    return np.stack([judge.scores(row) for row in x])  # pyright: ignore[reportCallIssue, reportArgumentType] they all have some


@pytest.mark.parametrize(("rule", "block"), list(_nets()))
def test_a_file_that_learns_infers_what_it_has_learnt(rule: str, block: str) -> None:
    """``infer``, ``train`` and ``save`` share the weights, and the step goes by the interpreter's rates and random numbers."""
    net, source = _source(rule, block)
    runner = Backend().open(Backend().artifacts(source)[TRAIN], source)
    assert isinstance(runner, FloatRunner)
    judge = Interpreter(net.module, SEED)
    x, y = net.encode(DIGITS.x_train[:7]), DIGITS.y_train
    first = state.encode(judge)
    for i in range(5):
        guess = judge.learn(x[i], int(y[i]))
        assert runner.step(x[i], int(y[i])) == guess
    found = state.decode(net.module, runner.state())
    assert found.step == 5 and runner.state() != first
    assert max(apart(found.tensors[name], v) for name, v in judge.tensors().items()) <= TOLERANCE
    classes, scores = runner.infer(x)
    assert scores is not None and apart(scores, _scores(judge, x)) <= TOLERANCE
    assert classes.tolist() == [judge.infer(row) for row in x]


def test_the_batch_is_free_in_both_files() -> None:
    net, source = _source("forward-forward", "dense")
    x = net.encode(DIGITS.x_test[:9])
    for artifact in Backend().artifacts(source):
        assert artifact.file in ("t-infer-f32.tflite", "t-train-f32.tflite")
        runner = Backend().open(artifact, source)
        one = [runner.infer(row[None]) for row in x]
        classes, scores = runner.infer(x)
        assert classes.tolist() == [int(c[0]) for c, _ in one]
        assert scores is not None and np.allclose(scores, np.concatenate([s for _, s in one]), atol=1e-6)  # pyright: ignore[reportArgumentType, reportCallIssue]


# --- state --------------------------------------------------------------------------------------------------------------------------


def test_what_was_saved_is_restored_in_a_fresh_interpreter_first_thing() -> None:
    """``restore`` before anything else: ``init``, which runs once, must not come afterwards."""
    net, source = _source()
    artifact = Backend().artifacts(source)[TRAIN]
    x, y = net.encode(DIGITS.x_train[:6]), DIGITS.y_train
    learnt = FloatRunner(artifact, source)
    learnt.learn(x[:3], y[:3])
    fresh = FloatRunner(artifact, source)
    fresh.restore(learnt.state())
    assert fresh.state() == learnt.state() != source.state
    for runner in (learnt, fresh):
        runner.learn(x[3:], y[3:6])
    assert fresh.state() == learnt.state()


def test_an_opened_file_starts_at_the_state_and_step_of_its_source() -> None:
    net, first = _source("noprop", "dense")
    judge = Interpreter(net.module, SEED)
    x, y = net.encode(DIGITS.x_train[:8]), DIGITS.y_train
    for i in range(3):
        judge.learn(x[i], int(y[i]))
    source = Source("t", net.module, state.encode(judge), "sim", first.seed)
    runner = Backend().open(Backend().artifacts(source)[TRAIN], source)
    assert runner.state() == source.state
    runner.learn(x[3:], y[3:8])
    for i in range(3, 8):
        judge.learn(x[i], int(y[i]))
    found = state.decode(net.module, runner.state())
    assert max(apart(found.tensors[name], v) for name, v in judge.tensors().items()) <= TOLERANCE
    assert found.step == 8


def test_two_interpreters_of_a_file_do_not_share_their_weights() -> None:
    net, source = _source()
    artifact = Backend().artifacts(source)[TRAIN]
    one, two = FloatRunner(artifact, source), FloatRunner(artifact, source)
    one.learn(net.encode(DIGITS.x_train[:2]), DIGITS.y_train[:2])
    assert two.state() == source.state != one.state()


# --- files --------------------------------------------------------------------------------------------------------------------------


def test_weights_are_stored_once() -> None:
    """A tenth of the weights for everything else, and 10 KB, in both files of a net of the usual size."""
    rng = np.random.default_rng(0)
    calibration = Calibration(rng.random((64, 784), np.float32), rng.integers(0, 10, 64), SEED)
    net = compile_net(find("mono-forward", {}), Net((784,), (256, 256), 10), calibration, "f32", name="t")
    source = Source("t", net.module, state.encode(Interpreter(net.module, SEED)), "sim", SEED)
    weights = sum(s.type.nbytes for s in net.module.state)
    for artifact in Backend().artifacts(source):
        assert len(artifact.raw) <= weights * 1.1 + 10_000


def test_constants_lie_where_a_microcontroller_can_read_them() -> None:
    """In place, in flash: at a multiple of 16 bytes, as the schema asks; and no two constants of a file are equal."""
    _, source = _source("noprop", "conv")
    for artifact in Backend().artifacts(source):
        model: Any = schema.Model.GetRootAs(artifact.raw, 0)
        data = [b for b in (model.Buffers(i) for i in range(model.BuffersLength())) if b.DataLength()]
        assert [b._tab.Vector(b._tab.Offset(4)) % 16 for b in data] == [0] * len(data)
        kept = [b.DataAsNumpy().tobytes() for b in data]
        assert len(set(kept)) == len(kept)


def test_signatures_say_what_goes_in_and_out() -> None:
    _, source = _source("noprop", "dense")
    infer, train = Backend().artifacts(source)
    assert [(s.name, s.dtype, s.shape) for s in infer.inputs] == [("x", "f32", ("B", 64))]
    assert [(s.name, s.dtype, s.shape) for s in infer.outputs] == [
        ("class", "i32", ("B",)),
        ("scores", "f32", ("B", 10)),
    ]
    names = [s.name for s in train.inputs]
    assert names[:3] == ["x", "y", "rate"] and all(n.startswith("draw") for n in names[3:]) and names[3:]
    made = interpreter(train.raw).get_signature_list()
    assert set(made) == {"infer", "train", "save", "restore"}
    assert set(made["train"]["inputs"]) == set(names)
    assert set(made["save"]["outputs"]) == set(made["restore"]["inputs"]) == {s.name[1:] for s in source.module.state}


@pytest.mark.parametrize("entry", [INFER, TRAIN])
def test_a_damaged_file_is_refused(entry: int) -> None:
    _, source = _source()
    artifact = Backend().artifacts(source)[entry]
    draw = random.Random(3)
    n = len(artifact.raw)
    damaged = [artifact.raw[:k] for k in (0, 1, 7, 8, 100, n // 2, n - 1)]
    for _ in range(40):
        at = draw.randrange(n)
        damaged.append(artifact.raw[:at] + bytes([artifact.raw[at] ^ 1 << draw.randrange(8)]) + artifact.raw[at + 1 :])
    for raw in damaged:
        bad = Artifact(artifact.file, raw, artifact.entry, artifact.dtype, artifact.inputs, artifact.outputs)
        with pytest.raises(ConfigError, match=r"is cut off or was changed after it was written\."):
            Backend().open(bad, source)
    assert is_whole(artifact.raw)


def test_a_file_of_another_net_is_refused() -> None:
    _, source = _source()
    _, other = _source("noprop", "dense")
    with pytest.raises(MismatchError, match="has not the weights of t"):
        Backend().open(Backend().artifacts(other)[TRAIN], source)
    rng = np.random.default_rng(0)
    calibration = Calibration(rng.random((64, 30), np.float32), rng.integers(0, 10, 64), SEED)
    small = compile_net(find("mono-forward", {}), Net((30,), (24, 16), 10), calibration, "f32", name="t").module
    third = Source("t", small, state.encode(Interpreter(small, SEED)), "sim", SEED)
    with pytest.raises(MismatchError, match="takes samples of 30 numbers, t has 64"):
        Backend().open(Backend().artifacts(third)[INFER], source)


def test_an_inference_file_does_not_learn() -> None:
    net, source = _source()
    runner = Backend().open(Backend().artifacts(source)[INFER], source)
    with pytest.raises(ConfigError, match=r"t-infer-f32\.tflite does not learn\."):
        runner.learn(net.encode(DIGITS.x_train[:1]), DIGITS.y_train[:1])
    assert runner.state() == source.state


def test_the_same_source_gives_the_same_bytes() -> None:
    _, source = _source("drtp", "conv")
    assert [a.raw for a in Backend().artifacts(source)] == [a.raw for a in Backend().artifacts(source)]


# --- the page -----------------------------------------------------------------------------------------------------------------------


def test_the_page_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "docs/tflite.md"
    (shell,) = (block for block in blocks(page, "sh") if block.note == "run")
    done = run_shell(shell.text, tmp_path)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    shown = re.findall(r"^\| `NAME-(\S+)` \|", text(page), re.MULTILINE)
    assert {p.name for p in (tmp_path / "files").glob("*.tflite")} == {f"digits-{name}" for name in shown}
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(compile(block.text, str(block), "exec"), scope)
    assert scope["accuracy"] > 0.88
    restored = scope["other"].get_signature_runner("save")()
    assert all((restored[name] == value).all() for name, value in scope["weights"].items())


# --- bytes ----------------------------------------------------------------------------------------------------------------------------


def test_what_is_equal_is_written_once() -> None:
    """An op takes what only it says: its inputs, its result's number and its options' place."""
    model = Model("net")
    graph = model.graph("main")
    value = graph.input("x", "f32", (1, 8))
    sizes = []
    for _ in range(3):
        for _ in range(50):
            value = graph.op("ADD", [value, value], "f32", (1, 8))
        sizes.append(len(model.bytes()))
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] <= 50 * 52


def test_a_variable_has_one_handle() -> None:
    graph = Model("net").graph("main")
    assert graph.variable("w") == graph.variable("w") != graph.variable("b")


def test_news_of_the_runtime_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"INFO: a delegate\nWARNING: a kernel\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "WARNING: a kernel\nafter\n"
