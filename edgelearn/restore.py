"""Stored runs brought back: their job, compiled again, and what they have learnt as the start of another run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from edgelearn import boards, imports, layout, start
from edgelearn import recipe as recipes
from edgelearn.boards import Board
from edgelearn.errors import ConfigError, MismatchError, UsageError
from edgelearn.job import Job, load_data, prepare
from edgelearn.layout import Layout
from edgelearn.recipe import Recipe
from edgelearn.rules import source_text
from edgelearn.runs import Run, RunStore
from edgelearn.start import FILES, Start


def unfinished(runs: RunStore, run_id: str) -> Run:
    """The run ``run_id``, if there is something to go on with.

    Raises:
        UsageError: it is finished. ConfigError: there is none.
    """
    run = runs.get(run_id)
    if run.status == "finished":
        raise UsageError(f"Run {run.id} is finished.", f"Measure it with: edgelearn eval {run.id}")
    return run


def recipe_of(run: Run, otherwise: str) -> Recipe:
    """The recipe that a run kept; nothing of its rule's file has been run.

    Raises:
        ConfigError: the rule's file has changed since; the remedy is to put it back, or ``otherwise``.
    """
    recipe = recipes.parse(run.recipe, Path(f"{run.id}.toml"))
    if source_text(recipe.rule.name) != run.rule_text:
        raise ConfigError(
            f"The rule {run.rule} has changed since run {run.id}.", f"Put the old file back, or {otherwise}."
        )
    return recipe


def restore_job(run: Run, board: Board | None = None, **overrides: Any) -> Job:
    """The job of a stored run, compiled again from the recipe, and the weights to begin with, that it kept.

    Args:
        overrides: may name other data to test on.

    Raises:
        ConfigError: the rule's file has changed. MismatchError: this edgelearn makes another plan of the recipe.
    """
    recipe = recipe_of(run, "train anew")
    begin = None if run.start is None else start.from_bytes(run.start)
    job = prepare(recipe, board or run.board, begin)
    if run.versions.get("data", job.data_sha256) != job.data_sha256:
        raise ConfigError(
            f"The training data have changed since run {run.id}.", "Put the old data back, or train anew."
        )
    if job.board.id == run.board and job.plans != run.plan:
        raise MismatchError(
            f"Run {run.id}, made by edgelearn {run.versions.get('edgelearn', '?')}, does not compile to its plan any more.",
            "Go on with the edgelearn and the data that it was made with, or train anew.",
        )
    return replace(job, data=load_data(job.recipe.override(**overrides))) if overrides else job


# --- the start of another run -----------------------------------------------------------------------------------------------------


def begin(
    recipe: Recipe | str | Path | None, given: str | Path | Start, runs: RunStore, board: Board | str
) -> tuple[Recipe | str | Path, Start]:
    """The recipe to train on ``board`` and the weights to begin with, of ``--from``: a run's id, a file of an export, or a trained net's.

    A run's own recipe leaves out what only the host does, where it is to be learnt on another board.

    Raises:
        UsageError: nothing says what to train. ConfigError: there are no such weights.
    """
    if isinstance(given, Start):
        return _named(recipe, given.origin), given
    if Path(given).suffix in FILES:
        return _named(recipe, str(given)), start.read(Path(given))
    if Path(given).suffix.lower() in (*imports.SUFFIXES, *imports.PICKLES):
        return _trained_elsewhere(_named(recipe, str(given)), Path(given))
    if Path(given).is_file():
        hint = (
            "Give a run's id, a file that `edgelearn export RUN --format plan` wrote, or a trained net (.onnx, .pt2)."
        )
        raise ConfigError(f"{given} has no weights to go on from.", hint)
    run = runs.get(str(given))
    return recipe or _own_recipe(run, board), learnt(run, runs)


def _trained_elsewhere(recipe: Recipe | str | Path, given: Path) -> tuple[Recipe, Start]:
    """The recipe and the weights of a file of a net that was trained elsewhere.

    Raises:
        ConfigError: it is none, or its layers are not the recipe's.
    """
    recipe = recipe if isinstance(recipe, Recipe) else recipes.load(recipe)
    return recipe, imports.start_of(imports.read(given), recipe)


def _own_recipe(run: Run, board: Board | str) -> Recipe:
    found = recipe_of(run, f"name a recipe: edgelearn train RECIPE --from {run.id}")
    board = board if isinstance(board, Board) else boards.load(board)
    return found if board.is_host else found.for_boards()


def _named(recipe: Recipe | str | Path | None, given: str) -> Recipe | str | Path:
    if recipe is None:
        raise UsageError(
            f"{given} has weights and no recipe.", "Name the recipe too: edgelearn train RECIPE --from FILE"
        )
    return recipe


def learnt(run: Run, runs: RunStore) -> Start:
    """What a run has learnt so far.

    Raises:
        ConfigError: it has no checkpoint yet.
    """
    checkpoint = runs.newest_checkpoint(run.id)
    if checkpoint is None:
        raise ConfigError(f"Run {run.id} has no checkpoint yet.", "Train it first: edgelearn train")
    return Start(f"run {run.id}, step {checkpoint.step:,}", _layout(run, checkpoint.step), checkpoint.state)


def layouts(job: Job) -> dict[str, object]:
    """How the states of a job's checkpoints are to be read: what a run keeps."""
    return {"stages": [{"last": stage.last, **Layout.of(stage.module).as_dict()} for stage in job.stages]}


def _layout(run: Run, step: int) -> Layout:
    """Of the checkpoint after ``step`` samples; a run of an older version has to be compiled again for it."""
    if run.layout is None:
        return Layout.of(restore_job(run).as_of(step).module)
    stages = cast(list[dict[str, Any]], run.layout.get("stages"))
    if (
        not stages
        or not isinstance(stages, list)
        or not all(isinstance(s, dict) and isinstance(s.get("last"), int) for s in stages)
    ):
        raise ConfigError(f"Run {run.id} does not say how its state is to be read.", "It is damaged: train anew.")
    return layout.parse(next((stage for stage in stages if step <= stage["last"]), stages[-1]))
