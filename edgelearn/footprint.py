"""What a job takes of its board, before anything is flashed: flash, state, arena, stack, link. A board measures the same.

State, arena and plan come from the compiler. What the runtime takes is read from the image that would be flashed: its size, its variables,
the link's buffers, and the bound of its stack from the compiler's call graphs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgelearn.boards import Board
from edgelearn.build import Image
from edgelearn.errors import ConfigError, MissingToolError
from edgelearn.ir.core import Module
from edgelearn.job import Job
from edgelearn.job import image_of as firmware_of

PLAN_ALIGN = 8  # of what follows a plan that came over the link


@dataclass(frozen=True)
class Footprint:
    """Bytes; None where unknown, with the ``reason``.

    Attributes:
        runtime: of flash: code, constants and first values of variables, with every kernel that the board has.
        plan: of RAM, for it comes over the link; 0 where it is compiled in, and part of the runtime.
        state, arena: what the board finds touched by scanning once it has learnt.
        stack: reserved. stack_bound: the most that any way through the firmware needs.
        link: receive ring, frame buffers and the link's control block.
        variables: all else that the runtime keeps, and what aligns it.
        ram: all of these, with the stack as reserved and the gaps that alignment leaves.
        flash_size, ram_size: the board's.
    """

    runtime: int | None
    plan: int
    state: int
    arena: int
    stack: int | None
    stack_bound: int | None
    link: int | None
    variables: int | None
    ram: int
    flash_size: int
    ram_size: int
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def of_job(job: Job) -> Footprint:
    """The footprint of a job on its board; builds the board's image where that is possible and was not done yet."""
    image, reason = image_of(job.board, job.module)
    return estimate(job.board, job.plan_bytes, job.state_bytes, job.arena_bytes, image, reason)


def image_of(board: Board, module: Module) -> tuple[Image | None, str]:
    """The image that the board runs a module with, or why there is none."""
    if board.toolchain is None:
        kind = "runs the firmware as a program" if "sim" in board.ports else "runs no firmware"
        return None, f"{board.id} {kind}: the sizes of stack and link are those of its board file"
    try:
        return firmware_of(board, module), ""
    except MissingToolError as error:
        return None, f"{error.message} Sizes of stack and link are those of the board file. {error.hint}"
    except ConfigError as error:
        return None, f"{error.message} Sizes of stack and link are those of the board file."


def estimate(board: Board, plan: int, state: int, arena: int, image: Image | None, reason: str = "") -> Footprint:
    """The same of sizes that are known already."""
    plan = 0 if board.has_plan else plan
    pool = -(-plan // PLAN_ALIGN) * PLAN_ALIGN + -(-state // PLAN_ALIGN) * PLAN_ALIGN + arena
    flash, ram = board.target.flash, board.ram
    if image is None:
        used = pool + board.stack + board.link
        return Footprint(None, plan, state, arena, board.stack, None, board.link, None, used, flash, ram, reason)
    used = ram - image.pool_bytes + pool  # what aligns the pool is taken, too
    return Footprint(
        image.text + image.data, plan, state, arena, image.stack, image.stack_bound or None, image.link_bytes,
        used - pool - image.stack - image.link_bytes, used, flash, ram, reason if image.stack_bound else _NO_BOUND,
    )  # fmt: skip


_NO_BOUND = "this compiler writes no call graphs: the stack has no computed bound"
