"""``edgelearn show``: what the compiler makes of a recipe, stage by stage, and where everything lies in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output
from edgelearn.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.job import Job

app = typer.Typer(rich_markup_mode=None)
Stage = Annotated[str | None, typer.Option("--stage", metavar="NAME", help="What this pass made; all: every one.")]


@app.command()
def show(
    recipe: options.Recipe,
    board: options.Board = "sim",
    stage: Stage = None,
    dtype: options.Dtype = None,
    data: options.Data = None,
    as_json: options.Json = False,
) -> None:
    """Show what a recipe becomes on a board: operations, memory map, sizes."""
    from edgelearn.job import prepare

    job = prepare(recipe, board, **options.overrides(dtype=dtype, data=data))
    told = {**_summary(job), "memory": _memory(job), "stages": _stages(job, stage)}
    if stage is None or as_json:
        output.report("show", told, as_json, _human)
    else:
        _print_stages(told["stages"], headings=stage == "all")


def _summary(job: Job) -> dict[str, Any]:
    from edgelearn import footprint

    found = footprint.of_job(job)
    return {
        "recipe": job.recipe.name, "board": job.board.id, "rule": job.rule_name, "rule_source": job.rule_source,
        "net": str(job.compiled.net),
        "dtype": job.compiled.dtype, "data": job.data.name, "steps": job.steps,
        "macs": {"infer": job.macs("infer"), "learn": job.macs("learn")},
        "ram": {
            "state": found.state, "arena": found.arena, "plan": found.plan, "stack": found.stack,
            "stack_bound": found.stack_bound, "link": found.link, "variables": found.variables,
            "planned": found.state + found.arena, "total": found.ram, "board": found.ram_size, "reason": found.reason,
        },
        "flash": {"runtime": found.runtime, "board": found.flash_size},
        "notes": [*job.notes, *([f"{found.reason}."] if found.reason and job.board.toolchain else [])],
    }  # fmt: skip


def _memory(job: Job) -> list[dict[str, Any]]:
    """Every tensor with its place: byte offset in its region, state or arena. The state's rows add up to its size."""
    from edgelearn.passes.memory import arena_types, state_layout

    types = {("-", name): kind for name, kind in job.module.state_types().items()}
    for entry in job.module.entries:
        types |= {(entry.name, name): kind for name, kind in arena_types(job.module, entry).items()}
    rows = [
        {
            "region": p.region, "entry": None if p.entry == "-" else p.entry, "name": p.value, "offset": p.offset,
            "bytes": types[p.entry, p.value].nbytes, "type": str(types[p.entry, p.value]),
        }
        for p in job.module.places
    ]  # fmt: skip
    rest = job.state_bytes - sum(row["bytes"] for row in rows if row["region"] == "state")
    offset = state_layout(job.module).meta
    return [*rows, {"region": "state", "entry": None, "name": _REST, "offset": offset, "bytes": rest, "type": ""}]


def _stages(job: Job, wanted: str | None) -> dict[str, str]:
    """Text of the wanted stages by name.

    Raises:
        UsageError: there is no such stage.
    """
    from edgelearn.ir.text import print_module
    from edgelearn.tomlfile import nearest

    stages = dict(job.compiled.stages)
    if wanted is None:
        return {}
    if wanted != "all" and wanted not in stages:
        raise UsageError(f"There is no stage '{wanted}'.", nearest(wanted, ("all", *stages)))
    return {name: print_module(module) for name, module in stages.items() if wanted in ("all", name)}


def _print_stages(stages: dict[str, str], headings: bool) -> None:
    """As it is, so that ``edgelearn.ir.text.parse`` can read one stage back."""
    for name, printed in stages.items():
        if headings:
            print(f"; ---- {name}")
        print(printed, end="")


def _human(data: dict[str, Any]) -> RenderableType:
    ram, macs = data["ram"], data["macs"]
    rule = output.rule(data["rule"], data["rule_source"])
    title = f"{data['recipe']}: {data['net']}, {rule}, {data['dtype']}, on {data['board']}"
    rows = [
        ("multiplications to infer", f"{macs['infer']:,}", "with weights, a sample"),
        ("multiplications to learn", f"{macs['learn']:,}", "the forward pass and heads included"),
        *((name, output.size(ram[name]), _remark(ram, name)) for name in _PARTS if ram[name] is not None),
        ("RAM in all", output.size(ram["total"]), _share(ram["total"], ram["board"])),
        *_flash(data["flash"]),
    ]
    maps = (_map(data, region) for region in ("state", "arena"))
    return output.group(output.facts(rows, title), *output.notes(data["notes"]), *maps)


def _share(part: int, whole: int) -> str:
    return f"of {whole:,}, {output.percent(part / whole)}"


def _remark(ram: dict[str, Any], name: str) -> str:
    bound = ram["stack_bound"]
    return f"reserved; {bound:,} can be needed" if name == "stack" and bound is not None else _PARTS[name]


def _flash(flash: dict[str, Any]) -> list[tuple[str, str, str]]:
    if flash["runtime"] is None:
        return []
    return [("flash", output.size(flash["runtime"]), f"{_share(flash['runtime'], flash['board'])}; every kernel")]


_REST = "counters, statistics, exponents"
_PARTS = {
    "state": "weights, exponents, counters",
    "arena": "one sample and what is computed of it",
    "plan": "the list of kernel calls",
    "stack": "reserved",
    "link": "ring, frames and their control block",
    "variables": "all else that the runtime keeps",
}


def _map(data: dict[str, Any], region: str) -> RenderableType:
    places = [p for p in data["memory"] if p["region"] == region]
    places.sort(key=lambda p: p["entry"] or "")  # within an entry as they are computed
    named = [(f"{p['entry'] or ''} {p['name']}".strip(), p) for p in places]
    rows = [(f"{p['offset']:,}", f"{p['bytes']:,}", name, p["type"]) for name, p in named]
    return output.table(("offset", "bytes", region, "type"), rows, right=("offset", "bytes"), wrap=("type",))
