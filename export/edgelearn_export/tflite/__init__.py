"""The TFLite backend: files for LiteRT, with and without training. No TensorFlow is needed to write or to run them."""

from __future__ import annotations

from dataclasses import dataclass

from edgelearn.backends import Artifact, EntryName, Runner, Source, demand
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module

EXTRA = ("tflite", "ai_edge_litert", "flatbuffers")
ENTRIES: tuple[EntryName, ...] = ("infer", "train")


@dataclass(frozen=True)
class Backend:
    """Entry point ``tflite`` of ``edgelearn.backends``."""

    name: str = "tflite"
    portable: bool = True

    def gap(self, module: Module, entry: EntryName) -> str:
        """Why TFLite cannot hold an entry of ``module``; empty if it can."""
        demand(*EXTRA)
        if module.dtype == "f32":
            from edgelearn_export.tflite import floats

            return floats.gap(module, entry)
        from edgelearn_export.tflite import integers

        wanted = ENTRIES if entry == "all" else (entry,)
        return next((why for e in wanted if (why := integers.gap(module, e))), "")

    def artifacts(self, source: Source) -> tuple[Artifact, ...]:
        """``NAME-infer-DTYPE.tflite`` and ``NAME-train-DTYPE.tflite``.

        Raises:
            ConfigError: an op has no counterpart in either of them.
            MissingToolError: ai-edge-litert is not installed.
        """
        demand(*EXTRA)
        gaps = {entry: self.gap(source.module, entry) for entry in ENTRIES}
        if all(gaps.values()):
            raise ConfigError(f"TFLite cannot hold this net: {gaps['infer']}.", "Export another format.")
        return tuple(_written(source, entry) for entry in ENTRIES if not gaps[entry])

    def open(self, artifact: Artifact, source: Source) -> Runner:
        """The file in LiteRT.

        Raises:
            ConfigError: it is damaged. MismatchError: it is another module's. MissingToolError: LiteRT is not installed.
        """
        demand(*EXTRA)
        if artifact.dtype == "f32":
            from edgelearn_export.tflite.runner import FloatRunner

            return FloatRunner(artifact, source)
        from edgelearn_export.tflite.check import check
        from edgelearn_export.tflite.integers_runner import IntegerRunner

        check(artifact, source)
        return IntegerRunner(artifact, source)


def _written(source: Source, entry: EntryName) -> Artifact:
    dtype = source.module.dtype
    if dtype == "f32":
        from edgelearn_export.tflite import floats as writer
    else:
        from edgelearn_export.tflite import integers as writer
    write = writer.train_model if entry == "train" else writer.infer_model
    raw, inputs, outputs = write(source)
    return Artifact(f"{source.name}-{entry}-{dtype}.tflite", raw, entry, dtype, inputs, outputs)
