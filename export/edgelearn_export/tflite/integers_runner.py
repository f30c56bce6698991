"""Runs the integer files in LiteRT. The step's random numbers and the schedule of rates and exponents come from here, as on a board."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn.backends import Artifact, Source
from edgelearn.errors import ConfigError
from edgelearn.ir import rng
from edgelearn.ir.interp import HALVE_EVERY, RESCALE_EVERY
from edgelearn.ir.ops import Draw
from edgelearn.state import Snapshot, decode, pack
from edgelearn_export.tflite.integers_chance import fed
from edgelearn_export.tflite.integers_training import EXPS, LARGEST_SEEN, SATURATED, halving_input
from edgelearn_export.tflite.runner import interpreter

RESOLVERS = {"xnnpack": "AUTO", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}


class IntegerRunner:
    """An integer file in LiteRT, with the kernels that it takes by itself (XNNPACK's where it has them) or with others."""

    def __init__(self, artifact: Artifact, source: Source, resolver: str = "xnnpack") -> None:
        self.module, self.entry = source.module, artifact.entry
        snapshot = decode(source.module, source.state)
        self.seed, self.step = snapshot.seed, snapshot.step
        self._first = source.state
        self._interpreter = _interpreter(artifact, resolver)
        self._call = {
            key: self._interpreter.get_signature_runner(key) for key in self._interpreter.get_signature_list()
        }
        self._fed = {
            name: fed(self.module, self.module.entry(entry)) for name, entry in (("infer", "infer"), ("train", "learn"))
        }

    def infer(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
        """Classes and exact scores of encoded samples."""
        chance = self._chance("infer") if self.entry != "infer" else {}
        found = [self._call["infer"](x=self._sample(one), **chance) for one in x]
        classes = np.array([one["class"][0] for one in found], np.int64)
        scores = np.array([one["scores"][0] for one in found]) if found and "scores" in found[0] else None
        return classes, scores

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        for one, label in zip(x, y, strict=True):
            self._call["train"](x=self._sample(one), y=np.array([label], np.int32), **self._chance("train"))
            self.step += 1
            self._rescale()

    def state(self) -> bytes:
        if "save" not in self._call:
            return self._first
        saved = self._call["save"]()
        tensors = {s.name: saved[s.name[1:]] for s in self.module.state}
        slots = [s.name for s in self.module.slots]
        exps = {name: int(e) for name, e in zip(slots, saved[EXPS], strict=True)}
        stats = {
            name: (int(a), int(b)) for name, a, b in zip(slots, saved[SATURATED], saved[LARGEST_SEEN], strict=True)
        }
        return pack(self.module, Snapshot(tensors, exps, stats, self.step, self.seed))

    def _sample(self, x: NDArray[Any]) -> NDArray[np.int8]:
        return np.asarray(x).astype(np.int8).reshape(1, -1)

    def _chance(self, signature: str) -> dict[str, NDArray[Any]]:
        """Only what the signature asks for: a rule without updates of a rate has no ``drops``."""
        at = Draw(self.seed, self.step, sum(self.step >= t for t in self.module.drops))
        wanted = self._call[signature].get_input_details()
        given = {name: one.values(at) for name, one in self._fed[signature].items() if name in wanted}
        return {**given, "drops": np.array([at.drops], np.int32)} if "drops" in wanted else given

    def _rescale(self) -> None:
        if self.step % RESCALE_EVERY == 0:
            self._call["move"]()
        if self.step % HALVE_EVERY == 0:
            sizes = enumerate(s.type.size for s in self.module.state)
            dithers = {
                halving_input(i): rng.dither(self.seed, self.step, i + rng.HALVE, 1, n).astype(np.int32)
                for i, n in sizes
            }
            self._call["halve"](**dithers)


def _interpreter(artifact: Artifact, resolver: str) -> Any:
    try:
        return interpreter(artifact.raw, RESOLVERS[resolver])
    except ValueError as error:
        raise ConfigError(f"LiteRT cannot read {artifact.file}: {error}.", "Export it again.") from error
