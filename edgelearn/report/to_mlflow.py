"""Runs in MLflow, written by its own library: into a database file, or to the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgelearn import backends
from edgelearn.errors import ConfigError, EdgeLearnError
from edgelearn.report.stored import Stored

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT = "edgelearn"
FILE = "mlflow.db"
ARTIFACTS = "mlartifacts"
_TAG = "edgelearn.run"  # by which a run that is exported again is found
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "running": "RUNNING"}
_BATCH = 1000  # metrics that the library takes at once
_MAX_VALUE = 500  # characters of a parameter: what every server takes


def tracking(folder: Path | None) -> str:
    """Where runs go: into ``folder``, if one is given, else to the user's server, else here."""
    own = os.environ.get(VARIABLE)
    if folder is None and own:
        return own
    return f"sqlite:///{((folder or Path()) / FILE).absolute()}"


def place(uri: str) -> str:
    """The same without a password, for people."""
    found = urlsplit(uri)
    return uri if "@" not in found.netloc else found._replace(netloc=found.netloc.rpartition("@")[2]).geturl()


def export(runs: Iterable[tuple[Stored, Mapping[str, Any]]], uri: str) -> dict[Path, int]:
    """Writes runs, each with its line of the table of runs; returns the file, if there is one.

    A run that is there already is brought up to date.

    Raises:
        MissingToolError: the library is not installed. ConfigError: it refuses.
    """
    file = _file(uri)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody asked for this to be told to anybody
    os.environ.setdefault("DO_NOT_TRACK", "true")
    backends.demand("mlflow", *(("mlflow", "sqlalchemy", "alembic") if file else ("mlflow",)))
    with _explained(uri):
        client = _client(uri)
        experiment = _experiment(client, file)
        for stored, row in runs:
            _write(client, experiment, stored, row)
    return {file: file.stat().st_size} if file else {}


def _file(uri: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None


def _client(uri: str) -> MlflowClient:
    from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if file := _file(uri):
        file.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri)


def _experiment(client: MlflowClient, file: Path | None) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return found.experiment_id
    return client.create_experiment(EXPERIMENT, artifact_location=(file.parent / ARTIFACTS).as_uri() if file else None)


def _write(client: MlflowClient, experiment: str, stored: Stored, row: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric, Param, RunTag  # pyright: ignore[reportMissingImports]

    run, at = stored.run, _milliseconds(stored.run.created)
    name = _run(client, experiment, run.id, at)
    readings = (Metric(_name(key), value, at, step) for key, curve in stored.metrics.items() for step, value in curve)
    numbers = [
        Metric(_name(key), float(value), at, stored.step or 0) for key, value in row.items() if _is_number(value)
    ]
    texts = [
        Param(_name(key), value[:_MAX_VALUE])
        for key, value in row.items()
        if isinstance(value, str) and key != "status"
    ]
    client.log_batch(
        name, numbers, texts, [RunTag("mlflow.source.type", "LOCAL"), RunTag("mlflow.source.name", "edgelearn")]
    )
    while batch := list(islice(readings, _BATCH)):
        client.log_batch(name, batch)
    client.log_text(name, run.recipe, "recipe.toml")
    client.set_terminated(name, _STATUS.get(run.status, "RUNNING"), end_time=at)


def _run(client: MlflowClient, experiment: str, run: str, at: int) -> str:
    """MLflow's name of a run, which is made if it is not there."""
    wanted = run.replace("\\", "").replace("'", "")
    found = client.search_runs([experiment], f"tags.`{_TAG}` = '{wanted}'", max_results=1)
    if found:
        return found[0].info.run_id
    return client.create_run(experiment, at, {_TAG: wanted}, wanted).info.run_id


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _name(text: str) -> str:
    """``text`` of the signs that MLflow lets a name have; it groups names by what is before a slash."""
    parts = re.sub(r"[^A-Za-z0-9_./ -]", "_", text)[:200].split("/")
    return "/".join(part for part in parts if part.strip(". ")) or "_"


def _milliseconds(created: str) -> int:
    """Since 1970. The store keeps no time of single readings: all of a run get the time of its beginning."""
    try:
        return int(datetime.fromisoformat(created).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 1


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except EdgeLearnError:
        raise
    except Exception as error:  # its library, a database and a network: each has errors of its own
        problem = f"MLflow at {place(uri)} does not take the runs: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise ConfigError(problem.rstrip(".") + ".", f"Look at {VARIABLE}, or name a folder with -o.") from error
