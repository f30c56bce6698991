"""What learns in an agent: the C core in this process, or ONNX Runtime for plans in floats, which need not be installed.

Integers always go to the C core: they are then the same, bit for bit, as on every other board.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from edgelearn import state
from edgelearn.backends import backend
from edgelearn.errors import DoesNotFitError, EdgeLearnError, MissingToolError, UsageError
from edgelearn.host.native import NativeCore, verify_plan
from edgelearn.ir.core import Module
from edgelearn.ir.interp import Interpreter
from edgelearn.link.messages import NO_LABEL

CORE = "none"  # of --providers: the C core for floats too
PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_BY_ITSELF = (
    "cuda",
    "cpu",
)  # TensorRT builds an engine for every net, which takes longer than a host waits for an answer
_U32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Shape:
    """What the link needs to know of a plan, in bytes but for the classes."""

    state_bytes: int
    arena_bytes: int
    input_bytes: int
    classes: int

    @classmethod
    def of(cls, module: Module) -> Shape:
        x = dict(module.entry("infer").params)["%x"]
        sizes = (module.integer("state_bytes"), module.integer("arena_bytes"), x.nbytes)
        return cls(*sizes, module.integer("classes"))


class Engine(Protocol):
    """A plan with its state. ``name`` is what runs it, for people."""

    name: str
    seed: int

    @property
    def step(self) -> int: ...

    def init(self, seed: int) -> None:
        """The state that the seed gives, the same as on every board; step 0."""
        ...

    def learn(self, x: bytes, label: int) -> int:
        """Learns one sample; returns what the network said before, or NO_LABEL."""
        ...

    def infer(self, x: bytes) -> int: ...

    def read(self) -> bytes:
        """The raw state region."""
        ...

    def write(self, raw: bytes) -> None: ...

    def memory(self) -> tuple[int, int] | None:
        """Bytes of state and arena that were ever written, found by scanning; None: nobody can tell."""
        ...


class CoreEngine:
    """The C runtime, in this process."""

    name = "C core"

    def __init__(self, plan: bytes, shape: Shape) -> None:
        self._plan, self._shape = plan, shape
        self.init(0)

    def init(self, seed: int) -> None:
        self._core = NativeCore(self._plan, self._shape.state_bytes, self._shape.arena_bytes, seed)
        self.step, self.seed = 0, seed

    def learn(self, x: bytes, label: int) -> int:
        guess = self._core.learn_one(x, label)
        self.step = (self.step + 1) & _U32
        return guess

    def infer(self, x: bytes) -> int:
        return self._core.infer_one(x)

    def read(self) -> bytes:
        return self._core.read_state()

    def write(self, raw: bytes) -> None:
        self._core.write_state(raw)
        self.step, self.seed = self._core.position()

    def memory(self) -> tuple[int, int] | None:
        return self._core.touched()


class OnnxEngine:
    """ONNX Runtime on a plan in floats; the weights stay where it computes."""

    def __init__(self, module: Module, trainer: Any, providers: Sequence[str], threads: int) -> None:
        self._module, self._start = module, trainer
        self._providers, self._threads = providers, threads
        ops = (op for entry in module.entries for op in entry.ops)
        self._of_seed = any(op.name == "signs" for op in ops)  # such a matrix is a part of the graph
        self._trainer: Any = None
        self.init(0)

    def init(self, seed: int) -> None:
        self._load(state.encode(Interpreter(self._module, seed)), seed)

    def _load(self, raw: bytes, seed: int) -> None:
        self.seed = seed
        if self._trainer is not None and not self._of_seed:
            found = state.decode(self._module, raw)
            self._trainer.load(found.tensors, found.step)
            self._trainer.seed = seed
            return
        self._trainer = self._start(self._module, raw, seed, providers=self._providers, threads=self._threads)
        self.name = f"ONNX Runtime, {', '.join(self._trainer.providers)}"

    @property
    def step(self) -> int:
        return int(self._trainer.step) & _U32

    def _sample(self, x: bytes) -> Any:
        return np.frombuffer(x, "<f4").astype(np.float32)[None]

    def learn(self, x: bytes, label: int) -> int:
        guess = self._trainer.learn_batch(self._sample(x), np.array([label], np.int64))
        return NO_LABEL if guess is None else int(np.asarray(guess).reshape(-1)[0])

    def infer(self, x: bytes) -> int:
        return int(np.asarray(self._trainer.infer(self._sample(x))).reshape(-1)[0])

    def read(self) -> bytes:
        return self._trainer.state()

    def write(self, raw: bytes) -> None:
        self._load(raw, state.decode(self._module, raw).seed)

    def memory(self) -> tuple[int, int] | None:
        return None


class Engines:
    """Makes the engine for a plan.

    Args:
        providers: of ONNX Runtime, by our names, the first that can is used; ``("none",)``: the C core for floats too; empty: the best
            that is installed, and the C core where nothing is.
        threads: of ONNX Runtime.

    Raises:
        UsageError, MissingToolError: what was named does not exist, or is not installed.
    """

    def __init__(self, providers: Sequence[str] = (), threads: int = 1) -> None:
        self.threads = threads
        self.demanded = bool(providers)
        self.providers = tuple(providers) if providers else _best()
        self.why = ""  # the C core runs a plan in floats, in words
        if providers and providers != (CORE,):
            _demand(providers)

    def warm(self) -> None:
        """Loads the libraries now, not while a host waits for its first answer."""
        verify_plan(b"")
        if self.providers != (CORE,):
            for name in ("onnx", "onnxruntime"):
                import_module(name)

    def make(self, plan: bytes, room: int) -> tuple[Engine, Shape]:
        """The engine for a plan that the C verifier has accepted; it may take ``room`` bytes, itself, its state and its arena.

        Raises:
            DoesNotFitError: it takes more.
            ConfigError, VersionError: it cannot be read.
        """
        self.why = ""
        module = backend("plan").decode(plan)
        shape = Shape.of(module)
        if _up(len(plan)) + _up(shape.state_bytes) + shape.arena_bytes > room:
            raise DoesNotFitError("The plan needs more memory than this board has.", "Use narrower layers.")
        if module.dtype == "f32" and self.providers != (CORE,):
            try:
                return OnnxEngine(module, backend("onnx").trainer, self.providers, self.threads), shape
            except Exception as error:  # noqa: BLE001 (whatever it is: it came of bytes from the line, and the C core can run them)
                self.why = error.message if isinstance(error, EdgeLearnError) else f"{type(error).__name__}: {error}"
        return CoreEngine(plan, shape), shape


def _up(n: int) -> int:
    """To the next multiple of 8, as the C core lays its memory out."""
    return -(-n // 8) * 8


def _installed() -> list[str]:
    """The providers that the installed ONNX Runtime was built with, by our names."""
    if find_spec("onnxruntime") is None or find_spec("onnx") is None:
        return []
    import onnxruntime

    have = onnxruntime.get_available_providers()
    return [name for name, full in PROVIDERS.items() if full in have]


def _best() -> tuple[str, ...]:
    have = _installed()
    return tuple(name for name in _BY_ITSELF if name in have) or (CORE,)


def _demand(names: Sequence[str]) -> None:
    known = [*PROVIDERS, CORE]
    for name in names:
        if name not in known or (name == CORE and len(names) > 1):
            raise UsageError(f"--providers: '{','.join(names)}' are no providers.", f"Name some of {', '.join(known)}.")
    have = _installed()
    if missing := [name for name in names if name not in have]:
        problem = f"The installed ONNX Runtime has no {missing[0]} (it has: {', '.join(have) or 'nothing'})."
        raise MissingToolError(problem, "Install one that has: onnxruntime, onnxruntime-gpu, or NVIDIA's for Jetson.")


class Watch:
    """Seconds that were spent learning."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
