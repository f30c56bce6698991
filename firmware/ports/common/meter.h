/* What the board file says of the supply, for a port that has a way to it: a meter (INA219 or INA226, with SHUNT_MOHM and, if need be,
 * INA_ADDRESS, INA_GAIN and INA_AVERAGE; SYNTHETIC_UW for tests) and a pin for a meter on the bench (MARKER_PIN). To be included by one
 * file of a port, which says how its bus and its pin are used. */
#ifndef EL_METER_H
#define EL_METER_H

#include "el_ina.h"
#include "el_power.h"

#if defined(EL_INA219) + defined(EL_INA226) + defined(EL_SYNTHETIC_UW) > 1
#error "a board has one meter: INA219, INA226 or SYNTHETIC_UW"
#endif

#if defined(EL_INA219) || defined(EL_INA226)
#define EL_HAS_INA
#ifndef EL_SHUNT_MOHM
#error "the shunt of its meter is missing, SHUNT_MOHM=MILLIOHMS"
#endif
#ifndef EL_INA_ADDRESS
#define EL_INA_ADDRESS 0x40
#endif
#ifndef EL_INA_GAIN
#define EL_INA_GAIN 0
#endif
#ifndef EL_INA_AVERAGE
#define EL_INA_AVERAGE 0
#endif
_Static_assert(EL_INA_GAIN <= 3, "INA_GAIN is 0 to 3: 40 mV << gain");
_Static_assert(EL_INA_AVERAGE >= 0 && (EL_INA_AVERAGE & (EL_INA_AVERAGE - 1)) == 0, "INA_AVERAGE is a power of two");
_Static_assert(EL_SHUNT_MOHM > 0 && EL_SHUNT_MOHM <= 65535, "SHUNT_MOHM is 1 to 65535");

static el_ina ina = {.address = EL_INA_ADDRESS, .gain = EL_INA_GAIN, .shunt_mohm = EL_SHUNT_MOHM, .average = EL_INA_AVERAGE};
#endif

#if defined(EL_HAS_INA) || defined(EL_SYNTHETIC_UW) || defined(EL_MARKER_PIN)
#define EL_HAS_POWER

#ifdef EL_SYNTHETIC_UW
static int meter_synthetic(void *ctx, int32_t *out_ua, uint32_t *out_mv) {
  (void)ctx;
  *out_ua = EL_SYNTHETIC_UW; /* at one volt */
  *out_mv = 1000;
  return EL_METER_VALUE;
}
#endif

static el_power power = {
    EL_POWER_BY_CORE,
#ifdef EL_SYNTHETIC_UW
    .read = meter_synthetic,
    .name = "made up",
    .every_us = 20000,
    .synthetic = 1,
#endif
};
#endif

#ifdef EL_HAS_INA
/* A meter that does not answer is none. */
static inline void power_by_ina(const el_i2c *bus) {
  ina.bus = bus;
#ifdef EL_INA226
  (void)el_ina226_open(&ina, &power);
#else
  (void)el_ina219_open(&ina, &power);
#endif
}
#endif

#endif
