/* Current by an ADC. */
#include "el_shunt.h"

static int meter_shunt(void *ctx, int32_t *out_ua, uint32_t *out_mv) {
  const el_shunt *shunt = ctx;
  int32_t sum = 0;
  for (uint8_t i = 0; i < shunt->times; i++) {
    int32_t counts = shunt->adc_counts(shunt->ctx);
    if (counts < 0) return -1;
    sum += counts - shunt->zero;
  }
  uint32_t size = (uint32_t)(sum < 0 ? -sum : sum) / shunt->times; /* counts of 16 bits, times a whole and a rest: 32 bits do */
  uint32_t ua = size * (shunt->na_per_count / 1000u) + size * (shunt->na_per_count % 1000u) / 1000u;
  *out_ua = sum < 0 ? -(int32_t)ua : (int32_t)ua;
  *out_mv = shunt->supply_mv;
  return EL_METER_VALUE;
}

int el_shunt_open(el_shunt *shunt, el_power *power, uint32_t every_us) {
  if (!shunt->adc_counts || !shunt->times || !shunt->na_per_count || !shunt->supply_mv || !every_us) return -1;
  power->ctx = shunt;
  power->read = meter_shunt;
  power->name = "ADC shunt";
  power->every_us = every_us;
  power->resolution_ua = (shunt->na_per_count + 999u) / 1000u;
  return 0;
}
