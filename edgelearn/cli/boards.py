"""``edgelearn boards``: what can be trained on, how it is reached, how far it was tried and what is missing for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.boards import Board

app = typer.Typer(rich_markup_mode=None)
One = Annotated[str | None, typer.Argument(metavar="[BOARD]", help="All about this one: an id, or a board file.")]
TRIED = {
    "hardware": "on hardware",
    "emulator": "in the emulator",
    "built": "built, not run on hardware",
    "not built": "not built here",
}
WAYS = {"sim": "program", "qemu": "QEMU", "serial": "serial", "cpu": "CPU", "cuda": "GPU"}  # TCP leads to all
NAME = 13  # characters, the longest name of a fact


@app.command()
def boards(board: One = None, as_json: options.Json = False) -> None:
    """List the boards and how far each was tried, or show one."""
    from edgelearn.boards import all_boards, load

    found = all_boards() if board is None else (load(board),)
    told = {"boards": [_described(one) for one in found]}
    output.report("boards", told, as_json, _human if board is None else lambda data: _one(data, found[0]))


def _described(board: Board) -> dict[str, Any]:
    from edgelearn.pairing.image import gap
    from edgelearn.programmers import ways

    return {
        "id": board.id, "name": board.name, "core": board.core, "ram": board.ram, "flash": board.flash,
        "dtypes": list(board.dtypes), "ports": list(board.ports), "verified": board.verified, "tried": _tried(board),
        "usb": list(board.usb), "programmers": [way.name for way in ways(board)], "tools": tools(board),
        "pairing": gap(board), "source": list(board.source),
    }  # fmt: skip


def _tried(board: Board) -> str:
    return "on this computer" if board.core == "host" else TRIED[board.verified]


def tools(board: Board) -> dict[str, bool]:
    """Which of the tools that this board can use are here; ``image``: its firmware need not be built any more."""
    from importlib.util import find_spec
    from shutil import which

    from edgelearn import images
    from edgelearn.errors import MissingToolError
    from edgelearn.paths import native
    from edgelearn.programmers import ways

    found: dict[str, bool] = {}
    if "sim" in board.ports:
        try:
            found["sim"] = native("el-sim").is_file()
        except MissingToolError:
            found["sim"] = False
    if board.qemu_machine and board.toolchain:
        found["qemu"] = which(board.toolchain.emulator) is not None
    if board.is_host:
        found["torch"] = find_spec("torch") is not None
    if board.prefix:
        found["compiler"] = which(board.prefix + "gcc") is not None
        if not board.has_plan:
            found["image"] = images.ready(board) is not None
    if board.programmer:
        found["programmer"] = any(way.is_drive or which(way.tool.program) for way in ways(board))
    return found


def _human(data: dict[str, Any]) -> RenderableType:
    columns = ("board", "core", "RAM", "reached by", "tried")
    rows = [(b["id"], b["core"], short(b["ram"]), _reached(b["ports"]), b["tried"]) for b in data["boards"]]
    shown = output.table(columns, rows, right=("RAM",), wrap=("tried",))
    return output.group(shown, *map(output.text, _remarks(data["boards"])))


def _remarks(found: list[dict[str, Any]]) -> list[str]:
    """What the table does not say: that nothing ran on hardware, and for which boards a tool is missing."""
    none = [] if any(b["verified"] == "hardware" for b in found) else ["None of them has been run on hardware yet."]
    lacking = [b["id"] for b in found if not all(here for name, here in b["tools"].items() if name != "image")]
    missing = [f"A tool is missing for {', '.join(lacking)}: edgelearn doctor"] if lacking else []
    return [*none, *missing, "All about one: edgelearn boards ID"]


def _reached(ports: list[str]) -> str:
    first = ["TCP"] if ports[0] == "tcp" else []
    return ", ".join([*first, *(WAYS[port] for port in ports if port in WAYS)])


def _one(data: dict[str, Any], board: Board) -> RenderableType:
    (told,) = data["boards"]
    rows = [(name, value, remark) for name, value, remark in _facts(board, told) if value]
    lines = [f"  {name:<{NAME}} {value}" + (f"   ({remark})" if remark else "") for name, value, remark in rows]
    sources = ["Sources:", *(f"  {line}" for line in board.source)]
    head = output.text(f"{board.id}: {board.name}", "bold")
    return output.group(head, *map(output.text, [*lines, *sources]))


def _facts(board: Board, told: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, remark); those without a value are left out."""
    here = told["tools"]
    chip = bool(board.prefix)
    return [
        ("tried", _tried(board), ""),
        ("core", board.core, f"{board.clock / 1e6:g} MHz as the image runs it" if board.clock else ""),
        ("RAM", f"{board.ram:,} B", f"from 0x{board.ram_at:08x}" if chip else ""),
        ("flash", f"{board.flash:,} B", f"from 0x{board.flash_at:08x}" if chip else ""),
        ("own memory", f"{board.nv:,} B" if board.nv else "", "at the end of the flash, for copies of the state"),
        ("stack", f"{board.stack:,} B" if board.stack else "", "set aside"),
        ("link", f"{board.link:,} B" if board.link else "", "set aside for ring and frames"),
        ("largest plan", f"{board.plan_max:,} B", ""),
        ("numbers", ", ".join(board.dtypes), ""),
        ("reached by", _reached(told["ports"]), f"{board.baud:,} baud" if "serial" in board.ports else ""),
        ("USB", ", ".join(board.usb), "of its serial port"),
        ("port in C", port(board), ""),
        ("compiler", f"{board.prefix}gcc" if chip else "", _here(here.get("compiler"))),
        ("flags", " ".join((*board.cflags, board.optimize)) if chip else "", ""),
        ("emulator", f"QEMU {board.qemu_machine}" if board.qemu_machine else "", _here(here.get("qemu"))),
        *_programmers(board),
        ("paired image", f"none: {told['pairing']}" if told["pairing"] else "with --key FILE", ""),
    ]


def _programmers(board: Board) -> list[tuple[str, str, str]]:
    """What `edgelearn flash` would do, a line for each way."""
    from shutil import which

    from edgelearn.boards import ARDUINO
    from edgelearn.programmers import ways

    if board.family == ARDUINO:
        return [("written by", "Arduino's tools", "docs/arduino.md")]
    shown = [
        (str(way), "" if way.is_drive else _here(which(way.tool.program) is not None) or way.tool.get)
        for way in ways(board)
    ]
    return [("written by" if i == 0 else "or", name, remark) for i, (name, remark) in enumerate(shown)]


def port(board: Board) -> str:
    """Where the C is that drives the board; "" where there is none."""
    from edgelearn.boards import ARDUINO, LINUX, TORCH

    return {ARDUINO: "firmware/arduino", LINUX: "", TORCH: ""}.get(board.family, f"firmware/ports/{board.family}")


def _here(found: bool | None) -> str:
    return "" if found is not False else "not installed: edgelearn doctor"


def short(nbytes: int) -> str:
    """``16 KB``, ``4 MB``, ``8 GB``: memories come in powers of two."""
    if nbytes >= 1 << 30:
        return f"{nbytes >> 30} GB"
    return f"{nbytes >> 20} MB" if nbytes >= 1 << 20 else f"{nbytes >> 10} KB"
