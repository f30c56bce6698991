"""What a run's recipe says once it is compiled again: where things lie in memory, and how often each class is taken for another."""

from __future__ import annotations

from dataclasses import dataclass

from edgelearn import boards, footprint, images
from edgelearn.boards import Board
from edgelearn.errors import EdgeLearnError
from edgelearn.footprint import Footprint
from edgelearn.host.native import NativeCore
from edgelearn.ir.expressions import narrowing
from edgelearn.ir.ops import OPS
from edgelearn.ir.types import Type
from edgelearn.job import Job
from edgelearn.passes.memory import arena_types, state_layout
from edgelearn.report.stored import Stored
from edgelearn.restore import restore_job
from edgelearn.results import Evaluation, evaluate

MAX_MACS = 1_000_000_000  # to be spent on the test set: about two seconds


@dataclass(frozen=True)
class Place:
    """A tensor in memory. ``entry`` is the function that it belongs to; None: it outlives a sample."""

    region: str
    entry: str | None
    name: str
    offset: int
    nbytes: int
    type: str


@dataclass(frozen=True)
class Again:
    """A job of now that is the run's. ``elements`` are what one sample counts at each moving exponent."""

    board: Board
    footprint: Footprint
    places: tuple[Place, ...]
    macs: tuple[tuple[str, int, int], ...]  # operation, multiplications to infer, to learn
    elements: dict[str, int]
    since: int  # the step at which the statistics of the state begin
    evaluation: Evaluation | None
    tested: int  # samples of the test set
    reason: str  # why there is no evaluation


def compiled(stored: Stored) -> Again | str:
    """The run's recipe compiled again, or a sentence that says why it is not."""
    try:
        job = restore_job(stored.run)
        step = stored.checkpoint.step if stored.checkpoint else job.steps
        job = job.as_of(step)
        found, reason = _tested(job, stored)
        return Again(
            job.board, _footprint(job), tuple(_places(job)), _macs(job), _elements(job), job.stage_of(step).first,
            found, len(job.data.y_test), reason,
        )  # fmt: skip
    except EdgeLearnError as error:
        return error.message


def board_of(stored: Stored) -> Board | None:
    """The run's board; None if there is no such board here."""
    try:
        return boards.load(stored.run.board)
    except EdgeLearnError:
        return None


def _footprint(job: Job) -> Footprint:
    """With the image, if it is there: a report builds none."""
    image = images.ready(job.board) if job.board.toolchain and not job.board.has_plan else None
    reason = "" if image else "no image of the board is at hand: sizes of stack and link are those of its board file"
    return footprint.estimate(job.board, job.plan_bytes, job.state_bytes, job.arena_bytes, image, reason)


def _tested(job: Job, stored: Stored) -> tuple[Evaluation | None, str]:
    """The confusion of the newest state, by the C core on this computer."""
    if stored.confusion is not None:
        return None, "the run has kept what the device said"
    if stored.checkpoint is None:
        return None, "the run has no checkpoint"
    if not job.plan_bytes:
        return None, "no plan can hold this net: only the host can run it"
    n = min(len(job.data.y_test), max(MAX_MACS // max(job.macs("infer"), 1), 100))
    core = NativeCore(job.plan, job.state_bytes, job.arena_bytes)
    core.write_state(stored.checkpoint.state)
    guesses = core.infer(job.x_test[:n])
    return evaluate(guesses, job.data.y_test[:n], job.compiled.net.classes), ""


def _places(job: Job) -> list[Place]:
    """Every tensor, and what the state has beside tensors."""
    kinds: dict[tuple[str, str], Type] = {("-", name): kind for name, kind in job.module.state_types().items()}
    for entry in job.module.entries:
        kinds |= {(entry.name, name): kind for name, kind in arena_types(job.module, entry).items()}
    found = [
        Place(p.region, None if p.entry == "-" else p.entry, p.value.lstrip("@%"), p.offset, kind.nbytes, str(kind))
        for p in job.module.places
        for kind in (kinds[p.entry, p.value],)
    ]
    rest = job.state_bytes - sum(place.nbytes for place in found if place.region == "state")
    meta = state_layout(job.module).meta
    return [*found, Place("state", None, "counters, statistics, exponents", meta, rest, "")]


def _macs(job: Job) -> tuple[tuple[str, int, int], ...]:
    """Multiplications with weights of each kind of operation, for one sample."""
    counts: dict[str, list[int]] = {}
    for column, name in enumerate(("infer", "learn")):
        entry = job.module.entry(name)
        types = job.module.types(entry)
        for op in entry.ops:
            if macs := OPS[op.name].macs([types[a].shape for a in op.args], op):
                counts.setdefault(op.name, [0, 0])[column] += macs
    rows = ((name, infer, learn) for name, (infer, learn) in counts.items())
    return tuple(sorted(rows, key=lambda row: -row[2]))


def _elements(job: Job) -> dict[str, int]:
    counts: dict[str, int] = {}
    if job.compiled.dtype == "int8":
        for slot, op in narrowing(job.module, job.module.entry("learn")):
            counts[slot] = counts.get(slot, 0) + (op.type.size if op.type else 0)
    return counts
