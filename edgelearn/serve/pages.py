"""The served pages. What a run says is text in them: the report's own code makes it so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from edgelearn.report import charts, page, stored
from edgelearn.report.markup import Child, Markup, join, tag
from edgelearn.report.stored import number
from edgelearn.report.words import NONE, count, note, percent, warning
from edgelearn.runs import RunStore
from edgelearn.serve.summary import present

LIST = "Runs"
PAGE = 50  # runs on a page of the list
STORED = "a served page shows what is stored, and runs nothing; `edgelearn report` has the rest."


def whole(title: str, tag_of_store: str, *main: Child) -> bytes:
    """A page that keeps itself as the store is. ``tag_of_store`` says which state of the store it shows."""
    script = tag("script", src="serve.js", defer="defer")
    told = tag("p", "This page shows the store as it was when it was opened.", class_="note", id="live", role="status")
    return _page(title, title != LIST, script, told, tag("main", *main, data_tag=tag_of_store))


def problem(title: str, message: str, remedy: str) -> bytes:
    return _page(title, True, None, None, tag("main", warning(message), note(remedy) if remedy else None))


def _page(title: str, way_back: bool, script: Child, told: Child, main: Child) -> bytes:
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="stylesheet", href="style.css"),
        script,
    )
    only = "edgelearn serve only reads. Nothing of a run is executed to show it."
    body = join(
        tag("header", tag("h1", title), _way_back() if way_back else None, told),
        main,
        tag("footer", tag("p", only, class_="note")),
    )
    return f"<!doctype html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n".encode()


def _way_back() -> Markup:
    return tag("p", tag("a", "All runs", href="./"), class_="note")


def index(store: RunStore | None, at: int, tag_of_store: str) -> bytes:
    """The list of runs, newest first; ``at`` is the page, from 1."""
    runs = store.list() if store is not None else ()
    if store is None or not runs:
        return whole(LIST, tag_of_store, note("There are no runs yet: `edgelearn train digits` makes one."))
    pages = -(-len(runs) // PAGE)
    at = min(max(at, 1), pages)
    shown = [present(run, store) for run in runs[(at - 1) * PAGE : at * PAGE]]
    form = tag(
        "form", tag("ul", (_item(run) for run in shown), class_="runs"),
        tag("p", tag("button", "Compare those that are ticked"), " ", tag("span", f"up to {charts.COLOURS}", class_="note")),
        action="compare", method="get",
    )  # fmt: skip
    return whole(LIST, tag_of_store, note(f"{len(runs):,} runs, newest first."), form, _turning(at, pages))


def one(store: RunStore, name: str, tag_of_store: str) -> bytes:
    """The report of a run, as far as it needs nothing but the store.

    Raises:
        ConfigError: there is no such run.
    """
    found = stored.read(store, name)
    return whole(f"Run {found.run.id}", tag_of_store, page.content([(found, STORED)]))


def compared(store: RunStore, names: Sequence[str], tag_of_store: str) -> bytes:
    """Several runs side by side."""
    found = [stored.read(store, name) for name in dict.fromkeys(names)]
    return whole(f"{len(found)} runs", tag_of_store, page.content([(run, STORED) for run in found]))


def _item(run: dict[str, Any]) -> Markup:
    name = str(run["id"])
    link = tag("a", name, href=f"run?{urlencode({'id': name})}")
    box = tag("input", type="checkbox", name="id", value=name, aria_label=f"compare {name}")
    what = f"{run['net']}, {run['rule']}, {run['dtype']}, on {run['board']}, seed {run['seed']}"
    findings = run["findings"]
    return tag(
        "li",
        tag("p", tag("label", box), " ", link, " ", tag("span", str(run["status"]), class_="status"), class_="name"),
        tag("p", _accuracy(run), ", ", tag("span", f"{count(number(run['step']))} samples learnt")),
        tag("p", what, class_="note"),
        tag("p", _when(str(run["created"])), class_="note"),
        warning("; ".join(findings[:3])) if findings else None,
        warning(str(run["error"])) if run["error"] else None,
    )


def _when(created: str) -> str:
    """``2026-11-22 00:10 UTC``, if it is a time."""
    try:
        return f"begun {datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return created


def _accuracy(run: dict[str, Any]) -> Markup:
    """Of the test set; of one that has not come so far, how it guesses."""
    tested = number(run["accuracy"])
    if tested is not None:
        return tag("b", f"{percent(tested)} test accuracy")
    running = number(run["train_accuracy"])
    if running is None:
        return tag("span", f"accuracy {NONE}")
    return tag("b", f"{percent(running)} of its newest guesses right")


def _turning(at: int, pages: int) -> Markup | None:
    if pages == 1:
        return None
    newer = tag("a", "newer", href=f"./?page={at - 1}") if at > 1 else None
    older = tag("a", "older", href=f"./?page={at + 1}") if at < pages else None
    return tag("p", f"Page {at:,} of {pages:,}. ", newer, " ", older)
