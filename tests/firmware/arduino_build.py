"""Sketches compiled as the Arduino IDE compiles them: the recipes of platform.txt of Debian's arduino-core-avr, for the Uno."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgelearn import avr

PLATFORM = Path("/usr/share/arduino/hardware/arduino/avr")
CHIP = ("-mmcu=atmega328p", "-DF_CPU=16000000L", "-DARDUINO=10819", "-DARDUINO_AVR_UNO", "-DARDUINO_ARCH_AVR")
SECTIONS = ("-g", "-Os", "-ffunction-sections", "-fdata-sections")
C = ("avr-gcc", "-c", "-std=gnu11", *SECTIONS)
CPP = ("avr-g++", "-c", "-std=gnu++11", "-fpermissive", "-fno-exceptions", "-fno-threadsafe-statics", *SECTIONS)
ASM = ("avr-gcc", "-c", "-x", "assembler-with-cpp", "-g")
LINK = ("avr-gcc", "-Os", "-g", "-Wl,--gc-sections")
OLD = (
    "-w",
    "-DDECIMAL_DIG=__DECIMAL_DIG__",
)  # of the core only: gcc 5.4, older than the one it is made for, lacks that name in C++
COMPILERS = {".c": C, ".cpp": CPP, ".S": ASM}
INCLUDES = (f"-I{PLATFORM / 'cores/arduino'}", f"-I{PLATFORM / 'variants/standard'}")


def missing() -> str:
    """What this machine lacks to compile sketches; "" if nothing."""
    if not PLATFORM.is_dir():
        return "arduino-core-avr"
    return "" if shutil.which("avr-g++") else "gcc-avr"


def build(
    sketch: Path, libraries: Sequence[Path], folder: Path, flags: Sequence[str] = (), extra: Sequence[Path] = ()
) -> Path:
    """The sketch in the folder ``sketch`` as an ELF file. Warnings are errors, but for those of the core.

    Args:
        extra: C files that define what the compiler's own library would: they are kept out of link-time optimisation.
    """
    includes = [*INCLUDES, *(f"-I{library / 'src'}" for library in libraries)]
    core = _archive(
        folder / "core.a", _compile(_sources(PLATFORM / "cores/arduino"), folder / "core", [*INCLUDES, *flags, *OLD])
    )
    strict = [*includes, *flags, "-Wall", "-Wextra", "-Werror"]
    made = [
        _archive(folder / f"{lib.name}.a", _compile(_sources(lib / "src"), folder / lib.name, strict))
        for lib in libraries
    ]
    program = folder / "sketch.cpp"
    program.write_text("#include <Arduino.h>\n" + (sketch / f"{sketch.name}.ino").read_text())
    own = _compile([program, *_sources(sketch)], folder / "sketch", [*strict, f"-I{sketch}"])
    own += _compile(extra, folder / "extra", strict)
    elf = folder / f"{sketch.name}.elf"
    _run([*LINK, CHIP[0], "-o", elf, *own, *made, core, "-lm"])
    if pad := avr.pad_for_emulator(_run(["avr-objdump", "-d", elf])):
        filler = folder / "filler.S"
        filler.write_text(f'.section .init3,"ax",@progbits\n.rept {pad // 2}\nnop\n.endr\n')
        _run([*LINK, CHIP[0], "-o", elf, *_compile([filler], folder / "filler", []), *own, *made, core, "-lm"])
    return elf


def _sources(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix in COMPILERS)


def _compile(sources: Iterable[Path], folder: Path, flags: Sequence[str]) -> list[Path]:
    folder.mkdir(parents=True)
    objects = []
    for number, file in enumerate(sources):
        objects.append(folder / f"{number}-{file.name}.o")
        _run([*COMPILERS[file.suffix], *CHIP, *flags, file, "-o", objects[-1]])
    return objects


def _archive(path: Path, objects: Sequence[Path]) -> Path:
    _run(["avr-gcc-ar", "rcs", path, *objects])
    return path


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
