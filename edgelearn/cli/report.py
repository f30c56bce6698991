"""``edgelearn report``: runs as one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(rich_markup_mode=None)
Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of runs, or their beginnings; up to 8.")]
Out = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write.")]
StoredOnly = Annotated[
    bool, typer.Option("--stored-only", help="Show what the store has; compile nothing, test nothing.")
]

Instructions = Annotated[
    Path | None, typer.Option("--instructions", metavar="FILE", help="What `edgelearn bench instructions -o` wrote.")
]
Profile = Annotated[
    Path | None, typer.Option("--profile", metavar="FILE", help="What `edgelearn profile RUN --json` printed.")
]


@app.command()
def report(
    runs: Runs,
    file: Out = Path("report.html"),
    profile: Profile = None,
    instructions: Instructions = None,
    stored_only: StoredOnly = False,
    as_json: options.Json = False,
) -> None:
    """Write runs as one page that opens without a network: curves, confusion, memory, link, recipe."""
    from edgelearn.report import report as write

    done = write(runs, file, stored_only=stored_only, profile=profile, instructions=instructions)
    told = {"file": str(done.file), "bytes": done.nbytes, "runs": list(done.runs), "notes": list(done.notes)}
    output.report("report", told, as_json, _human)


def _human(data: dict[str, Any]) -> RenderableType:
    return output.group(
        *output.notes(data["notes"]), output.text(f"Written: {data['file']} ({output.size(data['bytes'])})")
    )
