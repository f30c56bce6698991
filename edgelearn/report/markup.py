"""HTML and SVG as Python calls. Whatever is not made here is text, and is escaped: no run can write markup into a page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

MAX_TEXT = 64 * 1024  # characters of one text of a run
_VOID_HTML = frozenset({"meta", "link", "input", "br", "col"})
_VOID = _VOID_HTML | {"rect", "line", "circle", "polyline", "path"}
# Control characters break the page, lone surrogates its encoding, and the marks of writing direction can turn a text around.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufffe\uffff]"
)


class Markup(str):
    """Text that is HTML already. Only this file and the style sheet make it."""

    __slots__ = ()


Child = str | Markup | None
NOTHING = Markup("")


def visible(text: str) -> str:
    """``text`` with its invisible characters spelt out, and cut where it is longer than a page should be."""
    rest = len(text) - MAX_TEXT
    shown = text if rest <= 0 else f"{text[:MAX_TEXT]}\n[{rest:,} more characters are not shown]"
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)


def text(value: Child) -> Markup:
    """``value`` as HTML: as it is if it is markup, else escaped."""
    if value is None:
        return NOTHING
    return value if isinstance(value, Markup) else Markup(escape(visible(value)))


def join(*parts: Child | Iterable[Child]) -> Markup:
    """Several things, one after the other."""
    flat = (child for part in parts for child in ((part,) if part is None or isinstance(part, str) else part))
    return Markup("".join(text(child) for child in flat))


def tag(name: str, /, *children: Child | Iterable[Child], **attributes: object) -> Markup:
    """An element. ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``; an attribute that is None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(_attribute(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{given}>" if name in _VOID_HTML else f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def _attribute(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
