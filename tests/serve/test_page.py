"""docs/live.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from edgelearn.live import screen, terminal
from edgelearn.report.charts import COLOURS
from edgelearn.serve import server
from edgelearn.serve.request import MAX_HEAD, MAX_TARGET, METHODS
from edgelearn.serve.site import Site

PAGE = " ".join((Path(__file__).resolve().parents[2] / "docs/live.md").read_text(encoding="utf-8").split())


def test_bounds_of_the_server() -> None:
    head = f"Its head has {server.HEAD_S:.0f} seconds, {MAX_HEAD // 1024} KB and {MAX_TARGET:,} characters of address"
    assert head in PAGE
    assert f"its answer {server.SEND_S:.0f} seconds; {server.MAX_AT_ONCE} are served at once" in PAGE
    assert f"http://{server.HOST}:{server.PORT}/" in PAGE
    assert f"`{'` and `'.join(METHODS)}`" in PAGE
    assert f"up to {COLOURS} side by side" in PAGE


def test_addresses_of_the_server(tmp_path: Path) -> None:
    site = Site(tmp_path / "none")
    assert len(site._files) + len(site._pages) == 8
    assert "there are eight addresses" in PAGE


def test_the_screen() -> None:
    assert f"below {screen.NARROW} columns" in PAGE
    assert f"below {screen.TALL} lines" in PAGE
    assert f"a line every {terminal.LINE_S:.0f} seconds" in PAGE
    assert terminal.PER_SECOND == 4
    assert "four times a second" in PAGE


def test_rows_of_the_screen() -> None:
    from tests.live.test_watch import status

    assert not [name for name, _, _ in screen.rows(status()) if f"| {name} |" not in PAGE]
