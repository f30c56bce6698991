"""Building a bare-metal image and running it in QEMU, where every guest instruction takes the same virtual time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgelearn.boards import Board
from edgelearn.errors import ConfigError, EdgeLearnError, MissingToolError
from edgelearn.paths import resource

TIMEOUT_S = 300.0
_BUILD_TIMEOUT_S = 120.0
_INSTALL = {
    "arm-none-eabi-": "sudo apt install gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-": "sudo apt install qemu-system-arm",
    "cc": "sudo apt install gcc",
}
# GNU C, because strict C forbids the fused multiply-add: the baselines may use it.
_CFLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-ffunction-sections", "-fdata-sections")
_LDFLAGS = ("--specs=nano.specs", "-nostartfiles", "-Wl,--gc-sections")


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
    line = next((line for prefix, line in _INSTALL.items() if name.startswith(prefix)), f"Install {name}.")
    raise MissingToolError(f"The program {name} is not installed.", line)


def check_board(board: Board) -> None:
    """Only boards with the CMSDK timer have the startup code and the clock of a bench image.

    Raises:
        ConfigError: ``board`` is another one.
    """
    if board.family != "cmsdk" or not board.qemu_machine:
        problem = f"Instructions cannot be counted on board '{board.id}': the bench has no image for it."
        raise ConfigError(problem, "Use --board mps2-an386.")


def build(
    board: Board, files: Sequence[Path], elf: Path, include: Sequence[Path] = (), flags: Sequence[str] = ()
) -> Path:
    """Compiles and links ``files`` with the bench's startup code; returns ``elf``.

    Raises:
        MissingToolError: there is no cross compiler. ConfigError: no image can be made for this board.
        EdgeLearnError: the sources do not compile, which is a bug.
    """
    check_board(board)
    bench = sources()
    paths = [f"-I{path}" for path in (*include, bench)]
    command = [tool(board.prefix + "gcc"), *_CFLAGS, *board.cflags, *flags, *paths]
    command += [str(file) for file in (bench / "bench_board.c", *files)]
    command += [*_LDFLAGS, "-T", str(bench / "mps2.ld"), "-lm", "-o", str(elf)]
    _call(command)
    return elf


def execute(
    machine: str,
    elf: Path,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Runs an image until it ends and returns what it printed.

    Args:
        machine: QEMU's name of the board.
        options: more QEMU options.
        env: more environment variables.

    Raises:
        MissingToolError: there is no QEMU.
        EdgeLearnError: the image crashed, reported a failure or did not end in ``timeout_s`` seconds.
    """
    command = [tool("qemu-system-arm"), "-M", machine, "-display", "none", "-monitor", "none", "-serial", "null"]
    command += ["-semihosting-config", "enable=on,target=native", *options, "-kernel", str(elf)]
    return _call(command, env, timeout_s)


def counting() -> tuple[str, ...]:
    """QEMU options that make an instruction last one nanosecond of the guest's time."""
    return ("-icount", "shift=0")


def code_bytes(board: Board, elf: Path) -> int:
    """Bytes of flash: text and initialised data."""
    text, data = _call([tool(board.prefix + "size"), str(elf)]).splitlines()[1].split()[:2]
    return int(text) + int(data)


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
