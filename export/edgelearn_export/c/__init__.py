"""Packages of C: the plan with the runtime that it needs and an example that learns from its own sensor, for four ways to build."""

from __future__ import annotations

import json
from dataclasses import dataclass

from edgelearn import __version__
from edgelearn.backends import Artifact, EntryName, Runner, Source
from edgelearn.errors import DoesNotFitError
from edgelearn.ir.core import Module
from edgelearn_export.c import sizes
from edgelearn_export.c.package import Net, library_name, licence, readme, sources, units
from edgelearn_export.plan import gap
from edgelearn_export.plan.carray import c_artifact
from edgelearn_export.plan.program import Program

EXAMPLE = "examples/LearnFromSensor"
SAMPLE = "samples/learn_from_sensor"


@dataclass(frozen=True)
class _Packages:
    """What the four have in common. A package is the folder NAME-FORMAT; its plan stands for all of it where it is run."""

    name: str = ""
    public: str = "include"  # the folder of headers for users

    def gap(self, module: Module, entry: EntryName) -> str:
        """Of all entries alike: a plan holds all or none."""
        return gap(module)

    def artifacts(self, source: Source) -> tuple[Artifact, ...]:
        """Every file of the package."""
        if gap(source.module):
            return ()
        net = Net(source)
        self.check(net)
        made = {**self.sources(net), **self.build_files(net), "LICENSE": licence()}
        plan = f"src/core/{net.stem}_plan.c"
        return tuple(
            c_artifact(f"{self.folder(source)}/{path}", raw, source.module, path == plan)
            for path, raw in sorted(made.items())
        )

    def open(self, artifact: Artifact, source: Source) -> Runner:
        """Compiles the package's library for this computer, with ``artifact`` in its place."""
        net = Net(source)
        files = {**self.sources(net), artifact.file.removeprefix(f"{self.folder(source)}/"): artifact.raw}
        return Program(files, [self.public], {"NET": f'"{net.stem}_net.h"'}, source.module)

    def folder(self, source: Source) -> str:
        return f"{source.name}-{self.name}"

    def sources(self, net: Net) -> dict[str, bytes]:
        """The library, by path in the package."""
        return sources(net, self.public)

    def check(self, net: Net) -> None:
        """Refuses what this format's boards cannot hold."""

    def build_files(self, net: Net) -> dict[str, bytes]:
        """All but the library: what builds it, the example, README.md."""
        raise NotImplementedError

    def readme(self, net: Net, kind: str, use: str) -> bytes:
        found = sizes.measured(tuple(self.sources(net).items()), self.public, net.stem)
        return readme(net, kind, found, sizes.compiler(), use)


@dataclass(frozen=True)
class CBackend(_Packages):
    """Entry point ``c``: plain C11 with a CMakeLists.txt, and programs that learn on a computer."""

    name: str = "c"

    def build_files(self, net: Net) -> dict[str, bytes]:
        made = units(self.sources(net))
        app = ("main.c", "board.h", "board_pc.c", "sensor.h", "sensor_made_up.c", "sensor_stdin.c")
        return {
            "CMakeLists.txt": net.fill("CMakeLists.txt", SOURCES=_lines(made)),
            "README.md": self.readme(net, "as plain C", USE_C),
            **{f"app/{name}": net.fill(name) for name in app},
        }


@dataclass(frozen=True)
class ArduinoBackend(_Packages):
    """Entry point ``arduino``: a library in the layout of the Arduino IDE since 1.5."""

    name: str = "arduino"
    public: str = "src"  # the only folder that the IDE compiles and looks for headers in

    def check(self, net: Net) -> None:
        """An AVR's linker would not say that variables and stack meet."""
        from edgelearn import avr, boards

        board = boards.load(net.source.board) if net.source.board else None
        if board and board.prefix == avr.PREFIX and net.avr_ram > board.ram:
            parts = f"{net.pool:,} for state and arena and {net.avr_ram - net.pool:,} for sketch and stack"
            need = f"{net.source.name} needs {net.avr_ram:,} bytes of RAM as an Arduino sketch, {parts}"
            raise DoesNotFitError(f"{need}: {board.name} has {board.ram:,}.", "Make its layers narrower.")

    def build_files(self, net: Net) -> dict[str, bytes]:
        return {
            "library.properties": net.fill("library.properties"),
            "README.md": self.readme(net, "as an Arduino library", USE_ARDUINO),
            f"{EXAMPLE}/LearnFromSensor.ino": net.fill("LearnFromSensor.ino"),
            f"{EXAMPLE}/sensor.h": net.fill("sensor.h"),
            f"{EXAMPLE}/sensor.c": net.fill("sensor_made_up.c"),
        }


@dataclass(frozen=True)
class PlatformIOBackend(_Packages):
    """Entry point ``platformio``: a library with library.json."""

    name: str = "platformio"

    def build_files(self, net: Net) -> dict[str, bytes]:
        return {
            "library.json": _library_json(net),
            "README.md": self.readme(net, "as a PlatformIO library", USE_PLATFORMIO),
            f"{EXAMPLE}/platformio.ini": net.fill("platformio.ini"),
            f"{EXAMPLE}/src/main.cpp": b"#include <Arduino.h>\n\n" + net.fill("LearnFromSensor.ino"),
            f"{EXAMPLE}/src/sensor.h": net.fill("sensor.h"),
            f"{EXAMPLE}/src/sensor.c": net.fill("sensor_made_up.c"),
        }


@dataclass(frozen=True)
class ZephyrBackend(_Packages):
    """Entry point ``zephyr``: a module, with a sample application."""

    name: str = "zephyr"

    def build_files(self, net: Net) -> dict[str, bytes]:
        made = [f"../{path}" for path in units(self.sources(net))]
        imply = "\timply FPU\n" if net.module.dtype == "f32" else ""
        app = ("main.c", "board.h", "board_zephyr.c", "sensor.h", "sensor_made_up.c")
        return {
            "zephyr/module.yml": net.fill("module.yml"),
            "zephyr/Kconfig": net.fill("Kconfig", IMPLY=imply),
            "zephyr/CMakeLists.txt": net.fill("zephyr_module.cmake", SOURCES=_lines(made, "    ")),
            "README.md": self.readme(net, "as a Zephyr module", USE_ZEPHYR),
            f"{SAMPLE}/CMakeLists.txt": net.fill("zephyr_sample.cmake"),
            f"{SAMPLE}/prj.conf": net.fill("prj.conf"),
            f"{SAMPLE}/sample.yaml": net.fill("sample.yaml"),
            **{f"{SAMPLE}/src/{name}": net.fill(name) for name in app},
        }


def _lines(paths: list[str], indent: str = "  ") -> str:
    return "\n".join(indent + path for path in paths)


def _library_json(net: Net) -> bytes:
    """Fields as docs.platformio.org/en/latest/manifests/library-json lists them."""
    told = {
        "name": library_name(net.stem),
        "version": __version__,
        "description": f"A neural network, {net.stem}, that learns on the board, one sample at a time",
        "keywords": ["machine learning", "training", "on-device learning"],
        "license": "Apache-2.0",
        "frameworks": "*",
        "platforms": "*",
        "headers": f"{net.stem}_net.h",
        "examples": [
            {
                "name": "LearnFromSensor",
                "base": EXAMPLE,
                "files": ["platformio.ini", "src/main.cpp", "src/sensor.h", "src/sensor.c"],
            }
        ],
        "build": {"flags": ["-ffp-contract=off"]},
    }
    return json.dumps(told, indent=2).encode() + b"\n"


USE_C = """
    cmake -S . -B build && cmake --build build
    build/learn_made_up                # learns from a made-up sensor
    build/learn_stdin < samples.txt    # a line a sample: class (-1: unknown) and real values; LEARNT=FILE keeps what it learns

For a board, write the functions of app/board.h and app/sensor.h, and compile src/ (include path: include/) with app/main.c and them.
"""
USE_ARDUINO = """
Put this folder into the IDE's folder "libraries", and open the example LearnFromSensor. Its sensor.c has a made-up sensor: put yours there.
"""
USE_PLATFORMIO = """
    pio run -d examples/LearnFromSensor

The example is an Arduino sketch; the library itself needs no framework. Its sensor.c has a made-up sensor: put yours there.
"""
USE_ZEPHYR = """
    west build -b BOARD samples/learn_from_sensor

Of an application of yours: -DEXTRA_ZEPHYR_MODULES=THIS_FOLDER. sensor_made_up.c has a made-up sensor: put yours there.
"""
