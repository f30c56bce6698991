"""The documentation as a site: ``make site``.

Sphinx reads the pages where they lie, from the root of the checkout, so that every link between them, and to a file of the source,
works on GitHub and on the site alike. The table of contents is the list in docs/index.md, and is kept nowhere else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "export")]

from edgelearn import __version__  # noqa: E402 (the checkout's own, whatever is installed)

project = "edgelearn"
copyright = "the authors of edgelearn, Apache-2.0"  # noqa: A001 (Sphinx calls it so)
version = release = __version__
language = "en_GB"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "edgelearn/data/README.md",
    "firmware/examples/sensor/README.md",
]
exclude_patterns = [".*", "build", "dist", "tests", "boards", "export"]  # never entered

myst_heading_anchors = 4  # as GitHub makes them
myst_links_external_new_tab = False

autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_preprocess_types = False
add_module_names = False
python_maximum_signature_line_length = 80

suppress_warnings = ["misc.highlighting_failure"]  # an excerpt need not be whole TOML

html_theme = "furo"
html_title = "edgelearn"
html_static_path = ["_site/site.css"]
html_css_files = ["site.css"]
templates_path = ["_site"]
html_additional_pages = {"index": "start.html"}
html_copy_source = False
html_show_search_summary = False  # it would fetch the pages found, which a browser refuses a page from a disk
html_show_sphinx = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

_HEADING = re.compile(r"## (.+)\n")
_ENTRY = re.compile(r"^- \[(.+?)\]\(([^)#]+\.md)\)", re.MULTILINE)

_NAMES = {"Args:": r"[a-z]\w*(?:, [a-z]\w*)*", "Raises:": r"[A-Z]\w+(?:, [A-Z]\w+)*"}


def _contents(text: str) -> Iterator[str]:
    """A hidden toctree for each heading of the index that has a list of pages."""
    for part in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        heading, pages = _HEADING.match(part), _ENTRY.findall(part)
        if heading and pages:
            lines = [f"{title} <{_document(target)}>" for title, target in pages]
            yield "\n".join(("", "```{toctree}", ":hidden:", f":caption: {heading[1]}", "", *lines, "```", ""))


def _document(target: str) -> str:
    """The name that Sphinx has for a page which the index links to."""
    return "/" + (ROOT / "docs" / target).resolve().relative_to(ROOT).with_suffix("").as_posix()


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    if name == root_doc:
        source[0] += "\n".join(_contents(source[0]))


def _folders(app: Sphinx, tree: nodes.document) -> None:
    """Links to folders of the source stay words: a site that is read from a disk has no listings."""
    here = Path(tree["source"]).parent
    for link in list(tree.findall(pending_xref)):
        if link.get("reftype") == "myst" and (here / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def _one_each(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Gives each argument and each error a line of its own: docstrings here put short ones on one line."""
    found, names = list[str](), None
    for line in lines:
        if line.strip() in _NAMES:
            names = _NAMES[line.strip()]
        elif not line.startswith(" "):
            names = None
        elif names is not None:
            pieces = re.split(rf"(?<=[.;]) (?={names}: )", line.strip())
            found += [("    " if re.match(f"{names}: ", piece) else "        ") + piece for piece in pieces]
            continue
        found.append(line)
    if what == "property":
        found.insert(0, "")  # or napoleon takes what stands before a colon in the first line for a type
    lines[:] = found


def setup(app: Sphinx) -> None:
    app.connect("source-read", _read)
    app.connect("doctree-read", _folders)
    app.connect("autodoc-process-docstring", _one_each, priority=400)  # before napoleon's 500
