"""The page in a real browser: nothing to complain of, nothing beside the screen, dark and light."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgelearn.report import report
from edgelearn.runs import RunStore
from tests.report.browser import Browser, program
from tests.report.conftest import EVIL, Record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason="needs a browser: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def complaints(browser: Browser) -> list[str]:
    browser.complaints.clear()
    return browser.complaints


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_a_report_fits_and_is_quiet(
    browser: Browser, complaints: list[str], kept: tuple[RunStore, str], tmp_path: Path, width: int, dark: bool
) -> None:
    report([kept[1]], tmp_path / "report.html", kept[0])
    browser.open(tmp_path / "report.html", width, dark)
    browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.querySelector('.line').getBoundingClientRect().width") > width / 4
    assert browser.value("document.scripts.length") == 0
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 20, 23)" if dark else "rgb(246, 247, 249)")  # so the style sheet was let in
    assert browser.picture().startswith(b"\x89PNG")
    assert complaints == []


def test_hostile_runs_are_shown_as_text(
    browser: Browser, complaints: list[str], store: RunStore, record: Record, tmp_path: Path
) -> None:
    runs = [record({"notes": [EVIL]}, rule=EVIL, board=EVIL, recipe=EVIL, rule_text=EVIL) for _ in range(3)]
    report(runs, tmp_path / "report.html", store)
    browser.open(tmp_path / "report.html", 390, False)
    assert browser.value("document.body.innerText.includes('<script>alert(1)</script>')")
    assert browser.value("document.querySelectorAll('script, img').length") == 0
    assert browser.value("document.documentElement.scrollWidth") <= 390
    assert complaints == []


@pytest.mark.parametrize(
    "foreign",
    [
        "<script>document.title = 'run'</script>",
        "<img src='x.png'>",
        "<p style='color: red'>",
        "<script src='x.js'></script>",
    ],
)
def test_the_page_refuses_what_is_not_its_own(
    browser: Browser, complaints: list[str], kept: tuple[RunStore, str], tmp_path: Path, foreign: str
) -> None:
    """The second lock: had the escaping a hole, nothing would come of it. Also that this test's browser does complain."""
    report([kept[1]], tmp_path / "report.html", kept[0], True)
    raw = (tmp_path / "report.html").read_text()
    (tmp_path / "foreign.html").write_text(raw.replace("</body>", f"{foreign}</body>"))
    browser.open(tmp_path / "foreign.html", 390, False)
    assert browser.value("document.title") != "run"
    assert any("Content Security Policy" in line for line in complaints)
