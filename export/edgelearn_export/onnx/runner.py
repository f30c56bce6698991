"""ONNX Runtime: trains and infers with the graphs of ``floats``, the state kept where the runtime computes.

A training step reads one set of state tensors and writes another; then they change places. Both are bound to the session once, so that
no weight crosses Python, and on a GPU none leaves the device. On a CPU both have the same tensor of a state that can be changed in place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state as states
from edgelearn.backends import Artifact, Source, demand
from edgelearn.errors import ConfigError, MissingToolError
from edgelearn.ir.core import Module, Op
from edgelearn.ir.interp import Interpreter
from edgelearn.state import Snapshot
from edgelearn_export.onnx import draws, floats
from edgelearn_export.onnx.floats_ops import draw_name

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
KEPT_BATCHES = 4  # sizes of a batch that stay bound: the usual one, an epoch's last, and one


def session(model: bytes, providers: Sequence[str] | None = None, threads: int = 1) -> Any:
    """A session of ONNX Runtime.

    Args:
        providers: of ``cpu``, ``cuda``, ``tensorrt``, best first; None: CUDA where the installed onnxruntime has it, else the CPU.

    Raises:
        MissingToolError: onnxruntime is not installed, or has no such provider.
        ConfigError: it cannot load the model.
    """
    demand("onnx", "onnxruntime")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    chosen = _chosen(ort, providers)
    try:
        return ort.InferenceSession(model, options, providers=chosen)
    except Exception as error:  # ONNX Runtime's own errors have no base class
        problem = f"ONNX Runtime {ort.__version__} cannot load the model: {str(error).splitlines()[0]}"
        raise ConfigError(problem, "Export it again; the file is damaged, or of another version.") from error


def opened(artifact: Artifact) -> Any:
    """The session of a file, which must have the inputs and outputs that it was written with.

    Raises:
        ConfigError: it is damaged, or another net's.
    """
    made = session(artifact.raw, ["cpu"])
    for found, meant in ((inputs_of(made), artifact.inputs), (made.get_outputs(), artifact.outputs)):
        if {(s.name, tuple(s.shape)) for s in found} != {(s.name, tuple(s.shape)) for s in meant}:
            problem = f"{artifact.file} has other inputs or outputs than it was written with."
            raise ConfigError(problem, "Export it again; it was edited, or is another net's.")
    return made


def inputs_of(made: Any) -> list[Any]:
    """All inputs of a session, those with a default too."""
    return [*made.get_inputs(), *made.get_overridable_initializers()]


def _chosen(ort: Any, providers: Sequence[str] | None) -> list[str]:
    """Names of ONNX Runtime; the CPU takes what the others cannot."""
    have = ort.get_available_providers()
    names = [PROVIDERS.get(name, name) for name in providers] if providers is not None else []
    if providers is None and PROVIDERS["cuda"] in have:
        names = [PROVIDERS["cuda"]]
    if missing := [name for name in names if name not in have]:
        hint = f"It has {', '.join(have)}. Install the onnxruntime that your device's maker gives, or leave --providers out."
        raise MissingToolError(f"The installed onnxruntime has no {missing[0]}.", hint)
    return list(dict.fromkeys([*names, PROVIDERS["cpu"]]))


class OnnxTrainer:
    """A net that learns and infers in ONNX Runtime, in floats.

    Args:
        state: the raw state region to start from, or tensors by name; None: what ``seed`` gives. A raw state brings its own step and seed.
        providers, threads: as ``session``'s.
        scale: factor of all rates. 1 takes the mean over a batch, the batch's size the sum.
        step: the session of a training graph, where there is one already.

    Raises:
        ConfigError: the module is of integers, or has an op without counterpart.
        MissingToolError: onnx or onnxruntime is not installed, or lacks a provider.
    """

    def __init__(
        self,
        module: Module,
        state: bytes | dict[str, NDArray[Any]] | None = None,
        seed: int = 0,
        providers: Sequence[str] | None = None,
        threads: int = 1,
        scale: float = 1.0,
        step: Any = None,
    ) -> None:
        demand("onnx", "onnx", "onnxruntime")
        if module.dtype != "f32":
            raise ConfigError(f"{module.name} is lowered to {module.dtype}; this trains floats.", "Use --dtype f32.")
        self.module, self.seed, self.step, self.scale = module, seed, 0, scale
        self._inputs = module.types(module.entry("infer"))["%x"].size
        self._classes, self._drops = module.integer("classes"), module.drops
        tensors = self._first(state)
        self._state = _Resident(module, tensors)
        self._how = providers, threads
        self._learn = step or session(floats.train_graph(module, self.seed)[0], providers, threads)
        self._state.move_to(self._learn)
        self._batches: dict[int, _Batch] = {}
        self._draws = {entry: draws.drawing(module, entry) for entry in ("infer", "learn")}

    @property
    def providers(self) -> list[str]:
        """What runs the graphs, best first, as ONNX Runtime calls it."""
        return list(self._learn.get_providers())

    def drops(self) -> int:
        """How often the rate has been halved by now."""
        return sum(self.step >= t for t in self._drops)

    def learn_batch(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.int64] | None:
        """One step on a batch, at the rate of its first sample; returns what the net said of each sample before it, if the rule says that.

        Args:
            x: (B, inputs) encoded samples. y: (B,) classes.

        Raises:
            ConfigError: samples and classes do not fit each other or the net.
        """
        x, y = self._samples(x), np.ascontiguousarray(y, np.int64).reshape(-1)
        _check(x, y, self._classes)
        given: dict[str, Any] = {"x": x, "y": y}
        if self._draws["learn"]:
            steps = np.arange(self.step, self.step + len(x))
            given |= _drawn(self._draws["learn"], self.seed, steps)
        guesses = self._batch(len(x)).run(given, self.scale * 2.0 ** -self.drops())
        self.step += len(x)
        return guesses

    def infer(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Classes of samples (N, inputs)."""
        return self.scores(x)[0]

    def scores(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
        """Classes of samples (N, inputs), and what argmax reads to find them, if it does."""
        x = self._samples(x)
        now = np.full(len(x), self.step)  # a board's step does not move either
        given = {"x": x, **_drawn(self._draws["infer"], self.seed, now)}
        io = self._infer.io_binding()
        for name, array in given.items():
            io.bind_cpu_input(name, array)
        self._state.bind_inputs(io, floats.read(self.module, "infer"))
        outputs = [output.name for output in self._infer.get_outputs()]
        for name in outputs:
            io.bind_output(name, "cpu")
        self._infer.run_with_iobinding(io)
        found = io.copy_outputs_to_cpu()
        return found[0], found[1] if len(found) > 1 else None

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the state."""
        return self._state.tensors()

    def load(self, tensors: dict[str, NDArray[Any]], step: int | None = None) -> None:
        """Takes over a state, such as ``tensors`` gave or a board has.

        Raises:
            ConfigError: it is no state of this module.
        """
        shapes = {s.name: s.type.shape for s in self.module.state}
        if {name: np.shape(t) for name, t in tensors.items()} != shapes:
            raise ConfigError(f"These tensors are no state of {self.module.name}.", f"It has {', '.join(shapes)}.")
        self._state.load(tensors)
        self.step = self.step if step is None else step

    def state(self) -> bytes:
        """The state region, as a board holds it."""
        return states.pack(self.module, Snapshot(dict(self.tensors()), {}, {}, self.step, self.seed))

    # --- inside -----------------------------------------------------------------------------------------------------------------------

    def _first(self, state: bytes | dict[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]]:
        if isinstance(state, bytes):
            found = states.decode(self.module, state)
            self.step, self.seed = found.step, found.seed
            return found.tensors
        if state is not None:
            return state
        return Interpreter(self.module, self.seed).tensors()

    @cached_property
    def _infer(self) -> Any:
        return session(floats.infer_graph(self.module, None, self.seed)[0], *self._how)

    def _samples(self, x: NDArray[Any]) -> NDArray[np.float32]:
        rows = np.ascontiguousarray(x, np.float32)
        if rows.ndim == 2 and rows.shape[1] == self._inputs:
            return rows
        if rows.ndim < 2 or math.prod(rows.shape[1:]) != self._inputs:
            problem = f"Samples of shape {rows.shape} do not fit the {self._inputs} inputs of {self.module.name}."
            raise ConfigError(problem, "Give samples as rows, (N, inputs).")
        return rows.reshape(-1, self._inputs)

    def _batch(self, size: int) -> _Batch:
        """What is bound for batches of ``size``; the sizes of long ago are forgotten."""
        if size not in self._batches:
            if len(self._batches) >= KEPT_BATCHES:
                del self._batches[next(iter(self._batches))]
            self._batches[size] = _Batch(self._learn, self._state, size)
        return self._batches[size]


def _drawn(ops: Sequence[Op], seed: int, steps: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """By input name: the numbers of every op that draws."""
    return {draw_name(int(op.number("id"))): draws.floats(op, seed, steps) for op in ops}


class _Resident:
    """Two sets of state tensors where the session computes: ``now`` says which is read; the other is written."""

    def __init__(self, module: Module, tensors: dict[str, NDArray[Any]]) -> None:
        self._changing, self._in_place = set(floats.learnt(module)), floats.in_place(module)
        self._first = {name: np.ascontiguousarray(t, np.float32) for name, t in tensors.items()}
        self.sets: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        self.now = 0

    def move_to(self, session: Any) -> None:
        import onnxruntime as ort

        self.device = device_of(session)
        for name, t in self._first.items():
            self.sets[0][name] = ort.OrtValue.ortvalue_from_numpy(t.copy(), *self.device)
            apart = name in self._changing and not (name in self._in_place and self.device[0] == "cpu")
            self.sets[1][name] = (
                ort.OrtValue.ortvalue_from_numpy(t.copy(), *self.device) if apart else self.sets[0][name]
            )
        self._first = {}

    def bind_inputs(self, io: Any, names: Sequence[str], which: int | None = None) -> None:
        for name in names:
            io.bind_ortvalue_input(floats.title(name), self.sets[self.now if which is None else which][name])

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        return {name: value.numpy().copy() for name, value in self.sets[self.now].items()}

    def load(self, tensors: dict[str, NDArray[Any]]) -> None:
        for name, t in tensors.items():
            self.sets[self.now][name].update_inplace(np.array(t, np.float32))


def device_of(session: Any) -> tuple[str, int]:
    """Where a session keeps its tensors: on a GPU if its first provider computes there."""
    first = session.get_providers()[0]
    return ("cuda", 0) if first in (PROVIDERS["cuda"], PROVIDERS["tensorrt"]) else ("cpu", 0)


class _Batch:
    """The training session bound for batches of one size: once for either set of state tensors as what is read."""

    def __init__(self, session: Any, state: _Resident, size: int) -> None:
        self._session, self._state = session, state
        placed = self._placed(session, size)
        self._factor = placed["rate"]
        self._given = [(name, value) for name, value in placed.items() if name != "rate"]
        self._guess: Any = None
        self._rate = 0.0
        self._bound = [self._binding(placed, which, size) for which in (0, 1)]

    def run(self, numbers: dict[str, NDArray[Any]], rate: float) -> NDArray[np.int64] | None:
        """Learns a batch, given by input name; the other set is the state then."""
        for name, value in self._given:
            value.update_inplace(numbers[name])
        if rate != self._rate:
            self._rate = rate
            self._factor.update_inplace(np.array(rate, np.float32))
        self._session.run_with_iobinding(self._bound[self._state.now])
        self._state.now ^= 1
        return None if self._guess is None else self._guess.numpy().copy()

    def _placed(self, session: Any, size: int) -> dict[str, Any]:
        """Room for what is given anew with every batch."""
        import onnxruntime as ort

        kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
        states = {floats.title(name) for name in self._state.sets[0]}
        return {
            s.name: ort.OrtValue.ortvalue_from_numpy(
                np.zeros([size if d == "B" else d for d in s.shape], kinds[s.type]), *self._state.device
            )
            for s in inputs_of(session)
            if s.name not in states
        }

    def _binding(self, placed: dict[str, Any], which: int, size: int) -> Any:
        import onnxruntime as ort

        io, sets = self._session.io_binding(), self._state.sets
        inputs = {s.name for s in inputs_of(self._session)}
        outputs = {s.name for s in self._session.get_outputs()}
        for name, value in placed.items():
            io.bind_ortvalue_input(name, value)
        self._state.bind_inputs(io, [name for name in sets[which] if floats.title(name) in inputs], which)
        for name, value in sets[1 - which].items():
            if floats.next_title(name) in outputs:
                io.bind_ortvalue_output(floats.next_title(name), value)
        if "class" in outputs:
            self._guess = self._guess or ort.OrtValue.ortvalue_from_numpy(np.zeros(size, np.int64))
            io.bind_ortvalue_output("class", self._guess)
        return io


class StepRunner:
    """The file of a training step, sample by sample. What it infers, it infers with a graph made here, of the state it has learnt."""

    def __init__(self, artifact: Artifact, source: Source) -> None:
        self._net = OnnxTrainer(source.module, source.state, source.seed, ["cpu"], step=opened(artifact))

    def infer(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
        return self._net.scores(x)

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        for row, label in zip(x, y, strict=True):
            self._net.learn_batch(row[None], np.array([label]))

    def state(self) -> bytes:
        return self._net.state()


class InferenceRunner:
    """The file of an inference graph, which has its weights in it."""

    def __init__(self, artifact: Artifact, source: Source) -> None:
        self._session = opened(artifact)
        self._source, self._file = source, artifact.file
        found = states.decode(source.module, source.state)
        self._seed, self._step = found.seed, found.step

    def infer(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
        rows, now = np.ascontiguousarray(x, np.float32), np.full(len(x), self._step)
        drawn = _drawn(draws.drawing(self._source.module, "infer"), self._seed, now)
        found = self._session.run(None, {"x": rows, **drawn})
        return found[0], found[1] if len(found) > 1 else None

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        raise ConfigError(f"{self._file} infers only.", "Open the file of the training step.")

    def state(self) -> bytes:
        return self._source.state


def _check(x: NDArray[Any], y: NDArray[np.int64], classes: int) -> None:
    if len(x) != len(y) or not len(x):
        hint = "Give at least one sample, and one class for each."
        raise ConfigError(f"There are {len(x)} samples and {len(y)} classes.", hint)
    labels = y.tolist()  # for a single one, numpy's minimum and maximum take as long as half a layer
    if not 0 <= min(labels) <= max(labels) < classes:
        hint = f"Use 0 to {classes - 1}."
        raise ConfigError(f"Classes go from {y.min()} to {y.max()}, but the net has {classes}.", hint)
