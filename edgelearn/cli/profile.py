"""``edgelearn profile``: what a training sample and a guess cost on a board, in time, memory and energy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output, progress

if TYPE_CHECKING:
    from rich.console import RenderableType

UNRESOLVED = ("forward", "update")  # said in JSON, with the reason; a table of dashes helps nobody

app = typer.Typer(rich_markup_mode=None)
What = Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe's name or file, or a run's id.")]
Board = Annotated[str | None, typer.Option("--board", metavar="ID", help="The board; a run's own, else sim.")]
Energy = Annotated[
    str,
    typer.Option(
        "--energy",
        metavar="METER",
        help="auto, telemetry, nvml[:GPU], ina3221[:RAIL], rapl, csv:FILE, ppk2:FILE, none.",
    ),
]
Steps = Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Samples to learn, and at most to classify.")]
Idle = Annotated[float, typer.Option("--idle", metavar="S", min=0, help="Seconds to measure the board at rest.")]


@app.command()
def profile(
    what: What,
    board: Board = None,
    port: options.Port = None,
    token_file: options.TokenFile = None,
    key_file: options.KeyFile = None,
    energy: Energy = "auto",
    steps: Steps = 1000,
    idle: Idle = 2.0,
    seed: options.Seed = None,
    dtype: options.Dtype = None,
    data: options.Data = None,
    batch: options.Batch = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Measure what a training sample costs on a board: time, memory, energy."""
    from edgelearn import profiling

    port = options.way(board or "sim", port, device)
    if energy.startswith("ppk2:") and not as_json:
        file = energy.removeprefix("ppk2:").partition(",")[0]
        print(f"Record now. When the board is done, stop, and export the recording to {file}.", file=sys.stderr)
    given = options.overrides(seed=seed, dtype=dtype, data=data, batch=batch)
    with progress.bar("profiling", as_json) as advance:

        def show(phase: str, done: int, total: int) -> None:
            advance(done, total, phase)

        told = profiling.profile(
            what, board, port, energy, steps, idle, token_file=token_file, key_file=key_file, on_progress=show, **given
        )  # fmt: skip
    output.report("profile", told, as_json, _human)


def _human(data: dict[str, Any]) -> RenderableType:
    n, ram = data["samples"], data["ram"]
    where = f"{data['board']} (emulated)" if data["emulated"] else data["board"]
    title = (
        f"{data['recipe']}: {data['net']}, {data['rule']}, {data['dtype']}, on {where}, from step {data['from_step']:,}"
    )
    shown = [p for p in data["phases"] if p["name"] not in UNRESOLVED or p["seconds"] or p["joules"]]
    phases = [(p["name"], _seconds(p["seconds"]), _joules(p["joules"], p["sigma"]), _watts(p)) for p in shown]
    samples = [row for name in ("learn", "infer") for row in _sample(name, n[name], data["per_sample"][name])]
    memory = [("RAM planned", output.size(ram["planned"]), "state and arena"), _measured(ram)]
    columns = ("phase", "time", "energy", "mean / peak power")
    return output.group(
        output.facts([*samples, *memory], title),
        output.table(columns, phases, right=columns[1:]),
        *output.notes(_remarks(data)),
    )


def _sample(name: str, n: int, told: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows about a sample that was learnt, or classified."""
    board = told["board_source"] or told["board_reason"]
    rows = [
        (f"{name}: time", _seconds(told["seconds"]), f"a sample, link included; {n:,} samples"),
        (f"{name}: on the board", _seconds(told["board_s"]), board),
        (f"{name}: this computer", _seconds(told["cpu_s"]), "of its processor, a sample"),
        (
            f"{name}: energy",
            _joules(told["joules"], told["sigma"]),
            _sort(told),
        ),
    ]
    guess = told["estimate"]
    if guess is not None and guess["joules"] is not None:
        rows.append((f"{name}: estimate", _joules(guess["joules"], None), f"not measured: {guess['reference']}"))
    return rows


def _sort(told: dict[str, Any]) -> str:
    """What kind of a figure a sample's energy is."""
    if told["joules"] is None:
        return "not measured"
    return "a sample, synthetic" if told["source"].startswith("synthetic") else "a sample"


def _measured(ram: dict[str, Any]) -> tuple[str, str, str]:
    measured = "-" if ram["measured"] is None else output.size(ram["measured"])
    return "RAM measured", measured, ram["reason"] or "found by scanning"


def _remarks(data: dict[str, Any]) -> list[str]:
    """Which meter it was, which it was not, and why figures are missing."""
    energy = data["energy"]
    tried = [f"{t['meter']}: {t['reason']}" for t in energy["tried"] if t["reason"]]
    windows = [p for p in data["phases"] if p["within"] is None]
    missing = {p["reason"]: p["name"] for p in windows if p["joules"] is None and p["reason"]}
    gaps = [f"{name}: {reason}" for reason, name in missing.items()]
    source = [f"energy by {energy['source']}"] if energy["source"] else ["energy was not measured"]
    return [*source, *tried, *(gaps if energy["source"] else [])]


def _seconds(value: float | None) -> str:
    return "-" if value is None else _scaled(value, "s")


def _joules(value: float | None, sigma: float | None) -> str:
    if value is None:
        return "-"
    return _scaled(value, "J") + ("" if sigma is None else f" ± {_scaled(sigma, 'J')}")


def _watts(phase: dict[str, Any]) -> str:
    if phase.get("watts") is None:
        return "-"
    peak = phase["peak_w"]
    return f"{_scaled(phase['watts'], 'W')} / {'-' if peak is None else _scaled(peak, 'W')}"


def _scaled(value: float, unit: str) -> str:
    """Three digits, with the prefix that suits."""
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "u")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value / 1e-9:.3g} n{unit}"
