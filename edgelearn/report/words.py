"""Numbers as people read them, and the pieces that sections of a report are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgelearn.report.markup import Child, Markup, join, tag

NONE = "not recorded"


def percent(fraction: float | None) -> str:
    return NONE if fraction is None else f"{100 * fraction:.1f} %"


def share(fraction: float | None) -> str:
    """A share that may be small."""
    if fraction is None:
        return NONE
    return f"{100 * fraction:.2g} %" if 0 < fraction < 0.1 else f"{100 * fraction:.0f} %"


def count(value: float | None) -> str:
    return NONE if value is None else f"{int(value):,}"


def size(nbytes: float | None) -> str:
    return NONE if nbytes is None else f"{int(nbytes):,} B"


def number(value: float | None, unit: str = "") -> str:
    """Four digits that count."""
    if value is None:
        return NONE
    shown = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return f"{shown} {unit}".strip()


def section(title: str, *children: Child | Iterable[Child]) -> Markup:
    return tag("section", tag("h3", title), *children)


def figure(caption: Child | Iterable[Child], *children: Child | Iterable[Child]) -> Markup:
    """Something to look at, with what it shows and where that comes from."""
    return tag("figure", *children, tag("figcaption", caption))


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Child]], right: Sequence[int] = (), class_: str | None = None
) -> Markup:
    """A table in a box of its own, that scrolls on a narrow screen. Columns in ``right`` hold numbers."""
    kinds = ["num" if i in right else None for i in range(len(heads))]
    head = tag("tr", (tag("th", name, class_=kind, scope="col") for name, kind in zip(heads, kinds, strict=True)))
    body = [
        tag("tr", tag("th", row[0], scope="row"), (tag("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)))
        for row in rows
    ]  # fmt: skip
    made = tag("table", tag("thead", head), tag("tbody", body), class_=class_)
    return tag("div", made, class_="scroll", tabindex=0)


def facts(rows: Iterable[tuple[str, Child]]) -> Markup:
    """Names and values."""
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in rows)
    return tag("dl", pairs)


def note(*children: Child) -> Markup:
    return tag("p", join(*children), class_="note")


def warning(*children: Child) -> Markup:
    return tag("p", join(*children), class_="warning")


def block(text: str, label: str) -> Markup:
    """A text as it is."""
    return tag("pre", tag("code", text), tabindex=0, aria_label=label)
