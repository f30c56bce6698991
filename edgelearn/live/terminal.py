"""Where a training is shown: a whole terminal that is given back as it was, or lines on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from edgelearn.live.screen import line, screen
from edgelearn.live.watch import Watched
from edgelearn.training import Progress

PER_SECOND = 4  # times that the screen is drawn: also while nothing is heard, so that this is seen
LINE_S = 5.0  # between two lines
_NO_SCREEN = ("", "dumb", "unknown")


def no_screen(stream: TextIO, environment: Mapping[str, str]) -> str:
    """Why nothing can be drawn there; empty if it can."""
    if not stream.isatty():
        return "standard error is no terminal"
    if environment.get("TERM", "") in _NO_SCREEN:
        return f"TERM={environment.get('TERM', '')} cannot move its cursor"
    if environment.get("CI"):
        return "CI is set"
    return ""


@contextmanager
def shown(title: str, device: Watched) -> Iterator[Callable[[Progress], None]]:
    """Shows ``device`` for as long as the block runs; what it gives is to be told of all progress."""
    reason = no_screen(sys.stderr, os.environ)
    if reason:
        yield _lines(reason, device)
        return
    with _drawn(title, device):
        yield device.progress


@contextmanager
def _drawn(title: str, device: Watched) -> Iterator[None]:
    """On the terminal's second screen, so that the first is untouched; the last picture stays where it did not end well."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    try:
        with Live(
            console=console, screen=True, refresh_per_second=PER_SECOND, redirect_stdout=False, redirect_stderr=False,
            get_renderable=lambda: screen(title, device.status(), console),
        ):  # fmt: skip
            yield
    except BaseException:
        console.print(screen(title, device.status(), console))
        raise


def _lines(reason: str, device: Watched) -> Callable[[Progress], None]:
    """A line every few seconds, and at the end."""
    told = time.monotonic()
    _say(f"--live shows lines: {reason}.")

    def progress(at: Progress) -> None:
        nonlocal told
        device.progress(at)
        now = time.monotonic()
        if now - told >= LINE_S or at.step == at.steps:
            told = now
            _say(line(device.status()))

    return progress


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
