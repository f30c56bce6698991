"""The page: one file that loads nothing, runs nothing, and shows what it was given as text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from edgelearn import __version__
from edgelearn.report import learning
from edgelearn.report.again import Again
from edgelearn.report.blocks import tensors
from edgelearn.report.energy import energy
from edgelearn.report.link import link, where
from edgelearn.report.markup import Markup, join, tag
from edgelearn.report.memory import memory
from edgelearn.report.numbers import health
from edgelearn.report.origin import origin
from edgelearn.report.stored import Stored
from edgelearn.report.words import NONE, count, note, number, percent, size, table, warning
from edgelearn.report.work import work

Read = tuple[Stored, Again | str]


@cache
def style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def policy() -> str:
    """Nothing may be loaded or run; only this style sheet, known by its hash, is used."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def page(runs: Sequence[Read], written: str) -> bytes:
    """The report of one run, or of several side by side. ``written`` says when."""
    names = [stored.run.id for stored, _ in runs]
    title = f"Report of run {names[0]}" if len(runs) == 1 else f"Report of {len(runs)} runs"
    body = join(
        tag("header", tag("h1", title), tag("p", f"Written by edgelearn {__version__}, {written}.", class_="note")),
        tag("main", content(runs)),
        tag("footer", tag("p", "This page is one file: it loads nothing and runs nothing.", class_="note")),
    )  # fmt: skip
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(style())),
    )
    return f"<!doctype html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n".encode()


def content(runs: Sequence[Read]) -> Markup:
    """What is shown of the runs, for a page with another head."""
    names = [stored.run.id for stored, _ in runs]
    return join(
        _compared([stored for stored, _ in runs], names) if len(runs) > 1 else None,
        (_run(stored, again, i, len(runs) > 1) for i, (stored, again) in enumerate(runs)),
    )


def _run(stored: Stored, again: Again | str, index: int, several: bool) -> Markup:
    run = stored.run
    what = f"{stored.net}, {stored.rule}, {run.dtype}, on {run.board}"
    swatch = tag(
        "svg", tag("rect", width=14, height=14, rx=3, class_=f"fill s{index}"), width=14, height=14, aria_hidden="true"
    )
    return tag(
        "article",
        tag("h2", swatch, " ", run.id) if several else None,
        tag("p", what, class_="what"),
        _state(stored),
        _tiles(stored),
        learning.learning(stored, again),
        memory(stored, again),
        link(stored),
        work(stored, again),
        tensors(stored),
        health(stored, again),
        energy(stored),
        origin(stored, again),
        id=f"run-{index + 1}",
    )


def _state(stored: Stored) -> Markup:
    """Whether it is finished, and what it ran on."""
    run, at = stored.run, stored.step
    if run.status == "finished":
        return note(where(stored))
    reached = f" The newest thing known of it is of step {at:,}." if at is not None else ""
    return warning(
        f"This run is not finished: its status is '{run.status}'.{reached} What is missing here was not measured. ",
        where(stored),
    )


def _tiles(stored: Stored) -> Markup:
    tiles = (
        ("test accuracy", percent(learning.accuracy(stored)), "unseen samples"),
        ("samples learnt", count(stored.step), "one at a time"),
        ("RAM to learn", size(stored.number("ram", "planned")), "state and arena, planned"),
        (
            "a sample",
            number(stored.number("board_us_per_sample"), "us"),
            "measured on the board" if _hardware(stored) else "on this computer",
        ),
    )
    return tag(
        "ul",
        (tag("li", tag("span", name), tag("strong", value), tag("span", what)) for name, value, what in tiles),
        class_="tiles",
    )


def _hardware(stored: Stored) -> bool:
    return where(stored).startswith("Times are measured")


# --- several ------------------------------------------------------------------------------------------------------------------------


def _emulated(stored: Stored) -> str:
    found = stored.at("emulated")
    return ("yes" if found else "no") if isinstance(found, bool) else NONE


_ROWS: tuple[tuple[str, Callable[[Stored], str]], ...] = (
    ("net", lambda s: s.net),
    ("rule", lambda s: s.rule),
    ("numbers", lambda s: s.run.dtype),
    ("board", lambda s: s.run.board),
    ("emulated", _emulated),
    ("seed", lambda s: str(s.run.seed)),
    ("status", lambda s: s.run.status),
    ("samples learnt", lambda s: count(s.step)),
    ("test accuracy", lambda s: percent(learning.accuracy(s))),
    ("state and arena, planned", lambda s: size(s.number("ram", "planned"))),
    ("state and arena, measured", lambda s: size(s.number("ram", "measured"))),
    ("stack, measured", lambda s: size(s.number("ram", "stack"))),
    ("time on the board, a sample", lambda s: number(s.number("board_us_per_sample"), "us")),
    ("over the link, a second", lambda s: number(s.number("samples_per_s"))),
    ("bytes sent", lambda s: count(s.number("link", "bytes_tx"))),
    ("frames repeated", lambda s: count(s.number("link", "retries"))),
    ("findings", lambda s: str(len(s.objects("health"))) if isinstance(s.at("health"), list) else NONE),
    ("training data", lambda s: s.run.versions.get("data", NONE)[:12]),
    ("state SHA-256", lambda s: (s.text("state_sha256") or NONE)[:12]),
)


def _compared(runs: Sequence[Stored], names: Sequence[str]) -> Markup:
    heads = ("", *names)
    rows = [_row(name, [value(stored) for stored in runs]) for name, value in _ROWS]
    links = tag("ul", (tag("li", tag("a", name, href=f"#run-{i}")) for i, name in enumerate(names, 1)), class_="links")
    told = note("Lines in which the runs differ are marked. Times of emulated boards compare nothing.")
    shown = table(heads, rows, range(1, len(heads)), "compared")
    return tag("section", tag("h2", "Side by side"), links, learning.curves(runs, names), shown, told)


def _row(name: str, cells: list[str]) -> list[Markup | str]:
    """With a mark where the cells differ, which is no colour alone."""
    if len(set(cells)) == 1:
        return [name, *cells]
    return [tag("span", f"{name}\u00a0", tag("b", "\u2260", title="differs")), *(tag("b", cell) for cell in cells)]
