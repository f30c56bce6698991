/* The inner loops that all time goes into, in one place so that a port can have its own. All skip inputs that are zero: after
 * relu, and in most images, that is half of them or more. */
#ifndef EL_DOT_H
#define EL_DOT_H

#include "el_window.h"

/* Not inlined: a loop with a function to itself keeps all it needs in registers. Not every file that includes this uses all of them. */
#if defined(__GNUC__)
#define EL_ALONE __attribute__((noinline, unused))
#else
#define EL_ALONE
#endif

/* GCC would load all four weights of a step first, and then spill sums to the stack. */
#if defined(__GNUC__) && !defined(__clang__)
#define EL_UNSCHEDULED __attribute__((optimize("no-schedule-insns")))
#else
#define EL_UNSCHEDULED
#endif

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP && !defined(EL_PORTABLE)
#define EL_DSP
#include "el_dot_dsp.h"
#else

/* out[j] = sum_i w[j * n + i] x[i] for four rows. */
EL_ALONE static void el_dot4(const int8_t *w, const int8_t *x, uint32_t n, int32_t out[4]) {
  const int8_t *w2 = w + 2 * n;
  int32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0;
  for (const int8_t *end = x + n; x < end; x++, w++, w2++) {
    int32_t v = *x;
    if (!v) continue;
    z0 += w[0] * v;
    z1 += w[n] * v;
    z2 += w2[0] * v;
    z3 += w2[n] * v;
  }
  out[0] = z0;
  out[1] = z1;
  out[2] = z2;
  out[3] = z3;
}

static inline int32_t el_dot1(const int8_t *w, const int8_t *x, uint32_t n) {
  int32_t z = 0;
  while (n--) z += (int32_t)*w++ * *x++;
  return z;
}

/* Are the four bytes at p zero? */
static inline int el_zero4(const int8_t *p) { return !(p[0] | p[1] | p[2] | p[3]); }
#endif

/* One weight: w - floor((k x + r) / 2^16), saturated, if x is not zero; r are the top 16 bits of `weyl`. */
static inline void el_update(int8_t *w, int32_t x, int32_t k, uint32_t weyl) {
  if (!x) return;
  int32_t change = (k * x + (int32_t)(weyl >> 16)) >> 16;
  if (!change) return; /* most often: an update is a fraction of a unit, and rounds to one now and then */
  int32_t q = *w - change;
  if ((uint32_t)(q + 127) <= 254) *w = (int8_t)q;
  else *w = q < 0 ? -127 : 127;
}

/* A row of weights, by the inputs x[0..n), with `weyl` starting at r and going on by EL_RNG_COLUMN. */
EL_ALONE static void el_update_row(int8_t *w, const int8_t *x, uint32_t n, int32_t k, uint32_t r) {
  const uint32_t c = EL_RNG_COLUMN;
  const int8_t *end = x + n;
  for (; end - x >= 4; x += 4, w += 4, r += 4 * c) {
    if (el_zero4(x)) continue;
    el_update(w, x[0], k, r);
    el_update(w + 1, x[1], k, r + c);
    el_update(w + 2, x[2], k, r + 2 * c);
    el_update(w + 3, x[3], k, r + 3 * c);
  }
  for (; x < end; x++, w++, r += c) el_update(w, *x, k, r);
}

/* --- weights of 16 bits, and kernels over windows of a map --- */

static inline int32_t el_clamp(int32_t q, int32_t limit) { return q > limit ? limit : q < -limit ? -limit : q; }

/* As el_dot1. Sums wrap where 32 bits do not hold them; the compiler refuses nets that could come so far. */
EL_ALONE static int32_t el_dot1_wide(const int16_t *w, const int8_t *x, uint32_t n) {
  uint32_t z = 0;
  for (; n--; w++, x++) z += (uint32_t)((int32_t)*w * *x);
  return (int32_t)z;
}

/* As el_update_row. */
EL_ALONE static void el_update_row_wide(int16_t *w, const int8_t *x, uint32_t n, int32_t k, uint32_t r, int32_t limit) {
  for (const int8_t *end = x + n; x < end; x++, w++, r += EL_RNG_COLUMN)
    if (*x) *w = (int16_t)el_clamp(*w - ((k * *x + (int32_t)(r >> 16)) >> 16), limit);
}

#define EL_WEIGHT int8_t
#define EL_SUFFIX i8
#define EL_ROW el_dot1
#define EL_FIRST el_even
#define EL_SECOND el_odd
#define EL_MAC4 el_mac4
#include "el_loops.h"
#undef EL_WEIGHT
#undef EL_SUFFIX
#undef EL_ROW
#undef EL_FIRST
#undef EL_SECOND
#undef EL_MAC4

#define EL_WEIGHT int16_t
#define EL_SUFFIX i16
#define EL_ROW el_dot1_wide
#define EL_FIRST el_low
#define EL_SECOND el_high
#define EL_MAC4 el_mac4_wide
#include "el_loops.h"
#undef EL_WEIGHT
#undef EL_SUFFIX
#undef EL_ROW
#undef EL_FIRST
#undef EL_SECOND
#undef EL_MAC4
#endif
