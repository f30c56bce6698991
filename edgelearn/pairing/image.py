"""What a paired image is made of: the board's own firmware, firmware/pairing, Monocypher, and a key."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from edgelearn import boards, build
from edgelearn.boards import Board
from edgelearn.errors import ConfigError, EdgeLearnError, MissingToolError, StorageFullError
from edgelearn.pairing import fetch
from edgelearn.pairing.keys import Key
from edgelearn.paths import cache_dir, resource

LEAST_RAM = 16 << 10
MAIN = "ports/common/main.c"  # of an open image
SIM_ONLY = ("sim_pair.c", "sim_pair.h")
STACK = 1024  # bytes more: to check a signature takes more than to learn
LINK = 384  # keys of the sessions, nonces, a manifest, and a frame that is longer than some boards' own
FRAME = 132  # a sealed plan_sign
DEFINE = "PAIRING"


def gap(board: Board) -> str:
    """Why a board cannot be paired; "" if it can."""
    if board.family == "sim":
        return ""
    if board.is_host or board.is_linux:
        return "it runs no image of ours; an agent has a token"
    if board.family == boards.ARDUINO or not board.prefix:
        return "its image is made with the vendor's tools"
    if board.ram < LEAST_RAM:
        return "it has less than 16 KB of RAM"
    if board.has_plan:
        return "its plan is compiled in"
    if board.nv == 0:
        return "it has no memory that would count its starts, and old conversations could be replayed to it"
    return ""


def paired(board: Board) -> Board:
    """The board as it is with a paired image: less memory is left for the plan, and for checkpoints of its own.

    Raises:
        ConfigError: there is no such image.
    """
    if reason := gap(board):
        able = ", ".join(one.id for one in boards.all_boards() if not gap(one))
        raise ConfigError(f"The board {board.id} cannot be paired: {reason}.", f"Boards that can: {able}.")
    if board.family == "sim" or DEFINE in board.defines:
        return board
    defines = tuple(_frame(define) for define in board.defines)
    return replace(board, stack=board.stack + STACK, link=board.link + LINK, defines=(*defines, DEFINE))


def _frame(define: str) -> str:
    name, _, value = define.partition("=")
    return f"{name}={max(int(value), FRAME)}" if name == "MAX_FRAME" else define


def with_includes(board: Board) -> Board:
    """A paired board, for the compiler."""
    found = (resource("firmware") / "pairing", fetch.folder())
    return replace(board, cflags=(*board.cflags, *(f"-I{folder}" for folder in found)))


def sources(family: str) -> list[Path]:
    """Every file of a paired image but the keys.

    Raises:
        MissingToolError: Monocypher has not been fetched.
    """
    root = resource("firmware")
    shared = [file for file in build.sources(family) if file.relative_to(root).as_posix() != MAIN]
    return [*shared, *_own(SIM_ONLY), *fetch.sources()]


def _own(without: tuple[str, ...]) -> list[Path]:
    return [file for file in sorted((resource("firmware") / "pairing").glob("*.[ch]")) if file.name not in without]


def key_bytes(key: Key) -> bytes:
    """What a board is given of a key: an ``el_pairing_keys``."""
    return key.public + key.secret


def keys_source(key: Key, folder: Path) -> Path:
    """Writes the C file with a board's keys into a folder that nobody else can read."""
    halves = ("{" + ", ".join(map(hex, half)) + "}" for half in (key.public, key.secret))
    file = folder / "pairing_keys.c"
    file.write_text(f'#include "el_pairing.h"\n\nconst el_pairing_keys el_own_keys = {{{", ".join(halves)}}};\n')
    return file


# --- the sim board ----------------------------------------------------------------------------------------------------------------

_FOLDERS = ("include", "hal", "core", "gen", "drivers", "pairing", "ports/sim")
_SIM_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-ffp-contract=off", f"-DEL_{DEFINE}")


def sim_program() -> Path:
    """The paired ``el-sim``, from the cache or built into it. It holds no key: that comes over its standard input.

    Raises:
        MissingToolError: there is no C compiler, or Monocypher has not been fetched.
        StorageFullError: the cache cannot be written.
    """
    units = sim_sources()
    digest = hashlib.sha256("\0".join(_SIM_FLAGS).encode())
    for file in units:
        digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    folder = cache_dir() / "images" / f"paired-sim-{digest.hexdigest()[:16]}"
    program = folder / "el-sim"
    if not program.is_file():
        _build_sim(units, folder)
    return program


def sim_sources() -> list[Path]:
    root = resource("firmware")
    own = [file for name in ("core", "gen", "ports/sim") for file in sorted((root / name).glob("*.[ch]"))]
    return [*own, *_own(("main.c",)), *fetch.sources()]


def _build_sim(files: list[Path], folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as scratch:
            whole = Path(scratch) / "whole"
            whole.mkdir()
            compile_sim(files, whole / "el-sim", "-lpthread")
            if not folder.exists():
                whole.rename(folder)
    except OSError as error:
        if not (folder / "el-sim").is_file():  # else another process was quicker
            hint = "Set EDGELEARN_CACHE to another folder."
            raise StorageFullError(f"Cannot write to {folder.parent}: {error}.", hint) from error


def compile_sim(files: list[Path], out: Path, *flags: str) -> None:
    """Compiles sources of the core and of pairing for this computer.

    Raises:
        MissingToolError: there is no C compiler. EdgeLearnError: it refuses them.
    """
    own = os.environ.get("CC", "").strip()
    compiler = next(
        (path for name in ((own,) if own else ("cc", "gcc", "clang")) if (path := shutil.which(name))), None
    )
    if compiler is None:
        raise MissingToolError("There is no C compiler, which the paired sim board needs.", "apt install gcc")
    root = resource("firmware")
    includes = [f"-I{root / name}" for name in _FOLDERS] + [f"-I{fetch.folder()}"]
    units = [str(file) for file in files if file.suffix == ".c"]
    command = [compiler, *_SIM_FLAGS, *includes, *units, "-o", str(out), *flags, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeLearnError(f"{compiler} failed: {done.stderr.strip()[:400]}", "Please report it.")
