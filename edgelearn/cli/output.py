"""What every verb prints: one JSON object, or tables for people, on standard output; errors in the same two ways."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from edgelearn.errors import EdgeLearnError, StorageFullError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

Human = Callable[[dict[str, Any]], "RenderableType"]


def report(verb: str, data: dict[str, Any], as_json: bool, human: Human) -> None:
    """Prints ``data`` as the verb's JSON object, or as ``human`` shows it."""
    if as_json:
        emit(verb, data)
    else:
        show(human(data))


def show(what: RenderableType) -> None:
    """Prints for people; into a pipe or a file without the spaces that fill lines up."""
    to = console()
    if to.is_terminal:
        to.print(what, crop=False)
        return
    with to.capture() as printed:
        to.print(what, crop=False)
    _print(re.sub(r" +$", "", printed.get(), flags=re.MULTILINE))


def emit(schema: str, data: dict[str, Any]) -> None:
    """One JSON object on a line of its own."""
    _print(json.dumps({"schema": f"edgelearn.{schema}/1", **data}) + "\n")


class OutputLostError(StorageFullError):
    """Standard output cannot be written any more."""


def _print(text: str) -> None:
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python fails on it once more when it ends
        problem = f"Cannot write {len(text):,} bytes to the standard output: {error.strerror}."
        raise OutputLostError(problem, "Free some space, or send it to a file elsewhere.") from error


def failure(verb: str, error: EdgeLearnError, as_json: bool) -> None:
    """The error, as JSON on standard output or as text on standard error."""
    if as_json and not isinstance(error, OutputLostError):
        told = {"code": error.exit_code, "kind": error.kind, "message": error.message, "hint": error.hint}
        emit(verb, {"error": told})
    else:
        print(f"edgelearn: {error}", file=sys.stderr)


def console() -> Console:
    """Where people read: colours only on a terminal and without NO_COLOR."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def group(*parts: RenderableType) -> RenderableType:
    """Several things, one below the other."""
    from rich.console import Group

    return Group(*parts)


def text(line: str, style: str = "") -> RenderableType:
    """Text as it is: brackets in it are no markup."""
    from rich.text import Text

    return Text(line, style=style)


def command(line: str) -> RenderableType:
    """A line to copy: never broken in two."""
    from rich.text import Text

    return Text(line, style="dim", no_wrap=True, overflow="ignore")


def notes(sentences: Iterable[str]) -> list[RenderableType]:
    """What the user should know although nothing failed."""
    return [text(f"note: {sentence}", "yellow") for sentence in sentences]


def rule(name: str, source: str | None) -> str:
    """A rule as people call it: by its own name, and its file where it is a user's."""
    return name if source is None else f"{name} ({os.path.basename(source.rpartition(':')[0])})"


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    right: Sequence[str] = (),
    wrap: Sequence[str] = (),
    title: str = "",
) -> Table:
    """A table; the columns named in ``right`` hold numbers, those in ``wrap`` may use several lines."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        justify = "right" if name in right else "left"
        made.add_column(Text(name), justify=justify, overflow="fold", no_wrap=name not in wrap)
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


def facts(rows: Iterable[tuple[str, str, str]], title: str = "") -> Table:
    """Name, value and a remark on each line."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE, show_header=False, title=title or None, title_justify="left", pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(justify="right", style="bold", no_wrap=True)
    made.add_column()
    for name, value, remark in rows:
        made.add_row(Text(name), Text(value), Text(remark))
    return made


def program() -> str:
    """What to type for ``edgelearn``: its path where it is not found by name, as after `make demo`."""
    import shutil

    me = sys.argv[0]
    found = shutil.which("edgelearn")
    if os.path.basename(me) != "edgelearn" or (found and os.path.exists(me) and os.path.samefile(found, me)):
        return "edgelearn"
    return os.path.relpath(me)


def percent(fraction: float | None) -> str:
    """``97.0 %``; ``-`` where nothing was measured."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def size(nbytes: int) -> str:
    """``3,903 B``."""
    return f"{nbytes:,} B"
