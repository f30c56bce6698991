"""Progress on standard error: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgelearn.session import Progress

Advance = Callable[[int, int, str], None]  # (done, of, remark)


@contextmanager
def bar(title: str, quiet: bool = False) -> Iterator[Advance]:
    """A bar called ``title`` for as long as the block runs; call what it gives with (done, total, remark)."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total, remark: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    remark = TextColumn("{task.fields[remark]}")
    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), remark, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=None, remark="")
        yield lambda done, total, remark: shown.update(task, completed=done, total=total, remark=remark)


@contextmanager
def training(title: str, quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """A bar for a session: samples learnt, their rate, and the running accuracy."""
    with bar(title, quiet) as advance:

        def show(at: Progress) -> None:
            right = "" if at.accuracy is None else f"{100 * at.accuracy:.1f} % "
            advance(at.step, at.steps, f"{right}{at.samples_per_s:,.0f}/s")

        yield show
