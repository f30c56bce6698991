"""What a run notes of itself at a checkpoint: figures of its numbers, what has changed in each tensor, what each block says by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgelearn import changes, health, state
from edgelearn.job import Job, Stage
from edgelearn.probes import Probes
from edgelearn.runs import Checkpoint
from edgelearn.start import first_state
from edgelearn.state import Snapshot


class Watching:
    """The readings of one run, in order of its checkpoints.

    Args:
        every: steps between two checkpoints. newest: the checkpoint that the run goes on from. device: of torch, where the host learns.
    """

    def __init__(self, job: Job, every: int, newest: Checkpoint | None, device: str | None) -> None:
        self._job, self._probes = job, Probes(job, every, device)
        self._before = self._first() if newest is None else self._decoded(newest)

    def readings(self, stage: Stage, found: Snapshot, probed: bool) -> Iterator[tuple[str, float]]:
        """Names and values for the state ``found``. ``probed``: blocks are asked, too."""
        yield from health.measure(stage.module, found, stage.first).items()
        before = self._before if self._before.step < found.step else None
        yield from changes.measure(stage.module, before, found).items()
        self._before = found
        if probed:
            yield from self._probes.look(stage, found).items()

    @property
    def blocks(self) -> dict[str, Any]:
        """What the result of the run says of the blocks' own answers."""
        return self._probes.told

    def _first(self) -> Snapshot:
        job, module = self._job, self._job.stages[0].module
        return state.decode(module, first_state(module, job.recipe.train.seed, job.starts))

    def _decoded(self, newest: Checkpoint) -> Snapshot:
        return state.decode(self._job.stage_of(newest.step).module, newest.state)
