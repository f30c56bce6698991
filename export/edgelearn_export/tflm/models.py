"""Files for TFLite Micro: one per entry, since its interpreter runs the first subgraph and knows no signatures."""

from __future__ import annotations

from edgelearn import state
from edgelearn.backends import Source
from edgelearn_export.tflite import floats
from edgelearn_export.tflite.builder import Model
from edgelearn_export.tflite.floats import Built, plain


def infer_model(source: Source) -> Built:
    """One subgraph, the weights as constants: what LiteRT runs too."""
    return floats.infer_model(source)


def train_model(source: Source) -> Built:
    """A step and ``init``, the weights as resource variables. The weights that a step changes are its outputs too.

    So a caller can keep them, or write them into an inference file; the interpreter has no other way to them.
    """
    module, model = source.module, Model(f"{source.name}: training step")
    graph, init = model.graph("train"), model.graph("init")
    graph.call_once(init)
    floats.fill(init, source)
    seed = state.decode(module, source.state).seed
    lowering = floats.lower_train(graph, module, seed, floats.variables(module))
    for name in lowering.changed:
        graph.output(lowering.current[name], plain(name))
    floats.assign_changed(lowering)
    return model.bytes(), tuple(graph.inputs), tuple(graph.outputs)
