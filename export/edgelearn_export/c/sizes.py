"""What a package takes of a microcontroller, measured where Arm's compiler is installed: linked, not estimated, and not run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgelearn import stackbound
from edgelearn.errors import EdgeLearnError
from edgelearn_export.plan.ccompile import Compiler, run

PREFIX = "arm-none-eabi-"
CORES = {
    "Cortex-M0": ("-mcpu=cortex-m0", "-mthumb"),
    "Cortex-M4F": ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
}
LINK = ("--specs=nano.specs", "-nostartfiles", "-Wl,--gc-sections,--entry=main", "-lm")
PROGRAM = """#include "{stem}_net.h"

static _Alignas(8) uint8_t pool[EL_APP_POOL_BYTES];
static el_app_value sample[EL_APP_INPUTS];
static el_t el;

int main(void) {{
  uint16_t guess = 0;
  int code = el_app_open(&el, NULL, pool, sizeof pool);
  if (!code) code = el_infer(&el, sample, &guess);
  return code ? code : el_learn(&el, sample, guess, NULL);
}}
"""


@dataclass(frozen=True)
class Size:
    """Bytes of a program that opens the net, infers and learns. ``stack`` is a bound; None: there is none."""

    core: str
    flash: int
    ram: int
    stack: int | None


def compiler() -> str:
    """The first line of ``arm-none-eabi-gcc --version``; "" where it is not installed."""
    try:
        return Compiler(f"{PREFIX}gcc").version
    except EdgeLearnError:
        return ""


@lru_cache(maxsize=8)  # formats that are exported together measure the same
def measured(files: tuple[tuple[str, bytes], ...], include: str, stem: str) -> list[Size]:
    """Sizes on each of ``CORES``; none where they cannot be measured: a package is whole without."""
    program = {**dict(files), "size.c": PROGRAM.format(stem=stem).encode()}
    try:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda core: _size(core, CORES[core], program, include), CORES))
    except EdgeLearnError:
        return []


def _size(core: str, flags: tuple[str, ...], files: Mapping[str, bytes], include: str) -> Size:
    gcc = Compiler(f"{PREFIX}gcc", ("-Os", *flags, "-fcallgraph-info=su"), (".o", ".ci"))
    with tempfile.TemporaryDirectory(prefix="edgelearn-") as scratch:
        objects = gcc.compile(files, [include], Path(scratch))
        elf = Compiler(gcc.program, flags).link(objects, LINK, Path(scratch) / "size.elf")
        text, data, bss = map(int, run([f"{PREFIX}size", str(elf)], elf.parent).splitlines()[1].split()[:3])
        names = {line.split()[-1] for line in run([f"{PREFIX}nm", str(elf)], elf.parent).splitlines()}
    return Size(core, text + data, data + bss, _stack(objects, names))


def _stack(objects: list[Path], names: set[str]) -> int | None:
    graphs = (file.with_suffix(".ci").read_text() for file in objects)
    try:
        return stackbound.deepest(stackbound.read(graphs, names), "main")
    except stackbound.StackError:
        return None
