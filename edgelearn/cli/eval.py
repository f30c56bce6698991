"""``edgelearn eval``: the accuracy of a run's newest state, computed by its board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(rich_markup_mode=None)
MAX_CLASSES = 12  # that a confusion table fits on a screen
Samples = Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="Only N of the test samples.")]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="S", min=0, help="Choose them at random, by this seed; else the first.")
]


@app.command(name="eval")
def evaluate(
    run: options.RunId,
    board: options.AnyBoard = None,
    port: options.Port = None,
    token_file: options.TokenFile = None,
    key_file: options.KeyFile = None,
    data: options.Data = None,
    steps: Samples = None,
    seed: Seed = None,
    as_json: options.Json = False,
) -> None:
    """Measure the accuracy of a run on its board."""
    import numpy as np

    from edgelearn import session as sessions
    from edgelearn.ir import rng
    from edgelearn.runs import RunStore

    with RunStore() as store:
        found = store.get(run)
        with sessions.reopen(found, board, port, token_file, key_file) as session:
            job = session.load_run(found, store, **options.overrides(data=data))
            n = len(job.data.y_test)
            chosen = (np.arange(n) if seed is None else rng.permutation(seed, 0, n))[:steps]
            guesses = np.asarray(session.infer(job, job.data.x_test[chosen]))
    result = sessions.evaluate(guesses, job.data.y_test[chosen], job.data.classes)
    told = {"accuracy": result.accuracy, "n": result.n, "confusion": result.confusion}
    output.report("eval", {"run": found.id, "board": job.board.id, "data": job.data.name, **told}, as_json, _human)


def _human(data: dict[str, Any]) -> RenderableType:
    where = f"test samples of {data['data']}, on {data['board']}"
    line = f"{output.percent(data['accuracy'])} right of {data['n']:,} {where}"
    classes = [str(i) for i in range(len(data["confusion"]))]
    if len(classes) > MAX_CLASSES:
        return output.text(line)
    rows = [(true, *(n or "." for n in row)) for true, row in zip(classes, data["confusion"], strict=True)]
    columns = ("true", *classes)
    return output.group(output.text(line), output.table(columns, rows, right=columns, title="taken for"))
