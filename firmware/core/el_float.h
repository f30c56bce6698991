/* What float kernels share. */
#ifndef EL_FLOAT_H
#define EL_FLOAT_H

#include <string.h>

#include "el_kernel.h"

static inline float el_imm(const el_run *run) {
  uint32_t bits = el_plan32(run->op + EL_OP_IMM);
  float v;
  memcpy(&v, &bits, 4);
  return v;
}

/* The rate of an update: its immediate, halved once per drop. */
static inline float el_rate_f32(const el_run *run) {
  float v = el_imm(run);
  for (uint8_t i = 0; i < run->drops; i++) v *= 0.5f;
  return v;
}

/* Are all errors zero, as they are for a gated sample? */
static inline uint8_t el_all_zero_f32(const float *v, uint32_t n) {
  while (n--)
    if (*v++ != 0.0f) return 0;
  return 1;
}

#endif
