"""TFLite Micro's files of floats, in its own interpreter: every op is what the table says, and a step learns what ours does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is an extra: pip install 'edgelearn[tflite]'")
pytest.importorskip("tflite_micro", reason="needs TFLite Micro's interpreter: pip install 'edgelearn[tflm]'")

from edgelearn import state
from edgelearn.backends import Artifact, Source
from edgelearn.compiler import Compiled, compile_net
from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.ir.interp import Interpreter
from edgelearn.nets import Net
from edgelearn.parity import difference as apart
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn.testing.backend import BLOCKS, RULES
from edgelearn_export.tflite.builder import Model
from edgelearn_export.tflm import NO_INT8_TRAINING, Backend, runner
from edgelearn_export.tflm.runner import Micro, MicroRunner
from tests.export.float_ops import AT_ONCE, CASES, TOLERANCE, compare, together
from tests.factory import DIGITS, X, Y

SEED = 1


@pytest.mark.parametrize("start", range(0, len(CASES), AT_ONCE))
def test_ops_are_what_the_table_says(start: int) -> None:
    cases = CASES[start : start + AT_ONCE]
    model, graph, given = together(cases)
    artifact = Artifact("ops.tflite", model.bytes(), "infer", "f32", tuple(graph.inputs), tuple(graph.outputs))
    compare(cases, Micro(artifact).run(given))


def _source(rule: str, block: str, dtype: str = "f32") -> tuple[Compiled, Source]:
    name, params = RULES[rule]
    found, net = find(name, dict(params)), BLOCKS[block]
    cut = Net(net.shape, net.stack[: getattr(found.instance, "most_blocks", None)], net.classes)
    net = compile_net(found, cut, Calibration(X, Y, SEED), dtype, (2, 4), name="t")
    return net, Source("t", net.module, state.encode(Interpreter(net.module, SEED)), "sim", SEED)


@pytest.mark.parametrize(
    ("rule", "block"),
    [("mono-forward", "depthwise"), ("noprop", "dense"), ("noprop-fm", "dense"), ("cascaded-forward", "recurrent")],
)
def test_a_step_says_and_learns_what_the_interpreter_does(rule: str, block: str) -> None:
    net, source = _source(rule, block)
    infer, train = Backend().artifacts(source)
    assert (infer.file, train.file) == ("t-infer-f32-micro.tflite", "t-train-f32-micro.tflite")
    made = Backend().open(train, source)
    assert isinstance(made, MicroRunner)
    judge, first = Interpreter(net.module, SEED), source.state
    x, y = net.encode(DIGITS.x_train[:5]), DIGITS.y_train
    for i in range(5):
        assert made.step(x[i], int(y[i])) == judge.learn(x[i], int(y[i]))
    found = state.decode(net.module, made.state())
    assert max(apart(found.tensors[name], v) for name, v in judge.tensors().items()) <= TOLERANCE
    assert found.step == 5 and made.state() != first


def test_what_was_learnt_becomes_an_inference_file() -> None:
    """The weights come out of the step, and go into the next file."""
    net, source = _source("mono-forward", "conv")
    x, y = net.encode(DIGITS.x_train[:20]), DIGITS.y_train
    learner = Backend().open(Backend().artifacts(source)[1], source)
    learner.learn(x, y[:20])
    after = Source("t", net.module, learner.state(), "sim", SEED)
    classes, scores = Backend().open(Backend().artifacts(after)[0], after).infer(x)
    judge = Interpreter(net.module, SEED)
    state.restore(judge, after.state)
    assert classes.tolist() == [judge.infer(row) for row in x]
    meant: Any = np.stack([judge.scores(row) for row in x])  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert scores is not None and apart(scores, meant) <= TOLERANCE


def test_int8_training_is_a_declared_gap() -> None:
    _, source = _source("mono-forward", "dense", "int8")
    assert Backend().gap(source.module, "train") == NO_INT8_TRAINING


def test_each_file_does_its_own_entry() -> None:
    net, source = _source("mono-forward", "dense")
    infer, train = (Backend().open(a, source) for a in Backend().artifacts(source))
    x, y = net.encode(DIGITS.x_train[:1]), DIGITS.y_train[:1]
    with pytest.raises(ConfigError, match=r"t-infer-f32-micro\.tflite does not train\."):
        infer.learn(x, y)
    with pytest.raises(ConfigError, match=r"t-train-f32-micro\.tflite does not infer\."):
        train.infer(x)


def test_a_file_that_was_cut_off_is_refused() -> None:
    _, source = _source("mono-forward", "dense")
    artifact = Backend().artifacts(source)[0]
    bad = Artifact(artifact.file, artifact.raw[:-9], "infer", "f32", artifact.inputs, artifact.outputs)
    with pytest.raises(ConfigError, match=r"is cut off or was changed after it was written\."):
        Backend().open(bad, source)


def test_what_its_interpreter_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An op that it does not have, and a process that says nothing."""
    model = Model("odd")
    graph = model.graph("main")
    x = graph.input("x", "f32", (1, 4))
    graph.output(graph.op("POW", [x, x], "f32", (1, 4)), "out")
    artifact = Artifact("odd.tflite", model.bytes(), "infer", "f32", tuple(graph.inputs), tuple(graph.outputs))
    with pytest.raises(EdgeLearnError, match=r"TFLite Micro cannot run odd\.tflite: "):
        Micro(artifact)
    _, source = _source("mono-forward", "dense")
    monkeypatch.setattr(runner, "TIMEOUT_S", 0)
    with pytest.raises(EdgeLearnError, match="ended or took too long"):
        Backend().open(Backend().artifacts(source)[0], source)
