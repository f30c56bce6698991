"""Which board is this computer?"""

from __future__ import annotations

from pathlib import Path

from edgelearn import boards
from edgelearn.boards import Board
from edgelearn.errors import UsageError

PC = "linux-pc"
MODEL = Path("/proc/device-tree/model")  # what the firmware calls the machine, on Arm


def identify(model: Path = MODEL) -> Board:
    """The board whose file says how this machine's model begins; else the PC."""
    try:
        name = model.read_bytes().rstrip(b"\0").decode("utf-8", "replace")
    except OSError:
        name = ""
    linux = [board for board in boards.all_boards() if board.is_linux]
    found = (board for board in linux if board.device_tree and name.startswith(board.device_tree))
    return next(found, None) or boards.load(PC)


def chosen(board: str | None) -> Board:
    """The board with this id; the one that this computer is, for None.

    Raises:
        UsageError: that one does not run Linux.
    """
    if board is None:
        return identify()
    found = boards.load(board)
    if not found.is_linux:
        ids = ", ".join(b.id for b in boards.all_boards() if b.is_linux)
        raise UsageError(f"{found.id} does not run Linux: it has firmware, not an agent.", f"Agents are: {ids}.")
    return found
