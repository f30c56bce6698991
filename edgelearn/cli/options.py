"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.errors import UsageError

if TYPE_CHECKING:
    from edgelearn.boards import Board as BoardFile

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Board = Annotated[str, typer.Option("--board", metavar="ID", help="The board; see: edgelearn boards. Or a board file.")]
AnyBoard = Annotated[str | None, typer.Option("--board", metavar="ID", help="Another board than the run's own.")]
Port = Annotated[
    str | None,
    typer.Option("--port", metavar="PORT", help="The way to it: sim, qemu, /dev/tty..., tcp://host:port, replay:FILE."),
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="The secret of an agent; or EDGELEARN_TOKEN_FILE.")
]
KeyFile = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="The key file of a paired board; see: edgelearn pair")
]
Device = Annotated[str | None, typer.Option("--device", metavar="D", help="Of the board host: cpu or cuda.")]
Live = Annotated[bool, typer.Option("--live", help="Show the training on the whole terminal, as it goes.")]
Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a TOML file.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its beginning; see: edgelearn runs")]

Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Passes over the training set.")]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Stop after N samples.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="S", help="Of weights, order and rounding.")]
Dtype = Annotated[str | None, typer.Option("--dtype", metavar="KIND", help="int8 or f32.")]
Data = Annotated[str | None, typer.Option("--data", metavar="D", help="Another data set: name, file or folder.")]
Batch = Annotated[int | None, typer.Option("--batch", metavar="B", help="Samples per update; of the board host.")]
Optimizer = Annotated[
    str | None, typer.Option("--optimizer", metavar="O", help="sgd, momentum or adam; of the board host.")
]
Augment = Annotated[str | None, typer.Option("--augment", metavar="A", help="flip-crop or none; of the board host.")]
Scale = Annotated[
    str | None, typer.Option("--scale", metavar="S", help="A batch steps by the mean of its changes, or their sum.")
]
Drops = Annotated[
    str | None, typer.Option("--drops", metavar="F,F", help="Fractions where the rate halves; 'none': it stays.")
]

Freeze = Annotated[
    str | None, typer.Option("--freeze", metavar="N,N", help="Blocks that do not learn, from 0; 'none': all learn.")
]
Schedule = Annotated[
    str | None, typer.Option("--schedule", metavar="S", help="simultaneous, or block-by-block: one after the other.")
]


def with_key(board: str, key_file: Path | None) -> BoardFile | str:
    """The board as it is with a paired image, which leaves a plan less memory; itself, without a key."""
    if key_file is None:
        return board
    from edgelearn import boards
    from edgelearn.pairing import image

    return image.paired(boards.load(board))


def way(board: str, port: str | None, device: str | None) -> str | None:
    """The way to a board, for which ``--device`` is another word where it is the host.

    Raises:
        UsageError: the board has no device, or both are given.
    """
    if device is None:
        return port
    from edgelearn import boards

    if not boards.load(board).is_host:
        raise UsageError(f"--device: {board} is no device of torch.", "Leave it out, or use --board host.")
    if port is not None:
        raise UsageError("--device and --port are both given.", "Give --device alone: it is the port of the host.")
    return device


def demand_eyes(live: bool, quiet: bool) -> None:
    """Raises UsageError where what is for people is asked for together with what is for programs."""
    if live and quiet:
        raise UsageError("--live is for people, --json and --stream are for programs.", "Give one of them.")


def overrides(**given: Any) -> dict[str, Any]:
    """What the user gave, without what is None; the texts of ``--drops`` and ``--freeze`` as numbers.

    Raises:
        UsageError: one of them is no list of numbers.
    """
    found = {name: value for name, value in given.items() if value is not None}
    if "drops" in found:
        found["drops"] = _fractions(found["drops"])
    if "freeze" in found:
        found["freeze"] = _blocks(found["freeze"])
    return found


def _fractions(text: str) -> tuple[float, ...]:
    try:
        return () if text == "none" else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--drops: '{text}' are no fractions.", "Write --drops 0.5,0.7 or --drops none.") from None


def _blocks(text: str) -> tuple[int, ...]:
    try:
        return () if text == "none" else tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--freeze: '{text}' are no blocks.", "Write --freeze 0,1 or --freeze none.") from None
