/* Primitives of el_dot.h for RISC-V: a load, a product and a sum a weight, four inputs a turn. Registers are plenty, but a load takes no
 * index: every row has a pointer. */
#ifndef EL_DOT_RV_H
#define EL_DOT_RV_H

/* Loops that are worth their size, in images that are small otherwise. */
#if defined(__GNUC__) && !defined(__clang__)
#define EL_UNROLLS __attribute__((optimize("O2"))) EL_ALONE
#else
#define EL_UNROLLS EL_ALONE
#endif

/* z[j] += sum_i w_j[i] x[i] for n weights of four rows that are `next` apart. */
#define EL_RV_SUMS(name, weight)                                                                                      \
  __attribute__((always_inline)) static inline void name(const weight *w0, uint32_t next, const int8_t *x, uint32_t n, uint32_t z[4]) {             \
    const weight *w1 = w0 + next, *w2 = w1 + next, *w3 = w2 + next;                                                   \
    uint32_t z0 = z[0], z1 = z[1], z2 = z[2], z3 = z[3];                                                              \
    const int8_t *end = x + n, *whole = x + (n & ~(uint32_t)3);                                                       \
    for (; x < whole; x += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4)                                                     \
      EL_UNROLLED(4) for (int i = 0; i < 4; i++) EL_RV_COLUMN(i)                                                      \
    for (; x < end; x++, w0++, w1++, w2++, w3++) EL_RV_COLUMN(0)                                                      \
    z[0] = z0;                                                                                                        \
    z[1] = z1;                                                                                                        \
    z[2] = z2;                                                                                                        \
    z[3] = z3;                                                                                                        \
  }
#define EL_RV_COLUMN(i)                                                                                               \
  {                                                                                                                   \
    int32_t v = x[i];                                                                                                 \
    if (v) {                                                                                                          \
      z0 += (uint32_t)(w0[i] * v);                                                                                    \
      z1 += (uint32_t)(w1[i] * v);                                                                                    \
      z2 += (uint32_t)(w2[i] * v);                                                                                    \
      z3 += (uint32_t)(w3[i] * v);                                                                                    \
    }                                                                                                                 \
  }
EL_RV_SUMS(el_sums_i8, int8_t)
EL_RV_SUMS(el_sums_i16, int16_t)

#define EL_HAS_DOT4
EL_UNROLLS static void el_dot4(const int8_t *w, const int8_t *x, uint32_t n, int32_t out[4]) {
  uint32_t z[4] = {0, 0, 0, 0};
  el_sums_i8(w, n, x, n, z);
  for (int j = 0; j < 4; j++) out[j] = (int32_t)z[j];
}

#define EL_HAS_VIEW4
EL_UNROLLS static void el_view4_i8(const int8_t *w, const int8_t *x, const el_view *v, int32_t out[4]) {
  uint32_t z[4] = {0, 0, 0, 0};
  for (uint32_t rows = v->rows; rows--; w += v->w_row, x += v->x_row) el_sums_i8(w, v->w_next, x, v->run, z);
  for (int j = 0; j < 4; j++) out[j] = (int32_t)z[j];
}

EL_UNROLLS static void el_view4_i16(const int16_t *w, const int8_t *x, const el_view *v, int32_t out[4]) {
  uint32_t z[4] = {0, 0, 0, 0};
  for (uint32_t rows = v->rows; rows--; w += v->w_row, x += v->x_row) el_sums_i16(w, v->w_next, x, v->run, z);
  for (int j = 0; j < 4; j++) out[j] = (int32_t)z[j];
}

/* --- updates --- */

#define EL_HAS_UPDATE_WORDS
static inline uint8_t el_can_update_words(const int8_t *x, int32_t k) {
  (void)x, (void)k;
  return 1;
}

__attribute__((always_inline)) static inline void el_update(int8_t *w, int32_t x, int32_t k, uint32_t weyl);

/* Input by input: without unaligned loads, four cannot be asked at once whether they are zero. */
EL_UNROLLS static void el_update_words(int8_t *w, const int8_t *x, uint32_t n, int32_t k, uint32_t r) {
  for (const int8_t *end = x + n; x < end; x += 4, w += 4, r += 4 * EL_RNG_COLUMN)
    EL_UNROLLED(4) for (uint32_t i = 0; i < 4; i++) el_update(w + i, x[i], k, r + i * EL_RNG_COLUMN);
}

#endif
