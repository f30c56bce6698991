"""``edgelearn resume``: goes on with a run where it was stopped."""

from __future__ import annotations

import typer

from edgelearn.cli import options, output, progress
from edgelearn.cli.train import outcome

app = typer.Typer(rich_markup_mode=None)


@app.command()
def resume(run: options.RunId, port: options.Port = None, as_json: options.Json = False) -> None:
    """Go on with an interrupted run; it ends in the state that it would have had anyway."""
    from edgelearn.errors import ConfigError
    from edgelearn.runs import RunStore
    from edgelearn.session import Session

    with RunStore() as store:
        found = store.get(run)
        if found.status == "finished":
            raise ConfigError(f"Run {found.id} is finished.", f"Measure it with: edgelearn eval {found.id}")
        with Session(found.board, port) as session, progress.training("learning", as_json) as show:
            result = session.resume(found.id, store, show)
    output.report("resume", result.data, as_json, outcome)
