/* AVR: a multiplier of 8 by 8 bits and few registers. One row at a time, with pointers and products of 16 bits. */
#ifndef EL_DOT_AVR_H
#define EL_DOT_AVR_H

#define EL_HAS_DOT1
EL_ALONE static int32_t el_dot1(const int8_t *w, const int8_t *x, uint32_t n) {
  int32_t z = 0;
  for (const int8_t *end = x + n; x < end; w++, x++)
    if (*x) z += *w * *x; /* 16 bits hold it */
  return z;
}

#define EL_HAS_DOT4
static inline void el_dot4(const int8_t *w, const int8_t *x, uint32_t n, int32_t out[4]) {
  for (uint8_t j = 0; j < 4; j++, w += n) out[j] = el_dot1(w, x, n);
}

#endif
