"""``edgelearn report`` and ``edgelearn runs export`` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgelearn.cli import main


@pytest.fixture(autouse=True)
def shared(learnt: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The store with one run, and an empty folder to be in; the run's id."""
    monkeypatch.setenv("EDGELEARN_RUNS", str(learnt[0]))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return learnt[1]


def test_report(shared: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", shared, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    file = Path("report.html")
    expected = {
        "schema": "edgelearn.report/1",
        "file": "report.html",
        "bytes": file.stat().st_size,
        "runs": [shared],
        "notes": [],
    }
    assert told == expected
    assert main(["report", shared, "-o", "other.html", "--stored-only"]) == 0
    assert "other.html" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "code"), [(["no-run"], 3), ([], 2), (["no-run", "-o", "/dev/null/x.html"], 3)])
def test_report_refuses(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *words, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["error"]["code"] == code
    assert not Path("report.html").exists()


def test_report_where_nothing_can_be_written(shared: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", shared, "-o", "/dev/null/x.html", "--stored-only", "--json"]) == 13
    assert "Cannot write /dev/null/x.html" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_runs_export(shared: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "export", "--to", "csv", "-o", "out", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [file["path"] for file in told["files"]] == ["out/runs.csv", "out/metrics.csv"]
    assert shared in Path("out/runs.csv").read_text()
    assert main(["runs", "export", "--to", "xml", "--json"]) == 2
