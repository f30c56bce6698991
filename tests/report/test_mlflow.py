"""``edgelearn runs export --to mlflow``, read back by MLflow's own library where it is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgelearn.cli import main
from edgelearn.report import tables
from edgelearn.report.to_mlflow import EXPERIMENT, FILE, VARIABLE, _name, place, tracking
from edgelearn.runs import RunStore
from tests.report.conftest import EVIL, Record


@pytest.fixture
def mlflow() -> None:
    reason = "pip install 'edgelearn[mlflow]': it is not among what CI installs, for it brings 40 packages"
    for name in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(name, reason=reason)


def test_where_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert tracking(None) == f"sqlite:///{tmp_path}/{FILE}"
    monkeypatch.setenv(VARIABLE, "http://me:secret@server:5000/x")
    assert tracking(None) == "http://me:secret@server:5000/x"
    assert place(tracking(None)) == "http://server:5000/x"
    assert tracking(Path("there")) == f"sqlite:///{tmp_path}/there/{FILE}"


def test_without_the_library_the_extra_is_named(
    learnt: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edgelearn.backends.find_spec", lambda name: None)
    monkeypatch.setenv("EDGELEARN_RUNS", str(learnt[0]))
    assert main(["runs", "export", "--to", "mlflow", "-o", str(tmp_path), "--json"]) == 14
    assert "edgelearn[mlflow]" in json.loads(capsys.readouterr().out)["error"]["hint"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "there"), [("a/b-1", "a/b-1"), ("/a//../b", "a/b"), ("..", "_"), ("", "_"), ("ä<b>", "__b_")]
)
def test_names_are_such_as_it_takes(name: str, there: str) -> None:
    assert _name(name) == there


@pytest.mark.slow
@pytest.mark.usefixtures("mlflow")
def test_mlflow_has_the_run_once(
    kept: tuple[RunStore, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

    store, run = kept
    monkeypatch.setenv("EDGELEARN_RUNS", str(store.path))
    for _ in range(2):  # a second time brings it up to date
        assert main(["runs", "export", run, "--to", "mlflow", "-o", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [file["path"] for file in told["files"]] == [str(tmp_path / FILE)]
    client = MlflowClient(tracking_uri=told["tracking"])
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (found,) = client.search_runs([experiment.experiment_id])
    result = store.get(run).result or {}
    assert found.info.status == "FINISHED"
    assert found.data.tags["edgelearn.run"] == run
    assert found.data.metrics["accuracy"] == result["accuracy"]
    assert found.data.params["rule"] == store.get(run).rule
    for name, curve in store.metrics(run).items():
        history = client.get_metric_history(found.info.run_id, _name(name))
        assert sorted((m.step, m.value) for m in history) == sorted(curve)
    folder = client.download_artifacts(found.info.run_id, "recipe.toml", str(tmp_path))
    assert Path(folder).read_text() == store.get(run).recipe


@pytest.mark.slow
@pytest.mark.usefixtures("mlflow")
def test_hostile_runs_are_written_too(store: RunStore, record: Record, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

    run = record({"accuracy": float("inf"), "ram": []}, rule=EVIL * 30, board="' OR 1=1 --", recipe="")
    store.log(run, 3, EVIL, 1.5)
    record(None)
    tables.to_mlflow(store, (), tracking(tmp_path))
    client = MlflowClient(tracking_uri=tracking(tmp_path))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = {one.data.tags["edgelearn.run"]: one for one in client.search_runs([experiment.experiment_id])}
    assert len(found) == 2
    assert found[run].data.params["board"] == "' OR 1=1 --"
    assert 1.5 in found[run].data.metrics.values()
    assert "accuracy" not in found[run].data.metrics
