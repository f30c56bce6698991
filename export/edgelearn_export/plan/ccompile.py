"""C sources, given as bytes by path, compiled; object files are kept in the user's cache, for most nets need the same."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgelearn.errors import EdgeLearnError, MissingToolError, StorageFullError
from edgelearn.paths import cache_dir

WARNINGS = ("-Wall", "-Wextra", "-Werror")
# No fused multiply-add: floats must come out as in the reference interpreter.
COMMON = ("-std=c11", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")
_INCLUDE = re.compile(rb'^\s*#\s*include "([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Compiler:
    """A C compiler with its flags. ``keeps`` are the endings of what it writes beside each object file and is kept too."""

    program: str
    flags: tuple[str, ...] = ()
    keeps: tuple[str, ...] = (".o",)

    def compile(self, files: Mapping[str, bytes], includes: Sequence[str], folder: Path) -> list[Path]:
        """Compiles all C files among ``files``, which are written into ``folder``; returns the object files.

        Raises:
            MissingToolError: there is no such compiler. EdgeLearnError: a file does not compile.
            StorageFullError: the cache cannot be written.
        """
        _write(files, folder)
        flags = [*COMMON, *self.flags, *WARNINGS]
        units = [path for path in sorted(files) if path.endswith(".c")]
        kept = {path: self._folder / self._name(path, files, flags) for path in units}
        missing = [path for path in units if not all(self._parts(kept[path]))]
        if missing:
            run([self.program, "-c", *flags, *(f"-I{name}" for name in includes), *missing], folder)
            for path in missing:
                self._keep(folder / Path(path).stem, kept[path])
        return [stem.with_name(stem.name + ".o") for stem in kept.values()]

    def link(self, objects: Sequence[Path], flags: Sequence[str], out: Path) -> Path:
        """Links a program of which only what it uses is kept."""
        run([self.program, *self.flags, *map(str, objects), *flags, "-o", str(out)], out.parent)
        return out

    @property
    def version(self) -> str:
        """First line of ``--version``."""
        return _version(self.program)

    def _name(self, unit: str, files: Mapping[str, bytes], flags: Sequence[str]) -> str:
        """Of what a file becomes: by all that it is made of, wherever that lies."""
        made_of = (part for path in _included(unit, files) for part in (Path(path).name, files[path]))
        return f"{Path(unit).stem}-{_digest(self.version, *flags, *made_of)}"

    @property
    def _folder(self) -> Path:
        return cache_dir() / "objects"

    def _parts(self, stem: Path) -> list[bool]:
        return [stem.with_name(stem.name + ending).is_file() for ending in self.keeps]

    def _keep(self, made: Path, stem: Path) -> None:
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            for ending in self.keeps:  # renamed into place: nobody ever sees half a file
                with tempfile.NamedTemporaryFile(dir=stem.parent, prefix=".", delete=False) as file:
                    file.write(made.with_name(made.name + ending).read_bytes())
                os.replace(file.name, stem.with_name(stem.name + ending))
        except OSError as error:
            problem = f"Cannot write to {stem.parent}: {error.strerror}."
            raise StorageFullError(problem, "Set EDGELEARN_CACHE to another folder.") from error


def host() -> Compiler:
    """This computer's compiler: ``$CC``, or the first of cc, gcc and clang.

    Raises:
        MissingToolError: there is none.
    """
    own = os.environ.get("CC", "").strip()
    for name in (own,) if own else ("cc", "gcc", "clang"):
        if shutil.which(name):
            return Compiler(name, ("-O1",))
    problem = f"The C compiler {own}, which CC names, is not installed." if own else "There is no C compiler."
    raise MissingToolError(problem, "Install one: sudo apt-get install gcc")


def run(command: Sequence[str], folder: Path) -> str:
    """Standard output of a tool.

    Raises:
        MissingToolError: it is not installed. EdgeLearnError: it failed; its first complaint is in the message.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingToolError(f"{command[0]} is not installed.", "Install it, or leave --verify out.") from error
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line or "undefined" in line), done.stderr)
        raise EdgeLearnError(
            f"{command[0]} refused the exported C: {said.strip()}", "Export it anew; else please report it."
        )
    return done.stdout


@cache
def _version(program: str) -> str:
    return (run([program, "--version"], Path()).splitlines() or [""])[0]


def _included(unit: str, files: Mapping[str, bytes]) -> list[str]:
    """A C file and the headers among ``files`` that it includes, directly or not, whatever is defined."""
    found, by_name = [unit], {Path(path).name: path for path in files if path.endswith(".h")}
    for path in found:
        names = (Path(name.decode()).name for name in _INCLUDE.findall(files[path]))
        found += dict.fromkeys(by_name[name] for name in names if name in by_name and by_name[name] not in found)
    return found


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, raw in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update((part.encode() if isinstance(part, str) else part) + b"\0")
    return digest.hexdigest()[:24]
