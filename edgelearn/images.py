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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgelearn import avr, cmsis_nn, stackbound
from edgelearn.boards import Board
from edgelearn.errors import ConfigError, DoesNotFitError, EdgeLearnError, MissingToolError, StorageFullError
from edgelearn.paths import cache_dir, resource
from edgelearn.toolchains import TOOLCHAINS, Toolchain

INSTALL = {prefix: toolchain.install for prefix, toolchain in TOOLCHAINS.items()}
PACKAGED = Path(__file__).resolve().parent / "images"
INCLUDES = ("include", "hal", "core", "gen", "ports/common")
LINK_SYMBOLS = ("link", "ring")  # frame buffers and control block (an application has none), receive ring
PLAN_NAME = "app"  # of the network whose plan is compiled in: the files are app_plan.c and app_plan.h
FIXED = "ports/common/fixed.c"  # main of an image with a plan
PLAN_FROM_LINK = ("ports/common/main.c", "gen/el_kernels_all.c")  # what an application brings itself
UNSAID = re.compile(r"EL_(\w+)\W+ undeclared")  # by the defines of a board file
COMPLAINT = re.compile(r"error:|undefined reference|multiple definition|overflowed")


@dataclass(frozen=True)
class Image:
    """A linked image. Sizes in bytes; ``bss`` leaves the stack out.

    ``stack_bound`` is the most stack it can need, 0 where the compiler writes no call graphs: unknown.
    """

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
    """How the images of one firmware/ports/<family> are made; what differs between its boards is in their files."""

    shared: tuple[str, ...]  # C files of ports/common; its headers come along
    script: str  # linker script, in ports/common or in the family's folder; it includes memory.ld
    link: tuple[str, ...] = ("-nostartfiles",)
    flags: tuple[str, ...] = ()


CORTEX_M = Family(("main.c", "start.c", "cortexm.c"), "cortexm.ld")
WITH_SYSTICK = Family((*CORTEX_M.shared, "systick.c"), CORTEX_M.script)  # no other clock for microseconds
RISC_V = Family(("main.c", "start.c", "riscv.c"), "riscv.ld")
AVR = Family(  # address spaces are no part of standard C; each pointer to a plan must say where it points
    ("main.c",), "avr.ld", link=(), flags=("-std=gnu11", "-Waddr-space-convert", "-Wno-unknown-pragmas")
)
FAMILIES = {
    "nrf5x": CORTEX_M,
    "cmsdk": CORTEX_M,
    "stm32": WITH_SYSTICK,
    "stellaris": WITH_SYSTICK,
    "rp2040": CORTEX_M,
    "sifive": RISC_V,
    "virt": RISC_V,
    "avr": AVR,
}


def sources(family: str) -> list[Path]:
    """Every file that an image of this family is made of, in a fixed order.

    Raises:
        ConfigError: there is no such port.
    """
    root = resource("firmware")
    if family not in FAMILIES or not (root / "ports" / family).is_dir():
        raise ConfigError(f"There is no firmware image for the family '{family}'.", f"Families: {', '.join(FAMILIES)}.")
    made_of = FAMILIES[family]
    common = {*made_of.shared, made_of.script}
    folders = [root / folder for folder in (*INCLUDES, f"ports/{family}")]
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in (".c", ".h", ".ld")]
    return [file for file in files if file.parent.name != "common" or file.suffix == ".h" or file.name in common]


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


def flags(board: Board) -> list[str]:
    """Compiler flags that decide what the image is, without paths."""
    family, specs = FAMILIES[board.family], _toolchain(board).specs
    no_f32 = [] if "f32" in board.dtypes else ["-DEL_NO_F32"]
    cmsis = [cmsis_nn.DEFINE] if cmsis_nn.chosen(board.prefix) else []
    warnings = ["-Wall", "-Wextra", "-Werror"]
    # No fused multiply-add: floats must come out as in the reference interpreter.
    code = ["-ffunction-sections", "-fdata-sections", "-ffp-contract=off"]
    return [
        "-std=c11",
        *board.cflags,
        board.optimize,
        *specs,
        *family.flags,
        *no_f32,
        *cmsis,
        *warnings,
        *code,
        *_defines(board),
    ]


def _defines(board: Board) -> list[str]:
    """What the board file tells the port."""
    figures = {"CLOCK": board.clock, "BAUD": board.baud, "NV_BYTES": board.nv, "NV_PAGE": board.nv_page}
    return [
        f'-DEL_BOARD_ID="{board.id}"',
        *(f"-DEL_{name}={value}u" for name, value in figures.items()),
        *(f"-DEL_{define}" for define in board.defines),
    ]


def memory_script(board: Board) -> str:
    """``memory.ld``: where this board's memories are, for the linker script of its family."""
    return f"""MEMORY
{{
  FLASH (rx) : ORIGIN = {board.flash_at:#010x}, LENGTH = {board.flash - board.nv}
  RAM (rwx) : ORIGIN = {board.ram_at:#010x}, LENGTH = {board.ram}
}}
__stack_size = {board.stack};
__nv_start = ORIGIN(FLASH) + LENGTH(FLASH);
"""


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
        return _packaged(board, wanted) or _load(_folder(board, _compiler(board.prefix), wanted) / f"{board.id}.json")
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


def _toolchain(board: Board) -> Toolchain:
    if board.toolchain is None:
        raise ConfigError(
            f"There is no compiler for the board '{board.id}'.", "Add its prefix = ... to the board file."
        )
    return board.toolchain


def _compiler(prefix: str) -> str:
    """First line of the compiler's ``--version``."""
    try:
        shown = subprocess.run([prefix + "gcc", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingToolError(f"The cross compiler {prefix}gcc is not installed.", INSTALL[prefix]) from error
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
    if copy := cmsis_nn.chosen(board.prefix):
        includes += cmsis_nn.include(copy)
        units += map(str, cmsis_nn.sources(copy))
    notes = ["-fcallgraph-info=su", f"-ffile-prefix-map={root}=firmware"] if _toolchain(board).callgraph else []
    _run([gcc, "-c", *common, *notes, *includes, *units], scratch)
    (scratch / "memory.ld").write_text(memory_script(board))
    elf = scratch / f"{board.id}.elf"
    link = [
        gcc,
        *common,
        *_link_flags(board, root),
        *sorted(f.name for f in scratch.glob("*.o")),
        "-lm",
        "-o",
        elf.name,
    ]
    _run(link, scratch)
    if board.prefix == avr.PREFIX and (pad := avr.pad_for_emulator(_disassembled(elf, board))):
        _run([*link, f"-Wl,--defsym=__pad={pad}"], scratch)
    return _measure(elf, board, compiler, wanted)


def _link_flags(board: Board, root: Path) -> list[str]:
    family = FAMILIES[board.family]
    script = ["-T", family.script] if family.script else []
    search = ["-L.", f"-L{root / 'ports/common'}", f"-L{root / 'ports' / board.family}"]
    return [*family.link, "-Wl,--gc-sections", *search, *script]


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if COMPLAINT.search(line)), done.stderr)
        if unsaid := UNSAID.search(said):
            problem = f"The board file does not say {unsaid[1]}, which its family needs."
            raise ConfigError(problem, f'Add "{unsaid[1]}=..." to its defines: docs/add-a-board.md.')
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
    bound = _stack_bound(elf, board, symbols)
    if bound > stack:
        need = f"The stack of {board.id} has {stack} bytes and may need {bound}."
        raise DoesNotFitError(need, f"Raise stack in its board file to {bound} or more.")
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


def _disassembled(elf: Path, board: Board) -> str:
    return _run([board.prefix + "objdump", "-d", elf.name], elf.parent)


def _stack_bound(elf: Path, board: Board, symbols: dict[str, tuple[int, int]]) -> int:
    """By the compiler's call graphs, which lie beside the image; without them by its code, where we can read that; else 0."""
    toolchain = _toolchain(board)
    if not toolchain.callgraph:
        return avr.stack_bound(_disassembled(elf, board), board.flash > avr.SHORT) if board.prefix == avr.PREFIX else 0
    frame = toolchain.fpu_frame if any(flag.startswith("-mfpu") for flag in board.cflags) else toolchain.frame
    graphs = (file.read_text() for file in sorted(elf.parent.glob("*.ci")))
    return stackbound.stack_bound(stackbound.read(graphs, symbols), frame)


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
