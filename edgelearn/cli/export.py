"""``edgelearn export``: a plan as files, from a recipe or with the trained state of a run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

import typer

from edgelearn import __version__
from edgelearn.cli import options, output
from edgelearn.errors import ConfigError, StorageFullError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgelearn.ir.core import Module
    from edgelearn.job import Job

app = typer.Typer(rich_markup_mode=None)
INPUTS, LEARNT = 16, 5  # samples that --verify infers and learns
RAN = (".plan", ".c")  # files that hold the plan that it ran
Source = Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe's name or file, or a run's id.")]
Formats = Annotated[str, typer.Option("--format", metavar="F,F", help="plan (bytes), plan-c (C source and header).")]
Folder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where to write.")]
Verify = Annotated[bool, typer.Option("--verify", help="Run the plan in the C core against the interpreter.")]


@runtime_checkable
class WritesFiles(Protocol):
    """A backend whose artifact is several files, or holds what a run learnt."""

    def files(self, module: Module, board: str, name: str, state: bytes | None = None) -> dict[str, bytes]: ...


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
    backends = _backends(formats)
    found = _find(source, board, given)
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
        if len(job.stages) > 1:
            problem = f"{job.recipe.name} learns block by block: there is a plan for each block, and none for all."
            raise ConfigError(problem, "Train it and export the run, or leave the schedule out.")
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
        if checkpoint is None:
            return Exported(run.id, job.as_of(0), job.state_at(0, None))
        return Exported(run.id, job.as_of(checkpoint.step), checkpoint.state)


def _backends(formats: str) -> list[str]:
    """Names of the formats.

    Raises:
        UsageError: nothing installed here writes one of them.
    """
    from edgelearn.job import backends

    known = sorted(backends())
    names = list(dict.fromkeys(name.strip() for name in formats.split(",")))
    for name in names:
        if name not in known:
            raise UsageError(f"There is no format '{name}'.", f"Choose of: {', '.join(known)}.")
    return names


def _verified(found: Exported) -> float:
    from edgelearn.host.compare import compare

    job = found.job
    y, seed = job.data.y_test[:INPUTS], job.recipe.train.seed
    return compare(job.module, job.plan, job.x_test[:INPUTS], y, LEARNT, seed, found.state)


def _write_format(found: Exported, name: str, folder: Path, worst: float | None) -> list[dict[str, Any]]:
    """The files of one format."""
    from edgelearn.job import backend

    job, made = found.job, backend(name)
    if name == "plan":
        parts = {f"{found.name}.plan": job.plan}
        if found.state is not None:
            parts[f"{found.name}.state"] = found.state
    elif isinstance(made, WritesFiles):
        parts = made.files(job.module, job.board.id, found.name, found.state)
    else:
        parts = {found.name + made.suffix: made.export(job.module, job.board.id)}
    return [_artifact(name, job, folder / file, raw, worst) for file, raw in parts.items()]


def _artifact(name: str, job: Job, path: Path, raw: bytes, worst: float | None) -> dict[str, Any]:
    """Writes one file. ``verified`` is for what was run: the plan's bytes, in a file of their own or as C."""
    _write(path, raw)
    ran = path.suffix in RAN and worst is not None
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
    from edgelearn import footprint
    from edgelearn.layout import Layout

    job = found.job
    return {
        "schema": "edgelearn.manifest/1", "name": found.name, "versions": {"edgelearn": __version__},
        "board": job.board.id, "rule": job.rule_name, "net": str(job.compiled.net), "dtype": job.compiled.dtype,
        "seed": job.recipe.train.seed, "steps": job.steps, "plan_bytes": len(job.plan),
        "plan_hash": int.from_bytes(job.plan[-4:], "little"),
        "state_bytes": job.state_bytes, "arena_bytes": job.arena_bytes, "memory": footprint.of_job(job).as_dict(),
        "input": {
            "shape": list(job.recipe.model.input), "dtype": "i8" if job.compiled.dtype == "int8" else "f32",
            "exponent": job.compiled.input_exp,
        },
        **Layout.of(job.module).as_dict(),
    }  # fmt: skip


def _human(data: dict[str, Any]) -> RenderableType:
    rows = [(a["format"], output.size(a["bytes"]), a["path"], _check(a)) for a in data["artifacts"]]
    shown = output.table(("format", "size", "file", "verified"), rows, right=("size",), wrap=("file",))
    return output.group(shown, output.text(f"Manifest: {data['manifest']}", "dim"))


def _check(artifact: dict[str, Any]) -> str:
    return "-" if artifact["verified"] is None else f"max diff {artifact['max_diff']:g}"
