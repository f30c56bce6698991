"""``edgelearn boards``: what can be trained on, how it is reached and what is missing for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from edgelearn.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.boards import Board

app = typer.Typer(rich_markup_mode=None)
QEMU = "qemu-system-arm"


@app.command()
def boards(as_json: options.Json = False) -> None:
    """List the boards, how to reach them and which tools for them are here."""
    from edgelearn.boards import all_boards

    output.report("boards", {"boards": [_described(board) for board in all_boards()]}, as_json, _human)


def _described(board: Board) -> dict[str, Any]:
    return {
        "id": board.id, "name": board.name, "core": board.core, "ram": board.ram, "flash": board.flash,
        "dtypes": list(board.dtypes), "ports": list(board.ports), "verified": board.verified, "usb": list(board.usb),
        "tools": tools(board),
    }  # fmt: skip


def tools(board: Board) -> dict[str, bool]:
    """Which of the tools that this board can use are here; ``image``: its firmware need not be built any more."""
    from importlib.util import find_spec
    from shutil import which

    from edgelearn import images
    from edgelearn.errors import MissingToolError
    from edgelearn.paths import native

    found: dict[str, bool] = {}
    if "sim" in board.ports:
        try:
            found["sim"] = native("el-sim").is_file()
        except MissingToolError:
            found["sim"] = False
    if board.qemu_machine:
        found["qemu"] = which(QEMU) is not None
    if board.is_host:
        found["torch"] = find_spec("torch") is not None
    if board.prefix:
        found["compiler"] = which(board.prefix + "gcc") is not None
        found["image"] = images.ready(board) is not None
    return found


def _human(data: dict[str, Any]) -> RenderableType:
    columns = ("board", "core", "RAM", "flash", "numbers", "ports", "verified", "missing")
    rows = [
        (
            b["id"], b["core"], _short(b["ram"]), _short(b["flash"]), " ".join(b["dtypes"]), " ".join(b["ports"]),
            b["verified"], " ".join(name for name, here in b["tools"].items() if not here) or "-",
        )
        for b in data["boards"]
    ]  # fmt: skip
    return output.table(columns, rows, right=("RAM", "flash"), wrap=("ports", "missing"))


def _short(nbytes: int) -> str:
    """``16 KB``, ``4 MB``: memories come in powers of two."""
    return f"{nbytes >> 20} MB" if nbytes >= 1 << 20 else f"{nbytes >> 10} KB"
