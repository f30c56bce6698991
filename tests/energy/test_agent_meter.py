"""An agent tells the meters of its own computer, as a microcontroller tells its chip's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgelearn import boards
from edgelearn.agent.device import Device
from edgelearn.agent.engines import CORE, Engines
from edgelearn.agent.meters import OwnMeter, place
from edgelearn.energy.meter import Reading
from edgelearn.energy.telemetry import Telemetry, open_meter
from edgelearn.errors import UsageError
from edgelearn.link.messages import TLV_POWER, Message, pack, unpack, unpack_power
from tests.energy.fakes import FakeClock, write


def package(root: Path, joules: float) -> None:
    write(
        root, "sys/class/powercap/intel-rapl:0", name="package-0", energy_uj=round(1e6 * joules),
        max_energy_range_uj=262_143_328_850,
    )  # fmt: skip


class Computer:
    """One whose processor uses ``watts``; an agent on it, asked over its own messages."""

    def __init__(self, root: Path, watts: float = 3.0, wanted: str = "auto") -> None:
        self.root, self.watts, self.clock, self.joules = root, watts, FakeClock(), 100.0
        package(root, self.joules)
        self.meter = OwnMeter(wanted, place((), root), self.clock)
        self.device = Device(boards.load("linux-pc"), Engines((CORE,)), None, 4096, meter=self.meter)

    def run(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.joules += self.watts * seconds
        package(self.root, self.joules)

    def stats(self, *tlvs: tuple[int, bytes]) -> Message:
        request = unpack(pack("stats", 5, tlvs=tlvs))
        assert request is not None
        answer = self.device.answer(request)
        assert answer is not None
        found = unpack(answer)
        assert found is not None and found.name == "stats_r"
        return found

    def ask(self, window: int) -> tuple[dict[str, int], str] | None:
        value = dict(self.stats((TLV_POWER, bytes((window & 255,)))).tlvs).get(TLV_POWER)
        return None if value is None else unpack_power(value)

    def telemetry(self) -> Telemetry:
        return open_meter(self.ask, self.clock, self.run)


@pytest.fixture
def computer(tmp_path: Path) -> Any:
    made = Computer(tmp_path)
    yield made
    made.device.left()


def window(meter: Telemetry, during: Callable[[], None]) -> Reading:
    begin = meter.mark()
    during()
    return meter.between(begin, meter.mark())


def test_what_its_processor_used(computer: Computer) -> None:
    meter = computer.telemetry()
    reading = window(meter, lambda: computer.run(10.0))
    assert reading.joules == pytest.approx(30.0, rel=0.01)
    assert reading.source.startswith("RAPL, package-0") and reading.source.endswith("told by the board")
    assert reading.period_s == 0.001
    assert window(meter, lambda: meter.rest(0.05)).watts == pytest.approx(3.0, rel=0.05)


def test_a_counter_that_stands_still_and_one_that_cannot_be_read(computer: Computer) -> None:
    meter = computer.telemetry()
    reading = window(meter, lambda: computer.clock.sleep(5.0))
    assert reading.joules is None and "did not advance" in reading.reason
    assert window(meter, lambda: computer.run(1.0)).joules == pytest.approx(3.0, rel=0.01), "the next one serves"
    (computer.root / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    reading = window(meter, lambda: computer.clock.sleep(1.0))
    assert reading.joules is None and "could not be read" in reading.reason


def test_a_computer_without_a_meter_says_what_it_tried(tmp_path: Path) -> None:
    bare = Computer(tmp_path / "x")
    (bare.root / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    told = bare.ask(0)
    assert told is not None
    assert told[0]["kind"] == 0
    assert "ina3221" in told[1]


def test_nobody_asks_and_nothing_is_read(computer: Computer) -> None:
    assert computer.stats().tlvs == ()
    assert computer.stats((TLV_POWER, b"")).tlvs == ()
    assert computer.meter._meter is None
    computer.ask(1)
    assert computer.meter._meter is not None
    computer.device.left()
    assert computer.meter._meter is None


def test_an_agent_that_was_told_to_keep_quiet(tmp_path: Path) -> None:
    told = Computer(tmp_path, wanted="none").ask(1)
    assert told is not None and told[0]["kind"] == 0 and "no meter was asked for" in told[1]


def test_a_meter_that_does_not_exist_is_told_at_once() -> None:
    with pytest.raises(UsageError, match="no meter 'wattmeter'"):
        OwnMeter("wattmeter", place(()))


def test_which_meters_an_agent_has() -> None:
    assert tuple(place(("cuda", "cpu")).meters) == ("nvml", "ina3221", "rapl")
    assert tuple(place(("cpu",)).meters) == ("ina3221", "rapl")
