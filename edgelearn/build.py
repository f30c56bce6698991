"""An image made from its sources: which they are, how a board's are compiled and linked, and what came out.

``images`` says which image a board gets, and where it is kept.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgelearn import avr, cmsis_nn, stackbound
from edgelearn.boards import Board
from edgelearn.errors import ConfigError, DoesNotFitError, EdgeLearnError, MissingToolError
from edgelearn.paths import resource
from edgelearn.toolchains import TOOLCHAINS, Toolchain

INSTALL = {prefix: toolchain.install for prefix, toolchain in TOOLCHAINS.items()}
INCLUDES = ("include", "hal", "core", "gen", "drivers", "ports/common")
LINK_SYMBOLS = ("link", "ring")  # frame buffers and control block (an application has none), receive ring
UNSAID = re.compile(r"EL_(\w+)\W+ undeclared")  # by the defines of a board file
REFUSED = re.compile(
    r"#error \"?([^\"\n]+)|static assertion failed: \"([^\"]+)\""
)  # by a port, of figures that it cannot serve
OVERFLOWED = re.compile(r"region [`'](FLASH|RAM)' overflowed by (\d+) bytes?")  # of the linker
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


def _toolchain(board: Board) -> Toolchain:
    if board.toolchain is None:
        raise ConfigError(
            f"There is no compiler for the board '{board.id}'.", "Add its prefix = ... to the board file."
        )
    return board.toolchain


def compiler_version(prefix: str) -> str:
    """First line of the compiler's ``--version``."""
    try:
        shown = subprocess.run([prefix + "gcc", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingToolError(f"The cross compiler {prefix}gcc is not installed.", INSTALL[prefix]) from error
    return shown.stdout.splitlines()[0]


def compile_into(scratch: Path, board: Board, files: Sequence[Path], compiler: str, wanted: str) -> Image:
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
        if short := OVERFLOWED.search(done.stderr):
            problem = f"The firmware needs {int(short[2]):,} bytes of {short[1].lower()} more than the board has. Nothing was written."
            raise DoesNotFitError(problem, "Choose a larger board, or, where the plan is compiled in, a smaller net.")
        said = next((line for line in done.stderr.splitlines() if COMPLAINT.search(line)), done.stderr)
        if unsaid := UNSAID.search(said):
            problem = f"The board file does not say {unsaid[1]}, which its family needs."
            raise ConfigError(problem, f'Add "{unsaid[1]}=..." to its defines: docs/add-a-board.md.')
        if refused := REFUSED.search(said):
            problem = f"The port does not take what the board file says: {refused[1] or refused[2]}."
            raise ConfigError(problem, "Change its defines or clock: docs/add-a-board.md.")
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
