/* Registers, bits and times: INA219, SBOS448 revision G, 8.6 and tables 4 to 7; INA226, SBOS547 revision A, 7.6 and tables 5 to 8. */
#include "el_ina.h"

#define REG_CONFIG 0x00u
#define REG_BUS 0x02u
#define REG_POWER 0x03u
#define REG_CURRENT 0x04u
#define REG_CALIBRATION 0x05u

/* With this calibration a step of the current register is a step of the shunt's voltage: 10 uV and 2.5 uV. */
#define AS_MARKED_219 4096u
#define AS_MARKED_226 2048u
#define NA_219 10000 /* current of a step in uA, times the shunt in milliohms */
#define NA_226 2500

/* INA219: 16 V, shunt as mean of some samples of 12 bits, bus of one, both over and over. A sample takes 532 us, 586 at most. */
#define CONFIG_219 (1u << 6 | 3u << 7 | 7u)
#define CONFIG_219_AVERAGE 3
#define CONFIG_219_GAIN 11
#define SAMPLE_US_219 (uint32_t)586
#define RANGE_219 4000 /* steps at gain 0 */
#define BUS_READY_219 2u
#define BUS_OVERFLOW_219 1u

/* INA226: bit 14 as at reset, 588 us for shunt and bus each, 646 at most. */
#define CONFIG_226 (1u << 14 | 3u << 6 | 3u << 3 | 7u)
#define CONFIG_226_AVERAGE 9
#define SAMPLE_US_226 (uint32_t)(2 * 646)
#define RANGE_226 32767
#define REG_MASK_226 0x06u
#define MASK_OVERFLOW_226 4u
#define MASK_READY_226 8u

enum { ERR_BUS = -1, ERR_RANGE = -2, ERR_RESET = -3 };

static int put(const el_ina *ina, uint8_t reg, uint16_t value) {
  const uint8_t bytes[3] = {reg, (uint8_t)(value >> 8), (uint8_t)value};
  return ina->bus->i2c_write(ina->bus->ctx, ina->address, bytes, sizeof bytes) ? ERR_BUS : 0;
}

static int get(const el_ina *ina, uint8_t reg, uint16_t *out) {
  uint8_t bytes[2];
  if (ina->bus->i2c_read(ina->bus->ctx, ina->address, reg, bytes, sizeof bytes)) return ERR_BUS;
  *out = (uint16_t)((uint16_t)bytes[0] << 8 | bytes[1]);
  return 0;
}

/* The chip's code for a number of samples: their logarithm; of an INA226 without those of 2, 8 and 32. 8: there is none. */
static uint16_t code_of(const el_ina *ina) {
  uint16_t code = 0;
  while (code < 11 && 1u << code != ina->average) code++;
  if (!ina->is_226) return code > 7 ? 8 : code;
  if (code < 6) return code & 1u ? 8 : code / 2;
  return code > 10 ? 8 : (uint16_t)(code - 3);
}

static uint16_t config(const el_ina *ina) {
  uint16_t code = code_of(ina);
  if (ina->is_226) return (uint16_t)(CONFIG_226 | (uint16_t)(code << CONFIG_226_AVERAGE));
  return (uint16_t)(CONFIG_219 | (uint16_t)(code << CONFIG_219_AVERAGE) | (uint16_t)((ina->gain & 3u) << CONFIG_219_GAIN));
}

/* A chip that takes nothing, or somebody else at its address, does not read back what was written. */
static int set_up(const el_ina *ina) {
  uint16_t kept;
  if (put(ina, REG_CONFIG, config(ina)) || put(ina, REG_CALIBRATION, ina->calibration) || get(ina, REG_CALIBRATION, &kept)) return ERR_BUS;
  return kept == ina->calibration ? 0 : ERR_BUS;
}

/* Is there a new value, and is it one? Puts the supply's voltage into `out_mv`. Reading the power register ends an INA219's "ready". */
static int ready_219(const el_ina *ina, uint32_t *out_mv) {
  uint16_t bus, power;
  if (get(ina, REG_BUS, &bus)) return ERR_BUS;
  if (!(bus & BUS_READY_219)) return EL_METER_NO_NEWS;
  if (get(ina, REG_POWER, &power)) return ERR_BUS;
  *out_mv = (uint32_t)(bus >> 3) * 4u;
  return bus & BUS_OVERFLOW_219 ? ERR_RANGE : 0;
}

static int ready_226(const el_ina *ina, uint32_t *out_mv) {
  uint16_t mask, bus;
  if (get(ina, REG_MASK_226, &mask)) return ERR_BUS;
  if (!(mask & MASK_READY_226)) return EL_METER_NO_NEWS;
  if (get(ina, REG_BUS, &bus)) return ERR_BUS;
  *out_mv = (uint32_t)bus * 5u / 4u;
  return mask & MASK_OVERFLOW_226 ? ERR_RANGE : 0;
}

/* Where the shunt's voltage is cut off; in the steps of the current register. */
static int32_t limit(const el_ina *ina) {
  if (ina->is_226) return RANGE_226;
  int32_t steps = (int32_t)RANGE_219 << (ina->gain & 3);
  return (int32_t)((uint32_t)steps * ina->calibration / AS_MARKED_219);
}

/* A chip whose supply broke in forgets its calibration and then tells no current at all: that is not 0 A. */
static int lost(const el_ina *ina) {
  uint16_t kept;
  if (get(ina, REG_CALIBRATION, &kept)) return ERR_BUS;
  if (kept == ina->calibration) return 0;
  (void)set_up(ina);
  return ERR_RESET;
}

static int meter_ina(void *ctx, int32_t *out_ua, uint32_t *out_mv) {
  const el_ina *ina = ctx;
  uint16_t raw;
  int code = ina->is_226 ? ready_226(ina, out_mv) : ready_219(ina, out_mv);
  if (code) return code;
  if (get(ina, REG_CURRENT, &raw)) return ERR_BUS;
  int32_t steps = (int32_t)raw - (raw & 0x8000u ? 0x10000 : 0), most = limit(ina);
  if (steps >= most || steps <= -most) return ERR_RANGE;
  *out_ua = steps * (ina->is_226 ? NA_226 : NA_219) / (int32_t)ina->shunt_mohm;
  return steps ? EL_METER_VALUE : lost(ina);
}

static int open_chip(el_ina *ina, el_power *power) {
  if (!ina->average) ina->average = ina->is_226 ? 16 : 32;
  if (!ina->calibration) ina->calibration = ina->is_226 ? AS_MARKED_226 : AS_MARKED_219;
  if (!ina->shunt_mohm || code_of(ina) > 7) return ERR_RANGE;
  int code = set_up(ina);
  if (code) return code;
  power->ctx = ina;
  power->read = meter_ina;
  power->name = ina->is_226 ? "INA226" : "INA219";
  power->every_us = ina->is_226 ? ina->average * SAMPLE_US_226 : (ina->average + 1u) * SAMPLE_US_219;
  power->resolution_ua = (uint32_t)(ina->is_226 ? NA_226 : NA_219) / ina->shunt_mohm;
  return 0;
}

int el_ina219_open(el_ina *ina, el_power *power) {
  ina->is_226 = 0;
  return open_chip(ina, power);
}

int el_ina226_open(el_ina *ina, el_power *power) {
  ina->is_226 = 1;
  return open_chip(ina, power);
}
