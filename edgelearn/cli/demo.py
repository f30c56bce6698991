"""``edgelearn demo``: the shortest way to see that it learns, how well, and what that costs."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from edgelearn.cli import options, output, progress
from edgelearn.cli.train import cost_rows, headline, warnings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.bench.twin import Twin
    from edgelearn.job import Job

app = typer.Typer(rich_markup_mode=None)
RECIPE, BOARD = "digits", "sim"


@app.command()
def demo(
    port: options.Port = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
) -> None:
    """Train the digits on a simulated board and compare with backpropagation."""
    from edgelearn.job import prepare
    from edgelearn.runs import RunStore
    from edgelearn.session import Session

    job = prepare(RECIPE, BOARD, **options.overrides(steps=steps, seed=seed))
    if not as_json:
        output.show(output.text(headline(job)))
    with RunStore() as store, Session(job.board, port) as session:
        with progress.training("learning on the board", as_json) as show:
            data = session.train(job, store, show, evaluate_before=True).data
        data["store"] = str(store.path)
    twin = _twin(job, as_json)
    data |= {"backprop_accuracy": twin.accuracy, "backprop": asdict(twin), "test_samples": len(job.data.x_test)}
    output.report("demo", data, as_json, _human)


def _twin(job: Job, quiet: bool) -> Twin:
    from edgelearn.bench.twin import backprop_twin

    train = job.recipe.train
    with progress.bar("backpropagation here", quiet) as advance:
        return backprop_twin(job.compiled.net, job.data, job.steps, train.seed, train.drops, advance)


def _human(data: dict[str, Any]) -> RenderableType:
    n = data["test_samples"]
    rate = f"rate 2^{round(math.log2(data['backprop']['rate']))}"
    twin = f"float, on this computer, {rate},\nbest of {len(data['backprop']['rates'])} rates on a validation split"
    rows = [
        ("test accuracy", output.percent(data["accuracy"]), f"of {n} unseen digits; one seed of many"),
        ("backpropagation twin", output.percent(data["backprop_accuracy"]), twin),
        ("before training", output.percent(data["accuracy_before"]), "chance is 10 %"),
        *cost_rows(data),
    ]
    kept = output.text(f"Kept in {data['store']}", "dim")
    odd = (*output.notes(data["notes"]), *warnings(data))
    return output.group(output.facts(rows), *odd, kept, *_next(data["run"]))


def _next(run: str) -> list[RenderableType]:
    lines = (
        ("show digits --board microbit", "its memory"),
        ("train digits --board microbit --port qemu", "train on it"),
        (f"eval {run}", "where it errs"),
    )
    me = output.program()
    return [
        output.text("What to type next:"),
        *(output.command(f"  {me} {verb:<41}  {why}") for verb, why in lines),
    ]
