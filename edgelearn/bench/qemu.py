"""Building a bare-metal image and running it in QEMU, where every guest instruction takes the same virtual time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgelearn.boards import Board
from edgelearn.build import memory_script
from edgelearn.errors import ConfigError, DoesNotFitError, EdgeLearnError, MissingToolError
from edgelearn.paths import resource
from edgelearn.toolchains import TOOLCHAINS, Toolchain, install_emulator

TIMEOUT_S = 300.0
_BUILD_TIMEOUT_S = 120.0
# GNU C, because strict C forbids the fused multiply-add: the baselines may use it.
_CFLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-ffunction-sections", "-fdata-sections")
_LDFLAGS = ("-nostartfiles", "-Wl,--gc-sections")

# The startup code and the clock of bench images, by the compiler's prefix. AVR has none: QEMU has no way out of it.
CORES = {"arm-none-eabi-": "bench_cortexm.c", "riscv64-unknown-elf-": "bench_riscv.c"}


def sources() -> Path:
    """The folder of the bench's C sources.

    Raises:
        MissingToolError: this installation lacks it.
    """
    return resource("firmware") / "bench"


def tool(name: str) -> str:
    """Path of a program.

    Raises:
        MissingToolError: it is not installed; the hint is the line that installs it.
    """
    if found := shutil.which(name):
        return found
    row = next((row for row in TOOLCHAINS.values() if name.startswith(row.prefix)), None)
    line = row.install if row else install_emulator(name) if name.startswith("qemu-") else f"Install {name}."
    raise MissingToolError(f"The program {name} is not installed.", line)


def core(board: Board) -> tuple[str, Toolchain]:
    """The C file that brings this board's startup code and clock, and the compiler of its images.

    Raises:
        ConfigError: instructions cannot be counted on it.
    """
    if board.toolchain and board.prefix in CORES and board.qemu_machine:
        return CORES[board.prefix], board.toolchain
    problem = f"Instructions cannot be counted on board '{board.id}': the bench has no image for it."
    raise ConfigError(problem, "Choose a Cortex-M or a RISC-V board that QEMU has, such as --board mps2-an386.")


def build(
    board: Board, files: Sequence[Path], elf: Path, include: Sequence[Path] = (), flags: Sequence[str] = ()
) -> Path:
    """Compiles and links ``files`` with the bench's startup code; returns ``elf``.

    Raises:
        MissingToolError: there is no cross compiler. ConfigError: no image can be made for this board.
        DoesNotFitError: it is too large for the board.
        EdgeLearnError: the sources do not compile, which is a bug.
    """
    (start, tools), bench = core(board), sources()
    paths = [f"-I{path}" for path in (*include, bench)]
    command = [tool(board.prefix + "gcc"), *tools.specs, *_CFLAGS, *board.cflags, *flags, *paths]
    command += [str(file) for file in (bench / "bench_board.c", bench / start, *files)]
    (elf.parent / "memory.ld").write_text(memory_script(board))
    command += [*_LDFLAGS, f"-L{elf.parent}", "-T", str(bench / "bench.ld"), "-lm", "-o", str(elf)]
    try:
        _call(command)
    except EdgeLearnError as e:
        if over := re.search(r"region `(\w+)' overflowed by (\d+) bytes", e.hint):
            problem = f"{elf.stem} needs {over[2]} bytes more of {over[1]} than {board.id} has."
            raise DoesNotFitError(problem, "Count on a larger board.") from e
        raise
    return elf


def execute(
    board: Board,
    elf: Path,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Runs an image until it ends and returns what it printed.

    Args:
        board: one that QEMU has.
        options: more QEMU options.
        env: more environment variables.

    Raises:
        MissingToolError: there is no QEMU.
        EdgeLearnError: the image crashed, reported a failure or did not end in ``timeout_s`` seconds.
    """
    tool(core(board)[1].emulator)
    command = [*board.qemu_command(elf), "-serial", "null", "-semihosting-config", "enable=on,target=native", *options]
    return _call(command, env, timeout_s)


def counting() -> tuple[str, ...]:
    """QEMU options that make an instruction last one nanosecond of the guest's time."""
    return ("-icount", "shift=0")


def code_bytes(board: Board, elf: Path) -> int:
    """Bytes of flash: text and initialised data."""
    text, data = _call([tool(board.prefix + "size"), str(elf)]).splitlines()[1].split()[:2]
    return int(text) + int(data)


def version(program: str) -> str:
    """Of a compiler, as it says it.

    Raises:
        MissingToolError: it is not installed.
    """
    return _call([tool(program), "-dumpfullversion"]).strip()


def symbols(board: Board, elf: Path) -> frozenset[str]:
    """Names of everything that was linked in."""
    return frozenset(line.split()[-1] for line in _call([tool(board.prefix + "nm"), str(elf)]).splitlines())


def host_library(source: Path, library: Path) -> Path:
    """Compiles one C file for this computer into a shared library; returns ``library``.

    Raises:
        MissingToolError: there is no compiler.
    """
    _call([tool("cc"), "-O2", "-shared", "-fPIC", "-fvisibility=hidden", str(source), "-o", str(library)])
    return library


def _call(command: Sequence[str], env: Mapping[str, str] | None = None, timeout_s: float = _BUILD_TIMEOUT_S) -> str:
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise EdgeLearnError(f"{name} did not end within {timeout_s:.0f} s.", "Try on a less loaded machine.") from e
    if done.returncode != 0:
        last = done.stdout.strip()[-2000:]
        raise EdgeLearnError(f"{name} failed with code {done.returncode}.", last or "It printed nothing.")
    return done.stdout
