/* What integer kernels share. */
#ifndef EL_INT_H
#define EL_INT_H

#include <string.h>

#include "el_kernel.h"

static inline uint8_t el_is_wide(const el_arg *w) { return w->dtype == EL_DTYPE_I16; }

/* Adds bias b to exact sums z whose exponent exceeds b's by `shift`. */
void el_add_bias(int32_t *z, const int16_t *b, uint32_t n, int16_t shift);

/* Narrows n exact sums to the elements of `out` from `at` on. Here and in conv's, for all that no faster way is written for. */
void el_narrow_rows(el_narrow *out, const int32_t *z, uint32_t at, uint32_t n, uint8_t relu);

/* --- int8 results after bias and relu that are shifted to the right: the inner layers of every net --- */

/* For sums of exponent `e`: the unit of the bias in units of the sum; 0: these results are not like that, take el_narrow_rows. A shift
 * that leaves fewer than 8 bits is not worth a fast path, and el_relu_shift saturates at 31. */
static inline int32_t el_inner_unit(const el_narrow *out, const el_arg *b, int16_t e, uint8_t relu) {
  int16_t up = b ? (int16_t)(b->e - e) : -1;
  if (!relu || out->dtype != EL_DTYPE_I8 || out->shift <= 0 || out->shift > 23 || up < 0 || up > 14) return 0;
  return (int32_t)1 << up;
}

/* What is below zero becomes zero, the rest is rounded. */
static inline int32_t el_relu_shift(int32_t z, int32_t half, uint8_t shift) {
#ifdef EL_HAS_SATURATION
  return __usat(__qadd(z, half) >> shift, 31);
#else
  return z <= 0 ? 0 : (int32_t)(((uint32_t)z + (uint32_t)half) >> shift);
#endif
}

/* What exceeds the maximum so far, which happens rarely: the new maximum. */
EL_RARE static int32_t el_inner_top(el_narrow *s, int32_t q) {
  if (q > 127) s->saturated++;
  return s->maximum = q > 127 ? 127 : q;
}

static inline uint8_t el_inner_one(el_narrow *s, int32_t z, int32_t b, int32_t unit, int32_t half, uint8_t shift, int32_t *maximum) {
  int32_t q = el_relu_shift((int32_t)((uint32_t)z + (uint32_t)(b * unit)), half, shift);
  if (q > *maximum) *maximum = q = el_inner_top(s, q);
  return (uint8_t)q;
}

/* n sums, with their biases, to y. */
EL_ALONE static void el_inner_rows(el_narrow *s, int32_t unit, const int32_t *z, const int16_t *b, uint32_t n, uint8_t *y) {
  const int32_t half = (int32_t)1 << (s->shift - 1);
  const uint8_t shift = (uint8_t)s->shift;
  int32_t maximum = s->maximum;
  for (; n & 3; n--) *y++ = el_inner_one(s, *z++, *b++, unit, half, shift, &maximum);
  for (const int32_t *end = z + n; z < end; z += 4, b += 4, y += 4) {
    y[0] = el_inner_one(s, z[0], b[0], unit, half, shift, &maximum);
    y[1] = el_inner_one(s, z[1], b[1], unit, half, shift, &maximum);
    y[2] = el_inner_one(s, z[2], b[2], unit, half, shift, &maximum);
    y[3] = el_inner_one(s, z[3], b[3], unit, half, shift, &maximum);
  }
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

static inline uint8_t el_is_negative(const el_run *run) { return (run->op[EL_OP_FLAGS] & EL_OP_NEGATIVE) != 0; }

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
