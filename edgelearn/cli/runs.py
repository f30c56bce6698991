"""``edgelearn runs``: the run store, read only, and as tables for others."""

from __future__ import annotations

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
To = Annotated[str, typer.Option("--to", metavar="FORMAT", help="csv, parquet, tensorboard or mlflow.")]
Folder = Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where to write; else here.")]


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
    context: typer.Context, runs: Some = None, to: To = "csv", folder: Folder = None, as_json: options.Json = False
) -> None:
    """Write runs and their readings as tables for other programs, or to MLflow."""
    from edgelearn.report import tables, to_mlflow
    from edgelearn.runs import RunStore

    uri = to_mlflow.tracking(folder) if to == "mlflow" else None
    with RunStore() as store:
        if uri is not None:  # noqa: SIM108 (each line says one thing)
            files = tables.to_mlflow(store, runs or (), uri)
        else:
            files = tables.export(store, runs or (), to, folder or Path())
    told = {"format": to, "files": [{"path": str(path), "bytes": nbytes} for path, nbytes in files.items()]}
    told |= {} if uri is None else {"tracking": to_mlflow.place(uri)}
    output.report("runs", told, as_json or context.obj, _human_export)


def _list(as_json: bool) -> None:
    from edgelearn.runs import RunStore
    from edgelearn.serve.summary import summary

    with RunStore() as store:
        data = {"store": str(store.path), "runs": [summary(run) for run in store.list()]}
    output.report("runs", data, as_json, _human_list)


def _whole(run: Run, store: RunStore) -> dict[str, Any]:
    from edgelearn.serve.summary import summary

    checkpoint = store.newest_checkpoint(run.id)
    return {
        **summary(run), "port": run.port, "store": str(store.path), "recipe": run.recipe, "rule_hash": run.rule_hash,
        "versions": run.versions, "plan_bytes": len(run.plan), "result": run.result,
        "checkpoint": None if checkpoint is None else checkpoint.step,
        "metrics": {name: [list(pair) for pair in pairs] for name, pairs in store.metrics(run.id).items()},
    }  # fmt: skip


def _human_export(data: dict[str, Any]) -> RenderableType:
    rows = [(file["path"], output.size(file["bytes"])) for file in data["files"]]
    table = output.table(("file", "size"), rows, right=("size",))
    if "tracking" not in data:
        return table
    shown = output.text(f"In MLflow, experiment edgelearn: {data['tracking']}")
    return output.group(*([table] if rows else []), shown)


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
