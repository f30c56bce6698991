/* A made-up sensor, so that the example runs before yours is there: each class is a pattern of its own, with noise, and of all samples
 * but every 50th somebody says the class. */
#include "sensor.h"

#ifndef SENSOR_SAMPLES
#define SENSOR_SAMPLES 0 /* after which it ends; 0: never */
#endif
#define UNTOLD 50u

static uint32_t samples; /* read so far */

/* The i-th random number. */
static uint32_t draw(uint32_t i) {
  i ^= i >> 16;
  i *= (uint32_t)0x7FEB352D;
  i ^= i >> 15;
  i *= (uint32_t)0x846CA68B;
  return i ^ i >> 16;
}

static int class_of(uint32_t sample) { return (int)(draw(sample) % EL_APP_CLASSES); }

/* 0 to 127. */
static uint8_t reading(uint32_t pattern, uint32_t noise) { return (uint8_t)((pattern & 1u ? 96u : 0u) + (noise & 31u)); }

#ifdef EL_APP_IS_FLOAT
static el_app_value stored(uint8_t reading) { return (float)reading / 128.0f; }
#else
static el_app_value stored(uint8_t reading) { return (int8_t)reading; }
#endif

int sensor_read(el_app_value *sample) {
  uint32_t pattern = (uint32_t)class_of(samples) * EL_APP_INPUTS, noise = ~(samples * EL_APP_INPUTS);
  if (SENSOR_SAMPLES && samples == SENSOR_SAMPLES) return SENSOR_ENDED;
  for (uint32_t i = 0; i < EL_APP_INPUTS; i++) sample[i] = stored(reading(draw(pattern + i), draw(noise - i)));
  samples++;
  return 1;
}

int sensor_label(void) { return samples % UNTOLD ? class_of(samples - 1) : -1; }
