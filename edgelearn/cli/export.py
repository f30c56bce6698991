"""``edgelearn export``: a plan as files, from a recipe or with the trained state of a run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelearn import __version__
from edgelearn.cli import options, output
from edgelearn.errors import ConfigError, StorageFullError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.job import Job

app = typer.Typer(rich_markup_mode=None)
INPUTS, LEARNT = 16, 5  # samples that --verify infers and learns
Source = Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe's name or file, or a run's id.")]
Formats = Annotated[str, typer.Option("--format", metavar="F,F", help="plan (bytes), plan-c (C source).")]
Folder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where to write.")]
Verify = Annotated[bool, typer.Option("--verify", help="Run the plan in the C core against the interpreter.")]


@dataclass(frozen=True)
class Exported:
    """What is to be written: a job, under a name, with a run's newest state where there is one."""

    name: str
    job: Job
    state: bytes | None


@app.command()
def export(
    source: Source,
    formats: Formats = "plan",
    board: options.AnyBoard = None,
    folder: Folder = Path(),
    dtype: options.Dtype = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    data: options.Data = None,
    verify: Verify = False,
    as_json: options.Json = False,
) -> None:
    """Write a recipe's or a run's plan to files, with a manifest."""
    given = options.overrides(dtype=dtype, epochs=epochs, steps=steps, seed=seed, data=data)
    found = _find(source, board, given)
    backends = _backends(formats)
    worst = _verified(found) if verify else None
    artifacts = [a for name in backends for a in _write_format(found, name, folder, worst)]
    manifest = folder / f"{found.name}.json"
    told = {"name": found.name, "board": found.job.board.id, "manifest": str(manifest), "artifacts": artifacts}
    _write(manifest, json.dumps({**_manifest(found), "artifacts": artifacts}, indent=2).encode() + b"\n")
    output.report("export", told, as_json, _human)


def _find(source: str, board: str | None, given: dict[str, Any]) -> Exported:
    """The recipe of this name, else the file, else the run."""
    from edgelearn import recipe
    from edgelearn.job import prepare

    if source in recipe.shipped() or Path(source).is_file() or source.endswith(".toml"):
        job = prepare(source, board or "sim", **given)
        return Exported(job.recipe.name, job, None)
    return _find_run(source, board, given)


def _find_run(source: str, board: str | None, given: dict[str, Any]) -> Exported:
    from edgelearn import recipe
    from edgelearn.runs import RunStore
    from edgelearn.session import restore_job

    with RunStore() as store:
        try:
            run = store.get(source)
        except ConfigError as error:
            hint = f"Recipes: {', '.join(recipe.shipped())}, or a file. {error.hint}"
            raise ConfigError(f"'{source}' is neither a recipe nor a run.", hint) from error
        if given:
            raise UsageError(f"A run's plan is what it was; --{next(iter(given))} is for recipes.", "Leave it out.")
        checkpoint = store.newest_checkpoint(run.id)
        from edgelearn import boards

        job = restore_job(run, boards.load(board) if board else None)
        return Exported(run.id, job, checkpoint.state if checkpoint else None)


def _backends(formats: str) -> list[str]:
    """Names of the formats, each known to be installed."""
    from edgelearn.job import backend

    names = list(dict.fromkeys(name.strip() for name in formats.split(",")))
    for name in names:
        backend(name)
    return names


def _verified(found: Exported) -> float:
    from edgelearn.host.compare import compare

    job = found.job
    y, seed = job.data.y_test[:INPUTS], job.recipe.train.seed
    return compare(job.module, job.plan, job.x_test[:INPUTS], y, LEARNT, seed, found.state)


def _write_format(found: Exported, name: str, folder: Path, worst: float | None) -> list[dict[str, Any]]:
    """The files of one format. ``verified`` is for what was run: the plan's bytes."""
    from edgelearn.job import backend

    job = found.job
    if name == "plan":
        parts = {f"{found.name}.plan": job.plan}
        if found.state is not None:
            parts[f"{found.name}.state"] = found.state
    elif name == "plan-c":
        text = backend(name).export(job.module, job.board.id)
        stem = f"{_identifier(found.name)}_plan"
        parts = {f"{stem}.c": text, f"{stem}.h": _header(job, stem).encode()}
    else:
        made = backend(name)
        parts = {found.name + made.suffix: made.export(job.module, job.board.id)}
    return [_artifact(name, job, folder / file, raw, worst) for file, raw in parts.items()]


def _artifact(name: str, job: Job, path: Path, raw: bytes, worst: float | None) -> dict[str, Any]:
    _write(path, raw)
    ran = path.suffix == ".plan" and worst is not None
    return {
        "format": "state" if path.suffix == ".state" else name,
        "entry": "all",
        "dtype": job.compiled.dtype,
        "path": str(path),
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "verified": True if ran else None,
        "max_diff": worst if ran else None,
    }


def _write(path: Path, raw: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    except OSError as error:
        hint = "Name another folder with -o."
        raise StorageFullError(f"Cannot write {path}: {error.strerror}.", hint) from error


def _manifest(found: Exported) -> dict[str, Any]:
    """What somebody needs to know who has only the files."""
    job = found.job
    return {
        "schema": "edgelearn.manifest/1", "name": found.name, "versions": {"edgelearn": __version__},
        "board": job.board.id, "rule": job.rule.name, "net": str(job.compiled.net), "dtype": job.compiled.dtype,
        "seed": job.recipe.train.seed, "steps": job.steps, "plan_bytes": len(job.plan),
        "plan_hash": int.from_bytes(job.plan[-4:], "little"),
        "state_bytes": job.state_bytes, "arena_bytes": job.arena_bytes,
        "input": {
            "shape": list(job.recipe.model.input), "dtype": "i8" if job.compiled.dtype == "int8" else "f32",
            "exponent": job.compiled.input_exp,
        },
        "classes": job.data.classes,
        "state": [{"name": s.name[1:], "type": str(s.type), "bytes": s.type.nbytes} for s in job.module.state],
    }  # fmt: skip


def _identifier(name: str) -> str:
    """``name`` as the compiler and make take it."""
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in name)


def _header(job: Job, stem: str) -> str:
    """Declares what the C source defines, and the sizes that an application must provide."""
    guard = f"{stem.upper()}_H"
    values = {
        "STATE_BYTES": job.state_bytes, "ARENA_BYTES": job.arena_bytes, "INPUTS": job.compiled.net.inputs,
        "INPUT_EXP": f"({job.compiled.input_exp})", "CLASSES": job.data.classes,
    }  # fmt: skip
    defines = [f"#define EL_APP_{name} {value}" for name, value in values.items()]
    externs = ["extern const uint32_t el_app_plan_bytes;", "extern EL_ROM uint8_t el_app_plan[];"]
    head = [f"/* {job.recipe.name}: {job.compiled.net}, {job.compiled.dtype}. Made by edgelearn. */"]
    lines = [*head, f"#ifndef {guard}", f"#define {guard}", '#include "el_kernel.h"', *defines, *externs, "#endif", ""]
    return "\n".join(lines)


def _human(data: dict[str, Any]) -> RenderableType:
    rows = [(a["format"], output.size(a["bytes"]), a["path"], _check(a)) for a in data["artifacts"]]
    shown = output.table(("format", "size", "file", "verified"), rows, right=("size",), wrap=("file",))
    return output.group(shown, output.text(f"Manifest: {data['manifest']}", "dim"))


def _check(artifact: dict[str, Any]) -> str:
    return "-" if artifact["verified"] is None else f"max diff {artifact['max_diff']:g}"
