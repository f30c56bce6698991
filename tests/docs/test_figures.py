"""Every table of the documents that is made from stored runs says what those runs say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgelearn.bench import figures
from edgelearn.bench.figures import Block, Page
from edgelearn.errors import ConfigError

ROOT = figures.ROOT
MARK = re.compile(r"^<!-- /([\w-]+) -->$", re.MULTILINE)
BY_HAND = {("README.md", "demo-screen")}  # what `make demo` printed, once


@pytest.mark.parametrize("page", sorted({table.page for table in figures.TABLES}))
def test_a_page_has_the_figures_of_its_files(page: str) -> None:
    made = figures.made_again([table for table in figures.TABLES if table.page == page])
    assert figures.changed(made) == [], "edgelearn bench figures"


def test_no_marked_table_is_left_out() -> None:
    """A table that is marked as generated but that no line of TABLES makes would go stale."""
    blocks = {(table.page, table.name) for table in figures.TABLES if isinstance(table, Block)}
    filled_by_page = {table.page for table in figures.TABLES if not isinstance(table, Block)}
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))):
        page = str(path.relative_to(ROOT))
        marked = {(page, name) for name in MARK.findall(path.read_text(encoding="utf-8"))}
        left = marked - blocks - BY_HAND
        assert not left or page in filled_by_page, f"{left}: add it to edgelearn.bench.figures.TABLES"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / figures.FIGURES
    folder.mkdir(parents=True)
    (folder / "store.json").write_text(
        json.dumps(
            {
                "date": "2026-01-01", "versions": "edgelearn 0", "note": "Noted.",
                "rows": [{"of": "a run", "name": "the store", "value": 0.5, "unit": "bytes a step", "asked": 20}],
            }
        )
    )  # fmt: skip
    (tmp_path / "page.md").write_text("before\n<!-- store -->\nold\n<!-- /store -->\nafter 0.4\n")
    return tmp_path


STORE = (Block("page.md", "store", "edgelearn.bench.results_page:store"),)


def test_a_stale_table_is_found_and_made_again(checkout: Path) -> None:
    page = checkout / "page.md"
    before = page.read_text()
    assert figures.main_report(True, STORE, checkout)["changed"] == ["page.md"]
    assert page.read_text() == before
    assert figures.main_report(False, STORE, checkout)["changed"] == ["page.md"]
    text = page.read_text()
    assert "| a run | the store | 0.5 bytes a step | under 20 |\n" in text
    assert text.startswith("before\n")
    assert text.endswith("<!-- /store -->\nafter 0.4\n")
    assert "old" not in text
    assert figures.main_report(True, STORE, checkout)["changed"] == []


def test_what_is_missing_is_said(checkout: Path) -> None:
    with pytest.raises(ConfigError, match="0 blocks between <!-- energy -->"):
        figures.made_again([Block("page.md", "energy", "edgelearn.bench.results_page:store")], checkout)
    with pytest.raises(ConfigError, match=r"Cannot read .*none\.json"):
        figures.made_again([Page("page.md", "edgelearn.bench.telemetry:filled", "none.json")], checkout)
    with pytest.raises(ConfigError, match="Cannot read"):
        figures.made_again(STORE, checkout / "elsewhere")
