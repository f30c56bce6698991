"""``edgelearn infer``: what a run's board takes samples for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output
from edgelearn.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from edgelearn.job import Job

app = typer.Typer(rich_markup_mode=None)
FIRST = 10
Index = Annotated[list[int] | None, typer.Option("--index", metavar="I", min=0, help="This sample; may be repeated.")]
First = Annotated[int | None, typer.Option("--first", metavar="N", min=1, help=f"The first N ({FIRST}).")]


@app.command()
def infer(
    run: options.RunId,
    data: options.Data = None,
    index: Index = None,
    first: First = None,
    board: options.AnyBoard = None,
    port: options.Port = None,
    token_file: options.TokenFile = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> None:
    """Classify samples with a run on its board: of the run's test set, of another set's, or of a file."""
    from edgelearn.runs import RunStore
    from edgelearn.session import reopen

    with RunStore() as store:
        found = store.get(run)
        with reopen(found, board, port, token_file, key_file) as session:
            job = session.load_run(found, store)
            x, y = samples(job, data)
            chosen = _chosen(index, first, len(x))
            guesses = session.infer(job, x[chosen])
    told = [
        {"index": i, "class": guess, "truth": None if y is None else int(y[i])}
        for i, guess in zip(chosen, guesses, strict=True)
    ]
    output.report("infer", {"run": found.id, "board": job.board.id, "samples": told}, as_json, _human)


def samples(job: Job, given: str | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Samples (N, ...) of real values, and their classes where the data know them.

    Raises:
        ConfigError: there is no such data, or a sample has another number of values than the net takes.
    """
    from edgelearn.data import datasets, files

    if given is None:
        return job.data.x_test, job.data.y_test
    path = Path(given).expanduser()
    arrays = files.read_npz(path) if path.suffix == ".npz" and path.is_file() else {}
    if "x" in arrays and "y" not in arrays:
        x, y = _real(arrays["x"]), None
    elif given in datasets.NAMES:
        dataset = datasets.load(given, job.recipe.data.root)
        x, y = dataset.x_test, dataset.y_test
    else:  # a file: every sample, whatever part it would be in for training
        x, y = _whole(datasets.load(given))
    if math.prod(x.shape[1:]) != job.compiled.net.inputs:
        problem = f"A sample of '{given}' has {math.prod(x.shape[1:])} values, the net takes {job.compiled.net.inputs}."
        raise ConfigError(problem, "Give samples like those that it was trained on.")
    return x, y


def _whole(dataset: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    import numpy as np

    return np.concatenate([dataset.x_train, dataset.x_test]), np.concatenate([dataset.y_train, dataset.y_test])


def _real(x: NDArray[Any]) -> NDArray[Any]:
    """Unlabelled samples as the data sets give them: pixels of one byte stand for 0 to 1."""
    import numpy as np

    if x.ndim < 2 or x.dtype.kind not in "iufb" or not np.isfinite(x).all():
        raise ConfigError("'x' is no array of samples of finite numbers.", "Give x (N, ...), float or uint8.")
    return x.astype(np.float32) / np.float32(255 if x.dtype == np.uint8 else 1)


def _chosen(index: list[int] | None, first: int | None, n: int) -> list[int]:
    if index and first is not None:
        raise UsageError("--index and --first exclude each other.", "Give one of them.")
    chosen = index or list(range(min(first or FIRST, n)))
    if max(chosen, default=0) >= n:
        raise UsageError(f"There is no sample {max(chosen)}.", f"Indices go from 0 to {n - 1}.")
    return chosen


def _human(data: dict[str, Any]) -> RenderableType:
    def mark(s: dict[str, Any]) -> str:
        return "" if s["truth"] in (None, s["class"]) else "wrong"

    rows = [(s["index"], s["class"], "-" if s["truth"] is None else s["truth"], mark(s)) for s in data["samples"]]
    return output.table(("sample", "class", "truth", ""), rows, right=("sample", "class", "truth"))
