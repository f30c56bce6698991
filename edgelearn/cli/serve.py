"""``edgelearn serve``: the run store in a browser, or its present state once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output
from edgelearn.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(rich_markup_mode=None)
RunId = Annotated[str | None, typer.Argument(metavar="[RUN]", help="With --once: this run alone.")]
Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; any but this computer's own needs a token.")
]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")]
Runs = Annotated[
    Path | None, typer.Option("--runs", metavar="FILE", help="The run store, or the folder of its runs.sqlite.")
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="A secret that browsers must be given too.")
]
Once = Annotated[bool, typer.Option("--once", help="Print how the runs stand, and end.")]


@app.command()
def serve(
    run: RunId = None,
    host: Host = "127.0.0.1",
    port: Port = 7080,
    runs: Runs = None,
    token_file: TokenFile = None,
    once: Once = False,
    as_json: options.Json = False,
) -> None:
    """Show the run store in a browser, as it changes, until Ctrl-C."""
    path = _store(runs)
    if once:
        from edgelearn.serve.summary import state

        output.report("serve", state(path, run), as_json, _human)
        return
    if run is not None:
        raise UsageError("All runs are served.", f"Leave {run} out, or print how it stands: add --once.")
    _serve(path, host, port, token_file, as_json)


def _store(given: Path | None) -> Path:
    from edgelearn.runs import default_path

    path = given or default_path()
    return path / "runs.sqlite" if path.is_dir() else path


def _serve(path: Path, host: str, port: int, token_file: Path | None, as_json: bool) -> None:
    from edgelearn.link import token
    from edgelearn.serve.server import Server

    with Server(path, host, port, None if token_file is None else token.read(token_file)) as server:
        if as_json:
            output.emit("serve", {"listen": server.url, "store": str(path)})
        else:
            print(f"{path} is served at {server.url} until Ctrl-C.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _human(data: dict[str, Any]) -> RenderableType:
    if not data["runs"]:
        return output.text("There are no runs yet: `edgelearn train digits` makes one.")
    rows = [(r["id"], r["board"], r["status"], _step(r), _percent(r["train_accuracy"]), _percent(r["accuracy"]))
            for r in data["runs"]]  # fmt: skip
    columns = ("run", "board", "status", "step", "guesses", "accuracy")
    return output.table(columns, rows, right=columns[3:])


def _step(run: dict[str, Any]) -> str:
    return "-" if run["step"] is None else f"{run['step']:,}"


def _percent(value: object) -> str:
    return output.percent(value if isinstance(value, float) else None)
