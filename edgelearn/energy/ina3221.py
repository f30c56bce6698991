"""Power monitors on the rails of a board that runs Linux, a Jetson above all: TI's INA3221 and INA238, by the kernel's hwmon.

Rails are known by their labels (Documentation/hwmon/ina3221.rst). One rail is measured: the total, or the one that is named. Rails are
never added, for one may feed another.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from edgelearn.energy.meter import Clock, NoAnswer
from edgelearn.energy.sampling import Sampler, Sensor

NAME = "ina3221"
CHIPS = ("ina3221", "ina238")
TOTALS = ("VDD_IN", "POM_5V_IN", "VIN")  # Orin Nano and NX, Xavier NX, TX2; the first Nano; INA238 at a module's input
FASTEST_S = 0.01  # reading a rail goes over I2C and costs power itself
SHUNT_LSB_V = {"ina3221": 40e-6, "ina238": 5e-6}  # their data sheets, shunt voltage register
_LABEL = re.compile(r"in([1-3])_label")
_SHARE_IN_GAPS = 0.1  # Linux may keep the thread waiting; the sensor averages meanwhile


@dataclass(frozen=True)
class Rail:
    """A channel of a chip, ``folder`` its hwmon."""

    folder: Path
    chip: str
    channel: int
    label: str

    def watts(self) -> float:
        """Power now: bus voltage (mV) times current (mA)."""
        return (
            _number(self.folder / f"in{self.channel}_input") * _number(self.folder / f"curr{self.channel}_input") / 1e6
        )

    def resolution_w(self) -> float:
        """The step of the current, which the shunt gives, at the voltage of now; a milliampere where the shunt is not told."""
        try:
            step_a = SHUNT_LSB_V[self.chip] / (_number(self.folder / f"shunt{self.channel}_resistor") / 1e6)
        except (OSError, ValueError, ZeroDivisionError):
            step_a = 1e-3
        return max(step_a, 1e-3) * _number(self.folder / f"in{self.channel}_input") / 1e3

    def period_s(self) -> float:
        """How often the chip has a new value."""
        try:
            return max(FASTEST_S, _number(self.folder / "update_interval") / 1e3)
        except (OSError, ValueError):
            return FASTEST_S


def open_meter(rail: str = "", root: Path = Path("/"), clock: Clock = time.monotonic) -> Sampler:
    """The rail of that label; the total, where none is named.

    Raises:
        NoAnswer: there is no such chip, or no such rail.
    """
    found = rails(root)
    if not found:
        raise NoAnswer(f"this computer has no {' or '.join(CHIPS)} under /sys/class/hwmon")
    wanted = (rail,) if rail else TOTALS
    chosen = next((r for name in wanted for r in found if r.label == name), None)
    labels = ", ".join(r.label for r in found)
    if chosen is None and rail:
        raise NoAnswer(f"there is no rail {rail}; there are {labels}")
    if chosen is None:
        raise NoAnswer(
            f"no rail is known to feed the whole board; there are {labels}: name one, as in ina3221:{found[0].label}"
        )
    try:
        chosen.watts()
        period, step = chosen.period_s(), chosen.resolution_w()
    except (OSError, ValueError) as error:
        raise NoAnswer(f"the rail {chosen.label} cannot be read: {error}") from error
    part = "what feeds the whole board" if chosen.label in TOTALS else "one rail of this computer"
    sensor = Sensor(f"{chosen.chip.upper()}, rail {chosen.label}: {part}", period, None, step, _SHARE_IN_GAPS)
    return Sampler(NAME, sensor, chosen.watts, (OSError, ValueError), clock)


def rails(root: Path = Path("/")) -> list[Rail]:
    """Every labelled channel of every such chip."""
    found: list[Rail] = []
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*")):
        chip = _text(folder / "name")
        if chip not in CHIPS:
            continue
        labels = {int(m[1]): _text(f) for f in folder.glob("in*_label") if (m := _LABEL.fullmatch(f.name))}
        if not labels and chip == "ina238":  # one channel, and the device tree's label is the chip's
            labels = {1: _text(folder / "label")}
        found += [Rail(folder, chip, channel, label) for channel, label in sorted(labels.items()) if label]
    return found


def _number(file: Path) -> int:
    return int(file.read_text())


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
