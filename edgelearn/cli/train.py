"""``edgelearn train``: a recipe, learnt on a board, recorded in the run store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output, progress
from edgelearn.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.boards import Board
    from edgelearn.job import Job
    from edgelearn.link.transport import Transport
    from edgelearn.runs import RunStore
    from edgelearn.session import Progress, Session

app = typer.Typer(rich_markup_mode=None)
Record = Annotated[
    Path | None, typer.Option("--record", metavar="FILE", help="Write the conversation down, for --port replay:FILE.")
]
Recipe = Annotated[
    str | None, typer.Argument(metavar="[RECIPE]", help="A shipped recipe's name, or a TOML file; else that of --from.")
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="RUN|FILE",
        help="Go on from the weights of a run, a file of export, or a trained net (.onnx, .pt2).",
    ),
]
Stream = Annotated[bool, typer.Option("--stream", help="Print JSON lines: progress, and the result last.")]


@app.command()
def train(
    recipe: Recipe = None,
    board: options.Board = "sim",
    port: options.Port = None,
    token_file: options.TokenFile = None,
    key_file: options.KeyFile = None,
    start: From = None,
    freeze: options.Freeze = None,
    schedule: options.Schedule = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    dtype: options.Dtype = None,
    data: options.Data = None,
    drops: options.Drops = None,
    batch: options.Batch = None,
    scale: options.Scale = None,
    optimizer: options.Optimizer = None,
    augment: options.Augment = None,
    device: options.Device = None,
    record: Record = None,
    stream: Stream = False,
    live: options.Live = False,
    as_json: options.Json = False,
) -> None:
    """Train a recipe on a board, one sample at a time, or on the host in batches."""
    from edgelearn.runs import RunStore
    from edgelearn.session import Session, check

    port = options.way(board, port, device)
    given = options.overrides(
        epochs=epochs, steps=steps, seed=seed, dtype=dtype, data=data, drops=drops, batch=batch,
        scale=scale, optimizer=optimizer, augment=augment, freeze=freeze, schedule=schedule,
    )  # fmt: skip
    quiet = as_json or stream
    options.demand_eyes(live, quiet)
    with RunStore() as store:
        job = _job(recipe, start, store, options.with_key(board, key_file), given)
        check(job)
        if record is not None and key_file is not None:
            raise UsageError("What is said to a paired board cannot be replayed.", "Leave --record or --key out.")
        if record is not None and job.board.is_host:
            raise UsageError("There is no conversation to record with this computer.", "Leave --record out.")
        if not quiet:
            output.show(output.text(headline(job)))
        with (
            Session(board, port, _recorder(record), token_file, key_file) as session,
            progress.chosen(session, headline(job), live, quiet, record is not None) as show,
        ):
            if not quiet and not live:
                _tell_if_open(session)
            result = session.train(job, store, progress.now_and_then(_line) if stream else show)
    output.report("train", result.data, quiet, outcome)


def _tell_if_open(session: Session) -> None:
    """A program that we have started ourselves has no line that others could reach."""
    if session.open_to_others:
        output.show(output.text("The board is open: whoever reaches its line may write to it (docs/pairing.md)."))


def _job(recipe: str | None, start: str | None, store: RunStore, board: str | Board, given: dict[str, Any]) -> Job:
    from edgelearn.job import prepare
    from edgelearn.restore import begin

    if start is not None:
        source, weights = begin(recipe, start, store, board)
        return prepare(source, board, weights, **given)
    if recipe is None:
        raise UsageError("Nothing says what to train.", "Name a recipe, as in: edgelearn train digits; or --from RUN.")
    return prepare(recipe, board, **given)


def _recorder(file: Path | None) -> Callable[[Transport], Transport]:
    """What writes the conversation to ``file``; what does nothing, for None."""
    if file is None:
        return lambda transport: transport
    from edgelearn.link.replay import RecordingTransport

    return lambda transport: RecordingTransport(transport, file)


def headline(job: Job) -> str:
    """What is about to be learnt, where, in one line."""
    start = "" if job.start is None else f", from {job.start.origin}"
    return (
        f"{job.compiled.net}, {output.rule(job.rule_name, job.rule_source)}, {job.compiled.dtype}: "
        f"{job.steps:,} samples of {job.data.name}{start}, board {job.board.id}"
    )


def _line(at: Progress) -> None:
    output.emit("train.progress", asdict(at))


def outcome(data: dict[str, Any]) -> RenderableType:
    """The table after a finished run."""
    rows = [("test accuracy", output.percent(data["accuracy"]), ""), *cost_rows(data)]
    next_step = output.command(f"Next: {output.program()} eval {data['run']}")
    return output.group(output.facts(rows), *output.notes(data["notes"]), *warnings(data), next_step)


def warnings(data: dict[str, Any]) -> list[RenderableType]:
    """What is wrong with the run."""
    return [output.text(f"warning: {_finding(found)}", "bold yellow") for found in data["health"]]


def _finding(found: dict[str, Any]) -> str:
    first, last = found["steps"]
    return f"{found['message']} {found['hint']} (step {first:,}{f' to {last:,}' if last > first else ''})"


def cost_rows(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What a run cost in time, memory and bytes on the wire."""
    ram, link = data["ram"], data["link"]
    if data["device"] is not None:
        return _host_rows(data)
    same = "as planned" if ram["measured"] == ram["planned"] else "NOT as planned"
    found = ram["reason"] or f"found by scanning, {same}"
    stack = [("stack measured", output.size(ram["stack"]), _stack_room(ram))] if ram["stack_size"] else []
    return [
        ("over the link", f"{data['samples_per_s']:,.0f}/s", "samples learnt"),
        ("on the board", f"{data['board_us_per_sample']:,.1f} us", _whose_time(data)),
        ("RAM planned", output.size(ram["planned"]), f"state {ram['state']:,} + arena {ram['arena']:,}"),
        ("RAM measured", output.size(ram["measured"]), found),
        *stack,
        ("plan, link", output.size(ram["plan"] + ram["link"]), f"in RAM too: {ram['plan']:,} + {ram['link']:,}"),
        ("on the wire", output.size(link["bytes_tx"]), f"sent; {link['bytes_rx']:,} B back; {_again(link['retries'])}"),
        ("run", "", f"{data['run']}, state {data['state_sha256'][:8]}"),
    ]  # fmt: skip


def _host_rows(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    ram = data["ram"]
    batch = f", batches of {data['batch']:,}" if data["batch"] > 1 else ""
    return [
        ("on this computer", f"{data['samples_per_s']:,.0f}/s", f"samples learnt{batch}, on {data['device']}"),
        ("RAM on a board", output.size(ram["planned"]), f"state {ram['state']:,} + arena {ram['arena']:,}, planned"),
        ("run", "", f"{data['run']}, state {data['state_sha256'][:8]}"),
    ]  # fmt: skip


def _whose_time(data: dict[str, Any]) -> str:
    if data["emulated"]:
        return "a sample, of the emulator's clock:\nno figure for hardware"
    return "a sample" + (", on this computer" if data["board"] == "sim" else "")


def _stack_room(ram: dict[str, int | None]) -> str:
    bound = f"; it cannot exceed {ram['stack_bound']:,}" if ram["stack_bound"] else ""
    return f"of {ram['stack_size']:,}{bound}"


def _again(retries: int) -> str:
    return f"{retries:,} retries" if retries > 1 else "one retry" if retries else "no retries"
