"""``edgelearn export``: a recipe or a run as files for others: graphs, plans, C and packages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(rich_markup_mode=None)
Source = Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe's name or file, or a run's id.")]
Formats = Annotated[
    str,
    typer.Option("--format", metavar="F,F", help="onnx, tflite, tflm, plan, plan-c, c, arduino, platformio, zephyr."),
]
Folder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where to write.")]
Numbers = Annotated[
    str | None,
    typer.Option(
        "--dtype", metavar="KIND", help="int8, f32 or both; else plans and C in the net's own, the rest in both."
    ),
]
Verify = Annotated[bool, typer.Option("--verify", help="Run each file in its own runtime against the interpreter.")]


@app.command()
def export(
    source: Source,
    formats: Formats = "plan",
    board: options.AnyBoard = None,
    folder: Folder = Path(),
    dtype: Numbers = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    data: options.Data = None,
    verify: Verify = False,
    as_json: options.Json = False,
) -> None:
    """Write a recipe or a run in other formats, learning included, with a manifest."""
    from edgelearn import exporting

    given = options.overrides(dtype=dtype, epochs=epochs, steps=steps, seed=seed, data=data)
    names = [name.strip() for name in formats.split(",") if name.strip()]
    done = exporting.export(source, names, folder, board, verify, **given)
    told = {
        "name": done.name, "board": done.board, "manifest": str(done.manifest), "learnt": done.learnt,
        "artifacts": [w.as_dict() for w in done.written], "gaps": [vars(gap) for gap in done.gaps],
    }  # fmt: skip
    output.report("export", told, as_json, _human)


def _human(data: dict[str, Any]) -> RenderableType:
    folder = Path(data["manifest"]).parent
    rows = [
        (*key, output.size(sum(a["bytes"] for a in files)), _place(files, folder), _check(files))
        for key, files in _grouped(data["artifacts"], folder)
    ]
    heads = ("format", "entry", "numbers", "size", "file", "verified")
    gaps = [
        output.text(f"{g['format']} has no {g['entry']} in {g['dtype']}: {g['reason']}.", "dim") for g in data["gaps"]
    ]
    shown = output.table(heads, rows, right=("size",), wrap=("file", "verified"))
    seed = [] if data["learnt"] else [output.text("The net as its seed gives it: export a run for what it has learnt.")]
    return output.group(shown, *gaps, *seed, output.text(f"In {folder}; manifest {data['manifest']}", "dim"))


def _grouped(artifacts: list[dict[str, Any]], folder: Path) -> list[tuple[tuple[str, str, str], list[dict[str, Any]]]]:
    """A package, which is a folder of its own, is one line; any other file is one."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for a in artifacts:
        top = Path(a["path"]).relative_to(folder).parts[0]
        found.setdefault((a["format"], a["entry"], a["dtype"], top), []).append(a)
    return [((key[0], key[1], key[2]), files) for key, files in found.items()]


def _place(files: list[dict[str, Any]], folder: Path) -> str:
    """Below the folder: short enough not to be broken in two."""
    if len(files) == 1:
        return os.path.relpath(files[0]["path"], folder)
    return f"{os.path.relpath(os.path.commonpath([a['path'] for a in files]), folder)}/ ({len(files)} files)"


def _check(files: list[dict[str, Any]]) -> str:
    """What the file was proved with, or that of a package which stands for all of it."""
    proved = next((a for a in files if a["verified"] is not None), None)
    if proved is None:
        return "-"
    ran = [f"{proved[key]:,} {key.removeprefix('verified_')}" for key in ("verified_inputs", "verified_steps")]
    ran = [text for text in ran if not text.startswith("0 ")]
    return f"max diff {proved['max_diff']:.2g} ({', '.join(ran)})"
