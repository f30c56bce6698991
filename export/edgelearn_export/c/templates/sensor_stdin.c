/* Samples from standard input, one a line: its class, or -1 where nobody says it, then EL_APP_INPUTS real values. */
#include <math.h>
#include <stdio.h>

#include "sensor.h"

static long line;
static int label;

static int broken(void) {
  fprintf(stderr, "Line %ld is no sample: a class and %d numbers are wanted.\n", line, (int)EL_APP_INPUTS);
  return SENSOR_BROKEN;
}

#ifdef EL_APP_IS_FLOAT
static el_app_value stored(double real) { return (el_app_value)real; }
#else
/* In units of 2^EL_APP_INPUT_EXP: to nearest, half away from zero, within +-127. */
static el_app_value stored(double real) {
  double q = round(ldexp(real, -(EL_APP_INPUT_EXP)));
  return (el_app_value)(q > 127 ? 127 : q < -127 ? -127 : q);
}
#endif

int sensor_read(el_app_value *sample) {
  int got = scanf("%d", &label);
  if (got == EOF) return SENSOR_ENDED;
  line++;
  if (got != 1 || label < -1 || label >= EL_APP_CLASSES) return broken();
  for (int i = 0; i < EL_APP_INPUTS; i++) {
    double real;
    if (scanf("%lf", &real) != 1 || !isfinite(real)) return broken();
    sample[i] = stored(real);
  }
  return 1;
}

int sensor_label(void) { return label; }
