"""The Arduino library: the firmware's core, laid out as the Arduino IDE wants it.

python -m edgelearn.arduino FOLDER    writes FOLDER/Edgelearn, to be put into the IDE's folder "libraries"
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from edgelearn import __version__
from edgelearn.errors import EdgeLearnError, StorageFullError
from edgelearn.paths import resource

NAME = "Edgelearn"
# Beside each other in src, where every sketch finds them; what the others include of each other stays in their folders.
PUBLIC = ("include/edgelearn.h", "hal/el_hal.h")
FORWARDED = (
    "core/el_link.h",
    "core/el_start.h",
    "core/el_kernel.h",
    "core/el_power.h",
    "drivers/el_ina.h",
    "drivers/el_shunt.h",
)
SENSOR = "examples/sensor"
SENSOR_FILES = ("sensor.c", "sensor.h", "gestures_plan.c", "gestures_plan.h")


def write(folder: Path) -> Path:
    """Writes the library into ``folder``, over an older one; returns its own folder.

    Raises:
        StorageFullError: it cannot be written.
    """
    library, firmware = folder / NAME, resource("firmware")
    try:
        shutil.rmtree(library, ignore_errors=True)
        shutil.copytree(firmware / "arduino", library)
        _write_sources(library / "src", firmware)
        for name in SENSOR_FILES:
            shutil.copyfile(firmware / SENSOR / name, library / "examples/LearnFromSensor" / name)
        properties = library / "library.properties"
        properties.write_text(properties.read_text().replace("@VERSION@", __version__))
    except OSError as error:
        raise StorageFullError(f"Cannot write {library}: {error.strerror}.", "Name another folder.") from error
    return library


def _write_sources(src: Path, firmware: Path) -> None:
    for part in ("core", "gen", "drivers"):
        (src / part).mkdir()
        for file in sorted((firmware / part).glob("*.[ch]")):
            (src / part / file.name).write_text(_first(file) + file.read_text())
    for name in PUBLIC:
        shutil.copyfile(firmware / name, src / Path(name).name)
    for name in FORWARDED:
        (src / Path(name).name).write_text(f'#include "{name}"\n')


def _first(file: Path) -> str:
    """Float kernels look whether there are floats before they include anything: the library says so in a header."""
    return '#include "edgelearn.h"\n' if file.name.endswith("_f32.c") else ""


def main(arguments: Sequence[str]) -> None:
    """Writes the library where the command line says."""
    parser = argparse.ArgumentParser(prog="python -m edgelearn.arduino", description="Write the Arduino library.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help='the IDE\'s folder "libraries", for example')
    library = write(parser.parse_args(arguments).folder)
    print(library)  # noqa: T201 (a program)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except EdgeLearnError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
