"""``edgelearn pair``: key files for boards that take orders only from who has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output
from edgelearn.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(rich_markup_mode=None)
File = Annotated[Path, typer.Argument(metavar="KEYFILE", help="The key file; it is a secret, and stays with you.")]
New = Annotated[bool, typer.Option("--new", help="Make it.")]
Raise = Annotated[
    bool, typer.Option("--raise-counter", help="Have boards refuse the plans that were signed with it so far.")
]


@app.command()
def pair(file: File, new: New = False, raise_counter: Raise = False, as_json: options.Json = False) -> None:
    """Make a key that boards are paired with, or show what is no secret of it."""
    from edgelearn.pairing import keys

    if new and raise_counter:
        raise UsageError("--new and --raise-counter are both given.", "Give one: a new key begins with counter 1.")
    key = keys.new(file) if new else keys.raise_counter(file) if raise_counter else keys.read(file)
    told = {"key": key.id, "public": key.public.hex(), "counter": key.counter, "file": str(file), "made": new}
    output.report("pair", told, as_json, _human)


def _human(data: dict[str, Any]) -> RenderableType:
    rows = [
        ("key", data["key"], "what boards and `edgelearn doctor --port` say"),
        ("counter", str(data["counter"]), "boards refuse plans with a lower one than they have seen"),
    ]
    file = data["file"]
    hints = [f"  edgelearn flash BOARD --key {file}", f"  edgelearn train digits --board BOARD --key {file}"]
    after = [output.text("What to type next:"), *map(output.command, hints)] if data["made"] else []
    return output.group(output.facts(rows), *after)
