"""The bench of the run store, in small: it measures real stores, and would see a broken one."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from edgelearn.bench import store as bench
from edgelearn.errors import EdgeLearnError


def test_a_training_and_its_report(tmp_path: Path) -> None:
    rows = {row.name: row for row in bench.training(tmp_path, 3000)}
    assert rows["the store"].value * 3000 == (tmp_path / "runs.sqlite").stat().st_size
    assert rows["the report"].value == (tmp_path / "report.html").stat().st_size
    assert rows["edgelearn report"].value > 0
    assert rows["watching"].value > 0
    with pytest.raises(EdgeLearnError, match="no run 'nothing'"):
        bench._report(tmp_path / "runs.sqlite", "nothing", tmp_path / "other.html")


def test_bytes_of_what_is_logged(tmp_path: Path) -> None:
    (row,) = bench.logging(tmp_path, 20_000)
    assert row.asked is not None
    assert 10 < row.value < row.asked


def test_killed_writers(tmp_path: Path) -> None:
    (row,) = bench.kills(tmp_path, 2)
    assert row.value == 2
    with sqlite3.connect(tmp_path / "runs.sqlite") as db:
        db.execute("DELETE FROM readings")
    db.close()
    assert not bench._whole(tmp_path / "runs.sqlite")


def test_the_kept_figures_are_those_that_were_asked_for() -> None:
    file = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "store.json"
    found = json.loads(file.read_text())
    assert found["command"] == "edgelearn bench store"
    assert all(row["value"] < row["asked"] for row in found["rows"] if row["asked"] is not None)
    (killed,) = [row for row in found["rows"] if row["name"] == "whole after kill -9"]
    assert killed["value"] == bench.KILLS
