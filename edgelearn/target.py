"""Target: the numbers about a board that a compiler needs, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

DTYPES = ("int8", "f32")


@dataclass(frozen=True)
class Target:
    """What a plan must fit. All sizes in bytes."""

    id: str
    dtypes: tuple[str, ...]  # of DTYPES
    ram: int
    flash: int
    stack: int  # reserved for the stack
    link: int  # receive ring, frame buffers and control blocks
    plan_max: int  # largest plan that the board takes, over the link or compiled in
    plan_in_flash: bool = False  # compiled in: it needs no RAM

    @property
    def pool(self) -> int:
        """Bytes left for plan, state and arena together."""
        return self.ram - self.stack - self.link
