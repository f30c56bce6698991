"""Every table of the documents that is made from stored runs, made again: ``edgelearn bench figures``.

A figure in a document stands between ``<!-- name -->`` and ``<!-- /name -->`` and comes from a file in docs/benchmarks. To add one, write
the two marks into the page and a line into ``TABLES`` below. ``--check`` (and tests/docs/test_figures.py) fails where the two differ.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgelearn.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
FIGURES = "docs/benchmarks"


@dataclass(frozen=True)
class Block:
    """Text between two marks; ``made_by`` is a function that takes the folder of the figures and returns it."""

    page: str
    name: str
    made_by: str

    def filled(self, text: str, root: Path) -> str:
        return between(text, self.name, _function(self.made_by)(root / FIGURES), self.page)


@dataclass(frozen=True)
class Page:
    """A page whose maker fills in several blocks; it takes the text, and what is in ``source``, or below ``key`` of it."""

    page: str
    made_by: str
    source: str
    key: str = ""

    def filled(self, text: str, root: Path) -> str:
        path = root / FIGURES / self.source
        if path.is_dir():
            return _function(self.made_by)(text, path)
        told = _json(path)
        return _function(self.made_by)(text, told[self.key] if self.key else told)


@dataclass(frozen=True)
class Computed:
    """A page made from the code alone: there is no run to keep. ``made_by`` takes the text, or nothing if ``whole``."""

    page: str
    made_by: str
    whole: bool = False

    def filled(self, text: str, root: Path) -> str:
        make = _function(self.made_by)
        return make() if self.whole else make(text)


_BENCHMARKS = "docs/benchmarks.md"
_BLOCKS = {
    "instructions": "instructions", "cores": "cores", "accuracy": "accuracy", "rules": "rules", "recurrent": "recurrent",
    "mnist-cnn": "mnist_cnn", "mnist-mlp": "mnist_mlp", "cifar10": "cifar10", "throughput": "throughput",
    "store": "store", "energy": "energy",
}  # fmt: skip
TABLES: Sequence[Block | Page | Computed] = (
    Block("README.md", "results", "edgelearn.bench.readme_page:results"),
    *(Block(_BENCHMARKS, name, f"edgelearn.bench.results_page:{made_by}") for name, made_by in _BLOCKS.items()),
    Block("docs/personalise.md", "few-samples", "edgelearn.bench.few_samples:personalise_table"),
    Block("docs/features.md", "few-samples", "edgelearn.bench.few_samples:features_table"),
    Block("docs/qat.md", "qat", "edgelearn.bench.few_samples:qat_table"),
    Page("docs/memory.md", "edgelearn.bench.memory_page:filled", "memory.json", "rows"),
    Page("docs/link.md", "edgelearn.bench.link_page:filled", "link.json", "rows"),
    Page("docs/passes.md", "edgelearn.bench.passes_page:filled", "results"),
    Page("docs/energy.md", "edgelearn.bench.telemetry:filled", "telemetry.json"),
    Page("docs/pairing.md", "edgelearn.bench.pairing:filled", "pairing.json"),
    Page("docs/reliability.md", "tests.fuzz.figures:filled", "reliability-core.json"),
    Page("docs/reliability.md", "tests.attack.page:filled", "reliability-host.json"),
    Page("docs/reliability.md", "tests.link.soak:filled", "reliability-link.json"),
    Computed("docs/rulebook.md", "tests.cli.test_docs_rulebook:with_figures"),
    Computed("docs/formats.md", "edgelearn.testing.matrix:page", whole=True),
)


def between(text: str, name: str, made: str, page: str) -> str:
    """``text`` with what is between the marks of ``name`` replaced.

    Raises:
        ConfigError: the page has no such marks, or has them twice.
    """
    marked = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    text, found = marked.subn(lambda m: m[1] + made + m[2], text)
    if found != 1:
        problem = f"{page} has {found} blocks between <!-- {name} --> and <!-- /{name} -->."
        raise ConfigError(problem, "Write the two marks once, each on a line of its own.")
    return text


def made_again(tables: Iterable[Block | Page | Computed] = TABLES, root: Path = ROOT) -> dict[str, str]:
    """The pages as their files say that they are, by name.

    Raises:
        ConfigError: this is no checkout, or a page or file is missing.
    """
    pages: dict[str, str] = {}
    for table in tables:
        before = pages.get(table.page) or _read(root / table.page)
        pages[table.page] = table.filled(before, root)
    return pages


def changed(pages: Mapping[str, str], root: Path = ROOT) -> list[str]:
    """Those that are not what is in the checkout."""
    return [page for page, text in pages.items() if _read(root / page) != text]


def main_report(check: bool, tables: Sequence[Block | Page | Computed] = TABLES, root: Path = ROOT) -> dict[str, Any]:
    """What was looked at and what changed; pages are rewritten unless ``check``."""
    pages = made_again(tables, root)
    other = changed(pages, root)
    for page in () if check else other:
        (root / page).write_text(pages[page], encoding="utf-8")
    named = [f"{table.page}: {table.name}" if isinstance(table, Block) else table.page for table in tables]
    return {"case": "figures", "checked": named, "changed": other}


def _function(name: str) -> Callable[..., str]:
    """``package.module:function``. Some makers stand beside the tests whose figures they show."""
    module, _, function = name.partition(":")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return getattr(importlib.import_module(module), function)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "The documents are in the checkout: git clone it, and pip install -e . there."
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", hint) from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}.", "Run the bench again that writes it.") from error
