"""The documentation's site: it builds, its links lead somewhere, it needs no network, and names in it have something to say."""

from __future__ import annotations

import inspect
import pkgutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import edgelearn
from tests.docs.pages import Page, pages, style_urls

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(site: Path) -> dict[Path, Page]:
    return pages(site)


def test_its_front_page_leads_to_the_contents(site: Path) -> None:
    assert (site / "docs/index.html").is_file()
    assert "docs/index.html" in Page(site / "index.html").links


def test_every_link_leads_somewhere(built: dict[Path, Page]) -> None:
    """To a file, and to a heading or a name in it."""
    checked, lost = 0, list[str]()
    for page in built.values():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto"):
                continue
            target = (page.file.parent / unquote(parts.path)).resolve() if parts.path else page.file.resolve()
            found = target.is_file() and (target not in built or _in(built[target], parts.fragment))
            checked += 1
            if not found:
                lost.append(f"{page.file.name}: {link}")
    assert lost == []
    assert checked > 1000


def _in(page: Page, fragment: str) -> bool:
    return not fragment or unquote(fragment) in page.ids


def test_nothing_is_loaded_from_elsewhere(site: Path, built: dict[Path, Page]) -> None:
    """So it can be read on a train."""
    wanted = {(page.file, load) for page in built.values() for load in page.loads}
    for sheet in site.rglob("*.css"):
        wanted |= {(sheet, load) for load in style_urls(sheet.read_text(encoding="utf-8"))}
    assert len(wanted) > 100
    for file, load in wanted:
        parts = urlsplit(load)
        assert parts.scheme in ("", "data") and not parts.netloc, f"{file} loads {load}"
        assert parts.scheme or not parts.path or (file.parent / unquote(parts.path)).is_file(), f"{file}: {load}"


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    ids = _names(site)
    aliases = {"L": "edgelearn.lang.words.Words"}
    assert {aliases.get(name, f"edgelearn.{name}") for name in edgelearn._WHERE} <= ids


def test_every_method_in_the_reference_says_what_it_does(site: Path) -> None:
    """Sphinx leaves out what has no docstring."""
    ids = _names(site)
    classes = {name: found for name in ids if inspect.isclass(found := pkgutil.resolve_name(name))}
    missing = list[str]()
    for name, found in classes.items():
        public = {f"{name}.{key}" for key, value in vars(found).items() if not key.startswith("_") and _is_call(value)}
        if public & ids:  # else the page shows the class alone
            missing += sorted(public - ids)
    assert missing == []
    assert len(classes) > 40


def _is_call(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, property)


def _names(site: Path) -> set[str]:
    """Python names that the reference describes."""
    found = set[str]().union(*(Page(file).ids for file in (site / "docs/api").glob("*.html")))
    return {name for name in found if name.startswith("edgelearn.")}
