"""Packages of C: each builds as its ecosystem builds it, learns what the interpreter learns, and says what it takes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from edgelearn import __version__, state
from edgelearn.backends import Source
from edgelearn.compiler import Compiled, compile_net
from edgelearn.errors import ConfigError, DoesNotFitError, EdgeLearnError, MissingToolError
from edgelearn.ir.interp import Interpreter
from edgelearn.layers import Layer
from edgelearn.nets import Net
from edgelearn.parity import prove
from edgelearn.passes.quantize import Calibration
from edgelearn.rules import find
from edgelearn_export.c import ArduinoBackend, CBackend, PlatformIOBackend, ZephyrBackend
from edgelearn_export.c.package import AVR_REST
from edgelearn_export.c.package import Net as PackagedNet
from edgelearn_export.plan import Backend as PlanBackend
from edgelearn_export.plan import core
from edgelearn_export.plan import format as F
from edgelearn_export.plan.carray import CBackend as PlanCBackend
from tests.cli.documents import blocks, run_shell, text
from tests.factory import X, Y
from tests.firmware import arduino_build

HERE = Path(__file__).resolve().parent
FIRMWARE = HERE.parents[1] / "firmware"
FOR_QEMU = (FIRMWARE / "ports/avr/multiply.c", HERE.parent / "firmware/arduino_qemu.cpp")
PACKAGES = {made.name: made for made in (CBackend(), ArduinoBackend(), PlatformIOBackend(), ZephyrBackend())}
FORMATS = {**PACKAGES, "plan": PlanBackend(), "plan-c": PlanCBackend()}
DENSE = Net((64,), (16,), 10)
CONV = Net((8, 8), (Layer("conv", 6, 3, 1, 1), Layer("pool", kernel=2), Layer("conv", 8, 3, 1, 1)), 10)
NETS = {"dense": (DENSE, "mono-forward"), "conv": (CONV, "mono-forward"), "draws": (DENSE, "noprop")}
STRICT = ("-Wall", "-Wextra", "-Werror")
ARM = "arm-none-eabi-"
M0 = ("-mcpu=cortex-m0", "-mthumb")
M4F = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
BEFORE = 253  # the steps that are compared cross the look at the exponents after 256
SEED = 3


@cache
def compiled(kind: str, dtype: str) -> Compiled:
    net, rule = NETS[kind]
    return compile_net(find(rule, {}), net, Calibration(X, Y, SEED), dtype, name=f"my-{kind}")


@cache
def source(kind: str = "dense", dtype: str = "int8", learnt: int = 0, board: str = "") -> Source:
    """A net that has learnt so many samples."""
    net = compiled(kind, dtype)
    runner = FORMATS["plan"].open(*_plan_of(net))
    runner.learn(net.encode(X)[:learnt], Y[:learnt])
    return Source(net.module.name, net.module, runner.state(), board, SEED, learnt > 0)


def _plan_of(net: Compiled) -> tuple[Any, Source]:
    first = Source("first", net.module, state.encode(Interpreter(net.module, SEED)), "", SEED)
    return FORMATS["plan"].artifacts(first)[0], first


def written(made: Any, of: Source, folder: Path) -> Path:
    """The package in ``folder``; returns its own folder."""
    for artifact in made.artifacts(of):
        path = folder / artifact.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(artifact.raw)
    return folder / f"{of.name}-{made.name}"


def call(*command: str | Path, folder: Path, given: str = "", env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        input=given,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


# --- every format -------------------------------------------------------------------------------------------------------------------


CELLS = [("c", kind, dtype, BEFORE) for kind in NETS for dtype in ("int8", "f32")]
CELLS += [(name, "dense", "int8", learnt) for name in FORMATS for learnt in (0, BEFORE)]


@pytest.mark.parametrize(("name", "kind", "dtype", "learnt"), dict.fromkeys(CELLS))
def test_a_format_does_what_the_interpreter_does(name: str, kind: str, dtype: str, learnt: int) -> None:
    needs("cc")
    net, of = compiled(kind, dtype), source(kind, dtype, learnt)
    (runs,) = [a for a in FORMATS[name].artifacts(of) if a.runs]
    runner = FORMATS[name].open(runs, of)
    assert runner.state() == of.state
    proof = prove(runner, runs, of, net.encode(X[1000:]), Y[1000:], 16, 5)
    assert (proof.inputs, proof.steps) == (16, 5)
    assert dtype == "f32" or proof.worst == 0


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_plan_cannot_hold_is_a_gap_and_no_file(name: str) -> None:
    of = source()
    odd = tuple(
        replace(op, name="sum_of_squares") if op.name == "argmax" else op for op in of.module.entry("infer").ops
    )
    entries = tuple(replace(e, ops=odd) if e.name == "infer" else e for e in of.module.entries)
    with pytest.MonkeyPatch.context() as patch:
        from edgelearn.ir.ops import OPS

        patch.setitem(OPS, "sum_of_squares", replace(OPS["argmax"], kernels=False))
        module = replace(of.module, entries=entries)
        assert "No kernel does sum_of_squares" in FORMATS[name].gap(module, "infer")
        assert FORMATS[name].artifacts(replace(of, module=module)) == ()
    assert FORMATS[name].gap(of.module, "train") == ""


def test_every_kernel_has_a_file() -> None:
    for name, *_ in F.KERNELS:
        for common in (False, True):
            function = F.c_function(name, common)
            files = [FIRMWARE / path for path in core.files_for([(name, common)]) if path.endswith(".c")]
            short = function.removesuffix("_f32").removeprefix("el_k_")
            assert any(re.search(rf"\b{function}\(|\b[A-Z_]+\({short},", file.read_text()) for file in files), function


# --- every package ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_a_package_is_whole_and_the_same_each_time(name: str, dtype: str, tmp_path: Path) -> None:
    of = source("dense", dtype)
    made = PACKAGES[name].artifacts(of)
    assert made == PACKAGES[name].artifacts(of)
    folder = written(PACKAGES[name], of, tmp_path)
    assert (folder / "LICENSE").read_text().lstrip().startswith("Apache License")
    for artifact in made:
        assert artifact.file.startswith(f"my-dense-{name}/")
        text = artifact.raw.decode()
        assert not re.search(r"@[A-Z]+@", text), f"{artifact.file}: a word was not filled in"
        assert not re.search(r"/(work|tmp|home|usr)/|\b20\d\d-\d\d-\d\d\b", text), (
            f"{artifact.file}: of this machine or day"
        )
    public = {path.name for path in [*folder.glob("include/*.h"), *folder.glob("src/*.h")]}
    for file in [*folder.rglob("*.[ch]"), *folder.rglob("*.ino"), *folder.rglob("*.cpp")]:
        for include in re.findall(r'#include "([^"]+)"', file.read_text()):
            assert (file.parent / include).is_file() or include in public, f"{file.name} includes {include}"


def test_a_package_has_the_needed_kernels_only() -> None:
    dense, conv = ({Path(a.file).name for a in CBackend().artifacts(source(kind))} for kind in ("dense", "conv"))
    assert "kernels_conv.c" not in dense and "kernels_conv.c" in conv
    for names in (dense, conv):
        assert not names & {"proto.c", "el_kernels_all.c", "kernels_f32.c", "kernels_draw.c"}


def test_a_learnt_state_is_in_the_package_and_a_first_one_is_not() -> None:
    def state_in(of: Source) -> bool:
        return any(b"el_app_state[]" in a.raw for a in CBackend().artifacts(of) if a.file.endswith("_plan.c"))

    assert state_in(source(learnt=BEFORE))
    assert not state_in(source())


@pytest.mark.parametrize("name", ["c", "plan-c"])
def test_an_edited_file_is_refused(name: str) -> None:
    needs("cc")
    made, of = FORMATS[name], source()
    (runs,) = [a for a in made.artifacts(of) if a.runs]
    with pytest.raises(EdgeLearnError, match="refused the exported C"):
        made.open(replace(runs, raw=runs.raw[:-200]), of)
    damaged = runs.raw.replace(b"    69, 76, 80, 49,", b"    69, 76, 80, 49 ^ 1,", 1)
    assert damaged != runs.raw
    with pytest.raises(ConfigError, match="ended with code -2"):
        made.open(replace(runs, raw=damaged), of).state()


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    of = source("draws")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("edgelearn_export.plan.ccompile._version", lambda program: _missing(program))
    made = {Path(a.file).name: a for a in ZephyrBackend().artifacts(replace(of, name="never-measured"))}
    assert b"Code: not measured." in made["README.md"].raw
    with pytest.raises(MissingToolError, match="no C compiler"):
        ZephyrBackend().open(made["never_measured_plan.c"], replace(of, name="never-measured"))


def _missing(program: str) -> str:
    raise MissingToolError(f"{program} is not installed.")


# --- plain C ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of a package from a run, whose name is none of C's."""
    needs("cc", "cmake")
    of = replace(source(learnt=BEFORE), name="20261121-1708-a6m")
    folder = written(CBackend(), of, tmp_path_factory.mktemp("package"))
    call("cmake", "-S", ".", "-B", "build", f"-DCMAKE_C_FLAGS={' '.join(STRICT)}", folder=folder)
    call("cmake", "--build", "build", folder=folder)
    return folder / "build"


def lines(first: int, last: int, told: bool) -> str:
    """Training samples as learn_stdin reads them."""
    rows = zip(X[first:last], Y[first:last], strict=True)
    return "".join(f"{y if told else -1} {' '.join(map(repr, map(float, x)))}\n" for x, y in rows)


def judge_of(of: Source) -> Interpreter:
    judge = Interpreter(of.module, of.seed)
    state.restore(judge, of.state)
    return judge


def test_a_program_learns_what_it_is_told_and_remembers_it(built: Path, tmp_path: Path) -> None:
    judge, kept = judge_of(source(learnt=BEFORE)), {"LEARNT": str(tmp_path / "learnt.bin")}
    x = compiled("dense", "int8").encode(X[300:420])
    said = call(built / "learn_stdin", folder=built, given=lines(300, 400, True), env=kept)
    right = sum(judge.learn(row, int(y)) == y for row, y in zip(x[:100], Y[300:400], strict=True))
    assert f"right {right} %" in said and said.endswith("saved\n")
    assert state.encode(judge) in (tmp_path / "learnt.bin").read_bytes()
    said = call(built / "learn_stdin", folder=built, given=lines(400, 420, False), env=kept)
    assert f"I remember step {BEFORE + 100}" in said
    assert re.findall(r"class (\d+)", said) == [str(judge.infer(row)) for row in x[100:]]


def test_a_program_learns_from_a_made_up_sensor(built: Path) -> None:
    said = call(built / "learn_made_up", folder=built)
    steps = [(int(s), int(p)) for s, p in re.findall(r"step (\d+)  right (\d+) %", said)]
    assert steps[0][0] == BEFORE + 100 and steps[0][1] < 100
    assert min(p for _, p in steps[-5:]) >= 97
    assert call(built / "learn_made_up", folder=built) == said


@pytest.mark.parametrize("text", ["0 1 2\n", "10 " + "0 " * 64, "one " + "0 " * 64, "0 nan " + "0 " * 63])
def test_a_line_that_is_no_sample(built: Path, text: str) -> None:
    done = subprocess.run([built / "learn_stdin"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Line 1 is no sample: a class and 64 numbers are wanted.\n"


@pytest.mark.qemu
@pytest.mark.parametrize(("cpu", "flags", "dtype"), [("Cortex-M0", M0, "int8"), ("Cortex-M4F", M4F, "f32")])
def test_the_readme_says_what_the_package_takes(cpu: str, flags: tuple[str, ...], dtype: str, tmp_path: Path) -> None:
    folder = written(CBackend(), source("dense", dtype), tmp_path)
    readme = (folder / "README.md").read_text()
    (flash, ram, stack) = re.findall(rf"all, {cpu} \| ([\d,]+) \| static RAM ([\d,]+), stack at most ([\d,]+)", readme)[
        0
    ]
    (folder / "main.c").write_text(
        '#include "my_dense_net.h"\nstatic _Alignas(8) uint8_t pool[EL_APP_POOL_BYTES];\nstatic el_app_value x[EL_APP_INPUTS];\n'
        "static el_t el;\nint main(void) {\n  uint16_t y = 0;\n  int code = el_app_open(&el, NULL, pool, sizeof pool);\n"
        "  if (!code) code = el_infer(&el, x, &y);\n  return code ? code : el_learn(&el, x, y, NULL);\n}\n"
    )
    made = sorted(folder.glob("src/**/*.c"))
    options = [
        "-std=c11",
        "-Os",
        "-ffp-contract=off",
        "-ffunction-sections",
        "-fdata-sections",
        *flags,
        *STRICT,
        "-Iinclude",
    ]
    link = ["--specs=nano.specs", "-nostartfiles", "-Wl,--gc-sections,--entry=main", "-lm", "-o", "app.elf"]
    call(f"{ARM}gcc", *options, "main.c", *made, *link, folder=folder)
    text, data, bss = map(int, call(f"{ARM}size", "app.elf", folder=folder).splitlines()[1].split()[:3])
    assert (f"{text + data:,}", f"{data + bss:,}") == (flash, ram)
    assert 0 < int(stack) < 1200
    linked = call(f"{ARM}nm", "app.elf", folder=folder)
    assert "el_k_affine" in linked and not re.search(r"el_k_sign|el_link_poll|malloc|printf", linked)
    assert dtype == "f32" or not re.search(r"__aeabi_(f|d|i2f|ui2f)", linked)


# --- Arduino ------------------------------------------------------------------------------------------------------------------------

ON_UNO = [
    pytest.mark.qemu("avr-"),
    pytest.mark.slow,
    pytest.mark.skipif(bool(arduino_build.missing()), reason=f"needs {arduino_build.missing()}"),
]


def on_uno(test: Callable[..., None]) -> Callable[..., None]:
    for mark in ON_UNO:
        test = mark(test)
    return test


def on_qemu(elf: Path, enough: Callable[[str], bool]) -> str:
    """What a sketch says until that is enough, on a machine that may be busy."""
    quiet = ("-display", "none", "-monitor", "none", "-serial", "stdio")
    command = ["timeout", "-k", "1", "60", "qemu-system-avr", "-M", "uno", *quiet, "-bios", str(elf)]
    said = ""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for line in child.stdout:
            said += line
            if enough(said):
                break
        child.terminate()
    return said


def test_an_arduino_library_is_laid_out_as_the_ide_wants_it(tmp_path: Path) -> None:
    folder = written(ArduinoBackend(), source(), tmp_path)
    properties = dict(line.split("=", 1) for line in (folder / "library.properties").read_text().splitlines())
    assert {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"} <= {
        *properties
    }
    assert re.fullmatch(r"[A-Za-z0-9][\w .-]{0,62}", properties["name"]) and properties["version"] == __version__
    assert (folder / "src" / properties["includes"]).is_file()
    assert (folder / "examples/LearnFromSensor/LearnFromSensor.ino").is_file()


@on_uno
def test_a_sketch_goes_on_from_what_a_run_has_learnt(tmp_path: Path) -> None:
    of = source(learnt=BEFORE, board="arduino-uno")
    library = written(ArduinoBackend(), of, tmp_path)
    elf = arduino_build.build(library / "examples/LearnFromSensor", [library], tmp_path / "build", extra=FOR_QEMU)
    planned = of.module.integer("state_bytes") + of.module.integer("arena_bytes")
    said = on_qemu(elf, lambda said: bool(re.search(rf"right (9[7-9]|100) %  ram {planned}\s", said)))
    percents = [int(percent) for percent in re.findall(r"right (\d+) %", said)]
    assert f"step {BEFORE + 100}  right" in said
    assert percents[0] < 97 <= percents[-1] and f"ram {planned}" in said


def wide(dtype: str = "int8", board: str = "") -> Source:
    net = compile_net(find("mono-forward", {}), Net((64,), (32, 32), 10), Calibration(X, Y, SEED), dtype, name="wide")
    return Source("wide", net.module, state.encode(Interpreter(net.module, SEED)), board, SEED)


def test_a_net_that_does_not_fit_the_uno_is_refused() -> None:
    with pytest.raises(
        DoesNotFitError, match=rf"wide needs [\d,]+ bytes .*{AVR_REST + 64} for sketch and stack: .*2,048"
    ) as told:
        ArduinoBackend().artifacts(wide(board="arduino-uno"))
    assert told.value.hint == "Make its layers narrower."


@on_uno
@pytest.mark.parametrize(
    ("dtype", "said"), [("int8", "wide needs {} bytes of RAM, {} of them"), ("f32", "wide computes in floats")]
)
def test_the_compiler_refuses_it_too(dtype: str, said: str, tmp_path: Path) -> None:
    of = wide(dtype)
    library = written(ArduinoBackend(), of, tmp_path)
    done = subprocess.run(
        [*arduino_build.C, *arduino_build.CHIP, f"-I{library / 'src'}", library / "src/core/wide_net.c", "-o", tmp_path / "net.o"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode and said.format(PackagedNet(of).avr_ram, AVR_REST) in done.stderr


# --- PlatformIO ---------------------------------------------------------------------------------------------------------------------


def test_a_platformio_library_says_what_it_is(tmp_path: Path) -> None:
    folder = written(PlatformIOBackend(), source(), tmp_path)
    told = json.loads((folder / "library.json").read_text())
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", told["name"]) and len(told["name"]) <= 50
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"]) and len(told["description"]) <= 255
    assert (folder / "include" / told["headers"]).is_file()
    (example,) = told["examples"]
    for name in example["files"]:
        assert (folder / example["base"] / name).is_file()
    ini = (folder / example["base"] / "platformio.ini").read_text()
    assert f"lib_deps = {told['name']}=symlink://../.." in ini


@on_uno
def test_a_platformio_library_builds_with_its_flags(tmp_path: Path) -> None:
    """As its builder does for the Uno: both folders on the include path, link-time optimisation, the library's own flags."""
    folder = written(PlatformIOBackend(), source(), tmp_path)
    own = json.loads((folder / "library.json").read_text())["build"]["flags"]
    flags = [
        *arduino_build.CHIP,
        "-DPLATFORMIO=60119",
        "-Os",
        "-ffunction-sections",
        "-fdata-sections",
        "-flto",
        *STRICT,
    ]
    includes = [f"-I{folder / name}" for name in ("include", "src")] + list(arduino_build.INCLUDES)
    c, cpp = (
        ["-std=gnu11", "-fno-fat-lto-objects"],
        ["-std=gnu++11", "-fno-exceptions", "-fpermissive", "-fno-threadsafe-statics"],
    )
    library, example = tmp_path / "library", tmp_path / "example"
    library.mkdir()
    example.mkdir()
    call("avr-gcc", "-c", *c, *flags, *own, *includes, *sorted(folder.glob("src/**/*.c")), folder=library)
    sketch = folder / "examples/LearnFromSensor/src"
    call("avr-g++", "-c", *cpp, *flags, *includes, sketch / "main.cpp", folder=example)
    call("avr-gcc", "-c", *c, *flags, *includes, sketch / "sensor.c", folder=example)
    call("avr-gcc-ar", "rcs", "lib.a", *sorted(library.glob("*.o")), folder=tmp_path)
    call("avr-gcc", *flags, "-r", "-nostdlib", *sorted(example.glob("*.o")), "lib.a", "-o", "both.o", folder=tmp_path)
    undefined = set(re.findall(r"U (\S+)", call("avr-gcc-nm", "both.o", folder=tmp_path)))
    assert not {name for name in undefined if name.startswith(("el_", "sensor_"))}


# --- Zephyr -------------------------------------------------------------------------------------------------------------------------


def test_a_zephyr_module_is_one(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    folder = written(ZephyrBackend(), source(), tmp_path)
    module = yaml.safe_load((folder / "zephyr/module.yml").read_text())
    assert re.fullmatch(r"\w+", module["name"])
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (folder / module["build"]["kconfig"]).is_file()
    (samples,) = module["samples"]
    sample = yaml.safe_load((folder / samples / "learn_from_sensor/sample.yaml").read_text())
    (test,) = sample["tests"].values()
    assert re.search(test["harness_config"]["regex"][0], "step 100  right 42 %")


@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_kconfig_knows_what_the_sample_sets(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kconfiglib = pytest.importorskip("kconfiglib")
    folder = written(ZephyrBackend(), source("dense", dtype), tmp_path)
    kernel = 'config PRINTK\n\tbool\n\tdefault y\nconfig CONSOLE\n\tbool\n\tprompt "c"\nconfig MAIN_STACK_SIZE\n\tint\n\tprompt "m"\n'
    (tmp_path / "Kconfig").write_text(f'{kernel}config FPU\n\tbool "FPU"\nsource "{folder}/zephyr/Kconfig"\n')
    monkeypatch.chdir(tmp_path)
    found = kconfiglib.Kconfig("Kconfig", warn_to_stderr=False)
    found.load_config(str(folder / "samples/learn_from_sensor/prj.conf"))
    assert found.syms["EDGELEARN_MY_DENSE"].str_value == "y"
    assert found.syms["FPU"].str_value == ("y" if dtype == "f32" else "n")
    assert not [text for text in found.warnings if "EDGELEARN" in text]


@pytest.mark.parametrize("dtype", ["int8", "f32"])
def test_a_zephyr_sample_builds_with_a_stand_in_and_learns(dtype: str, tmp_path: Path) -> None:
    needs("cc", "cmake")
    folder = written(ZephyrBackend(), source("dense", dtype), tmp_path)
    sample, stand_in = folder / "samples/learn_from_sensor", HERE / "zephyr_stand_in"
    call(
        "cmake",
        "-S",
        ".",
        "-B",
        "build",
        f"-DZephyr_DIR={stand_in}",
        "-DCMAKE_C_FLAGS=-DSENSOR_SAMPLES=1500",
        folder=sample,
    )
    call("cmake", "--build", "build", folder=sample)
    said = call(sample / "build/app", folder=sample)
    percents = [int(percent) for percent in re.findall(r"right (\d+) %", said)]
    assert percents[0] < 97 <= min(percents[-3:])


# --- docs/packages.md ---------------------------------------------------------------------------------------------------------------


def test_the_page_is_true(tmp_path: Path) -> None:
    needs("cc", "cmake")
    said = [run_shell(b.text, tmp_path) for b in blocks("docs/packages.md", "sh") if b.note == "run"]
    assert not [done.stderr for done in said if done.returncode]
    assert "step 2940  right 100 %" in said[-1].stdout
    for block in blocks("docs/packages.md", "c"):
        (tmp_path / "part.c").write_text(block.text)
        call("cc", "-c", *STRICT, "-Ipackages/digits-tiny-c/include", "part.c", folder=tmp_path)
    tiny = PackagedNet(source())
    assert f"these are {tiny.avr_ram:,} of the Uno's 2,048" in text("docs/packages.md")
    assert f"and {AVR_REST} bytes for sketch" in text("docs/packages.md")
