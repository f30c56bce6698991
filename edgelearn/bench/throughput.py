"""How fast nets learn and infer on this computer, in exported form, beside PyTorch; and how long an export takes.

CPU time, one thread. All that is compared with each other takes turns, round after round, so that a busy moment meets everyone; the best
turn counts. Two runs of this bench may differ by a third on a shared machine: the ratios within one run are what it is for.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.backends import Artifact, Source, backend, backends, demand
from edgelearn.compiler import Compiled, Net, compile_net
from edgelearn.errors import EdgeLearnError
from edgelearn.host.native import NativeCore
from edgelearn.ir.interp import Interpreter
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find

NET = (784, 256, 256, 10)
BATCHES = (1, 32, 256)
SAMPLES = 512  # random ones: how long a step takes does not depend on what is learnt
RATE = 2.0**-6
ASKED = {1: 4.0, 32: 1.8, 256: 1.15}  # of our steps a second against PyTorch's backpropagation
INT8_ASKED, EXPORT_ASKED = 1.5, 3.0  # int8 inference against floats; seconds of an export
EXPORT_LIMIT = 120  # seconds, on a busy machine too
NOTE = (
    "CPU time of one thread, best turn; a call is a step with one batch, one inference, or one export. Ratio: training beside PyTorch's "
    "backpropagation, int8 inference beside f32, an export beside 3 s. Mono-Forward is without its gate, here and in PyTorch."
)
BACKPROP = "PyTorch, backpropagation"

Step = Callable[[int], None]  # runs that many times


@dataclass(frozen=True)
class Row:
    """``us`` is the CPU time of a call; ``ratio`` how many times as fast as ``against``, which was to be ``asked`` at least."""

    name: str
    batch: int | None
    us: float | None
    per_second: float | None
    against: str = ""
    ratio: float | None = None
    asked: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class How:
    """``rounds`` turns of each contender, each of about ``turn`` seconds."""

    rounds: int = 7
    turn: float = 0.25


OnPart = Callable[[int, int, str], None]  # (parts done, of how many, the one that begins)


def run(how: How, on_part: OnPart = lambda done, total, what: None) -> list[Row]:
    """All rows: training at each size of a batch, inference at a batch of one, an export."""
    parts = {"training": lambda: training(how), "inference": lambda: inference(how), "export": lambda: [export()]}
    rows: list[Row] = []
    for done, (name, part) in enumerate(parts.items()):
        on_part(done, len(parts), name)
        rows += part()
    return rows


def compiled(dtype: str) -> Compiled:
    """Mono-Forward on the net, calibrated on the random samples."""
    x, y = samples()
    return compile_net(
        find("mono-forward", {"gate": 0.0, "lr": RATE}), Net(NET[0], NET[1:-1], NET[-1]), Calibration(x, y), dtype
    )


def samples() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    draw = np.random.default_rng(0)
    return draw.random((SAMPLES, NET[0]), np.float32), draw.integers(0, NET[-1], SAMPLES)


# --- the race -------------------------------------------------------------------------------------------------------------------------


def race(contenders: dict[str, Step], how: How) -> dict[str, float]:
    """Seconds of CPU time of one call of each."""
    counts = {name: _count(step, how.turn) for name, step in contenders.items()}
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(how.rounds):
        for name, step in contenders.items():
            best[name] = min(best[name], _seconds(step, counts[name]) / counts[name])
    return best


def _count(step: Step, turn: float) -> int:
    """Calls that fill a turn, found by doubling; they are the warm-up, too."""
    n = 1
    while (spent := _seconds(step, n)) < turn / 4:
        n *= 2
    return max(1, round(n * turn / spent))


def _seconds(step: Step, n: int) -> float:
    started = time.process_time()
    step(n)
    return time.process_time() - started


def _of_batches(learn: Callable[[Any, Any], Any], x: NDArray[Any], y: NDArray[Any], batch: int) -> Step:
    """Calls with one batch after another."""
    parts = [(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x) - batch + 1, batch)]

    def step(n: int) -> None:
        for i in range(n):
            learn(*parts[i % len(parts)])

    return step


# --- training -------------------------------------------------------------------------------------------------------------------------


def training(how: How) -> Iterator[Row]:
    net, (x, y) = compiled("f32"), samples()
    learners: dict[str, Callable[[Any, Any], Any] | EdgeLearnError] = {
        "edgelearn, ONNX Runtime": _or_reason(lambda: backend("onnx").trainer(net.module).learn_batch),
        BACKPROP: _or_reason(_torch_backprop),
        "PyTorch, Mono-Forward": _or_reason(_torch_mono_forward),
    }
    for name, learn in learners.items():
        if isinstance(learn, EdgeLearnError):
            yield _missing(name, learn)
    able = {name: learn for name, learn in learners.items() if not isinstance(learn, EdgeLearnError)}
    for batch in BATCHES:
        steps = {name: _of_batches(learn, x, y, batch) for name, learn in able.items()}
        if batch == 1:
            steps["edgelearn, C core"] = _core(net, x, y)
        yield from _compared(race(steps, how), batch)


def _compared(seconds: dict[str, float], batch: int) -> Iterator[Row]:
    for name, spent in seconds.items():
        ratio = seconds[BACKPROP] / spent if BACKPROP in seconds and name != BACKPROP else None
        asked = ASKED[batch] if name == "edgelearn, ONNX Runtime" and ratio is not None else None
        yield Row(name, batch, 1e6 * spent, 1 / spent, BACKPROP if ratio is not None else "", ratio, asked)


def _or_reason(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except EdgeLearnError as error:
        return error


def _missing(name: str, error: EdgeLearnError) -> Row:
    return Row(name, None, None, None, reason=f"{error.message} {error.hint}")


def _core(net: Compiled, x: NDArray[Any], y: NDArray[Any]) -> Step:
    """The C core learns sample by sample; the loop is in C."""
    plan = backend("plan").export(net.module, "")
    core = NativeCore(plan, net.module.integer("state_bytes"), net.module.integer("arena_bytes"))
    rows = net.encode(x)

    def step(n: int) -> None:
        core.learn(rows, y, np.arange(n) % len(rows))

    return step


def _torch() -> Any:
    from edgelearn.host.torch_lib import torch

    torch.set_num_threads(1)
    return torch


def _torch_backprop() -> Callable[[Any, Any], None]:
    """As PyTorch's own tutorials write it: layers, autograd, plain SGD. Its foreach and fused forms were no faster here."""
    torch = _torch()
    sizes = list(pairwise(NET))
    layers = [part for i, o in sizes for part in (torch.nn.Linear(i, o), torch.nn.ReLU())][:-1]
    net, loss = torch.nn.Sequential(*layers), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)

    def learn(x: NDArray[Any], y: NDArray[Any]) -> None:
        optimizer.zero_grad()
        loss(net(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimizer.step()

    return learn


def _torch_mono_forward() -> Callable[[Any, Any], None]:
    """The same rule as ours by hand, without autograd, weights changed in place."""
    torch = _torch()
    blocks = [
        (torch.randn(o, i) / i**0.5, torch.zeros(o), torch.randn(NET[-1], o) / o**0.5) for i, o in pairwise(NET[:-1])
    ]

    def learn(x: NDArray[Any], y: NDArray[Any]) -> None:
        with torch.no_grad():
            a, labels = torch.from_numpy(x), torch.from_numpy(y)
            rows = torch.arange(len(y))
            for W, b, M in blocks:
                seen, a = a, torch.addmm(b, a, W.t()).relu_()
                e = (a @ M.t()).softmax(1)
                e[rows, labels] -= 1
                e *= RATE / len(y)
                d = (e @ M).mul_(a > 0)
                M.addmm_(e.t(), a, alpha=-1)
                W.addmm_(d.t(), seen, alpha=-1)
                b -= d.sum(0)

    return learn


# --- inference ------------------------------------------------------------------------------------------------------------------------


def inference(how: How) -> Iterator[Row]:
    """One sample in the runtimes themselves: input and output lie where they want them."""
    open_in = {"onnx": ("ONNX Runtime", _onnx_call), "tflite": ("LiteRT", _tflite_call)}
    steps: dict[str, Step] = {}
    for form, (runtime, call) in open_in.items():
        for dtype in ("f32", "int8"):
            name = f"inference, {runtime}, {dtype}"
            made = _or_reason(lambda form=form, dtype=dtype, call=call: call(_infer_file(form, dtype)))
            if isinstance(made, EdgeLearnError):
                yield _missing(name, made)
            else:
                steps[name] = made
    seconds = race(steps, how)
    for name, spent in seconds.items():
        floats = name.replace("int8", "f32")
        compared = name != floats and floats in seconds
        ratio, asked = (seconds[floats] / spent, INT8_ASKED) if compared else (None, None)
        yield Row(name, 1, 1e6 * spent, 1 / spent, floats if compared else "", ratio, asked)


def _infer_file(form: str, dtype: str) -> Artifact:
    demand(form, {"onnx": "onnxruntime", "tflite": "ai_edge_litert"}[form])
    net = compiled(dtype)
    source = Source("net", net.module, state.encode(Interpreter(net.module)))
    return next(a for a in backend(form).artifacts(source) if a.entry == "infer" and a.runs)


def _onnx_call(file: Artifact) -> Step:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(file.raw, options, providers=["CPUExecutionProvider"])
    io, x = session.io_binding(), np.ones((1, NET[0]), np.int8 if file.dtype == "int8" else np.float32)
    io.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
    for output, found in zip(session.get_outputs(), session.run(None, {"x": x}), strict=True):
        io.bind_ortvalue_output(output.name, ort.OrtValue.ortvalue_from_numpy(np.asarray(found)))

    def step(n: int) -> None:
        for _ in range(n):
            session.run_with_iobinding(io)

    return step


def _tflite_call(file: Artifact) -> Step:
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    model = LiteRT(model_content=file.raw, num_threads=1)
    model.allocate_tensors()

    def step(n: int) -> None:
        for _ in range(n):
            model.invoke()

    return step


# --- export ---------------------------------------------------------------------------------------------------------------------------


def export(recipe: str = "digits") -> Row:
    """A whole process that writes ``recipe`` in every format that is installed: CPU time of it and its children."""
    formats = ",".join(sorted(backends()))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "edgelearn.cli", "export", recipe, "--format", formats, "-o", folder]
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                timeout=EXPORT_LIMIT,
            )
        except subprocess.TimeoutExpired:
            return Row(f"export of {recipe}: {formats}", None, None, None, reason=f"it took over {EXPORT_LIMIT} s")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    name = f"export of {recipe}: {formats}"
    if done.returncode:
        return Row(
            name, None, None, None, reason=" ".join(done.stderr.split()) or f"failed with exit {done.returncode}"
        )
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Row(name, None, 1e6 * spent, 1 / spent, f"{EXPORT_ASKED:g} s", EXPORT_ASKED / spent, 1.0)
