"""The backend ``onnx``: inference and the training step as ONNX graphs, in floats and in integers, and ONNX Runtime to run them.

``graph`` builds a graph. Floats: ``floats`` walks over an entry; ``floats_ops``, ``floats_maps`` and ``floats_updates`` write its ops,
``floats_values`` keeps its values, ``runner`` trains with the result. Integers: ``integers``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgelearn.backends import Artifact, EntryName, Runner, Source, demand
from edgelearn.errors import ConfigError
from edgelearn.ir.core import Module

if TYPE_CHECKING:
    from edgelearn_export.onnx.runner import OnnxTrainer

ENTRIES: tuple[EntryName, ...] = ("infer", "train")


@dataclass(frozen=True)
class Backend:
    """Entry point ``onnx`` of ``edgelearn.backends``."""

    name: str = "onnx"
    portable: bool = True

    def gap(self, module: Module, entry: EntryName) -> str:
        return _graphs(module).gap(module, entry)

    def artifacts(self, source: Source) -> tuple[Artifact, ...]:
        graphs = _graphs(source.module)
        if source.module.dtype != "f32":
            return tuple(graphs.artifacts(source))
        return tuple(_of_floats(source, entry) for entry in ENTRIES if not graphs.gap(source.module, entry))

    def open(self, artifact: Artifact, source: Source) -> Runner:
        if not artifact.runs:
            raise ConfigError(f"{artifact.file} cannot be run.", "Open the file of inference or of the training step.")
        demand("onnx", "onnx", "onnxruntime")
        if source.module.dtype != "f32":
            from edgelearn_export.onnx import integers_runner

            return integers_runner.open(artifact, source)
        from edgelearn_export.onnx.runner import InferenceRunner, StepRunner

        return InferenceRunner(artifact, source) if artifact.entry == "infer" else StepRunner(artifact, source)

    def trainer(
        self,
        module: Module,
        state: bytes | dict[str, Any] | None = None,
        seed: int = 0,
        providers: Sequence[str] | None = None,
        threads: int = 1,
    ) -> OnnxTrainer:
        """A net of floats that learns in ONNX Runtime: see ``OnnxTrainer``."""
        demand("onnx", "onnx", "onnxruntime")
        from edgelearn_export.onnx.runner import OnnxTrainer

        return OnnxTrainer(module, state, seed, providers, threads)


def _graphs(module: Module) -> Any:
    """What writes the graphs of a module of its numbers."""
    demand("onnx", "onnx")
    if module.dtype == "f32":
        from edgelearn_export.onnx import floats

        return floats
    from edgelearn_export.onnx import integers

    return integers


def _of_floats(source: Source, entry: EntryName) -> Artifact:
    """Both files have the state in them; fixed random matrices follow from the seed that it was begun with."""
    from edgelearn import state
    from edgelearn_export.onnx import floats

    module, found = source.module, state.decode(source.module, source.state)
    if entry == "infer":
        raw, inputs, outputs = floats.infer_graph(module, found.tensors, found.seed)
    else:
        raw, inputs, outputs = floats.train_graph(module, found.seed, found.tensors)
    return Artifact(f"{source.name}-{entry}-f32.onnx", raw, entry, "f32", inputs, outputs)
