"""A board with a meter, as far as firmware/core/power.c and firmware/drivers know one: their C, on time that is made up."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

from edgelearn.energy.telemetry import Telemetry, open_meter
from edgelearn.host.hal import Hal, Number
from edgelearn.link.messages import TLV_MARKER, TLV_POWER, unpack_power
from tests.energy.fakes import FakeClock
from tests.firmware.host import FIRMWARE, compile_host

POLL, BEGIN, END = 0, 1, 2
NO_NEWS = 1
ROOM = 331
SOURCES = [FIRMWARE / "core/power.c", FIRMWARE / "drivers/ina.c", FIRMWARE / "drivers/shunt.c"]
FLAGS = ("-shared", "-fPIC", "-Wconversion", f"-I{FIRMWARE / 'drivers'}")

Read = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(ctypes.c_uint32))
Marker = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)
_U32 = ctypes.c_uint32


class Power(ctypes.Structure):
    """``el_power`` of firmware/core/el_power.h."""

    _fields_ = (
        ("moment", ctypes.c_void_p), ("asked", ctypes.c_void_p), ("ctx", ctypes.c_void_p), ("read", Read),
        ("marker", Marker), ("name", ctypes.c_char_p), ("every_us", _U32), ("resolution_ua", _U32),
        ("synthetic", ctypes.c_uint8), ("marks", ctypes.c_uint8), ("window", ctypes.c_uint8),
        ("working", ctypes.c_uint8), ("counters", _U32 * 17),
    )  # fmt: skip


def library(folder: Path) -> ctypes.CDLL:
    """The C of meters, for this computer."""
    lib = ctypes.CDLL(str(compile_host(folder / "power.so", SOURCES, *FLAGS)))
    lib.el_power_asked.restype = ctypes.c_uint16
    return lib


class MeteredBoard:
    """Its clock counts microseconds of ``clock``; its meter tells ``ua`` and ``mv``, or answers ``code``.

    Args:
        watts: at a time in seconds since the board started, at ``mv``.
    """

    def __init__(
        self,
        lib: ctypes.CDLL,
        clock: FakeClock,
        watts: Callable[[float], float] = lambda t: 1.0,
        every_us: int = 20_000,
        resolution_ua: int = 0,
    ) -> None:
        self._lib, self.clock, self.watts, self._start = lib, clock, watts, clock.now
        self.code, self.mv, self.reads, self.pin = 0, 5000, 0, list[int]()
        self.skew_us = 0
        self.power = Power(name=b"a meter", every_us=every_us, resolution_ua=resolution_ua)
        self._read, self._marker, self._now = Read(self._reading), Marker(self._mark), Number(self._now_us)
        self.power.read, self.power.marker = self._read, self._marker
        self.hal = Hal(now_us=self._now, power=ctypes.addressof(self.power))

    def _seconds(self) -> float:
        return self.clock.now - self._start

    def _now_us(self, _: object) -> int:
        return (round(1e6 * self._seconds()) + self.skew_us) & 0xFFFFFFFF

    def _reading(self, _: object, ua: Sequence[int], mv: Sequence[int]) -> int:
        self.reads += 1
        if self.code == 0:
            ua[0] = round(1e9 * self.watts(self._seconds()) / self.mv) if self.mv else 0  # type: ignore[index]
            mv[0] = self.mv  # type: ignore[index]
        return self.code

    def _mark(self, _: object, high: int) -> None:
        self.pin.append(high)

    def moment(self, what: int = POLL) -> None:
        self._lib.el_power_moment(ctypes.byref(self.hal), ctypes.c_uint8(what))

    def run(self, seconds: float, every: float = 0.001) -> None:
        """Polls the link for so long."""
        for _ in range(round(seconds / every)):
            self.clock.sleep(every)
            self.moment()

    def work(self, seconds: float, rest: float, times: int) -> None:
        """Learns samples of ``seconds``, and waits ``rest`` after each."""
        for _ in range(times):
            self.moment(BEGIN)
            self.clock.sleep(seconds)
            self.moment(END)
            self.clock.sleep(rest)
            self.moment()

    def tlvs(self, asked: bytes, room: int = ROOM) -> dict[int, bytes]:
        """The answer to the TLVs of a ``stats``."""
        out = (ctypes.c_uint8 * ROOM)()
        n = self._lib.el_power_asked(
            ctypes.byref(self.hal), asked, ctypes.c_uint16(len(asked)), out, ctypes.c_uint16(room)
        )
        assert n <= room
        rest, found = bytes(out[:n]), dict[int, bytes]()
        while rest:
            found[rest[0]], rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        return found

    def ask(self, window: int) -> tuple[dict[str, int], str] | None:
        """As the link does it: what arrives is polled, then answered."""
        self.moment()
        value = self.tlvs(bytes((TLV_POWER, 1, window & 0xFF))).get(TLV_POWER)
        return None if value is None else unpack_power(value)

    def mark(self, what: int) -> bytes | None:
        return self.tlvs(bytes((TLV_MARKER, 1, what))).get(TLV_MARKER)

    def meter(self) -> Telemetry:
        return open_meter(self.ask, self.clock, self.clock.sleep)
