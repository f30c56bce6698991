"""PyTorch, an extra: importing this file is what needs it.

Everything of ``edgelearn.host`` that computes with torch imports it from here, so that one place says what to do where it is missing.
Its type is ``Any``: type checks must not depend on whether an extra is installed.
"""

from __future__ import annotations

import importlib
from typing import Any

from edgelearn.errors import MissingToolError

try:
    torch: Any = importlib.import_module("torch")
except ImportError as error:
    raise MissingToolError("PyTorch is not installed.", "Install it with: pip install 'edgelearn[torch]'") from error

Tensor = Any  # torch.Tensor
