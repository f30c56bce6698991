"""``edgelearn bench``: the project's own figures, measured again here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output, progress

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
BENCHES = {
    "accuracy": "of a case, over several seeds, beside backpropagation",
    "instructions": "per sample, beside backpropagation in C, counted in QEMU",
    "memory": "planned against measured RAM, every recipe on every board",
    "imports": "time until the command line answers",
}
ListCases = Annotated[bool, typer.Option("--list", help="Name what can be measured.")]
Out = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write JSON there (.md: Markdown).")]
Seeds = Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="How many.")]


@app.callback()
def bench(context: typer.Context, cases: ListCases = False, as_json: options.Json = False) -> None:
    """Measure: accuracy, instructions, memory, imports."""
    context.obj = as_json
    if cases or context.invoked_subcommand is None:
        from edgelearn.bench.accuracy import CASES

        named = [{"bench": "accuracy", "case": name, "recipe": case.recipe} for name, case in CASES.items()]
        output.report("bench", {"benches": BENCHES, "cases": named}, as_json, _human_list)
        raise typer.Exit


@app.command()
def accuracy(
    context: typer.Context,
    case: Annotated[str, typer.Option("--case", metavar="NAME", help="See: edgelearn bench --list")],
    seeds: Seeds = 3,
    data: options.Data = None,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """Accuracy of a case over several seeds, beside backpropagation."""
    from edgelearn.bench import accuracy as bench

    quiet = as_json or context.obj
    with progress.bar(case, quiet) as advance:
        rows = bench.run(case, seeds, data, advance)
    source = {"published_source": bench.CASES[case].source} if bench.CASES[case].source else {}
    _finish({"case": case, "rows": [asdict(row) for row in rows], **source}, quiet, out, bench.markdown(case, rows))


@app.command()
def instructions(
    context: typer.Context,
    board: options.Board = "mps2-an386",
    net: Annotated[str, typer.Option("--net", metavar="WIDTHS", help="Inputs, layers, classes.")] = "64-32-10",
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes.")] = 5,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="Of weights and rounding.")] = 1,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """Instructions per sample, beside backpropagation in C, counted in QEMU."""
    from edgelearn import boards
    from edgelearn.bench import instructions as bench
    from edgelearn.bench.plans import compile_plans
    from edgelearn.data import datasets

    data = datasets.load("digits")
    plans = compile_plans(net, data, boards.load(board), seed)
    rows = bench.run(board, net, plans, bench.samples(data), epochs=epochs, seed=seed)
    told = {"case": f"{board} {net}", "board": board, "net": net, "rows": [asdict(row) for row in rows]}
    _finish(told, as_json or context.obj, out)


@app.command()
def memory(context: typer.Context, out: Out = None, as_json: options.Json = False) -> None:
    """Planned against measured RAM of every recipe on every board that can run here."""
    from edgelearn.bench import memory as bench

    quiet = as_json or context.obj
    with progress.bar("memory", quiet) as advance:
        rows = bench.run(on_row=advance)
    _finish({"case": "memory", "rows": [asdict(row) for row in rows]}, quiet, out)


@app.command()
def imports(
    context: typer.Context,
    starts: Annotated[int, typer.Option("--starts", metavar="N", min=1, help="Process starts of each.")] = 9,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """Time until the command line answers."""
    from edgelearn.bench import imports as bench

    rows = [asdict(row) for row in bench.run(starts)]
    _finish({"case": "imports", "rows": rows}, as_json or context.obj, out)


def _finish(data: dict[str, Any], as_json: bool, out: Path | None, markdown: str | None = None) -> None:
    """Writes the file that was asked for, and prints."""
    if out is not None:
        _write(out, _markdown(data) if markdown is None else markdown, data)
    output.report("bench", data, as_json, _human)


def _write(path: Path, markdown: str, data: dict[str, Any]) -> None:
    from edgelearn.errors import StorageFullError

    text = markdown if path.suffix == ".md" else json.dumps({"schema": "edgelearn.bench/1", **data}, indent=2) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageFullError(f"Cannot write {path}: {error.strerror}.", "Name another file with -o.") from error


def _columns(data: dict[str, Any]) -> list[str]:
    """The keys worth a column: what is empty in every row, a list, or said by the name already is not."""
    rows, said = data["rows"], {"seeds", "recipe", "board"}
    return [key for key in rows[0] if key not in said and any(row[key] not in (None, "") for row in rows)]


def _markdown(data: dict[str, Any]) -> str:
    columns = _columns(data)
    lines = [columns, ["---"] * len(columns), *([_cell(k, row[k]) for k in columns] for row in data["rows"])]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _human(data: dict[str, Any]) -> RenderableType:
    measured = [row for row in data["rows"] if not row.get("reason")]
    missing = [f"{row['name']}: {row['reason']}" for row in data["rows"] if row.get("reason")]
    columns = [key for key in _columns(data) if key != "reason"]
    rows: Sequence[Sequence[str]] = [[_cell(key, row[key]) for key in columns] for row in measured]
    # Of instructions "epoch1" and "mean" stand beside "train".
    headings = [key.removeprefix("train_") for key in columns]
    shown = output.table(headings, rows, right=headings[1:], wrap=("name",), title=data["case"])
    return output.group(shown, *map(output.text, missing))


_FRACTIONS = ("mean", "std", "accuracy", "published")


def _cell(key: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{100 * value:.2f} %" if key in _FRACTIONS else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _human_list(data: dict[str, Any]) -> RenderableType:
    benches = output.table(("bench", "measures"), data["benches"].items(), wrap=("measures",))
    cases = output.table(("bench accuracy --case", "recipe"), ((c["case"], c["recipe"]) for c in data["cases"]))
    return output.group(benches, cases)
