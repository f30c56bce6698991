"""What comes out of a run: accuracy, and the object that ``train --json`` prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import state
from edgelearn.health import Finding
from edgelearn.job import Job
from edgelearn.link.client import Client
from edgelearn.start import first_state
from edgelearn.state import Snapshot

MAX_CLASSES = 100  # of which a result keeps how often each is taken for another


@dataclass(frozen=True)
class Evaluation:
    """How a net did on samples that it has not learnt.

    Attributes:
        accuracy: the share that was right, 0..1.
        n: how many samples.
        confusion: ``confusion[true][guessed]`` counts them.
    """

    accuracy: float
    n: int
    confusion: list[list[int]]

    @property
    def kept(self) -> list[list[int]] | None:
        """The confusion as a run's result keeps it; None where there are too many classes for that."""
        return self.confusion if len(self.confusion) <= MAX_CLASSES else None


@dataclass(frozen=True)
class Result:
    """What a finished run was like.

    Attributes:
        run: its id in the run store.
        accuracy: on the test set, 0..1, as the board classified it.
        data: the object that ``edgelearn train --json`` prints; docs/cli.md has its keys.
    """

    run: str
    accuracy: float
    data: dict[str, Any]


def evaluate(guesses: NDArray[Any], truth: NDArray[Any], classes: int) -> Evaluation:
    """Counts what was guessed of each class."""
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, np.minimum(guesses, classes - 1)), 1)
    return Evaluation(float((guesses == truth).mean()), len(truth), confusion.tolist())


def of_job(job: Job) -> dict[str, Any]:
    """The part of the result that is known before anything is learnt."""
    train = job.recipe.train
    return {
        "rule": job.rule_name, "rule_source": job.rule_source, "dtype": job.compiled.dtype, "steps": job.steps,
        "seed": train.seed, "net": str(job.compiled.net), "schedule": train.schedule, "freeze": list(train.freeze),
        "batch": train.batch, "scale": train.scale, "optimizer": train.optimizer, "augment": train.augment,
        "from": None if job.start is None else job.start.origin, "notes": list(job.notes),
    }  # fmt: skip


def of_board(job: Job, client: Client, emulated: bool, stack_bound: int) -> dict[str, Any]:
    """Memory, time and bytes, as the board and the link counted them; ``stack_bound`` is that of an emulated board's image."""
    stats = client.stats()
    scanned = not stats.engine
    reason = None if scanned else f"what the agent's memory grew by, {stats.engine}"
    state, arena = (stats.state, stats.arena) if scanned else (job.state_bytes, job.arena_bytes)
    ram = {
        "state": state, "arena": arena, "stack": stats.stack, "stack_size": stats.stack_size,
        "stack_bound": (stack_bound or None) if emulated else None, "link": stats.link,
        "plan": stats.plan, "planned": job.state_bytes + job.arena_bytes, "measured": stats.state + stats.arena,
        "reason": reason,
    }  # fmt: skip
    link = {
        "bytes_tx": client.bytes_tx, "bytes_rx": client.bytes_rx, "retries": client.retries,
        "overruns": stats.overruns, "bad_frames": stats.bad_frames,
    }  # fmt: skip
    return {
        "board": job.board.id, "device": None, "emulated": emulated, "ram": ram, "link": link,
        "board_us_per_sample": stats.busy_us / max(stats.samples, 1),
    }  # fmt: skip


def of_host(job: Job, device: str, us_per_sample: float) -> dict[str, Any]:
    """The same for this computer: its memory is torch's to use, and there is no link."""
    unknown = dict.fromkeys(("stack", "stack_size", "stack_bound", "link", "plan", "measured"))
    ram = {
        "state": job.state_bytes, "arena": job.arena_bytes, "planned": job.state_bytes + job.arena_bytes, **unknown,
        "reason": "torch takes memory as it likes, for a batch at a time",
    }  # fmt: skip
    link = dict.fromkeys(("bytes_tx", "bytes_rx", "retries", "overruns", "bad_frames"), 0)
    return {
        "board": job.board.id, "device": device, "emulated": False, "ram": ram, "link": link,
        "board_us_per_sample": us_per_sample,
    }  # fmt: skip


def of_state(job: Job, final: Snapshot) -> dict[str, Any]:
    """Hash of the final state, and the exponents that the run began and ended with."""
    begin = {slot.name: slot.start for slot in job.module.slots}
    if job.starts:
        begin = state.decode(job.module, first_state(job.module, job.recipe.train.seed, job.starts)).exps
    return {
        "state_sha256": final.sha256(job.module),
        "exponents": {slot.name: [begin[slot.name], final.exps[slot.name]] for slot in job.module.slots},
    }


def told(findings: Iterable[Finding], step: int) -> list[dict[str, Any]]:
    """Findings about one step, as the result lists them."""
    return [vars(finding) | {"steps": [step, step]} for finding in findings]
