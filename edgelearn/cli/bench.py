"""``edgelearn bench``: the project's own figures, measured again here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import bench_energy, options, output, progress
from edgelearn.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.bench.accuracy import Options, Row
    from edgelearn.bench.methods import Case

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
app.command()(bench_energy.energy)
app.command()(bench_energy.figures)
BENCHES = {
    "accuracy": "of a case, over several seeds, beside backpropagation",
    "instructions": "per sample, beside backpropagation in C, counted in QEMU",
    "memory": "planned against measured memory: recipes, rules, depth, a keyword spotter",
    "link": "how busy the wire is, computed on a virtual clock",
    "energy": "energy, time and memory of rules beside backpropagation, on this computer",
    "store": "bytes a step in the run store, time and size of a report, the store after kill -9",
    "throughput": "steps a second here: exported nets beside PyTorch, int8 beside floats",
    "imports": "time until the command line answers",
    "figures": "nothing: makes the tables of README and docs again from the stored runs",
}
ListCases = Annotated[bool, typer.Option("--list", help="Name what can be measured.")]
Out = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write JSON there (.md: Markdown).")]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="N|S,S", help="How many, or which; 3, or 1 to choose.")]
DataFolder = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Where the data sets lie; else EDGELEARN_DATA.")
]
Rows = Annotated[str | None, typer.Option("--rows", metavar="NAME,...", help="Only these; 'backprop*' is a pattern.")]
RowDtype = Annotated[str | None, typer.Option("--dtype", metavar="KIND", help="Only rows of this kind: int8 or f32.")]
OnBoard = Annotated[
    str | None, typer.Option("--board", metavar="ID", help="Let rows of the C core learn there, not here.")
]
Results = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Results, one file for each row and seed. Else in the cache."),
]
Again = Annotated[bool, typer.Option("--again", help="Measure what is in that folder already, too.")]
Choose = Annotated[bool, typer.Option("--choose", help="Try rates on a fifth of the training set instead.")]
Rates = Annotated[
    str | None, typer.Option("--rates", metavar="R,R", help="For --choose; else five around the table's.")
]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write the table there too.")]


@app.callback()
def bench(context: typer.Context, cases: ListCases = False, as_json: options.Json = False) -> None:
    """Measure: accuracy, energy, instructions, memory, link, throughput, store, imports."""
    context.obj = as_json
    if cases or context.invoked_subcommand is None:
        from edgelearn.bench.cases import CASES

        named = [
            {
                "bench": "accuracy", "case": case.name, "recipe": case.recipe, "data": case.data,
                "names": [row.name for row in case.rows],
            }
            for case in CASES.values()
        ]  # fmt: skip
        output.report("bench", {"benches": BENCHES, "cases": named}, as_json, _human_list)
        raise typer.Exit


@app.command()
def accuracy(
    context: typer.Context,
    case: Annotated[str, typer.Option("--case", metavar="NAME", help="See: edgelearn bench --list")],
    rows: Rows = None,
    seeds: Seeds = None,
    dtype: RowDtype = None,
    board: OnBoard = None,
    port: options.Port = None,
    data: DataFolder = None,
    results: Results = None,
    again: Again = False,
    choose: Choose = False,
    rates: Rates = None,
    markdown: Markdown = None,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """Accuracy of a case over several seeds, beside backpropagation."""
    from edgelearn.bench import accuracy as bench
    from edgelearn.bench import cases, table

    quiet, found, names = as_json or context.obj, cases.find(case), names_of(rows)
    _check_choose(choose, rates, markdown)
    with progress.bar(case, quiet) as advance:
        how = bench.Options(data, board, port, results or bench.default_out(), again, advance)
        if choose:
            _choose(found, seeds_of(seeds, 1), names, dtype, _numbers("--rates", rates), how, out, quiet)
            return
        measured = bench.run(found, seeds_of(seeds, 3), names, dtype, how)
    page = table.markdown(found.name, measured, found.note)
    if markdown is not None:
        _write_text(markdown, page, "--markdown")
    source = next((row.source for row in measured if row.source), None)
    told = {
        "case": found.name,
        "rows": [asdict(row) for row in measured],
        "published_source": source,
        "note": found.note,
    }
    if out is not None:
        write_file(out, page, told)
    output.report("bench", told, quiet, lambda _: _human_accuracy(found, measured))


def _choose(
    case: Case, seeds: int | list[int], rows: list[str], dtype: str | None, rates: list[float], how: Options,
    out: Path | None, quiet: bool,
) -> None:  # fmt: skip
    from edgelearn.bench.choose import choose

    made = [asdict(choice) for choice in choose(case, seeds, rows, dtype, rates, how)]
    _finish({"case": f"{case.name}, validation", "rows": made}, quiet, out, _human_choices)


def _check_choose(choose: bool, rates: str | None, markdown: Path | None) -> None:
    if rates is not None and not choose:
        raise UsageError("--rates is for --choose; a table has its rates written down.", "Add --choose.")
    if markdown is not None and choose:
        raise UsageError("--choose makes no table of results.", "Leave --markdown out, or write JSON with -o.")


def names_of(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()] if text else []


def seeds_of(text: str | None, usual: int) -> int | list[int]:
    """A number of seeds, or with a comma the seeds themselves: ``3`` are 1, 2, 3 and ``3,`` is 3 alone."""
    try:
        if text is None:
            return usual
        return [int(part) for part in text.split(",") if part.strip()] if "," in text else int(text)
    except ValueError:
        raise UsageError(f"--seeds: '{text}' are no seeds.", "Write --seeds 5, or --seeds 2,3.") from None


def _numbers(option: str, text: str | None) -> list[float]:
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UsageError(f"{option}: '{text}' are no numbers.", f"Write {option} 0.1,0.05.") from None


@app.command()
def instructions(
    context: typer.Context,
    board: options.Board = "mps2-an386",
    net: Annotated[str, typer.Option("--net", metavar="WIDTHS", help="Inputs, layers, classes.")] = "64-32-10",
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes.")] = 5,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="Of weights and rounding.")] = 1,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="FILE", help="Fail if a count rose by more than 2 % since this file of -o."),
    ] = None,
    cmsis: Annotated[
        Path | None, typer.Option("--cmsis-nn", metavar="FOLDER", help="A copy of Arm's CMSIS-NN, to count as well.")
    ] = None,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """Instructions per sample, beside backpropagation in C, counted in QEMU."""
    from edgelearn import boards, cmsis_nn
    from edgelearn.bench import counts
    from edgelearn.bench import instructions as bench
    from edgelearn.bench.plans import compile_plans

    copy = None if cmsis is None else cmsis_nn.given(cmsis, boards.load(board).prefix)
    data = bench.dataset(net)
    plans, samples = compile_plans(net, data, boards.load(board), seed), bench.samples(data, bench.task(net).full)
    rows = bench.run(board, net, plans, samples, epochs=epochs, seed=seed, cmsis=copy)
    told = {
        "case": f"{board} {net}", "board": board, "net": net, "compiler": counts.compiler(boards.load(board)),
        "dense": bench.dense(board), "rows": [asdict(row) for row in rows],
    }  # fmt: skip
    if copy:
        told["cmsis_nn"] = {"kernel": cmsis_nn.revision(copy), "dense": bench.dense(board, copy)}
    risen = [] if check is None else counts.check(counts.read(check), told)
    _finish(told, as_json or context.obj, out, lambda data: _human_counts(data, risen))


def _human_counts(data: dict[str, Any], risen: Sequence[str]) -> RenderableType:
    from edgelearn.bench.instructions import DENSE

    lines = [f"Guest instructions in QEMU, {data['compiler']}: neither cycles nor time."]
    if data["dense"]:
        lines.append(f"A dense int8 layer by itself, 784 x 128: {data['dense'] / DENSE:.2f} instructions a product.")
    if theirs := data.get("cmsis_nn"):
        count = f"{theirs['dense'] / DENSE:.2f} instructions a product" if theirs["dense"] else "no room for it"
        lines.append(f"The same layer of CMSIS-NN ({theirs['kernel']}), with its narrowing to int8: {count}.")
    lines += [f"Risen, with another compiler: {line}." for line in risen]
    return output.group(_human(data), *map(output.text, lines))


@app.command()
def memory(
    context: typer.Context,
    case: Annotated[
        str, typer.Option("--case", metavar="NAME", help="recipes, rules, flash, smallest, depth, keywords or all.")
    ] = "recipes",
    board: Annotated[str | None, typer.Option("--board", metavar="ID,...", help="Only these boards.")] = None,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """Planned against measured memory, on every board that can run here."""
    from edgelearn.bench import memory as bench

    quiet, boards = as_json or context.obj, names_of(board)
    names = list(bench.CASES) if case == "all" else [bench.find(case).name]
    found = {}
    for name in names:
        with progress.bar(f"memory, {name}", quiet) as advance:
            found[name] = bench.run(name, boards, on_row=advance)
    rows = [{"case": name, **asdict(row)} for name in names for row in found[name]]
    wrong = [sentence for name in names for sentence in bench.disagreements(found[name])]
    _finish({"case": "memory", "rows": rows, "wrong": wrong}, quiet, out, _human_memory)
    if wrong:
        from edgelearn.errors import MismatchError

        raise MismatchError(wrong[0], "Please report it: a plan must say what its board needs.")


@app.command()
def link(
    context: typer.Context,
    board: options.Board = "mps2-an386",
    net: Annotated[str | None, typer.Option("--net", metavar="WIDTHS,...", help="64-32-10, 784-100-50-10.")] = None,
    baud: Annotated[str | None, typer.Option("--baud", metavar="N,N", help="115200 and 921600, if left out.")] = None,
    latency: Annotated[
        float, typer.Option("--latency", metavar="MS", min=0, help="Of a byte through the host, each way.")
    ] = 0.0,
    clock: Annotated[
        float | None, typer.Option("--clock", metavar="MHZ", min=0.1, help="Of the same core on another board.")
    ] = None,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """How busy the wire is while a board learns, computed on a virtual clock: nothing of it is measured on hardware."""
    from edgelearn.bench import link as bench

    quiet = as_json or context.obj
    nets, bauds = names_of(net) or list(bench.NETS), [int(n) for n in _numbers("--baud", baud)] or list(bench.BAUDS)
    with progress.bar("link", quiet) as advance:
        rows = bench.run(board, nets, bauds, latency, None if clock is None else round(clock * 1e6), advance)
    told = {"case": f"link {board}", "board": board, "rows": [asdict(row) for row in rows], "note": bench.NOTE}
    _finish(told, quiet, out, _human_link)


@app.command()
def throughput(
    context: typer.Context,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Turns of each; the best counts.")] = 7,
    turn: Annotated[float, typer.Option("--turn", metavar="S", min=0.001, help="Seconds of a turn.")] = 0.25,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """How fast a net learns and infers on this computer, in exported form, beside PyTorch; one thread."""
    from edgelearn.bench import throughput as bench

    quiet = as_json or context.obj
    with progress.bar("throughput", quiet) as advance:
        rows = bench.run(bench.How(rounds, turn), advance)
    net = "-".join(map(str, bench.NET))
    told = {"case": f"throughput {net}", "net": net, "rows": [asdict(row) for row in rows], "note": bench.NOTE}
    _finish(told, quiet, out, _human_throughput)


def _human_throughput(data: dict[str, Any]) -> RenderableType:
    measured = [row for row in data["rows"] if not row["reason"]]
    columns = ("batch", "us", "per_second", "ratio", "asked")
    rows = [(row["name"], *(_cell(key, row[key]) for key in columns)) for row in measured]
    headings = ("", "batch", "us", "a second", "ratio", "asked")
    shown = output.table(headings, rows, right=headings[1:], wrap=("",), title=data["case"])
    missing = [f"{row['name']}: {row['reason']}" for row in data["rows"] if row["reason"]]
    return output.group(shown, *map(output.text, [*missing, data["note"]]))


@app.command()
def store(
    context: typer.Context,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1000, help="Of the run that is measured.")
    ] = 100_000,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """What the run store takes: bytes a step, time and size of a report, and whether it is whole after kill -9."""
    from edgelearn.bench import store as bench

    quiet = as_json or context.obj
    with progress.bar("store", quiet) as advance:
        rows = bench.run(steps, advance)
    told = {"case": "store", "steps": steps, **_made(), "rows": [asdict(row) for row in rows], "note": bench.NOTE}
    _finish(told, quiet, out, _human_store)


def _human_store(data: dict[str, Any]) -> RenderableType:
    rows = [
        (row["name"], row["of"], f"{row['value']:,.4g} {row['unit']}" if row["value"] < 1000 else f"{row['value']:,} {row['unit']}",
         _cell("asked", row["asked"]))
        for row in data["rows"]
    ]  # fmt: skip
    shown = output.table(
        ("", "of", "measured", "under"), rows, right=("measured", "under"), wrap=("of",), title=data["case"]
    )
    return output.group(shown, output.text(data["note"]))


def _made() -> dict[str, str]:
    """When, where and with which versions."""
    import platform
    import sqlite3
    from datetime import UTC, datetime

    from edgelearn import __version__

    versions = f"edgelearn {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions, "command": "edgelearn bench store"}


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


def _finish(data: dict[str, Any], as_json: bool, out: Path | None, human: output.Human | None = None) -> None:
    """Writes the file that was asked for, and prints."""
    if out is not None:
        write_file(out, _markdown(data), data)
    output.report("bench", data, as_json, human or _human)


def write_file(path: Path, markdown: str, data: dict[str, Any]) -> None:
    text = markdown if path.suffix == ".md" else json.dumps({"schema": "edgelearn.bench/1", **data}, indent=2) + "\n"
    _write_text(path, text, "-o")


def _write_text(path: Path, text: str, option: str) -> None:
    from edgelearn.errors import StorageFullError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        hint = f"Name another file with {option}."
        raise StorageFullError(f"Cannot write {path}: {error.strerror}.", hint) from error


def _columns(data: dict[str, Any]) -> list[str]:
    """The keys worth a column: what is empty in every row, a list, or said by the name already is not."""
    rows, said = data["rows"], {"recipe", "board"}
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


_MEMORY = {
    "state": "state", "arena": "arena", "state_measured": "found", "arena_measured": "found", "stack": "stack",
    "stack_bound": "at most", "plan": "plan", "link": "link", "runtime": "flash",
}  # fmt: skip


def _human_memory(data: dict[str, Any]) -> RenderableType:
    """State and arena as planned and as found, the stack's high-water mark and its bound."""
    planned = [row for row in data["rows"] if row["state"] is not None]
    lines = [(row["name"], *(_cell(key, row[key]) for key in _MEMORY)) for row in planned]
    shown = output.table(("", *_MEMORY.values()), lines, right=tuple(_MEMORY.values()), wrap=("",), title=data["case"])
    missing = [f"{row['name']}: {row['reason']}" for row in data["rows"] if row["reason"]]
    return output.group(shown, *map(output.text, [*missing, *data["wrong"]]))


_LINK = {"wire": "wire busy", "steps": "steps", "link": "bytes", "run": "of a run", "samples_per_s": "samples/s"}


def _human_link(data: dict[str, Any]) -> RenderableType:
    computed = [row for row in data["rows"] if not row["reason"]]
    lines = [
        (
            f"{row['net']}, {row['baud']:,} baud",
            *(_share(key, row[key]) for key in _LINK),
            "yes" if row["waits"] else "no",
        )
        for row in computed
    ]
    columns = (*_LINK.values(), "board waits")
    shown = output.table(("", *columns), lines, right=columns, wrap=("",), title=data["case"])
    missing = [f"{row['name']}: {row['reason']}" for row in data["rows"] if row["reason"]]
    return output.group(shown, *map(output.text, [*missing, data["note"]]))


def _share(key: str, value: float) -> str:
    return f"{value:,.0f}" if key == "samples_per_s" else output.percent(value)


_ON_SCREEN = ("accuracy", "std", "gap", "published", "passes", "batch", "time", "RAM, bytes")


def _human_accuracy(case: Case, rows: Sequence[Row]) -> RenderableType:
    """The columns that fit a screen; the rest is in the JSON and the Markdown."""
    from edgelearn.bench.table import COLUMNS, cells, remarks

    at = [COLUMNS.index(name) for name in _ON_SCREEN]
    lines = [(row.name, *(cells(row)[i] for i in at)) for row in rows]
    title = f"{case.name}, seeds {', '.join(map(str, rows[0].seed_numbers))}"
    shown = output.table(("", *_ON_SCREEN), lines, right=_ON_SCREEN, wrap=("",), title=title)
    return output.group(shown, *(output.text(remark) for remark in remarks(rows, case.note)))


def _human_choices(data: dict[str, Any]) -> RenderableType:
    lines = [
        (row["name"], f"{rate:g}", _cell("accuracy", accuracy), "best" if rate == row["best"] else "")
        for row in data["rows"]
        for rate, accuracy in zip(row["rates"], row["validation"], strict=True)
    ]
    columns = ("", "rate", "validation", "best")
    return output.table(columns, lines, right=columns[1:3], wrap=("",), title=data["case"])


_FRACTIONS = ("accuracy",)


def _cell(key: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(_cell("accuracy" if key == "validation" else key, one) for one in value)
    if isinstance(value, float):
        return f"{100 * value:.2f} %" if key in _FRACTIONS else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _human_list(data: dict[str, Any]) -> RenderableType:
    benches = output.table(("bench", "measures"), data["benches"].items(), wrap=("measures",))
    named = ((c["case"], c["data"], ", ".join(c["names"])) for c in data["cases"])
    cases = output.table(("bench accuracy --case", "data", "rows"), named, wrap=("rows",))
    return output.group(benches, cases)
