"""Files of floats in LiteRT: what they say of samples, and what they learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.backends import Artifact, Source, demand
from edgelearn.errors import ConfigError, MismatchError
from edgelearn_export.tflite import draws
from edgelearn_export.tflite.check import check
from edgelearn_export.tflite.floats import plain
from edgelearn_export.tflite.quiet import quiet

CHUNK = 64  # samples that are inferred at once


def interpreter(raw: bytes, resolver: str = "") -> Any:
    """LiteRT's interpreter of a file, on one thread.

    Args:
        resolver: ``BUILTIN``, ``BUILTIN_REF`` or, by default, ``AUTO``: the kernels that LiteRT chooses, XNNPACK's among them.

    Raises:
        MissingToolError: LiteRT is not installed.
    """
    demand("tflite", "ai_edge_litert")
    from ai_edge_litert import interpreter as litert

    kind = getattr(litert.OpResolverType, resolver or "AUTO")
    with quiet():
        made = litert.Interpreter(model_content=raw, num_threads=1, experimental_op_resolver_type=kind)
        made.allocate_tensors()  # else it would say so later
    return made


class FloatRunner:
    """A file of floats, an inference or a training file.

    Raises:
        ConfigError: the file is damaged. MismatchError: it does not belong to the source's module. MissingToolError: there is no LiteRT.
    """

    def __init__(self, artifact: Artifact, source: Source, resolver: str = "") -> None:
        check(artifact, source)
        self._module, self._file = source.module, artifact.file
        self._snapshot = state.decode(source.module, source.state)
        self._seed, self._step = self._snapshot.seed, self._snapshot.step
        self._interpreter = interpreter(artifact.raw, resolver)
        signatures = self._interpreter.get_signature_list()
        self._run = {key: self._interpreter.get_signature_runner(key) for key in signatures}
        if "save" in signatures and set(signatures["save"]["outputs"]) != {plain(s.name) for s in self._module.state}:
            raise MismatchError(f"{artifact.file} has not the weights of {source.name}.", "Export it again.")

    def infer(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
        found = [self._infer(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)]
        classes = np.concatenate([f["class"] for f in found]).astype(np.int64)
        return classes, np.concatenate([f["scores"] for f in found]) if "scores" in found[0] else None

    def _infer(self, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
        more = draws.drawn(self._module.entry("infer"), self._seed, self._step)
        return self._run["infer"](x=x.reshape(len(x), -1).astype(np.float32), **more)

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        for sample, label in zip(x, y, strict=True):
            self.step(sample, int(label))

    def step(self, x: NDArray[Any], y: int) -> int | None:
        """Learns one sample; returns what the network said before, if the rule computes that.

        Raises:
            ConfigError: it is an inference file.
        """
        self._needs("train")
        found = self._run["train"](
            x=x.reshape(1, -1).astype(np.float32),
            y=np.array([y], np.int32),
            rate=draws.rate(self._module, self._step),
            **draws.drawn(self._module.entry("learn"), self._seed, self._step),
        )
        self._step += 1
        return int(found["class"][0]) if "class" in found else None

    def state(self) -> bytes:
        if "save" not in self._run:
            return state.pack(self._module, self._snapshot)
        tensors = {f"@{name}": value for name, value in self._run["save"]().items()}
        return state.pack(self._module, replace(self._snapshot, tensors=tensors, step=self._step))

    def restore(self, raw: bytes) -> None:
        """Goes on with another state of the same module.

        Raises:
            ConfigError: it is an inference file. MismatchError: the state is another module's.
        """
        self._needs("restore")
        self._snapshot = state.decode(self._module, raw)
        self._seed, self._step = self._snapshot.seed, self._snapshot.step
        self._run["restore"](**{plain(name): np.ascontiguousarray(t) for name, t in self._snapshot.tensors.items()})

    def _needs(self, signature: str) -> None:
        if signature not in self._run:
            raise ConfigError(f"{self._file} does not learn.", "Open the training file.")
