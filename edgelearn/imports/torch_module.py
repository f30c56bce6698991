"""A ``torch.nn.Module`` in memory: exported as ``torch.export`` does it, and read like the file that this gives."""

from __future__ import annotations

import copy
import io
from typing import Any

from edgelearn.errors import ConfigError, EdgeLearnError, MissingToolError
from edgelearn.imports.extras import extra


def exported(module: Any, example_input: Any) -> bytes:
    """The bytes of the program that ``module`` is, in evaluation mode; the module itself stays as it is.

    Raises:
        ConfigError: it cannot be exported. MissingToolError: torch is not installed, or too old.
    """
    torch = extra("torch", "PyTorch", "torch")
    if not hasattr(torch, "export") or not hasattr(torch.export, "save"):
        raise MissingToolError(f"PyTorch {torch.__version__} cannot export nets.", "Install torch 2.9 or newer.")
    example = example_input if isinstance(example_input, tuple) else (example_input,)
    buffer = io.BytesIO()
    try:
        program = torch.export.export(copy.deepcopy(module).cpu().eval(), example)
        torch.export.save(program, buffer)
    except EdgeLearnError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        problem = f"The module cannot be exported: {type(error).__name__}: {first}"
        raise ConfigError(
            problem, "Give a net of torch.nn layers and an input of (1, channels, height, width)."
        ) from error
    return buffer.getvalue()
