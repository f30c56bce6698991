"""The site in a real browser, from the disk: nothing to complain of, nothing beside the screen, and its search finds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import Browser, program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason="needs a browser: apt-get install chromium"),
]
WIDE = ("docs/index", "docs/boards", "docs/first-run", "docs/api/edgelearn")  # tables, code, long signatures


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def _complaints(browser: Browser) -> list[str]:
    """Of the page; pictures that stand in its own style sheet are no requests."""
    found = [line for line in browser.complaints if not line.startswith("request: data:")]
    browser.complaints.clear()
    return found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("page", WIDE)
def test_a_page_fits_and_is_quiet(browser: Browser, site: Path, page: str, width: int, dark: bool) -> None:
    browser.open(site / f"{page}.html", width, dark)
    assert browser.value("document.documentElement.scrollWidth") <= width
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(19, 20, 22)" if dark else "rgb(255, 255, 255)")
    assert browser.value("getComputedStyle(document.querySelector('h1')).fontSize") == "32px"  # our sheet came
    assert _complaints(browser) == []


def test_the_front_page_opens(browser: Browser, site: Path) -> None:
    browser.open(site / "index.html", 1200, False)
    assert _until(browser, "document.querySelector('h1')?.innerText.startsWith('edgelearn')")
    assert _complaints(browser) == []


def test_the_search_needs_no_server(browser: Browser, site: Path) -> None:
    browser.open(site / "search.html", 1200, False)
    browser.ask("Page.navigate", url=(site / "search.html").resolve().as_uri() + "?q=checkpoint")
    assert _until(browser, "document.querySelectorAll('#search-results li').length > 3")
    assert _complaints(browser) == []


def _until(browser: Browser, expression: str, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not (found := bool(browser.value(expression))) and time.monotonic() < end:
        time.sleep(0.1)
    return found
