"""Files in TFLite Micro's interpreter, in a process of its own that may not take for ever."""

from __future__ import annotations

import select
import subprocess
import sys
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.backends import Artifact, Source, demand
from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.ir.types import NUMPY
from edgelearn_export.tflite import draws
from edgelearn_export.tflite.check import check
from edgelearn_export.tflm.wire import receive, send, words

TIMEOUT_S = 180  # for one run of an entry, on a machine that may be busy
EXTRA = ("tflm", "tflite_micro", "yaml")


class Micro:
    """One file in TFLite Micro.

    Raises:
        MissingToolError: it is not installed. ConfigError: it refuses the file.
    """

    def __init__(self, artifact: Artifact) -> None:
        demand(*EXTRA)
        self._file, self._artifact = artifact.file, artifact
        command = [sys.executable, "-m", "edgelearn_export.tflm.child"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        weakref.finalize(self, _end, self._process)
        self._ask({"model": np.frombuffer(artifact.raw, np.uint8), "outputs": np.array(len(artifact.outputs))})

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs by name.

        Raises:
            EdgeLearnError: it fails, ends, or takes too long.
        """
        found = self._ask({str(i): inputs[s.name] for i, s in enumerate(self._artifact.inputs)})
        return {s.name: found[str(i)].reshape(_sizes(s.shape)) for i, s in enumerate(self._artifact.outputs)}

    def _ask(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        to, answers = self._process.stdin, self._process.stdout
        assert to is not None and answers is not None
        try:
            send(to, arrays)
            answer = receive(answers) if _ready(answers) else None
        except BrokenPipeError:
            answer = None
        if answer is not None and "error" not in answer:
            return answer
        _end(self._process)
        why = "its interpreter ended or took too long" if answer is None else words(answer["error"])
        raise EdgeLearnError(f"TFLite Micro cannot run {self._file}: {why}.", "Please report it, with the file.")


def _ready(answers: IO[bytes]) -> bool:
    return bool(select.select([answers], [], [], TIMEOUT_S)[0])


def _sizes(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(1 if isinstance(n, str) else n for n in shape)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class MicroRunner:
    """An entry in TFLite Micro. An inference file says what it was written with; a step's outputs are the weights that it changed.

    Raises:
        ConfigError: the file is damaged. MismatchError: it does not belong to the source's module. MissingToolError: no TFLite Micro.
    """

    def __init__(self, artifact: Artifact, source: Source) -> None:
        check(artifact, source)
        self._module, self._artifact, self._source = source.module, artifact, source
        self._snapshot = state.decode(source.module, source.state)
        self._tensors = dict(self._snapshot.tensors)
        self._step = self._snapshot.step
        self._micro = Micro(artifact)

    def infer(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
        """
        Raises:
            ConfigError: it is a training file.
        """
        self._needs("infer")
        more = draws.drawn(self._module.entry("infer"), self._snapshot.seed, self._step)
        dtype = NUMPY[self._artifact.inputs[0].dtype]
        found = [self._micro.run({"x": row.reshape(1, -1).astype(dtype), **more}) for row in x]
        classes = np.concatenate([f["class"] for f in found]).astype(np.int64)
        return classes, np.concatenate([f["scores"] for f in found]) if found and "scores" in found[0] else None

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        for sample, label in zip(x, y, strict=True):
            self.step(sample, int(label))

    def step(self, x: NDArray[Any], y: int) -> int | None:
        """Learns one sample; returns what the network said before, if the rule computes that.

        Raises:
            ConfigError: it is an inference file.
        """
        self._needs("train")
        found = self._micro.run(
            {
                "x": x.reshape(1, -1).astype(np.float32),
                "y": np.array([y], np.int32),
                "rate": draws.rate(self._module, self._step),
                **draws.drawn(self._module.entry("learn"), self._snapshot.seed, self._step),
            }
        )
        guess = found.pop("class", None)
        self._tensors.update({f"@{name}": value for name, value in found.items()})
        self._step += 1
        return None if guess is None else int(guess[0])

    def state(self) -> bytes:
        return state.pack(self._module, replace(self._snapshot, tensors=self._tensors, step=self._step))

    def _needs(self, entry: str) -> None:
        if self._artifact.entry != entry:
            raise ConfigError(f"{self._artifact.file} does not {entry}.", f"Open the file for {entry}.")
