"""INA219 and INA226 as their data sheets describe them, behind an I2C bus; written apart from the drivers that are held against them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

CONFIG, SHUNT, BUS, POWER, CURRENT, CALIBRATION, MASK = range(7)
Write = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint8, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint8)
Read = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint8, ctypes.c_uint8, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint8
)


def _signed(value: int) -> int:
    return max(-0x8000, min(0x7FFF, value)) & 0xFFFF


@dataclass
class Ina:
    """A chip; ``amps`` flow through ``ohms`` at ``volts``. ``convert`` is the end of a conversion."""

    ohms: float = 0.1
    amps: float = 0.0
    volts: float = 3.3
    registers: dict[int, int] = field(default_factory=dict)
    ready: bool = False
    overflow: bool = False

    reset_config, shunt_lsb, scale = 0, 0.0, 0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As after its supply came up."""
        self.registers = dict.fromkeys(range(7), 0) | {CONFIG: self.reset_config}
        self.ready = self.overflow = False

    def convert(self) -> None:
        """Shunt and bus are measured, current and power computed (data sheets, "programming the calibration register")."""
        r = self.registers
        if r[CONFIG] & 7 != 7:
            return  # not in continuous mode
        shunt = self.shunt_steps()
        current = shunt * r[CALIBRATION] // self.scale if shunt >= 0 else -(-shunt * r[CALIBRATION] // self.scale)
        power = abs(current) * self.bus_steps() // self.power_divisor
        self.overflow = not -0x8000 <= current <= 0x7FFF or power > 0xFFFF
        r[SHUNT], r[CURRENT], r[POWER] = _signed(shunt), _signed(current), power & 0xFFFF
        self.ready = True

    power_divisor = 1

    def shunt_steps(self) -> int:
        raise NotImplementedError

    def bus_steps(self) -> int:
        raise NotImplementedError

    def write(self, reg: int, value: int) -> None:
        if reg == CONFIG and value & 0x8000:
            self.reset()
        elif reg in (CONFIG, CALIBRATION):
            self.registers[reg] = value & self.writable(reg)

    def writable(self, reg: int) -> int:
        return 0xFFFF

    def read(self, reg: int) -> int:
        return self.registers[reg]


class Ina219(Ina):
    """SBOS448: ranges by gain, "conversion ready" and "overflow" in the bus register, the former ended by reading the power register."""

    reset_config, shunt_lsb, scale, power_divisor = 0x399F, 10e-6, 4096, 5000

    def shunt_steps(self) -> int:
        limit = 4000 << (self.registers[CONFIG] >> 11 & 3)
        return max(-limit, min(limit, round(self.amps * self.ohms / self.shunt_lsb)))

    def bus_steps(self) -> int:
        return round(self.volts / 4e-3)

    def writable(self, reg: int) -> int:
        return 0xFFFE if reg == CALIBRATION else 0x3FFF  # bit 0 of the calibration is always 0

    def read(self, reg: int) -> int:
        if reg == BUS:
            return self.bus_steps() << 3 | self.ready << 1 | self.overflow
        if reg == POWER:
            self.ready = False
        return super().read(reg)

    @property
    def average(self) -> int:
        """Samples of the shunt, table 5."""
        code = self.registers[CONFIG] >> 3 & 15
        return 1 << (code & 7) if code & 8 else 1


class Ina226(Ina):
    """SBOS547: 81.92 mV, both flags in mask/enable, "ready" ended by reading that."""

    reset_config, shunt_lsb, scale, power_divisor = 0x4127, 2.5e-6, 2048, 20000

    def shunt_steps(self) -> int:
        return max(-0x8000, min(0x7FFF, round(self.amps * self.ohms / self.shunt_lsb)))

    def bus_steps(self) -> int:
        return round(self.volts / 1.25e-3)

    def writable(self, reg: int) -> int:
        return 0x7FFF

    def read(self, reg: int) -> int:
        if reg == BUS:
            return self.bus_steps()
        if reg == MASK:
            flags = self.ready << 3 | self.overflow << 2
            self.ready = False
            return flags
        return super().read(reg)

    @property
    def average(self) -> int:
        """Table 6."""
        return (1, 4, 16, 64, 128, 256, 512, 1024)[self.registers[CONFIG] >> 9 & 7]


class Bus(ctypes.Structure):
    """``el_i2c`` of firmware/drivers/el_i2c.h, with one chip on it. ``dead``: nobody answers."""

    _fields_ = (("write", Write), ("read", Read), ("ctx", ctypes.c_void_p))

    def __init__(self, chip: Ina, address: int = 0x40) -> None:
        super().__init__()
        self.chip, self.address, self.dead, self.transfers = chip, address, False, 0
        self.write, self.read = Write(self._write), Read(self._read)

    def _answers(self, address: int) -> bool:
        self.transfers += 1
        return not self.dead and address == self.address

    def _write(self, _: object, address: int, data: ctypes.Array[ctypes.c_uint8], n: int) -> int:
        if not self._answers(address) or n != 3:
            return -1
        self.chip.write(data[0], data[1] << 8 | data[2])
        return 0

    def _read(self, _: object, address: int, reg: int, out: ctypes.Array[ctypes.c_uint8], n: int) -> int:
        if not self._answers(address) or n != 2:
            return -1
        value = self.chip.read(reg)
        out[0], out[1] = value >> 8, value & 0xFF
        return 0


class Config(ctypes.Structure):
    """``el_ina`` of firmware/drivers/el_ina.h."""

    _fields_ = (
        ("bus", ctypes.POINTER(Bus)), ("address", ctypes.c_uint8), ("gain", ctypes.c_uint8),
        ("shunt_mohm", ctypes.c_uint16), ("average", ctypes.c_uint16), ("calibration", ctypes.c_uint16),
        ("is_226", ctypes.c_uint8),
    )  # fmt: skip
