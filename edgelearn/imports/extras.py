"""Packages that only those need who read such files: imported when they are needed, with one sentence where they are missing.

Their types are ``Any``: type checks must not depend on whether an extra is installed.
"""

from __future__ import annotations

import importlib
from typing import Any

from edgelearn.errors import MissingToolError


def extra(module: str, name: str, package: str) -> Any:
    """The module ``module`` of the package that the extra ``package`` brings.

    Raises:
        MissingToolError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingToolError(
            f"{name} is not installed.", f"Install it with: pip install 'edgelearn[{package}]'"
        ) from error
