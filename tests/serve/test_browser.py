"""The served pages in a real browser: they follow a board that trains, fit the screen, and there is nothing to complain of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

import edgelearn
from edgelearn.runs import RunStore
from edgelearn.serve.server import Server
from edgelearn.session import Progress
from tests.report.browser import Browser, program
from tests.serve.conftest import record, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason="needs a browser: apt-get install chromium"),
]
PATIENCE_S = 60  # on a machine that others use as well
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


class Visitor(Browser):
    """A browser for pages of one server: a request to anybody else is complained of."""

    origin = "nowhere"

    def visit(self, url: str, width: int, dark: bool) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self._events.clear()
        self.ask("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._events:
            self._read()

    def wait_until(self, expression: str) -> None:
        """Until a line of JavaScript gives true."""
        end = time.monotonic() + PATIENCE_S
        while not self.value(expression):
            assert time.monotonic() < end, (
                f"never true: {expression}; the page has: {self.value('document.body.innerText')}"
            )
            time.sleep(0.05)

    def _take(self, message: dict[str, Any]) -> None:
        url = message.get("params", {}).get("request", {}).get("url", "")
        if not (message.get("method") == "Network.requestWillBeSent" and url.startswith(self.origin)):
            super()._take(message)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    with Visitor(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def browser(opened: Visitor, server: Server) -> Visitor:
    opened.origin = server.url
    opened.complaints.clear()
    return opened


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_pages_fit_and_are_quiet(
    browser: Visitor, server: Server, learnt: tuple[Path, str], width: int, dark: bool
) -> None:
    for target in ("", f"run?id={learnt[1]}", f"compare?id={learnt[1]}"):
        browser.visit(server.url + target, width, dark)
        browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.value("document.documentElement.scrollWidth") <= width
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(18, 20, 23)" if dark else "rgb(246, 247, 249)")  # so the style sheet was let in
    browser.wait_until("document.getElementById('live').textContent.startsWith('As the store is')")
    assert browser.complaints == []


def test_the_page_follows_a_board_that_trains(opened: Visitor, tmp_path: Path) -> None:
    """A thread trains on sim, and waits in the middle until the browser has seen it run."""
    path, seen = tmp_path / "runs.sqlite", Event()

    def wait(at: Progress) -> None:
        if at.step >= 1100:
            seen.wait(PATIENCE_S)

    def train() -> None:
        with RunStore(path) as store, edgelearn.connect("sim") as board:
            board.train("digits", store, wait, steps=1600)

    with served(path) as server:
        opened.origin = server.url
        opened.complaints.clear()
        opened.visit(server.url, 1200, False)
        assert "There are no runs yet" in opened.value("document.body.innerText")
        learner = Thread(target=train)
        learner.start()
        try:
            opened.wait_until("document.querySelector('.status')?.textContent === 'running'")
            opened.wait_until("document.body.innerText.includes('of its newest guesses right')")
            opened.value("document.querySelector('input').checked = true")
            run = opened.value("document.querySelector('.name a').href")
            seen.set()
            opened.wait_until("document.querySelector('.status').textContent === 'finished'")
        finally:
            seen.set()
            learner.join()
        assert opened.value("document.querySelector('input').checked")  # what the reader ticked stays
        assert "test accuracy" in opened.value("document.body.innerText")
        opened.visit(run, 1200, False)
        assert "This run is not finished" not in opened.value("document.body.innerText")
        assert opened.complaints == []


def test_an_open_page_of_a_run_is_brought_up_to_date(opened: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore(path) as store, served(path) as server:
        run = record(store)
        opened.origin = server.url
        opened.complaints.clear()
        opened.visit(f"{server.url}run?id={run}", 390, True)
        assert "This run is not finished" in opened.value("document.body.innerText")
        store.log(run, 512, "train_accuracy", 0.75)
        store.log(run, 1024, "train_accuracy", 0.875)
        store.flush()
        opened.wait_until("document.querySelector('.line') !== null")
        result = {"accuracy": 0.96875, "steps": 1024, "confusion": [[31, 1], [0, 0]]}
        store.finish(run, "finished", result)
        opened.wait_until("document.body.innerText.includes('96.9')")
        opened.value("document.querySelector('details').open = true")
        store.finish(run, "finished", result | {"accuracy": 0.8125})
        opened.wait_until("document.body.innerText.includes('81.2')")
        assert opened.value("document.querySelector('details').open")  # what the reader opened stays
        assert "This run is not finished" not in opened.value("document.body.innerText")
    assert opened.complaints == []


def test_a_server_that_is_gone_is_said_to_be(opened: Visitor, learnt: tuple[Path, str]) -> None:
    with served(learnt[0]) as server:
        opened.origin = server.url
        opened.visit(server.url, 390, False)
    opened.wait_until("document.getElementById('live').textContent.includes('No answer from edgelearn serve')")
    assert opened.value("document.getElementById('live').classList.contains('stale')")
    assert learnt[1] in opened.value("document.body.innerText")


def test_hostile_runs_stay_text(opened: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore(path) as store, served(path) as server:
        run = record(store, {"notes": [EVIL], "error": EVIL}, rule=EVIL, board=EVIL, recipe=EVIL, rule_text=EVIL)
        opened.origin = server.url
        opened.complaints.clear()
        for target in ("", f"run?id={run}", f"compare?id={run}"):
            opened.visit(server.url + target, 390, False)
            assert opened.value("document.body.innerText.includes('<script>alert(1)</script>')")
            assert opened.value("document.querySelectorAll('img').length") == 0
            assert opened.value("document.scripts.length") == 1
            assert opened.value("document.documentElement.scrollWidth") <= 390
        opened.value("document.body.append(Object.assign(document.createElement('p'), {id: 'x'}))")
    assert opened.complaints == []


def test_a_script_in_the_page_would_not_run(opened: Visitor, learnt: tuple[Path, str]) -> None:
    """The second lock: had the escaping a hole, nothing would come of it."""
    with served(learnt[0]) as server:
        opened.origin = server.url
        opened.complaints.clear()
        opened.visit(server.url, 390, False)
        opened.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">')")
        opened.value(
            "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s)"
        )
        opened.wait_until("document.title === 'Runs'")
        opened.value("new Promise(done => setTimeout(done, 200))")
        assert opened.value("document.title") == "Runs"
    assert any("Content Security Policy" in line for line in opened.complaints)
