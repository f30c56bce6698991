/* TI's INA219 (data sheet SBOS448) and INA226 (SBOS547): current by the voltage over a shunt in the board's supply, and the supply's voltage.
 *
 *     static el_ina ina = {.bus = &bus, .address = 0x40, .shunt_mohm = 100};
 *     static el_power power = {EL_POWER_BY_CORE};
 *     if (el_ina219_open(&ina, &power) == 0) hal.power = &power;
 *
 * Both chips average by themselves: between two readings nothing is lost. A reading takes three transactions, of 39 clocks of SCL each and
 * nine more for the pointer: about 0.4 ms at 400 kHz, of the 20 ms between two readings.
 */
#ifndef EL_INA_H
#define EL_INA_H

#include "el_i2c.h"
#include "el_power.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct el_ina {
  const el_i2c *bus;
  uint8_t address;     /* 0x40 to 0x4F, by the pins A0 and A1 */
  uint8_t gain;        /* INA219: the shunt takes 40 mV << gain, 0 to 3. INA226: always 81.92 mV */
  uint16_t shunt_mohm; /* milliohms */
  /* Samples that the chip averages: 1 to 128 (INA219: powers of two), 1 to 1024 (INA226: 1, 4, 16, 64, and from there powers of two); 0: 32
   * and 16, about 20 ms. A step must not last longer than three times its mean takes. */
  uint16_t average;
  /* The calibration register: 0 for the resistor as marked. With a better meter beside it: the one that it has, times true current / told. */
  uint16_t calibration;
  uint8_t is_226; /* of the driver */
} el_ina;

/* Starts the chip and fills in what el_power has of a meter. Negative: it does not answer, or does not keep what is written to it. */
int el_ina219_open(el_ina *ina, el_power *power);
int el_ina226_open(el_ina *ina, el_power *power);

#ifdef __cplusplus
}
#endif
#endif
