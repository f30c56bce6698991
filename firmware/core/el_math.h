/* Functions of floats without a math library. Relative errors are below 1e-6. */
#ifndef EL_MATH_H
#define EL_MATH_H

#include "el_float.h"

static inline float el_float_of(uint32_t bits) {
  float v;
  memcpy(&v, &bits, 4);
  return v;
}

static inline uint32_t el_bits_of(float v) {
  uint32_t bits;
  memcpy(&bits, &v, 4);
  return bits;
}

/* e^x, of EL_EXP_MAX for what is greater: 2^n times a polynomial for the rest, which is within +-ln(2)/2. */
static inline float el_exp(float x) {
  if (!(x >= -87.0f)) return 0.0f; /* NaN too: it must not reach a cast */
  if (x > (float)EL_EXP_MAX) x = (float)EL_EXP_MAX;
  int16_t n = (int16_t)(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
  float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f; /* n ln 2 in two parts, the first one exact */
  float p = 1.0f + r * (1.0f + r * (0.5f + r * (0.16666667f + r * (0.041666668f + r * (0.0083333333f + r * 0.0013888889f)))));
  return p * el_float_of((uint32_t)(n + 127) << 23);
}

/* The natural logarithm of x > 0: of the mantissa, brought to between sqrt(1/2) and sqrt(2), by a series. */
static inline float el_log(float x) {
  uint32_t bits = el_bits_of(x);
  int16_t e = (int16_t)((int16_t)(bits >> 23 & 255) - 127);
  float m = el_float_of((bits & 0x7FFFFF) | (uint32_t)127 << 23);
  if (m > 1.41421356f) {
    m *= 0.5f;
    e++;
  }
  float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  return 2.0f * s * (1.0f + z * (0.33333333f + z * (0.2f + z * (0.14285714f + z * 0.11111111f)))) + (float)e * 0.69314718f;
}

/* The root; 0 of what is not positive. A guess from the exponent, then Newton. */
static inline float el_root(float x) {
  if (!(x > 0.0f)) return 0.0f;
  float y = el_float_of(0x5F3759DFu - (el_bits_of(x) >> 1)); /* near 1 / sqrt(x) */
  for (uint8_t i = 0; i < 3; i++) y *= 1.5f - 0.5f * x * y * y;
  float r = x * y;
  return 0.5f * (r + x / r);
}

static inline float el_tanh(float x) {
  float z = x * x;
  if (z < 0.09f) return x * (1.0f - z * (0.33333333f - z * (0.13333333f - z * (0.053968254f - z * 0.021869489f))));
  float size = x < 0.0f ? -x : x, y = 1.0f - 2.0f / (el_exp(2.0f * size) + 1.0f);
  return x < 0.0f ? -y : y;
}

#endif
