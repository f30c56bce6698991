"""Is a file the one that was written, and does it belong to the module that it is opened with?"""

from __future__ import annotations

from edgelearn.backends import Artifact, Source
from edgelearn.errors import ConfigError, MismatchError
from edgelearn_export.tflite.builder import is_whole


def check(artifact: Artifact, source: Source) -> None:
    """
    Raises:
        ConfigError: the file is damaged or was edited. MismatchError: it is another module's.
    """
    if not is_whole(artifact.raw):
        raise ConfigError(f"{artifact.file} is cut off or was changed after it was written.", "Export it again.")
    inputs = {s.name: s for s in artifact.inputs}
    n = source.module.entry("infer").params[0][1].size
    if "x" in inputs and inputs["x"].shape[-1] != n:
        raise MismatchError(
            f"{artifact.file} takes samples of {inputs['x'].shape[-1]} numbers, {source.name} has {n}.",
            "Export it again.",
        )
