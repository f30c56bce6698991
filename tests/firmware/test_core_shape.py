"""What the compiled core is made of: no allocation, no stdio, no float in an int8 image, no recursion, no wide int."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgelearn import boards, build, stackbound
from edgelearn.backends import backend
from edgelearn.job import prepare
from tests.firmware.host import FIRMWARE

ARM, M0 = "arm-none-eabi-", ("-mcpu=cortex-m0", "-mthumb")
INCLUDES = [f"-I{FIRMWARE / folder}" for folder in ("include", "hal", "core", "gen")]
CORE = [*sorted((FIRMWARE / "core").glob("*.c")), FIRMWARE / "gen/el_kernels_all.c"]
NO_PROTECTOR = ("-fno-stack-protector", "-U_FORTIFY_SOURCE", "-fno-pic")  # what some distributions add by default
ALLOWED = re.compile(r"mem(cpy|move|set|cmp)|__aeabi_\w+|__gnu_thumb1_case_\w+")
FLOAT_HELPER = re.compile(r"__aeabi_(c?[fd]|u?[il]2[fd])\w*")
STATIC = ("-ffunction-sections", "-fdata-sections", "-DEL_NO_F32", "-fcallgraph-info=su")
IMAGE_BYTES, STACK_BYTES = 10_240, 512
NARROWING = ("-Wall", "-Wextra", "-Wconversion", "-Wint-conversion", "-Woverflow", "-Wshift-count-overflow", "-Werror")


def call(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def compiled(folder: Path, prefix: str, flags: Sequence[str], files: Sequence[Path] = CORE) -> list[str]:
    """Names of the object files that ``files`` became."""
    call(folder, f"{prefix}gcc", "-c", "-std=c11", "-Os", *flags, *INCLUDES, *files)
    return [f"{file.stem}.o" for file in files]


def undefined(folder: Path, prefix: str, objects: Sequence[str]) -> set[str]:
    rows = [line.split()[-2:] for line in call(folder, f"{prefix}nm", "-g", *objects).splitlines() if " " in line]
    return {name for kind, name in rows if kind == "U"} - {name for kind, name in rows if kind != "U"}


@pytest.mark.parametrize(
    ("prefix", "flags"),
    [
        pytest.param(ARM, M0, marks=pytest.mark.qemu, id="cortex-m0"),
        pytest.param(ARM, (*M0, "-DEL_NO_F32"), marks=pytest.mark.qemu, id="cortex-m0 int8"),
        pytest.param("", NO_PROTECTOR, id="host"),
    ],
)
def test_the_core_needs_nothing_but_memory_functions(prefix: str, flags: Sequence[str], tmp_path: Path) -> None:
    if shutil.which(f"{prefix}gcc") is None:
        pytest.skip("no C compiler")
    needed = undefined(tmp_path, prefix, compiled(tmp_path, prefix, flags))
    assert not {name for name in needed if not ALLOWED.fullmatch(name)}
    assert "-DEL_NO_F32" not in flags or not any(map(FLOAT_HELPER.fullmatch, needed))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64-32-32-10 in int8, compiled in, with the smallest main: core and kernels, no port."""
    folder = tmp_path_factory.mktemp("image")
    plan, core = folder / "digits.c", [file for file in CORE if file.name != "el_kernels_all.c"]
    plan.write_bytes(backend("plan-c").export(prepare("digits", "microbit").module, ""))
    objects = compiled(folder, ARM, (*M0, *STATIC), [*core, plan, FIRMWARE / "tests/app_main.c"])
    (folder / "memory.ld").write_text(build.memory_script(boards.load("microbit")))
    script = ["-T", FIRMWARE / "ports/common/cortexm.ld", "-L.", "-Wl,--gc-sections,--entry=main"]
    call(folder, f"{ARM}gcc", *M0, "--specs=nano.specs", "-nostartfiles", *script, *objects, "-o", "app.elf")
    return folder / "app.elf"


@pytest.mark.qemu
def test_an_int8_image_has_no_float_and_no_heap(image: Path) -> None:
    names = {line.split()[-1] for line in call(image.parent, f"{ARM}nm", image.name).splitlines()}
    assert {"el_learn", "el_infer", "el_k_affine"} <= names
    assert not {name for name in names if FLOAT_HELPER.fullmatch(name) or name.endswith("_f32")}
    assert not names & {"malloc", "free", "_sbrk", "printf", "el_k_sign", "el_link_poll"}


@pytest.mark.qemu
def test_an_int8_image_fits_10_kb(image: Path) -> None:
    text, data = map(int, call(image.parent, f"{ARM}size", image.name).splitlines()[1].split()[:2])
    assert text + data <= IMAGE_BYTES, f"{text + data} bytes of flash"


@pytest.mark.qemu
def test_the_stack_has_a_bound(image: Path) -> None:
    linked = {line.split()[-1] for line in call(image.parent, f"{ARM}nm", image.name).splitlines()}
    graph = stackbound.read((file.read_text() for file in sorted(image.parent.glob("*.ci"))), linked)
    assert 0 < stackbound.deepest(graph, "main") <= STACK_BYTES  # an error if anything recurses


@pytest.mark.parametrize(
    ("prefix", "flags"),
    [
        pytest.param("", (), id="host"),
        pytest.param(ARM, M0, marks=pytest.mark.qemu, id="cortex-m0"),
        pytest.param(
            "avr-", ("-mmcu=atmega2560", "-DEL_NO_F32", "-std=gnu11"), id="avr"
        ),  # int and size_t have 16 bits
    ],
)
def test_nothing_relies_on_a_wide_int(prefix: str, flags: Sequence[str], tmp_path: Path) -> None:
    if shutil.which(f"{prefix}gcc") is None:
        missing = pytest.fail if os.environ.get("EDGELEARN_REQUIRE_QEMU") == "1" else pytest.skip
        missing(f"needs {prefix}gcc: make tools")
    compiled(tmp_path, prefix, (*NARROWING, *flags))
