"""Integer graphs in ONNX Runtime: one that infers, and one that learns as the device does, sample by sample."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.backends import Artifact, Source, demand
from edgelearn.ir import rng
from edgelearn.ir.core import Module, Op
from edgelearn.ir.ops import OPS
from edgelearn_export.onnx import integers_draws as draws
from edgelearn_export.onnx.graph import Graph
from edgelearn_export.onnx.integers import MAX_COUNT, infer_graph, state_name
from edgelearn_export.onnx.integers_rescale import due, rescale_graph

Array = NDArray[Any]


def session(raw: bytes, threads: int = 1, slow: bool | None = None) -> Any:
    """A graph in ONNX Runtime, on the processor.

    Args:
        slow: makes weights uint8, whose products never saturate; None: where those with int8 do (x86 without VNNI).

    Raises:
        MissingToolError: the extra ``onnx`` is not installed.
    """
    demand("onnx", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    if saturates() if slow is None else slow:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])


@cache
def saturates() -> bool:
    """Does this machine's product of uint8 and int8 lose the upper bits of its sums of two products?"""
    graph, size = Graph("saturates"), 64
    x = graph.input("x", "u8", (1, size))
    weights = graph.constant(np.full((size, 1), 127, np.int8))
    graph.output(graph.node("MatMulInteger", x, weights), "y", "i32", (1, 1))
    found = session(graph.model(), slow=False).run(None, {"x": np.full((1, size), 255, np.uint8)})[0]
    return int(found[0, 0]) != 255 * 127 * size


def open(artifact: Artifact, source: Source) -> Any:  # noqa: A001 (what a backend calls it)
    """The runner of an int8 artifact."""
    if artifact.entry == "rescale":
        return Rescaler(artifact.raw, source.module)
    return IntegerInference(artifact.raw, source) if artifact.entry == "infer" else IntegerTrainer(artifact.raw, source)


class IntegerInference:
    """Inference with the weights that the file holds; it does not learn."""

    def __init__(self, raw: bytes, source: Source) -> None:
        self._session = session(raw)
        self._state = source.state

    def infer(self, x: Array) -> tuple[NDArray[np.int64], Array | None]:
        found = run(self._session, {"x": _rows(x)})
        return found["class"], found.get("scores")

    def learn(self, x: Array, y: Array) -> None:
        raise TypeError("A graph of inference does not learn.")

    def state(self) -> bytes:
        return self._state


class IntegerTrainer:
    """The training step and what is done between steps; state and counters are kept here, chance is made from the seed."""

    def __init__(self, raw: bytes, source: Source) -> None:
        self.module, self._source = source.module, source
        snapshot = state.decode(source.module, source.state)
        self.seed, self.step = snapshot.seed, snapshot.step
        self.tensors, self.exps, self.stats = unpacked(self.module, snapshot)
        self._train = session(raw)
        self._rescale = Rescaler(rescale_graph(source)[0], self.module)
        self._updates = [op for op in self.module.entry("learn").ops if OPS[op.name].update]
        self._draws = [op for op in self.module.entry("learn").ops if op.name in ("noise", "sample")]

    def infer(self, x: Array) -> tuple[NDArray[np.int64], Array | None]:
        """With the weights as they are now: a graph of inference is written from them."""
        now = Source(self._source.name, self.module, self.state(), self._source.board, self.seed)
        return IntegerInference(infer_graph(now)[0], now).infer(x)

    def learn(self, x: Array, y: Array) -> None:
        for row, label in zip(_rows(x), np.asarray(y).reshape(-1), strict=True):
            self.keep(run(self._train, self.inputs(row, int(label))))

    def state(self) -> bytes:
        return packed(self.module, self.tensors, self.exps, self.stats, self.step, self.seed)

    def inputs(self, x: Array, label: int) -> dict[str, Array]:
        """What the graph of the training step is given for its next sample."""
        drops = sum(self.step >= t for t in self.module.drops)
        given: dict[str, Array] = {
            "x": x.reshape(1, -1),
            "y": np.array([label]),
            "drops": np.array(drops),
            "exps": self.exps,
        }
        given.update((f"dither{int(op.number('id'))}", self._dither(op)) for op in self._updates)
        given.update((f"draw{int(op.number('id'))}", draws.drawn(op, self.seed, self.step)) for op in self._draws)
        return {**given, **self.tensors}

    def keep(self, found: dict[str, Array]) -> None:
        """Takes over what the graph of the training step gave."""
        self._take(found)
        if "stats" in found:
            seen, most = found["stats"].T
            self.stats = np.stack(
                [np.minimum(self.stats[:, 0] + seen, MAX_COUNT), np.maximum(self.stats[:, 1], most)], axis=1
            )
        self.step += 1
        if due(self.step):
            self._between()

    def _between(self) -> None:
        found = self._rescale.run(self.seed, self.step, self.exps, self.stats, self.tensors)
        self._take(found)
        self.stats = found["stats.next"]

    def _take(self, found: dict[str, Array]) -> None:
        self.tensors = {name: found[f"{name}.next"] for name in self.tensors}
        self.exps = found.get("exps.next", self.exps)

    def _dither(self, op: Op) -> Array:
        shape = self.tensors[state_name(op.args[0])].shape
        return dither(op, shape, self.seed, self.step)


class Rescaler:
    """The graph of what is done between steps."""

    def __init__(self, raw: bytes, module: Module) -> None:
        self.module, self._session = module, session(raw)

    def run(self, seed: int, step: int, exps: Array, stats: Array, tensors: dict[str, Array]) -> dict[str, Array]:
        """The graph's outputs, after ``step`` steps."""
        bits = {f"halve{i}": halving(self.module, seed, step, i) for i in range(len(self.module.state))}
        return run(self._session, {"step": np.array(step), "exps": exps, "stats": stats, **bits, **tensors})

    def rescale(self, raw: bytes) -> bytes:
        """The state region as a device has it after what it does between this step and the next."""
        now = state.decode(self.module, raw)
        tensors, exps, stats = unpacked(self.module, now)
        found = self.run(now.seed, now.step, exps, stats, tensors)
        after = {name: found[f"{name}.next"] for name in tensors}
        return packed(self.module, after, found["exps.next"], found["stats.next"], now.step, now.seed)


def unpacked(module: Module, now: state.Snapshot) -> tuple[dict[str, Array], Array, Array]:
    """A state as the graphs take it: tensors, ``exps`` and ``stats``."""
    names = [s.name for s in module.slots]
    exps = np.array([now.exps[s] for s in names], np.int64)
    stats = np.array([now.stats[s] for s in names], np.int64).reshape(-1, 2)
    return {state_name(s.name): now.tensors[s.name] for s in module.state}, exps, stats


def packed(module: Module, tensors: dict[str, Array], exps: Array, stats: Array, step: int, seed: int) -> bytes:
    """What ``unpacked`` gave, as a board holds it."""
    names = [s.name for s in module.slots]
    kept = {s.name: tensors[state_name(s.name)] for s in module.state}
    pairs = {name: (int(seen), int(most)) for name, (seen, most) in zip(names, stats, strict=True)}
    return state.pack(module, state.Snapshot(kept, dict(zip(names, map(int, exps), strict=True)), pairs, step, seed))


def run(made: Any, given: dict[str, Array]) -> dict[str, Array]:
    """The outputs of a session by name; inputs that it has not are left out."""
    wanted = {i.name for i in (*made.get_inputs(), *made.get_overridable_initializers())}
    found = made.run(None, {name: value for name, value in given.items() if name in wanted})
    return dict(zip([o.name for o in made.get_outputs()], found, strict=True))


def dither(op: Op, shape: tuple[int, ...], seed: int, step: int) -> NDArray[np.int32]:
    """``dither<id>`` of an update of a state of ``shape`` at a step."""
    size = int(np.prod(shape))
    rows = size if len(shape) == 1 and op.name.startswith("vec") else shape[0] if len(shape) in (2, 4) else 1
    if op.name == "decay_update":
        rows = 1
    return rng.dither(seed, step, int(op.number("id")), rows, size // rows).reshape(shape).astype(np.int32)


def halving(module: Module, seed: int, step: int, number: int) -> NDArray[np.int32]:
    """``halve<number>`` of a state after ``step`` steps."""
    shape = module.state[number].type.shape
    return rng.dither(seed, step, number + rng.HALVE, 1, int(np.prod(shape))).reshape(shape).astype(np.int32)


def _rows(x: Array) -> NDArray[np.int8]:
    return np.ascontiguousarray(x, np.int8).reshape(len(x), -1)
