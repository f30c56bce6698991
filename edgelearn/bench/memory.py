"""Planned against measured RAM: every shipped recipe on every board that can run here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgelearn import boards
from edgelearn import recipe as recipes
from edgelearn.boards import Board
from edgelearn.errors import ConfigError, DoesNotFitError, MissingToolError
from edgelearn.job import prepare
from edgelearn.runs import RunStore
from edgelearn.session import Session

STEPS = 1000  # long enough for every branch of the link and the kernels to have been taken at its deepest

OnRow = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Row:
    """Bytes of RAM. ``measured`` is found by scanning painted memory; all None with a ``reason`` if it was not run."""

    name: str
    recipe: str
    board: str
    planned: int | None = None
    measured: int | None = None
    stack: int | None = None
    stack_size: int | None = None
    link: int | None = None
    plan: int | None = None
    reason: str = ""


def run(steps: int = STEPS, on_row: OnRow = lambda done, total, what: None) -> list[Row]:
    """Learns ``steps`` samples of each recipe on each board, in QEMU where the board is no simulation."""
    pairs = [(name, board) for board in boards.all_boards() if not board.is_host for name in recipes.shipped()]
    rows = []
    for done, (name, board) in enumerate(pairs):
        on_row(done, len(pairs), f"{name} on {board.id}")
        rows.append(_row(name, board, steps))
    return rows


def _row(name: str, board: Board, steps: int) -> Row:
    title = f"{name} on {board.id}"
    port = next((p for p in ("sim", "qemu") if p in board.ports), None)
    if port is None:
        return Row(title, name, board.id, reason="can only be measured on the board itself")
    try:
        return _measure(title, name, board, port, steps)
    except DoesNotFitError:
        return Row(title, name, board.id, reason="does not fit")
    except MissingToolError:
        return Row(title, name, board.id, reason="its emulator or compiler is not installed")
    except ConfigError:
        return Row(title, name, board.id, reason="its data set is not here")


def _measure(title: str, name: str, board: Board, port: str, steps: int) -> Row:
    job = prepare(name, board, steps=steps)
    with (
        TemporaryDirectory(prefix="edgelearn-bench-") as folder,
        RunStore(Path(folder) / "runs.sqlite") as store,
        Session(board, port) as session,
    ):
        ram = session.train(job, store).data["ram"]
    keys = ("planned", "measured", "stack", "stack_size", "link", "plan")
    return Row(title, name, board.id, **{key: ram[key] for key in keys})
