"""Where files are: those that come with the package (in a checkout, an editable install or a wheel), and the user's cache."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from pathlib import Path

from edgelearn.errors import MissingToolError

_PACKAGE = Path(__file__).resolve().parent
_SUFFIXES = {"win32": {"libelrt": ".dll", "el-sim": ".exe"}, "darwin": {"libelrt": ".dylib"}}


def resource(name: str) -> Path:
    """The folder ``boards`` or ``firmware``.

    A checkout's own comes first: an editable install keeps a copy from the day it was installed.

    Raises:
        MissingToolError: the installation is incomplete.
    """
    checkout = _PACKAGE.parent / name
    if checkout.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return checkout
    packaged = _PACKAGE / "_data" / name
    if packaged.is_dir():
        return packaged
    raise _incomplete(f"the folder '{name}'")


def native(name: str) -> Path:
    """The compiled ``libelrt`` (shared library) or ``el-sim`` (program).

    Raises:
        MissingToolError: it has not been built.
    """
    suffix = _SUFFIXES.get(sys.platform, {"libelrt": ".so"}).get(name, "")
    # Down to the file: of an editable install's folder there is no single path, of its files there is.
    found = Path(str(files("edgelearn") / "_native" / (name + suffix)))
    if found.is_file():
        return found
    raise _incomplete(name)


def cache_dir() -> Path:
    """``$EDGELEARN_CACHE``, else ``edgelearn`` in the user's cache folder."""
    own = os.environ.get("EDGELEARN_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgelearn"


def _incomplete(what: str) -> MissingToolError:
    return MissingToolError(f"This installation of edgelearn lacks {what}.", "Reinstall with: pip install .")
