"""A board that is watched while it learns: a ``Device`` around a device, that takes down what passes.

What only the board knows is asked at checkpoints, when nothing else is on the line; so watching costs one request at each of them, and
changes no byte of what is learnt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from edgelearn.device import Device, Link, Told
from edgelearn.energy.choose import AUTO, choose
from edgelearn.energy.meter import Meter, Mute
from edgelearn.health import Finding
from edgelearn.ir.core import Module
from edgelearn.job import Job, Stage
from edgelearn.link.client import Stats
from edgelearn.live.consumption import Consumption, Energy
from edgelearn.profiling import place_of
from edgelearn.runs import Checkpoint
from edgelearn.session import Session
from edgelearn.training import Progress

CURVE = 400  # readings that are kept to be drawn


@dataclass(frozen=True)
class Status:
    """All that is known at a moment. Sizes are bytes; None: not known (yet), and ``reason`` says why nothing was measured."""

    phase: str
    progress: Progress
    curve: tuple[float, ...]  # shares of right guesses, of the intervals between checkpoints
    planned: int | None
    stats: Stats | None
    reason: str
    retries: int | None
    restarts: int
    energy: Energy
    kept: int | None  # step of the newest checkpoint
    kept_s: float  # since then
    quiet_s: float  # since the device was heard

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.progress.health


class Watched:
    """``inner`` as a device, and what is seen of it.

    Args:
        consumption: adds up what the meter reads. asks: may the board be asked for what else it knows? A recording answers only what it
            was asked then.
    """

    def __init__(
        self, inner: Device, consumption: Consumption, asks: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inner, self._consumption, self._asks, self._clock = inner, consumption, asks, clock
        self._phase, self._restarts = "connected", 0
        self._progress = Progress(0, 0, None, 0.0)
        self._curve: list[float] = []
        self._job: Job | None = None
        self._stats: Stats | None = None
        self._kept: tuple[int, float] | None = None
        self._heard = clock()

    def progress(self, at: Progress) -> None:
        """Takes down how far it came: called for every answer of the board, so it does next to nothing."""
        self._progress, self._heard = at, self._clock()

    def status(self) -> Status:
        """May be called by another thread: each value is replaced as a whole."""
        now, kept = self._clock(), self._kept
        return Status(
            self._phase, self._progress, tuple(self._curve[-CURVE:]), self._planned(), self._stats, self._reason(),
            self.inner.client.retries if isinstance(self.inner, Link) and self._job else None, self._restarts,
            self._consumption.energy, kept[0] if kept else None, now - kept[1] if kept else 0.0, now - self._heard,
        )  # fmt: skip

    def _planned(self) -> int | None:
        return self._job.state_bytes + self._job.arena_bytes if self._job else None

    def _reason(self) -> str:
        if not isinstance(self.inner, Link):
            return "torch takes memory as it likes, for a batch at a time"
        if not self._asks:
            return "not asked for, since the conversation is recorded"
        return "asked at each checkpoint" if self._stats is None else ""

    def _enter(self, phase: str) -> None:
        self._phase, self._heard = phase, self._clock()

    # --- a device ---------------------------------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        return self.inner.step

    @property
    def boot_id(self) -> int:
        return self.inner.boot_id

    @property
    def device(self) -> str | None:
        """Torch's name of it, where the host learns."""
        return getattr(self.inner, "device", None)

    def reopen(self, job: Job) -> None:
        self._restarts += 1
        self._enter("the board restarted: connecting again")
        self.inner.reopen(job)

    def put(self, job: Job, checkpoint: Checkpoint | None) -> Stage:
        self._enter("sending plan and state")
        stage = self.inner.put(job, checkpoint)
        self._job = job
        return stage

    def learn(self, job: Job, last: int, told: Told) -> None:
        self._enter("learning")
        first = self.inner.step
        self._consumption.begin()
        try:
            self.inner.learn(job, last, told)
        except BaseException as error:
            self._consumption.drop()
            if isinstance(error, KeyboardInterrupt):
                self._enter("stopping: what was learnt is being kept")
            raise
        self._consumption.end(self.inner.step - first)

    def read(self, module: Module) -> tuple[bytes, bytes | None]:
        found = self.inner.read(module)
        if self._asks and isinstance(self.inner, Link):
            self._stats = self.inner.client.stats()
        if self._kept is None or self._kept[0] != self.inner.step:
            self._kept = self.inner.step, self._clock()
            if self._progress.accuracy is not None:
                self._curve.append(self._progress.accuracy)
        self._heard = self._clock()
        return found

    def infer(self, rows: NDArray[Any]) -> list[int]:
        self._enter(f"measuring on {len(rows):,} test samples")
        found = self.inner.infer(rows)
        self._heard = self._clock()
        return found

    def costs(self, job: Job) -> dict[str, Any]:
        return self.inner.costs(job)

    def close(self) -> None:
        self.inner.close()


def _meter(session: Session, asks: bool) -> Meter:
    """The first that answers; else one that says briefly why none does."""
    place = place_of(session.device, session.board, session.port)
    meter, tried = choose(AUTO, place if asks else replace(place, ask=None))
    if not isinstance(meter, Mute) or not tried:
        return meter
    others = ", ".join(one.meter for one in tried[1:])
    return Mute(meter.name, f"{tried[0].meter}: {tried[0].reason}" + (f" (nor is there {others})" if others else ""))


@contextmanager
def watched(session: Session, recorded: bool = False) -> Iterator[Watched]:
    """The session's device, watched for as long as the block runs."""
    inner = session.device
    asks = not recorded and not (session.port or "").startswith("replay:")
    consumption = Consumption(_meter(session, asks))
    made = session.device = Watched(inner, consumption, asks)
    try:
        yield made
    finally:
        session.device = inner
        consumption.close()
