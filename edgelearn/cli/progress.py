"""Progress on standard error: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgelearn.session import Progress, Session

EVERY_S = 0.1  # people and pipes need no more, and showing costs the board time
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
    """A bar for a session: samples learnt, their rate, and the running accuracy; warnings as they come."""
    told: set[tuple[str, str]] = set()
    with bar(title, quiet) as advance:

        def show(at: Progress) -> None:
            right = "" if at.accuracy is None else f"{100 * at.accuracy:.1f} % "
            advance(at.step, at.steps, f"{right}{at.samples_per_s:,.0f}/s")
            for finding in at.health if not quiet else ():
                if (finding.kind, finding.where) not in told:
                    told.add((finding.kind, finding.where))
                    print(f"warning: step {at.step:,}: {finding.message} {finding.hint}", file=sys.stderr)

        yield now_and_then(show)


@contextmanager
def chosen(
    session: Session, title: str, live: bool, quiet: bool = False, recorded: bool = False
) -> Iterator[Callable[[Progress], None]]:
    """The bar, or with ``live`` the whole terminal. ``recorded``: the conversation is, so nothing is asked that it need not have."""
    if not live:
        with training("learning", quiet) as show:
            yield show
        return
    from edgelearn.live.terminal import shown
    from edgelearn.live.watch import watched

    with watched(session, recorded) as device, shown(title, device) as show:
        yield show


def now_and_then(show: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """``show``, but not for every sample: ten times a second, at the end, and when something is wrong."""
    shown, health = 0.0, ()

    def filtered(at: Progress) -> None:
        nonlocal shown, health
        now = time.monotonic()
        if now - shown >= EVERY_S or at.step == at.steps or at.health != health:
            shown, health = now, at.health
            show(at)

    return filtered
