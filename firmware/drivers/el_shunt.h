/* A shunt, its amplifier and an input of the chip's own ADC. A conversion is a moment and no mean: what changes faster than readings come is
 * seen by chance only. Give the amplifier's output a low-pass filter of about `every_us`, or take an INA219 or INA226, which average. */
#ifndef EL_SHUNT_H
#define EL_SHUNT_H

#include "el_power.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct el_shunt {
  int32_t (*adc_counts)(void *ctx); /* one conversion; negative: it failed */
  void *ctx;
  uint16_t zero;          /* counts without current */
  uint8_t times;          /* conversions of which a reading is the mean */
  uint32_t na_per_count;  /* nanoamperes: volts of a count / (gain x ohms) */
  uint32_t supply_mv;     /* of the board's supply, which is not measured */
} el_shunt;

/* Fills in what el_power has of a meter. Negative: a figure is missing. */
int el_shunt_open(el_shunt *shunt, el_power *power, uint32_t every_us);

#ifdef __cplusplus
}
#endif
#endif
