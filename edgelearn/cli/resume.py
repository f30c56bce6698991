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
    key_file: options.KeyFile = None,
    device: options.Device = None,
    live: options.Live = False,
    as_json: options.Json = False,
) -> None:
    """Go on with an interrupted run; it ends in the state that it would have had anyway."""
    from edgelearn.runs import RunStore
    from edgelearn.session import reopen, unfinished

    options.demand_eyes(live, as_json)
    with RunStore() as store:
        found = unfinished(store, run)
        way = options.way(found.board, port, device)
        with (
            reopen(found, port=way, token_file=token_file, key_file=key_file) as session,
            progress.chosen(session, f"run {found.id}, board {found.board}", live, as_json) as show,
        ):
            result = session.resume(found.id, store, show)
    output.report("resume", result.data, as_json, outcome)
