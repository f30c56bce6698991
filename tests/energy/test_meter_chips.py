"""The drivers of INA219, INA226 and ADC shunt, in C, against models of the chips' registers."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import pytest

from tests.energy.board_meter import NO_NEWS, Power, library
from tests.energy.chips import CALIBRATION, CONFIG, Bus, Config, Ina, Ina219, Ina226

CHIPS = {"219": Ina219, "226": Ina226}
ERR_BUS, ERR_RANGE, ERR_RESET = -1, -2, -3


@pytest.fixture(scope="module")
def lib(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return library(tmp_path_factory.mktemp("drivers"))


@dataclass
class Driver:
    """A driver that has been opened on a chip; ``code`` is what that answered."""

    chip: Ina
    bus: Bus
    config: Config
    power: Power
    code: int

    def reading(self, convert: bool = True) -> tuple[int, int, int]:
        """(code, uA, mV)"""
        if convert:
            self.chip.convert()
        ua, mv = ctypes.c_int32(-7), ctypes.c_uint32(7)
        code = self.power.read(self.power.ctx, ctypes.byref(ua), ctypes.byref(mv))
        return code, ua.value, mv.value


def opened(lib: ctypes.CDLL, name: str, chip: Ina, address: int = 0x40, **options: int) -> Driver:
    bus, power = Bus(chip), Power()
    config = Config(bus=ctypes.pointer(bus), address=address, **{"shunt_mohm": round(1e3 * chip.ohms), **options})
    code = getattr(lib, f"el_ina{name}_open")(ctypes.byref(config), ctypes.byref(power))
    return Driver(chip, bus, config, power, code)


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("ohms", [0.002, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("share", [0.9, 0.1, 0.001, -0.001, -0.1, -0.9])
def test_current_and_voltage(lib: ctypes.CDLL, name: str, ohms: float, share: float) -> None:
    """Of the shunt's range, both ways, to a step of the chip."""
    full = 0.04 if name == "219" else 0.0819175
    chip = CHIPS[name](ohms=ohms, amps=share * full / ohms, volts=4.2)
    driver = opened(lib, name, chip)
    assert driver.code == 0
    code, ua, mv = driver.reading()
    assert code == 0
    step = 1e6 * chip.shunt_lsb / ohms
    assert ua == pytest.approx(1e6 * chip.amps, abs=step / 2 + 1)
    assert mv == pytest.approx(4200, abs=4)
    assert driver.power.resolution_ua == pytest.approx(step, abs=1)
    assert driver.power.name == f"INA{name}".encode()


@pytest.mark.parametrize("name", CHIPS)
def test_a_calibration_corrects_the_resistor(lib: ctypes.CDLL, name: str) -> None:
    """A shunt of 110 milliohms that is marked 100: told / true = 1.1."""
    chip = CHIPS[name](ohms=0.11, amps=0.2)
    scale = chip.scale
    driver = opened(lib, name, chip, shunt_mohm=100, calibration=round(scale / 1.1) & ~1)
    assert driver.reading()[1] == pytest.approx(200_000, rel=0.001)
    assert opened(lib, name, chip, shunt_mohm=100).reading()[1] == pytest.approx(220_000, rel=0.001)


@pytest.mark.parametrize("name", CHIPS)
def test_only_a_new_value_is_one(lib: ctypes.CDLL, name: str) -> None:
    driver = opened(lib, name, CHIPS[name](amps=0.1))
    assert driver.reading(convert=False)[0] == NO_NEWS
    assert driver.reading()[0] == 0
    assert driver.reading(convert=False)[0] == NO_NEWS
    assert driver.reading()[0] == 0


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("amps", [20.0, -20.0])
def test_more_than_the_shunt_takes_is_no_value(lib: ctypes.CDLL, name: str, amps: float) -> None:
    driver = opened(lib, name, CHIPS[name](amps=amps))
    assert driver.reading()[0] == ERR_RANGE
    driver.chip.amps = 0.1
    assert driver.reading()[:2] == (0, 100_000)


@pytest.mark.parametrize("name", CHIPS)
def test_the_chips_own_overflow(lib: ctypes.CDLL, name: str) -> None:
    """Of its arithmetic: with a calibration far too large."""
    driver = opened(lib, name, CHIPS[name](amps=0.8), calibration=0x7FFE, gain=3)
    assert driver.reading()[0] == ERR_RANGE
    assert driver.chip.overflow


@pytest.mark.parametrize("gain", [0, 1, 2, 3])
def test_gain_of_the_ina219(lib: ctypes.CDLL, gain: int) -> None:
    driver = opened(lib, "219", Ina219(amps=0.39 * (1 << gain)), gain=gain)
    assert driver.reading()[:2] == (0, round(390_000 * (1 << gain)))
    driver.chip.amps = 0.41 * (1 << gain)
    assert driver.reading()[0] == ERR_RANGE


@pytest.mark.parametrize(
    ("name", "average", "samples"),
    [
        ("219", 0, 32),
        ("219", 1, 1),
        ("219", 128, 128),
        ("226", 0, 16),
        ("226", 1, 1),
        ("226", 64, 64),
        ("226", 128, 128),
        ("226", 1024, 1024),
    ],
)
def test_average(lib: ctypes.CDLL, name: str, average: int, samples: int) -> None:
    """What the chip is told, and how long a reading is away: never sooner than the slowest chip has one."""
    driver = opened(lib, name, CHIPS[name](), average=average)
    assert (driver.code, driver.chip.average) == (0, samples)  # type: ignore[attr-defined]
    slowest = 586 * (samples + 1) if name == "219" else 2 * 646 * samples
    assert driver.power.every_us == slowest


@pytest.mark.parametrize(
    ("name", "average"), [("219", 3), ("219", 256), ("226", 2), ("226", 8), ("226", 32), ("226", 2048), ("226", 5)]
)
def test_averages_that_the_chip_has_not(lib: ctypes.CDLL, name: str, average: int) -> None:
    driver = opened(lib, name, CHIPS[name](), average=average)
    assert driver.code == ERR_RANGE
    assert not driver.power.read


@pytest.mark.parametrize("name", CHIPS)
def test_a_chip_that_is_not_there(lib: ctypes.CDLL, name: str) -> None:
    driver = opened(lib, name, CHIPS[name](), address=0x41)
    assert driver.code == ERR_BUS
    assert not driver.power.read, "a board whose meter does not answer has none"
    assert opened(lib, name, CHIPS[name](), shunt_mohm=0).code == ERR_RANGE


def test_somebody_else_at_its_address(lib: ctypes.CDLL) -> None:
    class Eeprom(Ina219):
        def read(self, reg: int) -> int:
            return 0xFFFF

    assert opened(lib, "219", Eeprom()).code == ERR_BUS


@pytest.mark.parametrize("name", CHIPS)
def test_a_bus_that_breaks(lib: ctypes.CDLL, name: str) -> None:
    driver = opened(lib, name, CHIPS[name](amps=0.1))
    driver.bus.dead = True
    assert driver.reading()[0] == ERR_BUS
    driver.bus.dead = False
    assert driver.reading()[:2] == (0, 100_000)


@pytest.mark.parametrize("name", CHIPS)
def test_a_chip_that_lost_its_supply_is_started_again(lib: ctypes.CDLL, name: str) -> None:
    """It has forgotten its calibration, and tells 0 A: that is no reading."""
    driver = opened(lib, name, CHIPS[name](amps=0.1))
    config = driver.chip.registers[CONFIG]
    driver.chip.reset()
    assert driver.reading()[0] == ERR_RESET
    assert (driver.chip.registers[CONFIG], driver.chip.registers[CALIBRATION]) == (config, driver.chip.scale)
    assert driver.reading()[:2] == (0, 100_000)


@pytest.mark.parametrize("name", CHIPS)
def test_no_current_is_a_value(lib: ctypes.CDLL, name: str) -> None:
    driver = opened(lib, name, CHIPS[name](amps=0.0))
    assert driver.reading()[:2] == (0, 0)


@pytest.mark.parametrize("name", CHIPS)
def test_a_reading_takes_three_transactions(lib: ctypes.CDLL, name: str) -> None:
    driver = opened(lib, name, CHIPS[name](amps=0.1))
    before = driver.bus.transfers
    driver.reading()
    assert driver.bus.transfers - before == 3


# --- ADC ------------------------------------------------------------------------------------------------------------------------------

Adc = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)


class Shunt(ctypes.Structure):
    """``el_shunt`` of firmware/drivers/el_shunt.h."""

    _fields_ = (
        ("adc_counts", Adc), ("ctx", ctypes.c_void_p), ("zero", ctypes.c_uint16), ("times", ctypes.c_uint8),
        ("na_per_count", ctypes.c_uint32), ("supply_mv", ctypes.c_uint32),
    )  # fmt: skip


def shunt_reading(lib: ctypes.CDLL, counts: list[int], zero: int, na_per_count: int) -> tuple[int, int, int]:
    left, power = list(counts), Power()
    adc = Adc(lambda _: left.pop(0))
    shunt = Shunt(adc, None, zero, len(counts), na_per_count, 3300)
    assert lib.el_shunt_open(ctypes.byref(shunt), ctypes.byref(power), 500) == 0
    ua, mv = ctypes.c_int32(), ctypes.c_uint32()
    code = power.read(power.ctx, ctypes.byref(ua), ctypes.byref(mv))
    return code, ua.value, mv.value


@pytest.mark.parametrize(
    ("counts", "zero", "na", "ua"),
    [
        ([500], 100, 25_400, 10_160),
        ([90, 94], 100, 25_400, -203),
        ([65535], 0, 65_000, 4_259_775),
        ([10, 11, 12, 13], 0, 1500, 16),
    ],
)
def test_adc_counts_are_a_current(lib: ctypes.CDLL, counts: list[int], zero: int, na: int, ua: int) -> None:
    assert shunt_reading(lib, counts, zero, na) == (0, ua, 3300)


def test_a_conversion_that_failed(lib: ctypes.CDLL) -> None:
    assert shunt_reading(lib, [5, -1], 0, 100)[0] < 0


@pytest.mark.parametrize("missing", ["adc_counts", "times", "na_per_count", "supply_mv"])
def test_a_shunt_whose_figures_are_missing(lib: ctypes.CDLL, missing: str) -> None:
    given = {"adc_counts": Adc(lambda _: 1), "times": 1, "na_per_count": 1, "supply_mv": 3300}
    power = Power()
    del given[missing]  # NULL, or 0
    assert lib.el_shunt_open(ctypes.byref(Shunt(**given)), ctypes.byref(power), 500) < 0
    assert not power.read
