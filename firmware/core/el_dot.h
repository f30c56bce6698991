/* The inner loops that all time goes into, in one place so that a port can have its own. All skip inputs that are zero: after
 * relu, and in most images, that is half of them or more. */
#ifndef EL_DOT_H
#define EL_DOT_H

#include "el_window.h"

/* What a core does better than portable C is in a header of its own, which says so by EL_HAS_ and the primitive's name; the rest is
 * filled in below. Every variant equals the portable code bit by bit. EL_PORTABLE: no variant. */
#if defined(EL_PORTABLE)
#elif defined(__ARM_FEATURE_MVE)
#include "el_dot_mve.h"
#elif defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP && defined(__thumb2__)
#include "el_dot_dsp.h"
#elif defined(__ARM_ARCH_6M__) && defined(__OPTIMIZE__) /* else registers are short */
#include "el_dot_thumb.h"
#elif defined(__riscv)
#include "el_dot_rv.h"
#elif defined(__AVR__)
#include "el_dot_avr.h"
#endif

#ifndef EL_TILE
#define EL_TILE 4 /* rows of a product whose sums wait on the stack to be narrowed */
#endif

#ifndef EL_HAS_DOT1
static inline int32_t el_dot1(const int8_t *w, const int8_t *x, uint32_t n) {
  int32_t z = 0;
  while (n--) z += (int32_t)*w++ * *x++;
  return z;
}
#endif

#if !defined(EL_HAS_DOT_ROWS) && !defined(EL_HAS_INPUTS)
/* Does skipping zeros of x not pay? Asked once for all rows; no result depends on the answer. */
static inline uint8_t el_is_dense(const int8_t *x, uint32_t n) {
  (void)x, (void)n;
  return 0;
}

#ifndef EL_HAS_DOT4
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
#endif

/* out[j] = sum_i w[j * n + i] x[i] for any number of rows; `dense` is what el_is_dense said of x. */
static inline void el_dot_rows(const int8_t *w, const int8_t *x, uint32_t n, uint32_t rows, uint8_t dense, int32_t *out) {
  (void)dense;
  for (; rows >= 4; rows -= 4, w += 4 * n, out += 4) el_dot4(w, x, n, out);
  for (; rows; rows--, w += n) *out++ = el_dot1(w, x, n);
}
#endif

#ifndef EL_HAS_ZERO4
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
EL_ALONE static void el_update_row_any(int8_t *w, const int8_t *x, uint32_t n, int32_t k, uint32_t r) {
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

#ifdef EL_HAS_UPDATE_WORDS
/* A variant's loop takes whole words; the last inputs, and a k that it cannot take, are left to the one above. */
static inline void el_update_row(int8_t *w, const int8_t *x, uint32_t n, int32_t k, uint32_t r) {
  uint32_t whole = n & ~(uint32_t)3;
  if (!el_can_update_words(x, k)) whole = 0;
  if (whole) el_update_words(w, x, whole, k, r);
  if (whole < n) el_update_row_any(w + whole, x + whole, n - whole, k, r + whole * EL_RNG_COLUMN);
}
#elif !defined(EL_HAS_UPDATE_ROW) && !defined(EL_HAS_INPUTS)
#define el_update_row el_update_row_any
#endif

#ifndef EL_HAS_INPUTS
/* The inputs of a dense layer, as its rows need them: made once for all. A variant that makes more of them than this may hold them part by
 * part: `el_more` makes the next part, for updates; 0: there is none. */
typedef struct el_inputs {
  const int8_t *x;
  uint32_t n;
  uint8_t dense;
} el_inputs;

static inline void el_begin(el_inputs *in, const int8_t *x, uint32_t n) { *in = (el_inputs){x, n, el_is_dense(x, n)}; }

/* The same, for products with so many rows only. */
static inline void el_begin_rows(el_inputs *in, const int8_t *x, uint32_t n, uint32_t rows) {
  (void)rows;
  el_begin(in, x, n);
}

static inline uint8_t el_more(el_inputs *in) {
  (void)in;
  return 0;
}

/* z[j] = sum_i w[j * n + i] x[i] for any number of rows, by all inputs. */
static inline void el_dot_inputs(const int8_t *w, el_inputs *in, uint32_t rows, int32_t *z) {
  el_dot_rows(w, in->x, in->n, rows, in->dense, z);
}

/* A row of weights, by this part of the inputs. */
static inline void el_update_part(int8_t *w, const el_inputs *in, int32_t k, uint32_t r) { el_update_row(w, in->x, in->n, k, r); }
#endif

/* --- weights of 16 bits, and kernels over windows of a map --- */

static inline int32_t el_clamp(int32_t q, int32_t limit) { return q > limit ? limit : q < -limit ? -limit : q; }

#ifndef EL_HAS_DOT1_WIDE
/* As el_dot1. Sums wrap where 32 bits do not hold them; the compiler refuses nets that could come so far. */
EL_ALONE static int32_t el_dot1_wide(const int16_t *w, const int8_t *x, uint32_t n) {
  uint32_t z = 0;
  for (; n--; w++, x++) z += (uint32_t)((int32_t)*w * *x);
  return (int32_t)z;
}
#endif

#ifndef EL_HAS_UPDATE_ROW_WIDE
/* As el_update_row. */
EL_ALONE static void el_update_row_wide(int16_t *w, const int8_t *x, uint32_t n, int32_t k, uint32_t r, int32_t limit) {
  for (const int8_t *end = x + n; x < end; x++, w++, r += EL_RNG_COLUMN)
    if (*x) *w = (int16_t)el_clamp(*w - ((k * *x + (int32_t)(r >> 16)) >> 16), limit);
}
#endif

#ifndef EL_HAS_ADD_RUN
/* sum[i] += k x[i]; sums wrap as above. */
static inline void el_add(int32_t *sum, int32_t v) { *sum = (int32_t)((uint32_t)*sum + (uint32_t)v); }

static inline void el_add_run(int32_t *sum, const int8_t *x, uint32_t n, int32_t k) {
  const int8_t *end = x + n;
  for (; end - x >= 4; x += 4, sum += 4) {
    if (el_zero4(x)) continue;
    el_add(sum, k * x[0]);
    el_add(sum + 1, k * x[1]);
    el_add(sum + 2, k * x[2]);
    el_add(sum + 3, k * x[3]);
  }
  for (; x < end; x++, sum++) el_add(sum, k * *x);
}
#endif

#ifdef EL_HAS_COLUMNS4_I8
#define EL_THIS_COLUMNS4
#endif
#define EL_WEIGHT int8_t
#define EL_SUFFIX i8
#define EL_ROW el_dot1
#include "el_loops.h"
#undef EL_WEIGHT
#undef EL_SUFFIX
#undef EL_ROW

#undef EL_THIS_COLUMNS4
#define EL_WEIGHT int16_t
#define EL_SUFFIX i16
#define EL_ROW el_dot1_wide
#include "el_loops.h"
#undef EL_WEIGHT
#undef EL_SUFFIX
#undef EL_ROW
#endif
