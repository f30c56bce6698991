"""Firmware images: the packaged one if it fits the sources, else built once into the user's cache.

python -m edgelearn.images BOARD...                 build and put them into the package, for a release
python -m edgelearn.images --app FOLDER BOARD...    build an application with its plan compiled in, say where it is
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from edgelearn import cmsis_nn
from edgelearn.boards import Board
from edgelearn.build import FAMILIES, Image, compile_into, compiler_version, flags, memory_script, sources
from edgelearn.errors import ConfigError, EdgeLearnError, MissingToolError, StorageFullError
from edgelearn.pairing import image as paired
from edgelearn.pairing.keys import Key
from edgelearn.paths import cache_dir, resource

PACKAGED = Path(__file__).resolve().parent / "images"
PLAN_NAME = "app"  # of the network whose plan is compiled in: the files are app_plan.c and app_plan.h
FIXED = "ports/common/fixed.c"  # main of an image with a plan
PAIRED = "paired-"  # how the folder of an image with a key in it is called
PLAN_FROM_LINK = ("ports/common/main.c", "gen/el_kernels_all.c")  # what an application brings itself


def app_sources(family: str, folder: Path) -> list[Path]:
    """Every file of an application: those of the firmware without its main, then those in ``folder``.

    Raises:
        ConfigError: there is no such port, no C file in the folder, or one named like the firmware's.
    """
    root = resource("firmware")
    shared = [file for file in sources(family) if file.relative_to(root).as_posix() not in PLAN_FROM_LINK]
    own = [file for file in sorted(folder.resolve().glob("*")) if file.suffix in (".c", ".h")]
    if not any(file.suffix == ".c" for file in own):
        raise ConfigError(f"There is no C file in {folder}.", "Give a folder like firmware/examples/sensor.")
    taken = {file.name for file in shared} & {file.name for file in own if file.suffix == ".c"}
    if taken:  # object files lie side by side
        raise ConfigError(f"The firmware has a file {min(taken)} of its own.", f"Rename the one in {folder}.")
    return shared + own


def source_hash(board: Board, files: Sequence[Path] | None = None) -> str:
    """SHA-256 over names and bytes of the sources (the firmware's, where None), this board's flags and its memory."""
    root, files = resource("firmware"), sources(board.family) if files is None else files
    digest = hashlib.sha256(json.dumps([*flags(board), memory_script(board)]).encode())
    for file in files:
        name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        digest.update(f"\0{name}\0".encode() + file.read_bytes())
    if copy := cmsis_nn.chosen(board.prefix):
        for file in cmsis_nn.files(copy):
            digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def build(board: Board) -> Image:
    """The image of ``board``: packaged, cached or built now.

    Raises:
        MissingToolError: it must be built and there is no cross compiler.
        ConfigError: the board has no image (it is no microcontroller of a known family), or none without a plan;
            or its file sets less aside for the link than the image takes.
        DoesNotFitError: the stack's bound exceeds the stack.
        StorageFullError: the cache cannot be written.
    """
    if board.has_plan:
        problem = f"The image of {board.id} has a plan compiled in: there is one for each recipe."
        raise ConfigError(problem, f"Name the recipe: edgelearn train digits-tiny --board {board.id}")
    wanted = source_hash(board)
    if packaged := _packaged(board, wanted):
        return packaged
    return _within(board, _cached(board, sources(board.family), wanted))


def build_paired(board: Board, key: Key) -> Image:
    """The image of a board that takes orders only from who has ``key``; a folder of the cache that nobody else can read holds it.

    Raises:
        as ``build``; ConfigError: this board cannot be paired. MissingToolError: `make pairing` has not been run.
    """
    chosen = paired.with_includes(paired.paired(board))
    with tempfile.TemporaryDirectory() as scratch:
        files = [*paired.sources(board.family), paired.keys_source(key, Path(scratch))]
        return _within(chosen, _cached(chosen, files, source_hash(chosen, files), PAIRED))


def build_app(board: Board, folder: Path) -> Image:
    """The image of the application in ``folder``: its C files, among them ``main`` and a plan made by ``plan-c``.

    The plan's own kernel table takes the place of the complete one, so that only the kernels that it calls are linked.

    Raises:
        MissingToolError: there is no cross compiler.
        ConfigError: the board has no port, the folder no C file, or one named like the firmware's.
        EdgeLearnError: a file does not compile; the compiler's first complaint is in the message.
        DoesNotFitError: the stack's bound exceeds the stack.
        StorageFullError: the cache cannot be written.
    """
    files = app_sources(board.family, folder)
    return _cached(board, files, source_hash(board, files), f"{folder.resolve().name}-")


def build_with_plan(board: Board, plan: Mapping[str, bytes]) -> Image:
    """The image of a board whose plan is compiled in, and which the host trains over the link.

    Args:
        plan: what the backend ``plan-c`` makes of a network called ``PLAN_NAME``, by file name.

    Raises:
        as ``build_app``.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "plan"
        folder.mkdir()
        shutil.copyfile(resource("firmware") / FIXED, folder / Path(FIXED).name)
        for name, raw in plan.items():
            (folder / name).write_bytes(raw)
        return build_app(board, folder)


def ready(board: Board) -> Image | None:
    """The image of ``board`` if it need not be built: packaged, or cached for the compiler that is here."""
    if board.has_plan:
        return None
    wanted = source_hash(board)
    try:
        return _packaged(board, wanted) or _load(
            _folder(board, compiler_version(board.prefix), wanted) / f"{board.id}.json"
        )
    except MissingToolError:
        return None


def _within(board: Board, image: Image) -> Image:
    """``image``, which keeps what its board file promises of the link.

    Raises:
        ConfigError: it takes more.
    """
    if image.link_bytes > board.link:
        problem = f"Ring and frames of {board.id} take {image.link_bytes} bytes, and its file sets {board.link} aside."
        raise ConfigError(problem, f"Raise link in it to {image.link_bytes} or more.")
    return image


def _packaged(board: Board, wanted: str) -> Image | None:
    found = _load(PACKAGED / f"{board.id}.json")
    return found if found and found.source_hash == wanted else None


def _cached(board: Board, files: Sequence[Path], wanted: str, label: str = "") -> Image:
    """The image made of ``files``, from the cache or built into it; ``label`` starts its folder's name."""
    compiler = compiler_version(board.prefix)
    folder = _folder(board, compiler, wanted, label)
    return _load(folder / f"{board.id}.json") or _build_into(folder, board, files, compiler, wanted)


def _folder(board: Board, compiler: str, wanted: str, label: str = "") -> Path:
    key = hashlib.sha256(f"{wanted}\0{compiler}".encode()).hexdigest()[:16]
    return cache_dir() / "images" / f"{label}{board.id}-{key}"


def _load(manifest: Path) -> Image | None:
    """An image by its manifest; None if either file is missing or the manifest is not ours."""
    elf = manifest.with_suffix(".elf")
    if not (manifest.is_file() and elf.is_file()):
        return None
    try:
        return Image(path=elf, **json.loads(manifest.read_text()))
    except (ValueError, TypeError):
        return None  # of another version: build it again


def _build_into(folder: Path, board: Board, files: Sequence[Path], compiler: str, wanted: str) -> Image:
    """Builds beside ``folder`` and renames, so that nobody ever sees half an image."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as scratch:
            image = compile_into(Path(scratch), board, files, compiler, wanted)
            finished = Path(scratch) / "finished"
            finished.mkdir(mode=0o700 if folder.name.startswith(PAIRED) else 0o777)
            _store(image, finished)
            if not folder.exists():
                finished.rename(folder)
    except OSError as error:
        if folder.is_dir() and (won := _load(folder / f"{board.id}.json")):
            return won  # another process was quicker
        raise StorageFullError(
            f"Cannot write to {folder.parent}: {error}.", "Set EDGELEARN_CACHE to another folder."
        ) from error
    built = _load(folder / f"{board.id}.json")
    assert built is not None
    return built


def _store(image: Image, folder: Path) -> None:
    """Copies an image and writes its manifest beside it."""
    shutil.copyfile(image.path, folder / image.path.name)
    manifest = {name: value for name, value in asdict(image).items() if name != "path"}
    (folder / f"{image.path.stem}.json").write_text(json.dumps(manifest, indent=2) + "\n")


def main(arguments: Sequence[str]) -> None:
    """Builds the named boards' images (all boards that have one, if none is named), into the package or as ``--app``."""
    from edgelearn import boards

    parser = argparse.ArgumentParser(prog="python -m edgelearn.images", description="Build firmware images.")
    parser.add_argument("--app", type=Path, metavar="FOLDER", help="an application instead of the package's images")
    parser.add_argument("boards", nargs="*", metavar="BOARD")
    given = parser.parse_args(arguments)
    chosen = [boards.load(i) for i in given.boards] or _own_images(boards.all_boards())
    for board in chosen:
        image = build_app(board, given.app) if given.app else _package(board)
        sizes = f"text {image.text}, data {image.data}, bss {image.bss}, stack {image.stack_bound} of {image.stack}"
        print(f"{board.id}: {sizes}" + (f"\n{image.path}" if given.app else ""))  # noqa: T201 (a program)


def _own_images(every: Sequence[Board]) -> list[Board]:
    return [board for board in every if board.family in FAMILIES and not board.has_plan]


def _package(board: Board) -> Image:
    if cmsis_nn.chosen(board.prefix):
        raise ConfigError("Images of the package have no code of CMSIS-NN.", f"Unset {cmsis_nn.VARIABLE}.")
    PACKAGED.mkdir(exist_ok=True)
    image = build(board)
    if image.path.parent != PACKAGED:
        _store(image, PACKAGED)
    return image


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except EdgeLearnError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
