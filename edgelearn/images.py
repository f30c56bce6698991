"""Firmware images: the packaged one if it fits the sources, else built once into the user's cache.

python -m edgelearn.images BOARD...                 build and put them into the package, for a release
python -m edgelearn.images --app FOLDER BOARD...    build an application with its plan compiled in, say where it is
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from edgelearn import stackbound
from edgelearn.errors import ConfigError, DoesNotFitError, EdgeLearnError, MissingToolError, StorageFullError
from edgelearn.paths import cache_dir, resource

INSTALL = {"arm-none-eabi-": "sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"}
PACKAGED = Path(__file__).resolve().parent / "images"
INCLUDES = ("include", "hal", "core", "gen", "ports/common")
LINK_SYMBOLS = ("link", "ring")  # frame buffers and control block (an application has none), receive ring
PLAN_FROM_LINK = ("ports/common/main.c", "gen/el_kernels_all.c")  # what an application brings itself
COMPLAINT = re.compile(r"error:|undefined reference|multiple definition|overflowed")
BASIC_FRAME, FPU_FRAME = 36, 108  # bytes pushed for an interrupt: 8 or 26 words, and one to align the stack


class Board(Protocol):
    """What an image needs to know of its board (see edgelearn.boards.Board)."""

    @property
    def id(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def cflags(self) -> tuple[str, ...]: ...
    @property
    def prefix(self) -> str: ...
    @property
    def dtypes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Image:
    """A linked image. Sizes in bytes; ``bss`` leaves the stack out, ``stack_bound`` is the most it can need."""

    path: Path
    text: int
    data: int
    bss: int
    stack: int
    stack_bound: int
    link_bytes: int
    pool_bytes: int
    compiler: str
    source_hash: str


@dataclass(frozen=True)
class Family:
    """How the images of one firmware/ports/<family> are compiled."""

    flags: tuple[str, ...]


FAMILIES = {
    "nrf51": Family(("-Os", "-DEL_MAX_FRAME=128")),
    "cmsdk": Family(("-O2",)),
}


def sources(family: str) -> list[Path]:
    """Every file that an image of this family is made of, in a fixed order.

    Raises:
        ConfigError: there is no such port.
    """
    root = resource("firmware")
    if family not in FAMILIES or not (root / "ports" / family).is_dir():
        raise ConfigError(f"There is no firmware image for the family '{family}'.", f"Families: {', '.join(FAMILIES)}.")
    folders = [root / folder for folder in (*INCLUDES, f"ports/{family}")]
    return [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in (".c", ".h", ".ld")]


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
    """SHA-256 over names and bytes of the sources (the firmware's, where None) and this board's flags."""
    root, files = resource("firmware"), sources(board.family) if files is None else files
    digest = hashlib.sha256(json.dumps(flags(board)).encode())
    for file in files:
        name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        digest.update(f"\0{name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def flags(board: Board) -> list[str]:
    """Compiler flags that decide what the image is, without paths."""
    no_f32 = [] if "f32" in board.dtypes else ["-DEL_NO_F32"]
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    # No fused multiply-add: floats must come out as in the reference interpreter.
    code = ["-ffunction-sections", "-fdata-sections", "-ffp-contract=off", f'-DEL_BOARD_ID="{board.id}"']
    return [*board.cflags, *FAMILIES[board.family].flags, *no_f32, *warnings, *code]


def build(board: Board) -> Image:
    """The image of ``board``: packaged, cached or built now.

    Raises:
        MissingToolError: it must be built and there is no cross compiler.
        ConfigError: the board has no image (it is no microcontroller of a known family).
        DoesNotFitError: the stack's bound exceeds the stack.
        StorageFullError: the cache cannot be written.
    """
    wanted = source_hash(board)
    if packaged := _packaged(board, wanted):
        return packaged
    return _cached(board, sources(board.family), wanted)


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


def ready(board: Board) -> Image | None:
    """The image of ``board`` if it need not be built: packaged, or cached for the compiler that is here."""
    wanted = source_hash(board)
    try:
        return _packaged(board, wanted) or _load(_folder(board, _compiler(board.prefix), wanted) / f"{board.id}.json")
    except MissingToolError:
        return None


def _packaged(board: Board, wanted: str) -> Image | None:
    found = _load(PACKAGED / f"{board.id}.json")
    return found if found and found.source_hash == wanted else None


def _cached(board: Board, files: Sequence[Path], wanted: str, label: str = "") -> Image:
    """The image made of ``files``, from the cache or built into it; ``label`` starts its folder's name."""
    compiler = _compiler(board.prefix)
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


def _compiler(prefix: str) -> str:
    """First line of the compiler's ``--version``."""
    try:
        shown = subprocess.run([prefix + "gcc", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        install = INSTALL.get(prefix, f"Install {prefix}gcc.")
        raise MissingToolError(f"The cross compiler {prefix}gcc is not installed.", install) from error
    return shown.stdout.splitlines()[0]


def _build_into(folder: Path, board: Board, files: Sequence[Path], compiler: str, wanted: str) -> Image:
    """Builds beside ``folder`` and renames, so that nobody ever sees half an image."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as scratch:
            image = _compile(Path(scratch), board, files, compiler, wanted)
            finished = Path(scratch) / "finished"
            finished.mkdir()
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


def _compile(scratch: Path, board: Board, files: Sequence[Path], compiler: str, wanted: str) -> Image:
    root = resource("firmware")
    gcc, common = board.prefix + "gcc", flags(board)
    units = [str(file) for file in files if file.suffix == ".c"]
    includes = [f"-I{root / folder}" for folder in INCLUDES]
    _run([gcc, "-c", *common, "-fcallgraph-info=su", f"-ffile-prefix-map={root}=firmware", *includes, *units], scratch)
    elf = scratch / f"{board.id}.elf"
    script = root / "ports" / board.family / "link.ld"
    objects = sorted(file.name for file in scratch.glob("*.o"))
    link = ["--specs=nano.specs", "-nostartfiles", "-Wl,--gc-sections", f"-L{root / 'ports/common'}", "-T", str(script)]
    _run([gcc, *common, *link, *objects, "-lm", "-o", elf.name], scratch)
    return _measure(elf, board, compiler, wanted)


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if COMPLAINT.search(line)), done.stderr)
        raise EdgeLearnError(
            f"{command[0]} failed: {said.strip()}", "If the file is yours, mend it; else please report it."
        )
    return done.stdout


def _measure(elf: Path, board: Board, compiler: str, wanted: str) -> Image:
    """Sizes from the linked image, the stack's bound from the call graphs beside it."""
    symbols = _symbols(_run([board.prefix + "nm", "-S", elf.name], elf.parent))
    address = {name: value for name, (value, _) in symbols.items()}
    text, data, bss = map(int, _run([board.prefix + "size", elf.name], elf.parent).splitlines()[1].split()[:3])
    stack = address["__stack_top"] - address["__stack_limit"]
    frame = FPU_FRAME if any(flag.startswith("-mfpu") for flag in board.cflags) else BASIC_FRAME
    graphs = (file.read_text() for file in sorted(elf.parent.glob("*.ci")))
    bound = stackbound.stack_bound(stackbound.read(graphs, symbols), frame)
    if bound > stack:
        need = f"The stack of {board.id} has {stack} bytes and may need {bound}."
        raise DoesNotFitError(need, "Raise __stack_size in its link.ld.")
    return Image(
        path=elf,
        text=text,
        data=data,
        bss=bss - stack,
        stack=stack,
        stack_bound=bound,
        link_bytes=sum(symbols[name][1] for name in LINK_SYMBOLS if name in symbols),
        pool_bytes=address["__pool_end"] - address["__pool_start"],
        compiler=compiler,
        source_hash=wanted,
    )


def _symbols(listing: str) -> dict[str, tuple[int, int]]:
    """(address, size) by name, from ``nm -S``; symbols of the linker script have size 0."""
    rows = re.findall(r"^([0-9a-f]{8})(?: ([0-9a-f]{8}))? \w (\S+)$", listing, re.MULTILINE)
    return {name: (int(address, 16), int(size or "0", 16)) for address, size, name in rows}


def main(arguments: Sequence[str]) -> None:
    """Builds the named boards' images (all boards that have one, if none is named), into the package or as ``--app``."""
    from edgelearn import boards

    parser = argparse.ArgumentParser(prog="python -m edgelearn.images", description="Build firmware images.")
    parser.add_argument("--app", type=Path, metavar="FOLDER", help="an application instead of the package's images")
    parser.add_argument("boards", nargs="*", metavar="BOARD")
    given = parser.parse_args(arguments)
    chosen = [boards.load(i) for i in given.boards] or [b for b in boards.all_boards() if b.family in FAMILIES]
    for board in chosen:
        image = build_app(board, given.app) if given.app else _package(board)
        sizes = f"text {image.text}, data {image.data}, bss {image.bss}, stack {image.stack_bound} of {image.stack}"
        print(f"{board.id}: {sizes}" + (f"\n{image.path}" if given.app else ""))  # noqa: T201 (a program)


def _package(board: Board) -> Image:
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
