/* What integer kernels share. */
#ifndef EL_INT_H
#define EL_INT_H

#include <string.h>

#include "el_kernel.h"

static inline uint8_t el_is_wide(const el_arg *w) { return w->dtype == EL_DTYPE_I16; }

/* Adds bias b to exact sums z whose exponent exceeds b's by `shift`. */
static inline void el_add_bias(int32_t *z, const int16_t *b, uint32_t n, int16_t shift) {
  const int32_t bound = (int32_t)1 << 30;
  if (shift <= 0 && shift >= -14) { /* the common case: nothing rounds and nothing overflows */
    for (int32_t unit = (int32_t)1 << -shift; n--; z++, b++) *z = (int32_t)((uint32_t)*z + (uint32_t)(*b * unit));
    return;
  }
  for (; n--; z++, b++) {
    int32_t q = el_shift(*b, shift);
    *z = (int32_t)((uint32_t)*z + (uint32_t)(q > bound ? bound : q < -bound ? -bound : q));
  }
}

static inline void el_narrow_rows(el_narrow *out, const int32_t *z, uint32_t row, uint32_t n, uint8_t relu) {
  for (uint32_t j = 0; j < n; j++) el_narrow_put(out, row + j, relu && z[j] < 0 ? 0 : z[j]);
}

/* int8 results that are shifted to the right: the inner layers of every net. */
static inline uint8_t el_is_inner(const el_narrow *out) { return out->dtype == EL_DTYPE_I8 && out->shift > 0 && out->shift < 31; }

/* What el_narrow_rows does for those after relu. */
static inline void el_narrow_relu(el_narrow *out, const int32_t *z, uint32_t row, uint32_t n) {
  int8_t *y = (int8_t *)out->p + row;
  uint32_t half = (uint32_t)1 << (out->shift - 1);
  int32_t maximum = out->maximum;
  for (; n--; z++, y++) {
    int32_t q = *z <= 0 ? 0 : (int32_t)(((uint32_t)*z + half) >> out->shift);
    if (q > maximum) {
      if (q > 127) {
        out->saturated++;
        q = 127;
      }
      maximum = q;
    }
    *y = (int8_t)q;
  }
  out->maximum = maximum;
}

static inline uint8_t el_all_zero(const int16_t *v, uint32_t n) {
  while (n--)
    if (*v++) return 0;
  return 1;
}

static inline void el_clear(const el_arg *y) {
  memset(y->p, 0, (size_t)el_elements(y) << (y->dtype == EL_DTYPE_I8 ? 0 : y->dtype == EL_DTYPE_I16 ? 1 : 2));
}

/* --- updates: k = round(d * rate * 2^16) in units of w per unit of x; w -= floor((k x + r) / 2^16) --- */

static inline int16_t el_update_shift(const el_run *run, const el_arg *w, int16_t e_d, int16_t e_x) {
  return (int16_t)(w->e - e_d - e_x - (int8_t)run->op[EL_OP_K] - 16 + run->drops);
}

static inline uint8_t el_is_negative(const el_run *run) { return run->op[EL_OP_FLAGS] & EL_OP_NEGATIVE; }

static inline uint32_t el_update_dither(const el_run *run) { return run->dither + run->op[EL_OP_ID] * EL_RNG_OP; }

/* What makes k of an error. */
typedef struct el_rate {
  int32_t bound; /* on |k| */
  int16_t shift;
  uint8_t negative;
} el_rate;

/* For an update that sums k x over so many positions before it rounds: |k| stays so small that 32 bits hold the sum. */
static inline el_rate el_summed_rate(const el_run *run, const el_arg *w, const el_arg *d, int16_t e_x, uint32_t positions) {
  el_rate rate = {(int32_t)1 << 23, el_update_shift(run, w, d->e, e_x), el_is_negative(run)};
  for (uint32_t sum = 1; sum < positions; sum <<= 1) rate.bound >>= 1;
  if (rate.bound > (int32_t)1 << 22) rate.bound = (int32_t)1 << 22;
  return rate;
}

static inline int32_t el_k_of(const el_rate *rate, int32_t d) {
  int32_t k = el_shift(d, rate->shift);
  k = k > rate->bound ? rate->bound : k < -rate->bound ? -rate->bound : k;
  return rate->negative ? -k : k;
}

#endif
