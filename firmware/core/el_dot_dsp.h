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

static inline int16x2_t el_even(uint32_t v) { return __sxtb16(v); }

static inline int16x2_t el_odd(uint32_t v) {
  int16x2_t pair;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(v));
  return pair;
}

static inline int32_t el_dot1(const int8_t *w, const int8_t *x, uint16_t n) {
  int32_t z = 0;
  for (; n >= 4; n -= 4, w += 4, x += 4) {
    uint32_t a = el_word(w), b = el_word(x);
    z = __smlad(el_odd(a), el_odd(b), __smlad(el_even(a), el_even(b), z));
  }
  while (n--) z += (int32_t)*w++ * *x++;
  return z;
}

#define EL_MAC4(z, w)                                                \
  do {                                                               \
    uint32_t word_ = el_word(w);                                     \
    z = __smlad(el_even(word_), even, z);                            \
    z = __smlad(el_odd(word_), odd, z);                              \
  } while (0)

static inline void el_dot4(const int8_t *w, const int8_t *x, uint16_t n, int32_t out[4]) {
  const int8_t *w1 = w + n, *w2 = w1 + n, *w3 = w2 + n;
  int32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0;
  uint16_t i = 0;
  for (; i + 4 <= n; i = (uint16_t)(i + 4)) {
    uint32_t v = el_word(x + i);
    int16x2_t even = el_even(v), odd = el_odd(v);
    EL_MAC4(z0, w + i);
    EL_MAC4(z1, w1 + i);
    EL_MAC4(z2, w2 + i);
    EL_MAC4(z3, w3 + i);
  }
  for (; i < n; i++) {
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

#endif
