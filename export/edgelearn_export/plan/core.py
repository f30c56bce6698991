"""Which files of the C runtime a plan needs: those that define what its kernels and the six calls use, and all that they include."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgelearn.paths import resource
from edgelearn_export.plan import format as F  # noqa: N812

CALLS = ("el_open", "el_learn", "el_infer", "el_save", "el_load", "el_stats")
FOLDERS = ("include", "hal", "core", "gen")
EVERY_KERNEL = "gen/el_kernels_all.c"  # a plan in C brings the table of its own

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_NAME = re.compile(r"\bel_\w+")
_INCLUDE = re.compile(r'^\s*#\s*include "([^"]+)"', re.MULTILINE)
_DECLARED = re.compile(r"^[a-z][^;{}#]*\)\s*;", re.MULTILINE)
_DEFINED = re.compile(r"^(?!static\b|typedef\b)[A-Za-z][\w *]*?\b(el_\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
_FAMILY = re.compile(  # a macro that defines a kernel for each name that it is given
    r"^#define (\w+)\((\w+)[^)]*\)\s*\\\n\s*void (el_k_)##\2(?:##(\w+))?\(", re.MULTILINE
)


@dataclass(frozen=True)
class _File:
    defines: frozenset[str]
    uses: frozenset[str]
    includes: tuple[str, ...]


def files_for(used: Iterable[tuple[str, bool]]) -> list[str]:
    """Paths below ``firmware`` of what a plan needs that calls these kernels: (name, only with the common operands?)."""
    used = list(used)
    wanted = {*CALLS, *(F.c_function(name, common) for name, common in used)}
    if any(F.has_maps(name) for name, _ in used):
        wanted.add("el_check_map_shapes")
    sources = _sources()
    found: set[str] = set()
    while more := {path for path, file in sources.items() if file.defines & wanted} - found:
        found |= more
        wanted |= {name for path in more for name in _uses(path)}
    return sorted({path for source in found for path in (source, *_included(source))})


@cache
def _sources() -> dict[str, _File]:
    return {path: _read(path) for path in _paths() if path.endswith(".c")}


@cache
def _paths() -> tuple[str, ...]:
    root = resource("firmware")
    files = (file for folder in FOLDERS for file in (root / folder).iterdir() if file.suffix in (".c", ".h"))
    return tuple(sorted(path for path in (f.relative_to(root).as_posix() for f in files) if path != EVERY_KERNEL))


@cache
def _read(path: str) -> _File:
    text = _COMMENT.sub("", (resource("firmware") / path).read_text())
    defines = set(_DEFINED.findall(text))
    for macro, _, start, end in _FAMILY.findall(text):
        defines |= {f"{start}{name}{end}" for name in re.findall(rf"^{macro}\((\w+)", text, re.MULTILINE)}
    return _File(frozenset(defines), frozenset(_NAME.findall(_DECLARED.sub("", text))), tuple(_INCLUDE.findall(text)))


def _uses(path: str) -> set[str]:
    """Names in a file, and in the functions of the headers that it includes."""
    return set().union(*(_read(each).uses for each in (path, *_included(path))))


@cache
def _included(path: str) -> tuple[str, ...]:
    """Our headers that a file includes, directly or not, whatever is defined."""
    found: list[str] = []
    todo = [path]
    while todo:
        for name in _read(todo.pop()).includes:
            header = _header(name)
            if header and header not in found:
                found.append(header)
                todo.append(header)
    return tuple(found)


def _header(name: str) -> str | None:
    """Where a header lies; None: it is of a vendor, and only included where that one's compiler says so."""
    return next((path for path in _paths() if Path(path).name == Path(name).name), None)
