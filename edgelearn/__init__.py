"""edgelearn: networks that learn where they are used, one sample at a time, without backpropagation.

    import edgelearn as el

    with el.connect("sim") as board:
        print(board.train("digits", epochs=3).accuracy)

Names are loaded when they are first used, so that ``import edgelearn`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgelearn.errors import EdgeLearnError as EdgeLearnError
    from edgelearn.exporting import export as export
    from edgelearn.job import Job as Job
    from edgelearn.job import prepare as compile  # pyright: ignore[reportUnusedImport]  # noqa: A004, F401 (the public name is the field's word)
    from edgelearn.lang import L as L
    from edgelearn.recipe import Recipe as Recipe
    from edgelearn.rules import rule as rule
    from edgelearn.session import Session as Session
    from edgelearn.session import connect as connect

_WHERE = {
    "EdgeLearnError": ("edgelearn.errors", "EdgeLearnError"),
    "Job": ("edgelearn.job", "Job"),
    "L": ("edgelearn.lang", "L"),
    "Recipe": ("edgelearn.recipe", "Recipe"),
    "Session": ("edgelearn.session", "Session"),
    "compile": ("edgelearn.job", "prepare"),
    "connect": ("edgelearn.session", "connect"),
    "export": ("edgelearn.exporting", "export"),
    "rule": ("edgelearn.rules", "rule"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'edgelearn' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
