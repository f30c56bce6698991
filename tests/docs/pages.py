"""What the pages of a site refer to, read as a browser would."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

# Where an element loads something, without being clicked; a link's `rel` says whether it does.
_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "video": "src"}
_STYLE_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
_NOT_LOADED = {"index", "search", "next", "prev", "canonical", "edit"}


@dataclass
class Page(HTMLParser):
    """One page: ``ids`` that can be linked to, ``links`` to click, and ``loads``, which come by themselves."""

    file: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.ids |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and not _NOT_LOADED & set(found.get("rel", "").split()):
            self.loads.append(found.get("href", ""))
        if _LOADS.get(tag) in found:
            self.loads.append(found[_LOADS[tag]])
        self.loads += style_urls(found.get("style", ""))


def style_urls(text: str) -> list[str]:
    """What a style sheet loads."""
    return [first or second for first, second in _STYLE_URL.findall(text)]


def pages(site: Path) -> dict[Path, Page]:
    """Every page, by its file."""
    return {file.resolve(): Page(file) for file in sorted(site.rglob("*.html"))}
