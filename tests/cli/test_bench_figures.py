"""``edgelearn bench figures`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgelearn.bench import figures
from edgelearn.bench.figures import Block
from tests.cli.conftest import Cli

TABLES = (Block("page.md", "store", "edgelearn.bench.results_page:store"),)


def test_a_stale_page_fails_and_is_made_again(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / figures.FIGURES
    folder.mkdir(parents=True)
    rows = [{"of": "a run", "name": "the store", "value": 0.5, "unit": "bytes a step", "asked": 20}]
    (folder / "store.json").write_text(json.dumps({"date": "2026-01-01", "versions": "v", "note": "", "rows": rows}))
    (tmp_path / "page.md").write_text("<!-- store -->\n<!-- /store -->\n")
    whole = figures.main_report
    monkeypatch.setattr(figures, "main_report", lambda check: whole(check, TABLES, tmp_path))
    stale = cli("bench", "figures", "--check")
    assert stale.code == 10
    assert "page.md: not what the stored runs say." in stale.err
    assert cli("bench", "figures", "--json").json["changed"] == ["page.md"]
    assert cli("bench", "figures", "--check", "--json").json["changed"] == []
    assert "Looked at: 1" in cli("bench", "figures").out
