/* The dot products with the Arm DSP extension (Cortex-M4, M7, M33): two products an instruction, equal to the portable ones. */
#ifndef EL_DOT_DSP_H
#define EL_DOT_DSP_H

#include <arm_acle.h>
#include <string.h>

static inline uint32_t el_word(const int8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4); /* one load: these cores read unaligned words */
  return v;
}

static inline int el_zero4(const int8_t *p) { return el_word(p) == 0; }

static inline int16x2_t el_even(uint32_t v) { return __sxtb16(v); }

static inline int16x2_t el_odd(uint32_t v) {
  int16x2_t pair;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(v));
  return pair;
}

static inline int32_t el_dot1(const int8_t *w, const int8_t *x, uint32_t n) {
  int32_t z = 0;
  for (; n >= 4; n -= 4, w += 4, x += 4) {
    uint32_t a = el_word(w), b = el_word(x);
    z = __smlad(el_odd(a), el_odd(b), __smlad(el_even(a), el_even(b), z));
  }
  while (n--) z += (int32_t)*w++ * *x++;
  return z;
}

static inline int32_t el_mac4(int32_t z, const int8_t *w, int16x2_t even, int16x2_t odd) {
  uint32_t word = el_word(w);
  return __smlad(el_odd(word), odd, __smlad(el_even(word), even, z));
}

/* Inputs 0 and 1, and 2 and 3, of a word, as 16-bit weights lie. */
static inline int16x2_t el_low(uint32_t v) {
  int16x2_t pair;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(el_even(v)), "r"(el_odd(v)));
  return pair;
}

static inline int16x2_t el_high(uint32_t v) {
  int16x2_t pair;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(el_odd(v)), "r"(el_even(v)));
  return pair;
}

static inline uint32_t el_pair(const int16_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}

static inline int32_t el_mac4_wide(int32_t z, const int16_t *w, int16x2_t low, int16x2_t high) {
  return __smlad((int16x2_t)el_pair(w + 2), high, __smlad((int16x2_t)el_pair(w), low, z));
}

/* out[j] = sum_i w[j * n + i] x[i] for four rows. The end is found before the loop and the odd bytes are left to el_dot1, so that
 * pointers, stride and sums all stay in registers. */
EL_UNSCHEDULED EL_ALONE static void el_words4(const int8_t *w, const int8_t *x, const int8_t *end, uint32_t n, int32_t z[4]) {
  const int8_t *w2 = w + 2 * n;
  int32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0;
  for (; x < end; x += 4, w += 4, w2 += 4) {
    uint32_t v = el_word(x);
    if (!v) continue;
    int16x2_t even = el_even(v), odd = el_odd(v);
    z0 = el_mac4(z0, w, even, odd);
    z1 = el_mac4(z1, w + n, even, odd);
    z2 = el_mac4(z2, w2, even, odd);
    z3 = el_mac4(z3, w2 + n, even, odd);
  }
  z[0] = z0;
  z[1] = z1;
  z[2] = z2;
  z[3] = z3;
}

static inline void el_dot4(const int8_t *w, const int8_t *x, uint32_t n, int32_t out[4]) {
  uint32_t whole = n & ~(uint32_t)3;
  el_words4(w, x, x + whole, n, out);
  for (uint32_t j = 0; whole < n && j < 4; j++) out[j] += el_dot1(w + j * n + whole, x + whole, n - whole);
}

#endif
