"""A ``torch.nn.Module`` in memory: exported as ``torch.export`` does it, and read like the file that this gives.

One with layers of Brevitas is exported by Brevitas, as ONNX.
"""

from __future__ import annotations

import copy
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

from edgelearn.errors import ConfigError, EdgeLearnError, MissingToolError
from edgelearn.imports.extras import extra

OPSET = 17  # of what Brevitas writes: what it has been tried with


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
        raise _not_exported(error) from error
    return buffer.getvalue()


def is_quantised(module: Any) -> bool:
    """Has the module layers of Brevitas? Nothing is imported to find out."""
    parts = module.modules() if hasattr(module, "modules") else ()
    return any(type(part).__module__.partition(".")[0] == "brevitas" for part in parts)


def exported_qcdq(module: Any, example_input: Any) -> bytes:
    """The bytes of the ONNX file that Brevitas makes of ``module``, in evaluation mode; the module itself stays as it is.

    Raises:
        ConfigError: it cannot be exported. MissingToolError: a package that it takes to export it is not installed.
    """
    export = extra("brevitas.export", "Brevitas", "qat").export_onnx_qcdq
    for package in ("onnx", "onnxoptimizer"):
        extra(package, f"The package {package}", "qat")
    example = example_input if isinstance(example_input, tuple) else (example_input,)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own doubts: what it wrote is read with care
        path = Path(folder) / "net.onnx"
        try:
            net = copy.deepcopy(module).cpu().eval()
            export(net, args=example, export_path=str(path), opset_version=OPSET, dynamo=False)
            return path.read_bytes()
        except Exception as error:
            raise _not_exported(error) from error


def _not_exported(error: Exception) -> ConfigError:
    first = next(iter(str(error).strip().splitlines()), "")
    return ConfigError(
        f"The module cannot be exported: {type(error).__name__}: {first}",
        "Give a net of torch.nn layers and an input of (1, channels, height, width).",
    )
