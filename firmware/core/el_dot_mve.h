/* The inner loops with Helium (Cortex-M55), equal to the portable ones: sixteen products an instruction. Zeros are not looked for, but
 * in updates: a product costs less than the look. */
#ifndef EL_DOT_MVE_H
#define EL_DOT_MVE_H

#include <arm_mve.h>
#include <string.h>

/* A turn of the loops below: a row's next weights times the inputs in q0. */
#define EL_MVE_ROW(load_w, add, row, z) load_w " q1, [%[" row "]], #16\n\t" add " %[" z "], q0, q1\n\t"

/* z0 to z3 += sum_i w_j[i] x[i] for n weights of four rows that are `next` weights apart. GCC 12 has no loops with a predicated tail, so
 * they are written down; a sum of products goes into an even register, and a load that widens takes its address from a low one. */
#define EL_MVE_SUMS(rows, next, inputs, n, load_x, step_x, load_w, add, loop)                                                         \
  do {                                                                                                                                 \
    const int8_t *xp = (inputs);                                                                                                       \
    const void *w0 = (rows), *w1 = (rows) + (next), *w2 = (rows) + 2 * (next), *w3 = (rows) + 3 * (next);                              \
    __asm__ volatile(loop " lr, %[count], 2f\n"                                                                                        \
                     "1:\t" load_x " q0, [%[x]], #" step_x "\n\t"                                                                      \
                     EL_MVE_ROW(load_w, add, "w0", "z0") EL_MVE_ROW(load_w, add, "w1", "z1")                                           \
                     EL_MVE_ROW(load_w, add, "w2", "z2") EL_MVE_ROW(load_w, add, "w3", "z3")                                           \
                     "letp lr, 1b\n2:"                                                                                                 \
                     : [z0] "+Te"(z0), [z1] "+Te"(z1), [z2] "+Te"(z2), [z3] "+Te"(z3), [x] "+l"(xp), [w0] "+r"(w0), [w1] "+r"(w1),      \
                       [w2] "+r"(w2), [w3] "+r"(w3)                                                                                    \
                     : [count] "r"(n)                                                                                                  \
                     : "lr", "q0", "q1", "memory");                                                                                    \
  } while (0)
#define EL_MVE_SUMS_I8(w, next, x, n) EL_MVE_SUMS(w, next, x, n, "vldrb.8", "16", "vldrb.8", "vmladava.s8", "wlstp.8")
#define EL_MVE_SUMS_I16(w, next, x, n) EL_MVE_SUMS(w, next, x, n, "vldrb.s16", "8", "vldrh.16", "vmladava.s16", "wlstp.16")

/* The same for one row. */
#define EL_MVE_SUM(name, weight, load_x, step_x, load_w, add, loop)                                                                   \
  static inline int32_t name(const weight *w, const int8_t *x, uint32_t n) {                                                          \
    int32_t z = 0;                                                                                                                     \
    __asm__ volatile(loop " lr, %[n], 2f\n"                                                                                            \
                     "1:\t" load_x " q0, [%[x]], #" step_x "\n\t" load_w " q1, [%[w]], #16\n\t" add " %[z], q0, q1\n\t"                \
                     "letp lr, 1b\n2:"                                                                                                 \
                     : [z] "+Te"(z), [x] "+l"(x), [w] "+r"(w)                                                                          \
                     : [n] "r"(n)                                                                                                      \
                     : "lr", "q0", "q1", "memory");                                                                                    \
    return z;                                                                                                                          \
  }
#define EL_HAS_DOT1
#define EL_HAS_DOT1_WIDE
EL_MVE_SUM(el_dot1, int8_t, "vldrb.8", "16", "vldrb.8", "vmladava.s8", "wlstp.8")
EL_MVE_SUM(el_dot1_wide, int16_t, "vldrb.s16", "8", "vldrh.16", "vmladava.s16", "wlstp.16")

#define EL_HAS_DOT_ROWS
static inline uint8_t el_is_dense(const int8_t *x, uint32_t n) {
  (void)x, (void)n;
  return 1;
}

EL_ALONE static void el_dot_rows(const int8_t *w, const int8_t *x, uint32_t n, uint32_t rows, uint8_t dense, int32_t *out) {
  (void)dense;
  for (; rows >= 4; rows -= 4, w += 4 * n, out += 4) {
    int32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0;
    EL_MVE_SUMS_I8(w, n, x, n);
    out[0] = z0;
    out[1] = z1;
    out[2] = z2;
    out[3] = z3;
  }
  for (; rows; rows--, w += n) *out++ = el_dot1(w, x, n);
}

#define EL_MVE_VIEW4(name, weight, sums)                                                                                              \
  EL_ALONE static void name(const weight *w, const int8_t *x, const el_view *v, int32_t out[4]) {                                     \
    uint32_t n = v->run, next = v->w_next;                                                                                             \
    int32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0;                                                                                            \
    for (uint32_t rows = v->rows; rows--; w += v->w_row, x += v->x_row) sums(w, next, x, n);                                           \
    out[0] = z0;                                                                                                                       \
    out[1] = z1;                                                                                                                       \
    out[2] = z2;                                                                                                                       \
    out[3] = z3;                                                                                                                       \
  }
#define EL_HAS_VIEW4
EL_MVE_VIEW4(el_view4_i8, int8_t, EL_MVE_SUMS_I8)
EL_MVE_VIEW4(el_view4_i16, int16_t, EL_MVE_SUMS_I16)

/* --- updates --- */

/* Four numbers of a Weyl sequence, `step` apart. */
static inline uint32x4_t el_weyl4(uint32_t r, uint32_t step) { return vmlaq_n_u32(vdupq_n_u32(r), vidupq_n_u32(0, 1), step); }

/* A turn of a loop over four weights that lose what q1, whose high halves count, says with the dither of q0. */
#define EL_MVE_LOSE4(load_w, store_w)                                                                                                 \
  "vshr.s32 q1, q1, #16\n\t" load_w " q2, [%[w]]\n\t"                                                                                  \
  "vsub.i32 q2, q2, q1\n\tvmin.s32 q2, q2, %q[high]\n\tvmax.s32 q2, q2, %q[low]\n\t" store_w "\n\t"                                    \
  "vadd.i32 %q[weyl], %q[weyl], %[next]\n\t"                                                                                           \
  "letp lr, 1b\n2:"

/* For any k, and limits other than 127. */
#define EL_MVE_UPDATE_ROW(name, weight, load_w, store_w)                                                                              \
  EL_ALONE static void name(weight *w, const int8_t *x, uint32_t n, int32_t k, uint32_t r, int32_t limit) {                           \
    const int32x4_t high = vdupq_n_s32(limit), low = vdupq_n_s32(-limit);                                                              \
    uint32x4_t weyl = el_weyl4(r, EL_RNG_COLUMN);                                                                                      \
    __asm__ volatile("wlstp.32 lr, %[n], 2f\n"                                                                                         \
                     "1:\tvldrb.s32 q2, [%[x]], #4\n\tvshr.u32 q1, %q[weyl], #16\n\tvmla.s32 q1, q2, %[k]\n\t"                          \
                     EL_MVE_LOSE4(load_w, store_w)                                                                                     \
                     : [w] "+l"(w), [x] "+l"(x), [weyl] "+w"(weyl)                                                                     \
                     : [n] "r"(n), [k] "r"(k), [next] "r"(4 * EL_RNG_COLUMN), [high] "w"(high), [low] "w"(low)                         \
                     : "lr", "q1", "q2", "memory");                                                                                    \
  }
EL_MVE_UPDATE_ROW(el_update_row_large, int8_t, "vldrb.s32", "vstrb.32 q2, [%[w]], #4")
#define EL_HAS_UPDATE_ROW_WIDE
EL_MVE_UPDATE_ROW(el_update_row_wide, int16_t, "vldrh.s32", "vstrh.32 q2, [%[w]], #8")

#define EL_MVE_SETTLE(name, weight, load_w, store_w)                                                                                  \
  EL_ALONE static void name(weight *w, const int32_t *sums, uint32_t n, uint32_t r, int32_t limit) {                                  \
    const int32x4_t high = vdupq_n_s32(limit), low = vdupq_n_s32(-limit);                                                              \
    uint32x4_t weyl = el_weyl4(r, EL_RNG_COLUMN);                                                                                      \
    __asm__ volatile("wlstp.32 lr, %[n], 2f\n"                                                                                         \
                     "1:\tvldrw.32 q2, [%[sums]], #16\n\tvshr.u32 q1, %q[weyl], #16\n\tvadd.i32 q1, q1, q2\n\t"                         \
                     EL_MVE_LOSE4(load_w, store_w)                                                                                     \
                     : [w] "+l"(w), [sums] "+r"(sums), [weyl] "+w"(weyl)                                                               \
                     : [n] "r"(n), [next] "r"(4 * EL_RNG_COLUMN), [high] "w"(high), [low] "w"(low)                                     \
                     : "lr", "q1", "q2", "memory");                                                                                    \
  }
#define EL_HAS_SETTLE
EL_MVE_SETTLE(el_settle_i8, int8_t, "vldrb.s32", "vstrb.32 q2, [%[w]], #4")
EL_MVE_SETTLE(el_settle_i16, int16_t, "vldrh.s32", "vstrh.32 q2, [%[w]], #8")

/* Sixteen weights a turn, for |k| < 2^15, so that what a weight loses is less than 65: the high half of k x, and one more where the low
 * half and the dither carry. Inputs of even and of odd numbers go separate ways, q4 and q3; the carry is the top bit of half the sum. */
EL_ALONE static void el_update_row_small(int8_t *w, const int8_t *x, uint32_t blocks, int32_t k, uint32_t r) {
  const uint32_t c = EL_RNG_COLUMN;
  register uint32x4_t weyl __asm__("q0") = el_weyl4(r, 4 * c);
  register uint32_t squares __asm__("r4"); /* low for cbz, even for vmladav */
  __asm__ volatile(
      "vdup.16 q1, %[k]\n\t"
      "vmvn.i32 q2, #0\n\t"
      "vshr.u8 q2, q2, #1\n\t"
      "vneg.s8 q2, q2\n\t"
      "wls lr, %[blocks], 4f\n"
      "1:\tvldrb.8 q3, [%[x]], #16\n\t"
      "vmladav.s8 %[squares], q3, q3\n\t"
      "cbz %[squares], 2f\n\t"
      "vmovlb.s8 q4, q3\n\t"
      "vmovlt.s8 q3, q3\n\t"
      "vadd.i32 q5, q0, %[c2]\n\t" /* dither of 0, 2, 4 ...: the tops of two sequences in turn */
      "vsri.32 q5, q0, #16\n\t"
      "vmul.i16 q6, q4, %[k]\n\t"
      "vhadd.u16 q5, q5, q6\n\t"
      "vmulh.s16 q4, q4, q1\n\t"
      "vadd.i32 q7, q0, %[c1]\n\t" /* and of 1, 3, 5 ... */
      "vadd.i32 q6, q0, %[c3]\n\t"
      "vsri.32 q6, q7, #16\n\t"
      "vmul.i16 q7, q3, %[k]\n\t"
      "vhadd.u16 q6, q6, q7\n\t"
      "vmulh.s16 q3, q3, q1\n\t"
      "vsri.16 q6, q5, #8\n\t" /* carries beside each other */
      "vshr.u8 q6, q6, #7\n\t"
      "vmovnt.i16 q4, q3\n\t"
      "vadd.i8 q4, q4, q6\n\t"
      "vldrb.8 q5, [%[w]]\n\t"
      "vqsub.s8 q5, q5, q4\n\t"
      "vmax.s8 q5, q5, q2\n\t"
      "vstrb.8 q5, [%[w]], #16\n\t"
      "vadd.i32 q0, q0, %[c16]\n\t"
      "le lr, 1b\n\t"
      "b 4f\n"
      "2:\tadds %[w], #16\n\t"
      "vadd.i32 q0, q0, %[c16]\n\t"
      "le lr, 1b\n"
      "4:"
      : [w] "+l"(w), [x] "+l"(x), [squares] "=&r"(squares), "+w"(weyl)
      : [blocks] "r"(blocks), [k] "r"(k), [c1] "r"(c), [c2] "r"(2 * c), [c3] "r"(3 * c), [c16] "r"(16 * c)
      : "lr", "cc", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory");
}

#define EL_HAS_UPDATE_ROW
static inline void el_update_row(int8_t *w, const int8_t *x, uint32_t n, int32_t k, uint32_t r) {
  uint32_t done = 0;
  if (k > -32768 && k < 32768) {
    done = n & ~(uint32_t)15;
    el_update_row_small(w, x, n >> 4, k, r);
  }
  if (done < n) el_update_row_large(w + done, x + done, n - done, k, r + done * EL_RNG_COLUMN, 127);
}

/* sum[i] += k x[i]. */
#define EL_HAS_ADD_RUN
static inline void el_add_run(int32_t *sum, const int8_t *x, uint32_t n, int32_t k) {
  __asm__ volatile("wlstp.32 lr, %[n], 2f\n"
                   "1:\tvldrb.s32 q0, [%[x]], #4\n\tvldrw.32 q1, [%[sum]]\n\t"
                   "vmla.s32 q1, q0, %[k]\n\tvstrw.32 q1, [%[sum]], #16\n\t"
                   "letp lr, 1b\n2:"
                   : [sum] "+r"(sum), [x] "+l"(x)
                   : [n] "r"(n), [k] "r"(k)
                   : "lr", "q0", "q1", "memory");
}

/* z[j] += sum_i w[i * step + j] d[i] for four neighbours. */
#define EL_MVE_COLUMNS4(name, weight, load_w, shift)                                                                                  \
  EL_ALONE static void name(const weight *w, uint32_t step, const int16_t *d, uint32_t n, int32_t z[4]) {                             \
    int32x4_t sums = vldrwq_s32(z);                                                                                                    \
    int32_t error;                                                                                                                     \
    __asm__ volatile("wls lr, %[n], 2f\n"                                                                                              \
                     "1:\tldrsh %[error], [%[d]], #2\n\t" load_w " q1, [%[w]]\n\t"                                                      \
                     "add %[w], %[w], %[step]" shift "\n\tvmla.s32 %q[sums], q1, %[error]\n\t"                                          \
                     "le lr, 1b\n2:"                                                                                                   \
                     : [w] "+l"(w), [d] "+r"(d), [error] "=&r"(error), [sums] "+w"(sums)                                               \
                     : [n] "r"(n), [step] "r"(step)                                                                                    \
                     : "lr", "q1", "memory");                                                                                          \
    vstrwq_s32(z, sums);                                                                                                               \
  }
#define EL_HAS_COLUMNS4
EL_MVE_COLUMNS4(el_columns4_i8, int8_t, "vldrb.s32", "")
EL_MVE_COLUMNS4(el_columns4_i16, int16_t, "vldrh.s32", ", lsl #1")

#include "el_dot_dsp.h" /* what is left: it has that extension too */

#endif
