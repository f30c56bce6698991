"""``edgelearn flash``: the board's image, into the board, by the tool that its owners use."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output
from edgelearn.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.boards import Board
    from edgelearn.flashing import Flashing

app = typer.Typer(rich_markup_mode=None)
SMALL, SMALL_RAM = "digits-tiny", 8 << 10  # up to that many bytes of RAM the larger recipe has no room
BoardArgument = Annotated[str, typer.Argument(metavar="BOARD", help="A board's id, or a board file of your own.")]
Recipe = Annotated[
    str | None,
    typer.Argument(metavar="[RECIPE]", help="Of a board whose image has its plan compiled in: what it will learn."),
]
Port = Annotated[
    str | None,
    typer.Option("--port", metavar="PORT", help="The folder of its drive or its serial port, if it is not found."),
]
Tool = Annotated[str | None, typer.Option("--tool", metavar="NAME", help="This tool, of those that can write it.")]
App = Annotated[
    Path | None, typer.Option("--app", metavar="FOLDER", help="A program of your own, as firmware/examples/sensor.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be called, and touch no board.")]


@app.command()
def flash(
    board: BoardArgument,
    recipe: Recipe = None,
    port: Port = None,
    tool: Tool = None,
    app_folder: App = None,
    key_file: options.KeyFile = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    data: options.Data = None,
    drops: options.Drops = None,
    dry_run: DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Write a board's image into it, by the tool that its owners use."""
    from edgelearn import boards, flashing

    chosen = boards.load(board)
    way = flashing.choose(chosen, port, tool, here=not dry_run)
    given = {"--epochs": epochs, "--steps": steps, "--data": data, "--drops": drops}
    flags = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    _check(chosen, recipe, app_folder, flags)
    values = options.overrides(epochs=epochs, steps=steps, data=data, drops=drops)
    planned = flashing.prepare(chosen, _image(chosen, recipe, app_folder, key_file, values), way, port)
    if not dry_run:
        flashing.perform(planned, _echo)
    elif not way.is_drive and shutil.which(way.tool.program) is None:
        _echo(f"{way.tool.program} is not installed: {way.tool.get}\n")
    told = {
        "board": chosen.id, "tool": way.name, "file": str(planned.file),
        "drive": None if planned.drive is None else str(planned.drive),
        "commands": [list(command) for command in planned.commands], "done": not dry_run,
        "next": [] if app_folder else _next(chosen, board, recipe, flags),
    }  # fmt: skip
    output.report("flash", told, as_json, lambda data: _human(data, planned))


def _check(board: Board, recipe: str | None, folder: Path | None, flags: list[str]) -> None:
    """A recipe belongs to an image with a plan in it, and only to that.

    Raises:
        UsageError: it is missing, or there is no use for it.
    """
    wanted = board.has_plan and folder is None
    if wanted and recipe is None:
        raise UsageError(
            f"The image of {board.id} has its plan compiled in, and no recipe is named.",
            f"edgelearn flash {board.id} {SMALL}   # and the flags that it will be trained with",
        )
    if not wanted and (recipe or flags):
        what = "a program of your own" if folder else f"the image of {board.id}, which takes any plan over the link"
        raise UsageError(f"There is no use for a recipe or its flags in {what}.", "Leave them out.")


def _image(
    board: Board, recipe: str | None, folder: Path | None, key_file: Path | None, values: dict[str, Any]
) -> Path:
    from edgelearn import images, job

    if key_file is not None:
        from edgelearn.pairing import keys

        if folder is not None:
            raise UsageError("A program of your own is not paired by --key.", "Leave --app or --key out.")
        return images.build_paired(board, keys.read(key_file)).path
    if folder is not None:
        return images.build_app(board, folder).path
    if recipe is None:
        return images.build(board).path
    return job.image_of(board, job.prepare(recipe, board, **values).module).path


def _echo(part: str) -> None:
    """A tool's own words are progress: standard error."""
    sys.stderr.write(part)
    sys.stderr.flush()


def _next(board: Board, named: str, recipe: str | None, flags: list[str]) -> list[str]:
    """What to type when the board has its image; without a USB id its serial adapter's port must be named."""
    recipe = recipe or (SMALL if board.ram <= SMALL_RAM else "digits")
    port = [] if board.usb else ["--port", "/dev/ttyUSB0"]
    return [shlex.join(["edgelearn", "train", recipe, "--board", named, *flags, *port])]


def _human(data: dict[str, Any], planned: Flashing) -> RenderableType:
    if not data["done"]:
        return output.group(*map(output.command, _lines(planned)))
    after = [output.text("What to type next:"), *(output.command(f"  {line}") for line in data["next"])]
    return output.group(output.text(_said(planned)), *(after if data["next"] else []))


def _said(planned: Flashing) -> str:
    """What is known: a drive does not say what it made of a file, a tool does."""
    if planned.drive is None:
        return f"{planned.way} has written the image to {planned.board.id}."
    failed = "" if planned.way.tool.format == "uf2" else " If a file FAIL.TXT appears there, it says what went wrong."
    return f"{planned.file.name} is on {planned.drive}; the board takes it and restarts.{failed}"


def _lines(planned: Flashing) -> list[str]:
    """The commands as a shell takes them."""
    if planned.drive is not None:
        return [shlex.join(["cp", str(planned.file), f"{planned.drive}/"])]
    return [shlex.join(command) for command in planned.commands]
