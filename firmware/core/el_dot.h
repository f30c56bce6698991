/* The three inner loops that all time goes into, in one place so that a port can have its own. */
#ifndef EL_DOT_H
#define EL_DOT_H

#include <stdint.h>

#include "../gen/el_plan.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP && !defined(EL_PORTABLE)
#include "el_dot_dsp.h"
#else

/* out[j] = sum_i w[j * n + i] x[i] for four rows. */
static inline void el_dot4(const int8_t *w, const int8_t *x, uint16_t n, int32_t out[4]) {
  const int8_t *w1 = w + n, *w2 = w1 + n, *w3 = w2 + n;
  int32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0;
  for (uint16_t i = 0; i < n; i++) {
    int32_t v = x[i];
    z0 += w[i] * v;
    z1 += w1[i] * v;
    z2 += w2[i] * v;
    z3 += w3[i] * v;
  }
  out[0] = z0;
  out[1] = z1;
  out[2] = z2;
  out[3] = z3;
}

static inline int32_t el_dot1(const int8_t *w, const int8_t *x, uint16_t n) {
  int32_t z = 0;
  while (n--) z += (int32_t)*w++ * *x++;
  return z;
}
#endif

/* w[i] = sat(w[i] - floor((k x[i] + r_i) / 2^16)) where x[i] != 0; r_i are the top 16 bits of a Weyl sequence. */
static inline void el_update_row(int8_t *w, const int8_t *x, uint16_t n, int32_t k, uint32_t r) {
  for (uint16_t i = 0; i < n; i++, r += EL_RNG_COLUMN) {
    if (!x[i]) continue;
    int32_t q = w[i] - ((k * x[i] + (int32_t)(r >> 16)) >> 16);
    w[i] = (int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
  }
}

#endif
