"""The verbs as one typer application, and what becomes of their errors."""

from __future__ import annotations

import errno
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgelearn import __version__
from edgelearn.cli import VERBS
from edgelearn.errors import EdgeLearnError, Interrupted, UsageError

_REPORT = "This is a defect of edgelearn. Please report it with the output of: edgelearn --debug"
_HELP = "Train networks on microcontrollers, one sample at a time, without backpropagation."


class Verbs(TyperGroup):
    """Knows every verb's name and help line without importing it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        return typer.main.get_command(import_module(f"edgelearn.cli.{cmd_name}").app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in VERBS:
            from edgelearn.tomlfile import nearest

            raise UsageError(f"There is no verb '{args[0]}'.", nearest(args[0], tuple(VERBS)))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # typer would print a line of its own
            raise Interrupted("Stopped.") from None


app = typer.Typer(cls=Verbs, help=_HELP, rich_markup_mode=None, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edgelearn {__version__}")
        raise typer.Exit


@app.callback()
def edgelearn(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
) -> None:
    """Train networks on microcontrollers, one sample at a time, without backpropagation."""


def run(args: list[str]) -> int:
    """Runs one command; returns its exit code (docs/cli.md)."""
    args = args or ["--help"]
    try:
        return int(typer.main.get_command(app)(args, prog_name="edgelearn", standalone_mode=False) or 0)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nobody to explain it to
        return 1
    except Exception as error:  # noqa: BLE001 (the last resort: everything becomes an exit code here)
        return _explain(error, args)


def _explain(error: Exception, args: list[str]) -> int:
    """Tells the user what went wrong, as text or as JSON; returns the exit code."""
    from edgelearn.cli import output

    known = _known(error)
    verb = next((word for word in args if word in VERBS), "error")
    output.failure(verb, known, as_json="--json" in args or "--stream" in args)
    if "--debug" in args:
        import traceback

        traceback.print_exception(error)
    return known.exit_code


def _known(error: Exception) -> EdgeLearnError:
    """``error`` as one of ours."""
    if isinstance(error, EdgeLearnError):
        return error
    if isinstance(error, typer.Abort):
        return Interrupted("Stopped.")
    if isinstance(error, typer.BadParameter.__mro__[1]):  # click's UsageError, from wherever typer takes it
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "edgelearn"
        return UsageError(str(getattr(error, "format_message")()), f"{command} --help")  # noqa: B009
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return UsageError(f"'{str(error.filename)[:60]}...' is too long for the name of a file.", "Give another one.")
    return EdgeLearnError(f"{type(error).__name__}: {error}", _REPORT)
