"""The drivers of meters in the Arduino library, over a Wire that is made up here: what a sketch writes, compiled and run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgelearn import arduino

ARDUINO_H = "#include <stddef.h>\n#include <stdint.h>\nclass Stream;\n"
WIRE_H = """#include <stddef.h>
#include <stdint.h>
struct TwoWire {  // an INA219 with 250 mA at 3.2 V, ready
  uint8_t reg = 0, at = 0, n = 0, sent[3] = {};
  uint16_t kept[6] = {0, 2500, 800 << 3 | 2, 0, 2500, 0};
  void beginTransmission(uint8_t address) { at = address; n = 0; }
  size_t write(uint8_t byte) { sent[n++] = byte; return 1; }
  size_t write(const uint8_t *bytes, size_t size) { for (size_t i = 0; i < size; i++) write(bytes[i]); return size; }
  uint8_t endTransmission(bool stop = true) {
    if (at != 0x40) return 2;
    reg = sent[0], n = stop && n == 3 ? (kept[reg] = sent[1] << 8 | sent[2], 0) : 0;
    return 0;
  }
  uint8_t requestFrom(uint8_t address, uint8_t size) { at = 0; return address == 0x40 ? size : 0; }
  int read() { return kept[reg] >> (at++ ? 0 : 8) & 0xFF; }
};
extern TwoWire Wire;
"""
SKETCH = """#include <EdgelearnLink.h>
#include <EdgelearnWire.h>
#include <stdio.h>
TwoWire Wire;
static el_i2c bus = EdgelearnWire(Wire);
static el_ina ina;
static el_power power = {EL_POWER_BY_CORE};
int main() {
  int32_t ua = 0;
  uint32_t mv = 0;
  ina.bus = &bus, ina.address = 0x41, ina.shunt_mohm = 100;
  if (el_ina219_open(&ina, &power) == 0) return 1;
  ina.address = 0x40;
  if (el_ina219_open(&ina, &power) != 0 || power.read(power.ctx, &ua, &mv) != 0) return 2;
  printf("%d %u", (int)ua, (unsigned)mv);
}
"""


def test_a_sketch_with_a_meter(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    src = arduino.write(tmp_path) / "src"
    (tmp_path / "Arduino.h").write_text(ARDUINO_H)
    (tmp_path / "Wire.h").write_text(WIRE_H)
    (tmp_path / "sketch.cpp").write_text(SKETCH)
    flags = ["-Wall", "-Wextra", "-Wno-missing-field-initializers", f"-I{src}", f"-I{tmp_path}"]
    for unit in ("core/power.c", "drivers/ina.c"):
        subprocess.run(["cc", "-c", *flags, str(src / unit)], cwd=tmp_path, check=True)
    subprocess.run(
        ["g++", "-std=gnu++17", *flags, "sketch.cpp", "power.o", "ina.o", "-o", "sketch"], cwd=tmp_path, check=True
    )
    done = subprocess.run([str(tmp_path / "sketch")], capture_output=True, text=True, check=True)
    assert done.stdout == "250000 3200"
