"""``edgelearn resume``: goes on with a run where it was stopped."""

from __future__ import annotations

import typer

from edgelearn.cli import options, output, progress
from edgelearn.cli.train import outcome

app = typer.Typer(rich_markup_mode=None)


@app.command()
def resume(
    run: options.RunId,
    port: options.Port = None,
    token_file: options.TokenFile = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Go on with an interrupted run; it ends in the state that it would have had anyway."""
    from edgelearn.runs import RunStore
    from edgelearn.session import reopen, unfinished

    with RunStore() as store:
        found = unfinished(store, run)
        with (
            reopen(found, port=options.way(found.board, port, device), token_file=token_file) as session,
            progress.training("learning", as_json) as show,
        ):
            result = session.resume(found.id, store, show)
    output.report("resume", result.data, as_json, outcome)
