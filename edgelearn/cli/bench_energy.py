"""``edgelearn bench energy``: what a rule's learning costs beside backpropagation's; ``bench figures``: the tables of the documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output, progress

if TYPE_CHECKING:
    from rich.console import RenderableType


def energy(
    context: typer.Context,
    case: Annotated[
        str, typer.Option("--case", metavar="NAME", help="digits-2x256, mnist-2x1000, cifar10-3x2000 or all.")
    ] = "digits-2x256",
    device: Annotated[str, typer.Option("--device", metavar="D", help="cpu or cuda.")] = "cpu",
    protocol: Annotated[str, typer.Option("--protocol", metavar="P", help="matched, convergence or both.")] = "both",
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="N|S,S", help="How many, or which; 3, if left out.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="NAME,...", help="Only these; 'backprop*' is a pattern.")
    ] = None,
    passes: Annotated[
        int | None, typer.Option("--passes", metavar="N", min=1, help="Where they are matched; else the case's own.")
    ] = None,
    meter: Annotated[str, typer.Option("--energy", metavar="METER", help="As for profile; none measures time only.")] = "auto",
    data: Annotated[
        str | None, typer.Option("--data", metavar="DIR", help="Where the data sets lie; else EDGELEARN_DATA.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A file for each training. Else in the cache.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure what is in that folder already, too.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write JSON there (.md: Markdown).")
    ] = None,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Energy, time and memory of rules beside backpropagation, on this computer's CPU or GPU."""
    from edgelearn.bench import energy as bench
    from edgelearn.bench import energy_cases, energy_page
    from edgelearn.cli import bench as benches

    quiet = as_json or context.obj
    names = list(energy_cases.CASES) if case == "all" else [energy_cases.find(case).name]
    wanted, numbers = benches.names_of(rows), benches.seeds_of(seeds, 3)
    with progress.bar("energy", quiet) as advance:
        how = bench.Options(device, meter, passes, data, results or bench.default_out(), again, advance)
        found = [bench.run(name, protocol, numbers, wanted, how) for name in names]
    told: dict[str, Any] = {
        "case": "energy", "date": found[0]["date"], "versions": found[0]["versions"], "device": found[0]["device"],
        "command": _command(case, device, protocol, numbers, rows, passes, meter),
        "rows": energy_page.summed(found), "cases": found,
    }  # fmt: skip
    if out is not None:
        benches.write_file(out, energy_page.table([told]), told)
    output.report("bench", told, quiet, _human)


def _command(
    case: str, device: str, protocol: str, seeds: int | list[int], rows: str | None, passes: int | None, meter: str
) -> str:
    """The command that measures the same again."""
    which = str(seeds) if isinstance(seeds, int) else ",".join(map(str, seeds)) + ","
    said = f"edgelearn bench energy --case {case} --device {device} --protocol {protocol} --seeds {which}"
    said += f' --rows "{rows}"' if rows else ""
    return said + (f" --passes {passes}" if passes else "") + (f" --energy {meter}" if meter != "auto" else "")


def _human(data: dict[str, Any]) -> RenderableType:
    from edgelearn.bench import energy_page

    columns = ("", *energy_page.COLUMNS[3:11])
    shown: list[RenderableType] = []
    for title in dict.fromkeys(energy_page.cells(row)[0] for row in data["rows"]):
        cells = [energy_page.cells(row) for row in data["rows"]]
        lines = [[cell[1], *cell[3:11]] for cell in cells if cell[0] == title]
        shown.append(output.table(columns, lines, right=columns[1:], wrap=("",), title=title))
    return output.group(*shown, *map(output.text, energy_page.remarks([data])))


def figures(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where a page and its file differ.")] = False,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Make every generated table of README and docs again from the stored runs; needs the checkout."""
    from edgelearn.bench import figures as bench

    told = {"checked": [], "changed": [], **bench.main_report(check)}
    output.report("bench", told, as_json or context.obj, _human_figures)
    if check and told["changed"]:
        from edgelearn.errors import MismatchError

        problem = f"{', '.join(told['changed'])}: not what the stored runs say."
        raise MismatchError(problem, "Make the tables again: edgelearn bench figures.")


def _human_figures(data: dict[str, Any]) -> RenderableType:
    changed = ", ".join(data["changed"]) or "none"
    return output.group(output.text(f"Looked at: {len(data['checked'])}. Pages that changed: {changed}."))
