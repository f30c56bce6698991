/* A Wire bus for the drivers of meters (el_ina.h): the board tells what it uses, and `edgelearn profile` reads it. Not on AVR, which has no
 * room for it.
 *
 *     static el_i2c bus = EdgelearnWire(Wire);
 *     static el_ina ina;
 *     static el_power power = {EL_POWER_BY_CORE};
 *
 *     void setup() {
 *       Wire.begin();
 *       Wire.setClock(400000);
 *       ina.bus = &bus, ina.address = 0x40, ina.shunt_mohm = 100;
 *       if (el_ina219_open(&ina, &power) == 0) trainer.meter(power);
 *     }
 */
#ifndef EDGELEARN_WIRE_H
#define EDGELEARN_WIRE_H

#include <Wire.h>

#include "el_ina.h"

inline int i2c_wire_write(void *ctx, uint8_t address, const uint8_t *bytes, uint8_t n) {
  TwoWire &wire = *static_cast<TwoWire *>(ctx);
  wire.beginTransmission(address);
  wire.write(bytes, n);
  return wire.endTransmission() == 0 ? 0 : -1;
}

inline int i2c_wire_read(void *ctx, uint8_t address, uint8_t reg, uint8_t *out, uint8_t n) {
  TwoWire &wire = *static_cast<TwoWire *>(ctx);
  wire.beginTransmission(address);
  wire.write(reg);
  if (wire.endTransmission(false) != 0 || wire.requestFrom(address, n) != n) return -1;
  for (uint8_t i = 0; i < n; i++) out[i] = static_cast<uint8_t>(wire.read());
  return 0;
}

inline el_i2c EdgelearnWire(TwoWire &wire) {
  el_i2c bus = {i2c_wire_write, i2c_wire_read, &wire};
  return bus;
}

#endif
