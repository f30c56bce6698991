"""Arm's CMSIS-NN where the user has a copy: its dense layer in the images of Cortex-M boards. Never packaged, never downloaded."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgelearn.errors import ConfigError

VARIABLE = "EDGELEARN_CMSIS_NN"  # names the folder of a copy
PREFIX = "arm-none-eabi-"  # of the compiler whose images can have it
DEFINE = "-DEL_CMSIS_NN"  # what firmware/core asks for
_INCLUDE = "Include"
_SOURCES = (
    "Source/FullyConnectedFunctions/arm_fully_connected_s8.c",
    "Source/NNSupportFunctions/arm_nn_vec_mat_mult_t_s8.c",
)


def chosen(prefix: str) -> Path | None:
    """The copy that the environment names, for images of the compiler with this prefix; None: ours alone.

    Raises:
        ConfigError: there is no copy in that folder.
    """
    named = os.environ.get(VARIABLE)
    return _checked(Path(named), f"Set {VARIABLE} to") if named and prefix == PREFIX else None


def given(folder: Path, prefix: str) -> Path:
    """The copy in ``folder``, that a command names.

    Raises:
        ConfigError: there is none, or the compiler is not Arm's.
    """
    if prefix != PREFIX:
        raise ConfigError("CMSIS-NN is for Cortex-M only.", "Choose such a board, like --board mps2-an386.")
    return _checked(folder, "Name")


def _checked(folder: Path, verb: str) -> Path:
    missing = [name for name in (f"{_INCLUDE}/arm_nnfunctions.h", *_SOURCES) if not (folder / name).is_file()]
    if missing:
        hint = f"{verb} a checkout of github.com/ARM-software/CMSIS-NN, or leave it out."
        raise ConfigError(f"There is no CMSIS-NN in {folder}: it lacks {missing[0]}.", hint)
    return folder.resolve()


def sources(copy: Path) -> list[Path]:
    """The C files that are compiled along."""
    return [copy / name for name in _SOURCES]


def files(copy: Path) -> list[Path]:
    """Every file whose bytes decide what comes out, in a fixed order."""
    return sources(copy) + sorted((copy / _INCLUDE).rglob("*.h"))


def include(copy: Path) -> list[str]:
    """Compiler flags: its headers are not held to our warnings."""
    return ["-isystem", str(copy / _INCLUDE)]


def revision(copy: Path) -> str:
    """What its dense kernel calls itself, with the date: a copy need not be a git checkout."""
    text = (copy / _SOURCES[1]).read_text(encoding="utf-8", errors="replace")
    found = {key: re.search(rf"\${key}: *(.*?)\s*$", text, re.MULTILINE) for key in ("Revision", "Date")}
    return ", ".join(match[1] for match in found.values() if match) or "unknown"
