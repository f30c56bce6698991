"""``edgelearn runs``: the run store, read only, and as tables for others."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.runs import Run, RunStore

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
LAST = 12  # metrics shown
Some = Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids or their beginnings; none: all runs.")]
To = Annotated[str, typer.Option("--to", metavar="FORMAT", help="csv, parquet or tensorboard.")]
Folder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where to write.")]


@app.callback()
def runs(context: typer.Context, as_json: options.Json = False) -> None:
    """List the runs, newest first, or show one."""
    context.obj = as_json
    if context.invoked_subcommand is None:
        _list(as_json)


@app.command(name="list")
def list_runs(context: typer.Context, as_json: options.Json = False) -> None:
    """List the runs, newest first."""
    _list(as_json or context.obj)


@app.command()
def show(context: typer.Context, run: options.RunId, as_json: options.Json = False) -> None:
    """Show one run: recipe, result, how it learnt."""
    from edgelearn.runs import RunStore

    with RunStore() as store:
        data = _whole(store.get(run), store)
    output.report("runs", data, as_json or context.obj, _human_run)


@app.command()
def export(
    context: typer.Context, runs: Some = None, to: To = "csv", folder: Folder = Path(), as_json: options.Json = False
) -> None:
    """Write runs and their readings as tables for other programs."""
    from edgelearn.report import tables
    from edgelearn.runs import RunStore

    with RunStore() as store:
        files = tables.export(store, runs or (), to, folder)
    told = {"format": to, "files": [{"path": str(path), "bytes": nbytes} for path, nbytes in files.items()]}
    output.report("runs", told, as_json or context.obj, _human_export)


def _list(as_json: bool) -> None:
    from edgelearn.runs import RunStore

    with RunStore() as store:
        data = {"store": str(store.path), "runs": [_summary(run) for run in store.list()]}
    output.report("runs", data, as_json, _human_list)


def _summary(run: Run) -> dict[str, Any]:
    result = run.result or {}
    return {
        "id": run.id, "created": run.created, "net": _net(run), "rule": run.rule,
        "rule_source": _rule_source(run), "dtype": run.dtype,
        "board": run.board, "seed": run.seed, "status": run.status, "accuracy": result.get("accuracy"),
        "steps": result.get("steps", result.get("step")),
    }  # fmt: skip


def _net(run: Run) -> str:
    """Widths of the net by the stored recipe, which may be anything."""
    try:
        model = tomllib.loads(run.recipe)["model"]
        inputs = 1
        for n in model["input"]:
            inputs *= int(n)
        return "-".join(map(str, (inputs, *model["layers"], model["classes"])))
    except (ValueError, KeyError, TypeError):
        return "?"


def _rule_source(run: Run) -> str | None:
    """``file.py:Class`` by the stored recipe; None for a rule that comes with the package."""
    try:
        name = str(tomllib.loads(run.recipe)["rule"]["name"])
    except (ValueError, KeyError, TypeError):
        return None
    return name if ":" in name else None


def _whole(run: Run, store: RunStore) -> dict[str, Any]:
    checkpoint = store.newest_checkpoint(run.id)
    return {
        **_summary(run), "port": run.port, "store": str(store.path), "recipe": run.recipe, "rule_hash": run.rule_hash,
        "versions": run.versions, "plan_bytes": len(run.plan), "result": run.result,
        "checkpoint": None if checkpoint is None else checkpoint.step,
        "metrics": {name: [list(pair) for pair in pairs] for name, pairs in store.metrics(run.id).items()},
    }  # fmt: skip


def _human_export(data: dict[str, Any]) -> RenderableType:
    rows = [(file["path"], output.size(file["bytes"])) for file in data["files"]]
    return output.table(("file", "size"), rows, right=("size",))


def _human_list(data: dict[str, Any]) -> RenderableType:
    if not data["runs"]:
        return output.text("There are no runs yet: `edgelearn train digits` makes one.")
    rows = [
        (r["id"], r["net"], r["dtype"], r["board"], r["status"], output.percent(r["accuracy"]))
        for r in data["runs"]
    ]  # fmt: skip
    return output.table(("run", "net", "numbers", "board", "status", "accuracy"), rows, right=("accuracy",))


def _human_run(data: dict[str, Any]) -> RenderableType:
    shown = {**data, "rule": output.rule(data["rule"], data["rule_source"])}
    names = ("id", "created", "net", "rule", "dtype", "board", "seed", "status")
    head = [(name, "", str(shown[name])) for name in names]
    head += [("accuracy", "", output.percent(data["accuracy"])), ("checkpoint", "", f"step {data['checkpoint']}")]
    pairs = data["metrics"].get("train_accuracy", [])[-LAST:]
    rows = [(f"{step:,}", output.percent(value)) for step, value in pairs]
    learnt = output.table(("step", "right before learning"), rows, right=("step", "right before learning"))
    return output.group(output.facts(head), learnt, output.text(data["recipe"], "dim"))
