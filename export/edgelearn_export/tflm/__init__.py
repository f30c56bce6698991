"""The backend for TFLite Micro: a file for each entry, which its interpreter runs on a microcontroller."""

from __future__ import annotations

from dataclasses import dataclass

from edgelearn.backends import Artifact, EntryName, Runner, Source, demand
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module
from edgelearn_export.tflite import ENTRIES, EXTRA

NO_INT8_TRAINING = "TFLite Micro has no product of int8 and int8 that gives int32"


@dataclass(frozen=True)
class Backend:
    """Entry point ``tflm`` of ``edgelearn.backends``."""

    name: str = "tflm"
    portable: bool = True

    def gap(self, module: Module, entry: EntryName) -> str:
        """Why TFLite Micro cannot hold an entry of ``module``; empty if it can."""
        demand(*EXTRA)
        if module.dtype == "f32":
            from edgelearn_export.tflite import floats

            return floats.gap(module, entry)
        if entry != "infer":
            return NO_INT8_TRAINING
        from edgelearn_export.tflite import integers

        return integers.micro_gap(module)

    def artifacts(self, source: Source) -> tuple[Artifact, ...]:
        """``NAME-infer-DTYPE-micro.tflite`` and ``NAME-train-DTYPE-micro.tflite``.

        Raises:
            ConfigError: neither entry can be written.
            MissingToolError: ai-edge-litert, whose schema writes them, is not installed.
        """
        demand(*EXTRA)
        gaps = {entry: self.gap(source.module, entry) for entry in ENTRIES}
        if all(gaps.values()):
            raise ConfigError(f"TFLite Micro cannot hold this net: {gaps['infer']}.", "Export another format.")
        return tuple(_written(source, entry) for entry in ENTRIES if not gaps[entry])

    def open(self, artifact: Artifact, source: Source) -> Runner:
        """The file in TFLite Micro's interpreter for Python.

        Raises:
            ConfigError: it is damaged. MismatchError: it is another module's. MissingToolError: tflite-micro is not installed.
        """
        demand(*EXTRA)
        from edgelearn_export.tflm.runner import MicroRunner

        return MicroRunner(artifact, source)


def _written(source: Source, entry: EntryName) -> Artifact:
    from edgelearn_export.tflm import models

    dtype = source.module.dtype
    if dtype == "int8":
        from edgelearn_export.tflite import integers

        raw, inputs, outputs = integers.micro_infer_model(source)
    else:
        raw, inputs, outputs = (models.train_model if entry == "train" else models.infer_model)(source)
    return Artifact(f"{source.name}-{entry}-{dtype}-micro.tflite", raw, entry, dtype, inputs, outputs)
