/* A meter that measures nothing: it says what EDGELEARN_SIM_POWER says, in watts, for tests of what reads meters. */
#include <stdio.h>
#include <stdlib.h>

#include "el_power.h"
#include "sim.h"

#define SUPPLY_MV 5000
#define MOST_W 1000.0

static int32_t current_ua;

static int meter_synthetic(void *ctx, int32_t *out_ua, uint32_t *out_mv) {
  (void)ctx;
  *out_ua = current_ua;
  *out_mv = SUPPLY_MV;
  return EL_METER_VALUE;
}

/* As quick as the chips on I2C: ina.c. */
static el_power power = {EL_POWER_BY_CORE, .read = meter_synthetic, .name = "EDGELEARN_SIM_POWER", .every_us = 20000, .synthetic = 1};

void sim_meter_open(el_hal *hal) {
  const char *text = getenv("EDGELEARN_SIM_POWER");
  char *end;
  if (text == NULL) return;
  double watts = strtod(text, &end);
  if (end == text || *end || !(watts > -MOST_W && watts < MOST_W)) {
    fprintf(stderr, "el-sim: EDGELEARN_SIM_POWER '%s' is no power in watts, such as 1.5\n", text);
    exit(2);
  }
  current_ua = (int32_t)(watts * 1e9 / SUPPLY_MV);
  hal->power = &power;
}
