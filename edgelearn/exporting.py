"""``edgelearn.export``: a recipe or a run in the formats of others, each file proved in its own runtime if asked for."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelearn import __version__, boards, footprint, parity, recipe, state
from edgelearn.backends import ENTRIES, Artifact, Backend, Runner, Source, backend, backends
from edgelearn.compiler import DTYPES
from edgelearn.device import Link
from edgelearn.errors import ConfigError, StorageFullError, UsageError
from edgelearn.ir.interp import Interpreter
from edgelearn.job import Job, prepare
from edgelearn.layout import Layout
from edgelearn.parity import Proof
from edgelearn.restore import restore_job
from edgelearn.runs import RunStore
from edgelearn.start import Start, first_state

BOTH = "both"  # kinds of numbers, of formats that are else written in the recipe's own
LIBRARIES = ("onnx", "onnxruntime", "ai-edge-litert", "numpy")  # whose versions a manifest names


@dataclass(frozen=True)
class Origin:
    """What is to be written: a job under a name, and what a run has learnt of it.

    ``state`` is the raw state region, None: what the seed gives. ``step`` is the step that it is of.
    """

    name: str
    job: Job
    state: bytes | None
    learnt: bool = False

    @cached_property
    def source(self) -> Source:
        """What backends get."""
        job = self.job
        seed = job.recipe.train.seed
        first = state.encode(Interpreter(job.module, seed)) if self.state is None else self.state
        return Source(self.name, job.module, first, job.board.id, seed, self.learnt)

    def in_numbers(self, dtype: str) -> Origin:
        """The same net and weights in the other kind of numbers; for no board, since only its own kind is for it.

        Integers that become floats keep their values. Floats become the nearest integers, and the exponents of what is computed are
        those of the net with these weights.
        """
        job, seed = self.job, self.job.recipe.train.seed
        if job.compiled.dtype == dtype:
            return self
        start = Start(self.name, Layout.of(job.module), self.source.state)
        plain = job.recipe.for_boards() if job.board.is_host else job.recipe
        other = prepare(plain, boards.DEFAULT, start if self.state is not None else None, dtype=dtype)
        other = replace(other, stages=other.stages[: len(job.stages)])
        step = start.snapshot.step
        raw = first_state(other.module, seed, (*other.starts,), step) if self.state is not None else None
        return Origin(self.name, other, raw, self.learnt)


@dataclass(frozen=True)
class Gap:
    """Something that a format cannot hold, and why."""

    format: str
    dtype: str
    entry: str
    reason: str


@dataclass(frozen=True)
class Written:
    """A file, and what it was proved with, if it was."""

    format: str
    artifact: Artifact
    path: Path
    proof: Proof | None

    def as_dict(self) -> dict[str, Any]:
        a, proof = self.artifact, self.proof
        return {
            "format": self.format, "entry": a.entry, "dtype": a.dtype, "path": str(self.path), "bytes": len(a.raw),
            "sha256": hashlib.sha256(a.raw).hexdigest(), "verified": None if proof is None else True,
            "max_diff": None if proof is None else proof.worst,
            "verified_inputs": 0 if proof is None else proof.inputs, "verified_steps": 0 if proof is None else proof.steps,
            "inputs": [s.as_dict() for s in a.inputs], "outputs": [s.as_dict() for s in a.outputs],
        }  # fmt: skip


@dataclass(frozen=True)
class Export:
    """What was written, and what could not be."""

    name: str
    board: str
    manifest: Path
    learnt: bool  # a run has; else the weights are those of the seed
    written: tuple[Written, ...]
    gaps: tuple[Gap, ...]


def export(
    what: str | Path,
    formats: Sequence[str] = ("plan",),
    folder: str | Path = ".",
    board: str | None = None,
    verify: bool | tuple[int, int] = False,
    store: RunStore | None = None,
    **overrides: Any,
) -> Export:
    """Writes a recipe or a run in ``formats``, with a manifest ``NAME.json``.

    Portable formats (onnx, tflite, tflm) are written in floats and integers, or in ``dtype`` alone if it is given; the others in the
    recipe's own numbers, which are the board's. With ``dtype="both"`` these too are written in either, the other kind as NAME-DTYPE.

    Args:
        what: a recipe's name or file, or a run's id.
        verify: runs each file in its own runtime against the interpreter, on 1,000 inputs and 100 training steps; or on (inputs, steps).
        overrides: values of ``[train]`` and ``[data]`` that replace the recipe's.

    Raises:
        UsageError: there is no such format, or no such kind of numbers for a run. ConfigError: neither recipe nor run, or a format
        cannot hold it. MismatchError: a file does not do what it should. MissingToolError: an extra is not installed.
        StorageFullError: the folder cannot be written; nothing of it has changed then.
    """
    chosen, dtype = _chosen(formats), overrides.get("dtype")
    given = {name: value for name, value in overrides.items() if (name, value) != ("dtype", BOTH)}
    origin = find(str(what), board, store, given)
    counts = (parity.INPUTS, parity.STEPS) if verify is True else verify
    made = [one for made in chosen for one in _of_format(made, origin, dtype, Path(folder), counts)]
    written = tuple(w for w in made if isinstance(w, Written))
    gaps = tuple(g for g in made if isinstance(g, Gap))
    if not written:
        raise ConfigError(f"{gaps[0].format} cannot hold {origin.name}: {gaps[0].reason}.", "Choose another format.")
    manifest = Path(folder) / f"{origin.name}.json"
    text = json.dumps(_manifest(origin, written, gaps), indent=2).encode() + b"\n"
    write({**{w.path: w.artifact.raw for w in written}, manifest: text})
    return Export(origin.name, origin.job.board.id, manifest, origin.learnt, written, gaps)


def _chosen(formats: Sequence[str]) -> list[Backend]:
    """The backends of these names, each once.

    Raises:
        UsageError: nothing installed here writes one of them.
    """
    known = sorted(backends())
    if not formats:
        raise UsageError("No format is named.", f"Choose of: {', '.join(known)}.")
    for name in formats:
        if name not in known:
            raise UsageError(f"There is no format '{name}'.", f"Choose of: {', '.join(known)}.")
    return [backend(name) for name in dict.fromkeys(formats)]


# --- recipes and runs ---------------------------------------------------------------------------------------------------------------


def find(what: str, board: str | None, store: RunStore | None, given: Mapping[str, Any]) -> Origin:
    """The recipe of this name, else the file, else the run.

    Raises:
        UsageError, ConfigError: as ``export``.
    """
    if what in recipe.shipped() or Path(what).is_file() or what.endswith(".toml"):
        job = prepare(what, board or boards.DEFAULT, **given)
        if len(job.stages) > 1:
            problem = f"{job.recipe.name} learns block by block: there is a plan for each block, and none for all."
            raise ConfigError(problem, "Train it and export the run, or leave the schedule out.")
        return Origin(job.recipe.name, job, job.state_at(0, None))
    if store is not None:
        return _of_run(what, board, store, given)
    with RunStore() as own:
        return _of_run(what, board, own, given)


def _of_run(what: str, board: str | None, store: RunStore, given: Mapping[str, Any]) -> Origin:
    try:
        run = store.get(what)
    except ConfigError as error:
        hint = f"Recipes: {', '.join(recipe.shipped())}, or a file. {error.hint}"
        raise ConfigError(f"'{what}' is neither a recipe nor a run.", hint) from error
    others = [name for name in given if name != "dtype"]
    if others:
        raise UsageError(f"A run's plan is what it was; --{others[0]} is for recipes.", "Leave it out.")
    checkpoint = store.newest_checkpoint(run.id)
    job = restore_job(run, boards.load(board) if board else None)
    if checkpoint is None:
        return Origin(run.id, job.as_of(0), job.state_at(0, None))
    return Origin(run.id, job.as_of(checkpoint.step), checkpoint.state, learnt=True)


# --- formats ------------------------------------------------------------------------------------------------------------------------


def _of_format(
    made: Backend, origin: Origin, dtype: str | None, folder: Path, counts: tuple[int, int] | bool
) -> Iterator[Written | Gap]:
    """The files of one format, in all the kinds of numbers that are asked for."""
    own, portable = origin.job.compiled.dtype, getattr(made, "portable", False)
    if not portable and dtype not in (None, own, BOTH):
        hint = f"Leave --dtype out, or say --dtype {BOTH}."
        raise UsageError(f"Run {origin.name} is in {own}; {made.name} is what a board runs.", hint)
    every = sorted(DTYPES, key=lambda kind: kind != own)
    kinds = every if dtype == BOTH else [dtype] if dtype else every if portable else [own]
    for kind in kinds:
        here = origin.in_numbers(kind)
        if not portable and kind != own:
            here = replace(here, name=f"{origin.name}-{kind}")
        yield from (Gap(made.name, kind, entry, why) for entry in ENTRIES if (why := made.gap(here.job.module, entry)))
        for artifact in made.artifacts(here.source):
            proof = _proof(made, artifact, here, *counts) if artifact.runs and not isinstance(counts, bool) else None
            form = "state" if artifact.file.endswith(".state") else made.name
            yield Written(form, artifact, folder / artifact.file, proof)


def _proof(made: Backend, artifact: Artifact, origin: Origin, inputs: int, steps: int) -> Proof:
    """Runs one file; a plan for an emulated board runs there."""
    job = origin.job
    x, y = np.concatenate([job.x_test, job.x_train]), np.concatenate([job.data.y_test, job.data.y_train])
    if made.name == "plan" and job.board.qemu_machine:
        with _emulated(job, origin.source) as runner:
            return parity.prove(runner, artifact, origin.source, x, y, inputs, steps)
    return parity.prove(made.open(artifact, origin.source), artifact, origin.source, x, y, inputs, steps)


@contextmanager
def _emulated(job: Job, source: Source) -> Iterator[Runner]:
    link = Link(job.board, "qemu", lambda transport: transport)
    try:
        link.put(job, None)
        link.client.write_state(source.state)
        yield BoardRunner(link, len(source.state))
    finally:
        link.close()


@dataclass(frozen=True)
class BoardRunner:
    """A plan on a board, behind its link."""

    link: Link
    state_bytes: int

    def infer(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], None]:
        return np.array(self.link.infer(x), np.int64), None

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        client = self.link.client
        first = client.step
        client.learn(
            lambda step: (x[step - first].tobytes(), int(y[step - first])), first, first + len(x), lambda *_: None
        )

    def state(self) -> bytes:
        return self.link.client.read_state(self.state_bytes)


# --- files --------------------------------------------------------------------------------------------------------------------------


def write(files: Mapping[Path, bytes]) -> None:
    """Writes all files or none: each beside its place first, and then all of them into theirs.

    Raises:
        StorageFullError: it cannot be done. No file is there that was not, and none is written by half.
    """
    ready: list[tuple[Path, Path]] = []
    made: list[Path] = []
    path = Path()
    try:
        for path, raw in files.items():
            ready.append((_beside(path, raw), path))
        for beside, path in ready:
            new = not path.exists()
            os.replace(beside, path)
            made += [path] if new else []
    except OSError as error:
        for beside in (*made, *(beside for beside, _ in ready)):
            beside.unlink(missing_ok=True)
        raise _unwritable(path, sum(map(len, files.values())), error) from error


def _beside(path: Path, raw: bytes) -> Path:
    """A file with ``raw`` in the folder of ``path``, on the disk; none where that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory")
    file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False)  # noqa: SIM115 (it stays)
    try:
        with file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, 0o666 & ~_umask())
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise
    return Path(file.name)


def _unwritable(path: Path, needed: int, error: OSError) -> StorageFullError:
    if isinstance(error, FileExistsError):
        return StorageFullError(f"Cannot write {path}: {path.parent} is no folder.", "Name another one with -o.")
    full = "Free some space, or name" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Name"
    problem = f"Cannot write {needed:,} bytes to {path}: {error.strerror}."
    return StorageFullError(problem, f"{full} another folder with -o.")


def _umask() -> int:
    """What new files may not be. Python can only read it by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _manifest(origin: Origin, written: Sequence[Written], gaps: Sequence[Gap]) -> dict[str, Any]:
    """What somebody needs to know who has only the files."""
    job, folder = origin.job, written[0].path.parent
    return {
        "schema": "edgelearn.manifest/1", "name": origin.name, "versions": _versions(),
        "board": job.board.id, "rule": job.rule_name, "net": str(job.compiled.net), "dtype": job.compiled.dtype,
        "seed": job.recipe.train.seed, "steps": job.steps, "plan_bytes": len(job.plan),
        "plan_hash": int.from_bytes(job.plan[-4:], "little"),
        "state_bytes": job.state_bytes, "arena_bytes": job.arena_bytes, "memory": footprint.of_job(job).as_dict(),
        "input": {
            "shape": list(job.recipe.model.input), "dtype": "i8" if job.compiled.dtype == "int8" else "f32",
            "exponent": job.compiled.input_exp,
        },
        "data": {"name": job.data.name, "licence": job.data.licence, "sha256": job.data_sha256},
        **Layout.of(job.module).as_dict(),
        "learnt": origin.learnt, "start": _start(origin),
        "artifacts": [w.as_dict() | {"path": os.path.relpath(w.path, folder)} for w in written],
        "gaps": [vars(gap) for gap in gaps],
    }  # fmt: skip


def _start(origin: Origin) -> dict[str, Any]:
    """What a program needs besides the weights to go on from these files: step, seed, and what each slot of the net's own numbers holds."""
    found = state.decode(origin.job.module, origin.source.state)
    return {"step": found.step, "seed": found.seed, "exps": found.exps, "stats": found.stats}


def _versions() -> dict[str, str]:
    found = {"edgelearn": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
