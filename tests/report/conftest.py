"""Runs to report: one that was learnt on the simulated board, and records that anybody could have written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest

import edgelearn
import tests.serve.conftest
from edgelearn.runs import RunStore

STEPS = 1200
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store, and the id of a finished run in it. Read only: tests share it."""
    path = tmp_path_factory.mktemp("learnt") / "runs.sqlite"
    with RunStore(path) as store, edgelearn.connect("sim") as board:
        return path, board.train("digits", store, steps=STEPS).run


@pytest.fixture
def kept(learnt: tuple[Path, str]) -> Iterator[tuple[RunStore, str]]:
    """The same store, open."""
    with RunStore(learnt[0]) as store:
        yield store, learnt[1]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore(tmp_path / "own.sqlite") as own:
        yield own


Record = Callable[..., str]


@pytest.fixture
def record(store: RunStore) -> Record:
    """Writes a run into the store as it is told, hostile or not."""

    return partial(tests.serve.conftest.record, store)


class Page(HTMLParser):
    """What a page is made of: its elements, attributes and text."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.text = ""
        self._open: list[str] = []
        self.feed(html.decode("utf-8"))
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")
        if tag not in ("meta", "br", "col"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
