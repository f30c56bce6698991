"""Planned against measured memory: what the compiler and the image say before flashing, and what a board finds by scanning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from edgelearn import boards, footprint
from edgelearn.bench.memory_cases import CASES, Case
from edgelearn.boards import Board
from edgelearn.errors import ConfigError, DoesNotFitError, EdgeLearnError, MissingToolError, UsageError
from edgelearn.job import Job, prepare
from edgelearn.recipe import Recipe
from edgelearn.session import Session
from edgelearn.stages import Stage
from edgelearn.tomlfile import nearest

STEPS = 1100  # long enough for every branch of the link and the kernels to have been taken at its deepest
DEEP_MACS = 200_000_000  # what is learnt of a large net, at most
EVALUATED = 8  # samples that are classified as well

OnRow = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Row:
    """A recipe on a board, in bytes. What was not measured is None, with the reason; so is what nobody can know before.

    Attributes:
        state, arena, link: planned; plan is that of the compiler, and of RAM where the plan comes over the link.
        stack_bound: from the call graphs; stack_size is reserved.
        runtime: flash of the firmware, with all of the board's kernels.
        ram: all of it, the stack as reserved; of ram_size.
        planned, measured: state and arena; state_measured and arena_measured are what the board found.
        stack: the most that the board has used. link_measured: as the board counts it, without the ring's counters.
        weights: bytes of all weights if they were floats.
        agrees: state and arena are as planned, and the stack within its bound; None: not measured.
    """

    name: str
    recipe: str
    board: str
    rule: str = ""
    net: str = ""
    dtype: str = ""
    state: int | None = None
    arena: int | None = None
    plan: int | None = None
    stack_bound: int | None = None
    stack_size: int | None = None
    link_planned: int | None = None
    runtime: int | None = None
    ram: int | None = None
    ram_size: int | None = None
    weights: int | None = None
    planned: int | None = None
    measured: int | None = None
    state_measured: int | None = None
    arena_measured: int | None = None
    stack: int | None = None
    link: int | None = None
    agrees: bool | None = None
    reason: str = ""


def run(
    case: str = "recipes",
    only: Sequence[str] = (),
    steps: int = STEPS,
    on_row: OnRow = lambda done, total, what: None,
) -> list[Row]:
    """Compiles each recipe of a case for each of its boards, and learns there where the board is simulated or emulated.

    Args:
        only: ids of boards; none: the case's own.

    Raises:
        UsageError: there is no such case. NoBoardError: no such board.
    """
    chosen = find(case)
    ids = only or chosen.boards or tuple(b.id for b in boards.all_boards() if not b.is_host)
    targets = [boards.load(board) for board in ids]
    with TemporaryDirectory(prefix="edgelearn-bench-") as folder:
        pairs = [(recipe, board) for board in targets for recipe in chosen.recipes(Path(folder))]
        rows: list[Row] = []
        for done, (recipe, board) in enumerate(pairs):
            on_row(done, len(pairs), f"{recipe.name} on {board.id}")
            rows.append(row(recipe, replace(board, plan=boards.COMPILED_IN) if chosen.compiled_in else board, steps))
    return rows


def find(case: str) -> Case:
    """The case of this name.

    Raises:
        UsageError: there is none.
    """
    if case not in CASES:
        raise UsageError(f"There is no case '{case}'.", nearest(case, tuple(CASES)))
    return CASES[case]


def row(recipe: Recipe, board: Board, steps: int = STEPS) -> Row:
    """What ``recipe`` takes on ``board``, planned and, where it can run here, measured."""
    empty = Row(f"{recipe.name} on {board.id}", recipe.name, board.id)
    try:
        job = prepare(recipe, board)
        planned = _planned(empty, job)
    except DoesNotFitError as error:
        return replace(empty, reason=f"does not fit: {error.message.splitlines()[0]}")
    except ConfigError as error:
        return replace(empty, reason=error.message)
    except EdgeLearnError as error:  # the other boards are still worth a look
        return replace(empty, agrees=False, reason=error.message)
    port = next((p for p in ("sim", "qemu") if p in board.ports), None)
    if port is None:
        return replace(planned, reason="can only be measured on the board itself")
    try:
        return _measured(planned, job, port, steps)
    except MissingToolError:
        return replace(planned, reason="its emulator or compiler is not installed")
    except EdgeLearnError as error:
        return replace(planned, agrees=False, reason=error.message)


def _planned(empty: Row, job: Job) -> Row:
    """Of a run with a plan for each block, the stage that takes most."""
    stage = largest(job)
    image, reason = footprint.image_of(job.board, stage.module)
    found = footprint.estimate(job.board, len(stage.plan), *_sizes(stage), image, reason)
    return replace(
        empty, rule=job.rule_name, net=str(job.compiled.net), dtype=job.compiled.dtype, state=found.state, arena=found.arena,
        plan=found.plan, stack_bound=found.stack_bound, stack_size=found.stack, link_planned=found.link, runtime=found.runtime,
        ram=found.ram, ram_size=found.ram_size, weights=float_weights(job), planned=found.state + found.arena,
    )  # fmt: skip


def largest(job: Job) -> Stage:
    """The stage that takes most state and arena."""
    return max(job.stages, key=lambda stage: sum(_sizes(stage)))


def _sizes(stage: Stage) -> tuple[int, int]:
    return stage.module.integer("state_bytes"), stage.module.integer("arena_bytes")


def float_weights(job: Job) -> int:
    """Bytes of all weights and biases as 32-bit floats."""
    return 4 * sum(s.type.size for s in job.module.state)


def _measured(planned: Row, job: Job, port: str, steps: int) -> Row:
    """Learns with the plan that takes most."""
    most = largest(job)
    macs = sum(job.macs(entry) for entry in ("learn", "infer"))
    n = max(4, min(steps, DEEP_MACS // max(1, macs)))
    with Session(job.board, port) as session:
        session.device.put(replace(job, stages=(most,)), None)
        client = session.client
        x, y = most.compiled.encode(job.data.x_train), job.data.y_train
        client.learn(lambda step: (x[step % len(x)].tobytes(), int(y[step % len(y)])), 0, n, lambda step, guesses: None)
        client.infer([sample.tobytes() for sample in x[:EVALUATED]])
        client.read_state(planned.state or 0)
        stats = client.stats()
    bound = planned.stack_bound
    exact = (stats.state, stats.arena) == (planned.state, planned.arena)
    return replace(
        planned, measured=stats.state + stats.arena, state_measured=stats.state, arena_measured=stats.arena, stack=stats.stack,
        stack_size=stats.stack_size, link=stats.link, agrees=exact and (bound is None or stats.stack <= bound),
    )  # fmt: skip


def disagreements(rows: Sequence[Row]) -> Iterator[str]:
    """A sentence for each board that found something else than was planned."""
    for found in rows:
        if found.agrees is False and found.reason:
            yield f"{found.name}: {found.reason}"
        elif found.agrees is False:
            said = f"state {found.state_measured} and arena {found.arena_measured} of {found.state} and {found.arena}"
            yield f"{found.name}: measured {said}, stack {found.stack} of at most {found.stack_bound}."
