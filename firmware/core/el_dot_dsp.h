/* Primitives of el_dot.h with the Arm DSP extension (Cortex-M4, M7, M33): two products an instruction. The two loops that most time
 * goes into are in assembly, because they need every register there is.
 *
 * A word of four int8 is taken apart into its even and its odd bytes, each sign-extended to 16 bits. */
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

#define EL_HAS_SATURATION /* __qadd and __usat, for el_int.h */

#ifndef EL_HAS_ZERO4
#define EL_HAS_ZERO4
static inline int el_zero4(const int8_t *p) { return el_word(p) == 0; }
#endif

#ifndef EL_HAS_DOT1
#define EL_HAS_DOT1
EL_ALONE static int32_t el_dot1(const int8_t *w, const int8_t *x, uint32_t n) {
  int32_t z = 0;
  for (const int8_t *end = x + (n & ~(uint32_t)3); x < end; w += 4, x += 4) {
    uint32_t a = el_word(w), b = el_word(x);
    z = __smlad(el_odd(a), el_odd(b), __smlad(el_even(a), el_even(b), z));
  }
  for (n &= 3; n--;) z += (int32_t)*w++ * *x++;
  return z;
}
#endif

#define EL_TILE 32

/* --- inputs of a dense layer, prepared once for all its rows --- */

#if !defined(EL_HAS_INPUTS) && !defined(EL_HAS_DOT_ROWS) && !defined(EL_HAS_UPDATE_ROW)
#define EL_HAS_INPUTS

/* Four neighbours, the first of which is not zero, widened. Where many inputs are zero, as beside the strokes of a picture or after
 * relu, fewer of these cover them than there are words. */
typedef struct el_four {
  uint32_t even, odd;
  uint32_t at; /* of the first one, counted from four before the row; 0 ends a list */
} el_four;

enum { EL_FOURS = 20 }; /* they lie on the stack */

typedef struct el_inputs {
  const int8_t *x;
  uint32_t n, next; /* the inputs from `next` on are not in the list: it holds them part by part */
  uint8_t dense;    /* so few are zero that a list does not pay */
  uint8_t whole;    /* the list holds all */
  uint8_t positive; /* no input in the list is negative; known to updates only */
  el_four fours[EL_FOURS + 1];
} el_inputs;

/* Lists inputs from `next` on, as many as fit. There are four or more: those at the end come with some before them, made zero. */
EL_ALONE static void el_gather(el_inputs *in) {
  el_four *f = in->fours, *full = f + EL_FOURS;
  const int8_t *x = in->x - 4, *p = in->x + in->next, *last = in->x + in->n - 4;
  uint32_t word;
  register uint32_t even __asm__("r4"), odd __asm__("r5"), at __asm__("r6"); /* in this order for stm */
  __asm__ volatile(
      "b 3f\n"
      "1:\n\t" /* the first of the four is at p */
      "ldr %[word], [%[p]]\n\t"
      "rbit %[at], %[word]\n\t"
      "clz %[at], %[at]\n\t"
      "lsrs %[at], %[at], #3\n\t" /* zeros before it; 4 if there is none */
      "bne 2f\n\t"
      "sxtb16 %[even], %[word]\n\t"
      "sxtb16 %[odd], %[word], ror #8\n\t"
      "sub %[at], %[p], %[x]\n\t"
      "stmia %[f]!, {%[even], %[odd], %[at]}\n\t"
      "movs %[at], #4\n\t"
      "cmp %[f], %[full]\n\t"
      "it eq\n\t"
      "moveq %[last], #0\n" /* the list is full: no more */
      "2:\n\t"
      "add %[p], %[p], %[at]\n"
      "3:\n\t"
      "cmp %[p], %[last]\n\t"
      "bls 1b"
      : [f] "+r"(f), [p] "+r"(p), [last] "+r"(last), [word] "=&r"(word), [even] "=&r"(even), [odd] "=&r"(odd), [at] "=&l"(at)
      : [x] "r"(x), [full] "r"(full)
      : "cc", "memory");
  in->next = (uint32_t)(p - in->x);
  if (last && in->next < in->n) {
    uint32_t before = 8 * (uint32_t)(p - last);
    word = el_word(last) >> before << before;
    if (word) *f++ = (el_four){(uint32_t)el_even(word), (uint32_t)el_odd(word), in->n};
    in->next = in->n;
  }
  f->at = 0;
}

EL_ALONE static void el_list(el_inputs *in, const int8_t *x, uint32_t n) {
  in->x = x;
  in->n = n;
  in->next = n < 4 ? n : 0;
  in->fours[0].at = 0;
  if (n >= 4) el_gather(in);
  in->whole = in->next == n;
  in->dense = in->next < EL_FOURS * 9 / 2 && !in->whole && (uintptr_t)x % 4 == 0;
}

/* For products with so many rows: a list is not worth its making for a few. */
static inline void el_begin_rows(el_inputs *in, const int8_t *x, uint32_t n, uint32_t rows) {
  if (rows >= 12 || n < 8 || (uintptr_t)x % 4) {
    el_list(in, x, n);
    return;
  }
  in->x = x;
  in->n = n;
  in->dense = 1;
}

EL_ALONE static void el_look(el_inputs *in) {
  const el_four *f = in->fours;
  while (f->at && !((f->even | f->odd) & 0x80008000u)) f++;
  in->positive = !f->at && in->n >= 4;
}

static inline void el_begin(el_inputs *in, const int8_t *x, uint32_t n) {
  el_list(in, x, n);
  el_look(in);
}

static inline uint8_t el_rest(el_inputs *in) {
  if (in->next == in->n) return 0;
  el_gather(in);
  return 1;
}

static inline uint8_t el_more(el_inputs *in) {
  if (!el_rest(in)) return 0;
  el_look(in);
  return 1;
}

/* Two rows of whole words. */
EL_ALONE static void el_dot2(const int8_t *w, const int8_t *x, uint32_t n, int32_t z[2]) {
  const int8_t *w1 = w + n, *end = x + n;
  int32_t z0 = 0, z1 = 0;
  for (; x < end; x += 4, w += 4, w1 += 4) {
    uint32_t v = el_word(x), a = el_word(w), b = el_word(w1);
    int16x2_t even = el_even(v), odd = el_odd(v);
    z0 = __smlad(el_odd(a), odd, __smlad(el_even(a), even, z0));
    z1 = __smlad(el_odd(b), odd, __smlad(el_even(b), even, z1));
  }
  z[0] = z0;
  z[1] = z1;
}

/* One word of a row times one word of x: 1.25 instructions a product. */
#define EL_ROW_WORD(load, z, even, odd)                                                                               \
  load "\n\t"                                                                                                         \
  "sxtb16 %[t], %[v], ror #8\n\t"                                                                                     \
  "smlad " z ", %[t], " odd ", " z "\n\t"                                                                             \
  "sxtb16 %[v], %[v]\n\t"                                                                                             \
  "smlad " z ", %[v], " even ", " z "\n\t"

#define EL_FOUR_ROWS                                                                                                  \
  EL_ROW_WORD("ldr %[v], [%[w], %[at]]", "%[z0]", "%[even]", "%[odd]")                                                \
  EL_ROW_WORD("ldr %[v], [%[w1], %[at]]", "%[z1]", "%[even]", "%[odd]")                                               \
  EL_ROW_WORD("ldr %[v], [%[w2], %[at]]", "%[z2]", "%[even]", "%[odd]")                                               \
  EL_ROW_WORD("ldr %[v], [%[w3], %[at]]", "%[z3]", "%[even]", "%[odd]")

/* z[j] (`more`: is added) for four rows at a time, by the inputs of the list: 23 instructions for 16 products. */
EL_ALONE static void el_fours_rows(const int8_t *w, const el_four *list, uint32_t n, uint32_t fours, uint8_t more, int32_t *z) {
  for (w -= 4; fours--; w += 4 * n, z += 4) {
    const int8_t *w1, *w2;
    const el_four *f = list;
    int32_t z0, z1, z2, z3;
    uint32_t w3 = n, v, t;
    register uint32_t even __asm__("r4"), odd __asm__("r5"), at __asm__("r6"); /* in this order for ldm */
    __asm__ volatile(
        "add %[w1], %[w], %[w3]\n\t"
        "add %[w2], %[w1], %[w3]\n\t"
        "add %[w3], %[w2]\n\t"
        "movs %[z0], #0\n\t"
        "mov %[z1], %[z0]\n\t"
        "mov %[z2], %[z0]\n\t"
        "mov %[z3], %[z0]\n"
        "1:\n\t"
        "ldmia %[f]!, {%[even], %[odd], %[at]}\n\t"
        "cbz %[at], 2f\n\t" /* clang-format off */
        EL_FOUR_ROWS /* clang-format on */
        "b 1b\n"
        "2:"
        : [f] "+r"(f), [w1] "=&r"(w1), [w2] "=&r"(w2), [w3] "+&r"(w3), [z0] "=&l"(z0), [z1] "=&r"(z1), [z2] "=&r"(z2), [z3] "=&r"(z3),
          [even] "=&r"(even), [odd] "=&r"(odd), [at] "=&r"(at), [v] "=&r"(v), [t] "=&r"(t)
        : [w] "r"(w)
        : "cc", "memory");
    if (more) z0 += z[0], z1 += z[1], z2 += z[2], z3 += z[3];
    z[0] = z0;
    z[1] = z1;
    z[2] = z2;
    z[3] = z3;
  }
}

/* Rows 0 and 1 lie at w, rows 2 and 3 at w2; both move on by a word. */
#define EL_DENSE_WORD(even, odd)                                                                                      \
  "sxtb16 " odd ", " even ", ror #8\n\t"                                                                              \
  "sxtb16 " even ", " even "\n\t"                                                                                     \
  EL_ROW_WORD("ldr %[v], [%[w], %[n]]", "%[z1]", even, odd)                                                           \
  EL_ROW_WORD("ldr %[v], [%[w]], #4", "%[z0]", even, odd)                                                             \
  EL_ROW_WORD("ldr %[v], [%[w2], %[n]]", "%[z3]", even, odd)                                                          \
  EL_ROW_WORD("ldr %[v], [%[w2]], #4", "%[z2]", even, odd)

/* The same by all x from x to end, pairs of words: 47 instructions for 32 products. */
EL_ALONE static void el_words_rows(const int8_t *w, const int8_t *x, const int8_t *end, uint32_t n, uint32_t fours, int32_t *z) {
  for (; fours--; w += 4 * n, z += 4) {
    const int8_t *w0 = w, *w2 = w + 2 * n, *p = x;
    int32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0;
    uint32_t even, odd, next, v, t;
    __asm__ volatile(
        "1:\n\t"
        "ldrd %[even], %[next], [%[x]], #8\n\t" EL_DENSE_WORD("%[even]", "%[odd]") EL_DENSE_WORD("%[next]", "%[odd]")
        "cmp %[x], %[end]\n\t"
        "bne 1b"
        : [w] "+r"(w0), [w2] "+r"(w2), [x] "+r"(p), [z0] "+r"(z0), [z1] "+r"(z1), [z2] "+r"(z2), [z3] "+r"(z3),
          [even] "=&r"(even), [odd] "=&r"(odd), [next] "=&r"(next), [v] "=&r"(v), [t] "=&r"(t)
        : [n] "r"(n), [end] "r"(end)
        : "cc", "memory");
    z[0] = z0;
    z[1] = z1;
    z[2] = z2;
    z[3] = z3;
  }
}

/* Adds what inputs from `from` on give to z. */
EL_RARE static void el_add_columns(const int8_t *w, const el_inputs *in, uint32_t from, uint32_t rows, int32_t *z) {
  for (w += from; rows--; w += in->n) *z++ += el_dot1(w, in->x + from, in->n - from);
}

/* The rows that are left: fewer than four, or all of those that are shorter than a list can say. */
static inline void el_last_rows(const int8_t *w, const el_inputs *in, uint32_t rows, int32_t *z) {
  uint32_t n = in->n;
  for (; rows >= 2 && n % 4 == 0; rows -= 2, w += 2 * n, z += 2) el_dot2(w, in->x, n, z);
  for (; rows; rows--, w += n) *z++ = el_dot1(w, in->x, n);
}

/* z[j] = sum_i w[j * n + i] x[i] for any number of rows. */
EL_ALONE static void el_dot_inputs(const int8_t *w, el_inputs *in, uint32_t rows, int32_t *z) {
  uint32_t n = in->n, fours = n < 4 ? 0 : rows / 4, whole = n & ~(uint32_t)7;
  if (fours && in->dense) {
    el_words_rows(w, in->x, in->x + whole, n, fours, z);
    if (whole < n) el_add_columns(w, in, whole, 4 * fours, z);
  } else if (fours) {
    if (!in->whole) in->next = 0, el_gather(in);
    el_fours_rows(w, in->fours, n, fours, 0, z);
    while (el_rest(in)) el_fours_rows(w, in->fours, n, fours, 1, z);
  }
  if (rows > 4 * fours) el_last_rows(w + 4 * fours * n, in, rows - 4 * fours, z + 4 * fours);
}

/* --- updates --- */

static inline void el_update(int8_t *w, int32_t x, int32_t k, uint32_t weyl);

/* Any k, and rows that are shorter than a list can say. */
EL_RARE static void el_update_any(int8_t *w, const el_inputs *in, int32_t k, uint32_t r) {
  const uint32_t c = EL_RNG_COLUMN;
  for (uint32_t i = 0; in->n < 4 && i < in->n; i++) el_update(w + i, in->x[i], k, r + i * c);
  for (const el_four *f = in->fours; f->at; f++) {
    int8_t *to = w + (f->at - 4);
    uint32_t weyl = r + (f->at - 4) * c;
    el_update(to, (int16_t)f->even, k, weyl);
    el_update(to + 1, (int16_t)f->odd, k, weyl + c);
    el_update(to + 2, (int16_t)(f->even >> 16), k, weyl + 2 * c);
    el_update(to + 3, (int16_t)(f->odd >> 16), k, weyl + 3 * c);
  }
}

/* A k of 16 bits, so that k x + r has 24. The change of an even input is byte 2 of k x + r. Odd inputs count 256 fold, and their change
 * is byte 3 of 256 (k x + r). SEL brings the four bytes together; a saturating subtraction of one too many, and its return, keep a
 * weight from -128. */
EL_ALONE static void el_update_fours(int8_t *w, const el_four *f, int32_t k, uint32_t r) {
  const uint32_t c = EL_RNG_COLUMN, ones = 0x01010101u, high = 0xFF00FF00u;
  uint32_t t0, t1, v;
  register uint32_t even __asm__("r4"), odd __asm__("r5"), at __asm__("r6"); /* in this order for ldm */
  w -= 4;
  r -= 4 * c;
  __asm__ volatile(
      "mvn %[t0], %[high]\n\t"
      "uadd8 %[t0], %[t0], %[t0]\n\t" /* carries out of bytes 0 and 2: SEL takes those of its first operand */
      "1:\n\t"
      "ldmia %[f]!, {%[even], %[odd], %[at]}\n\t"
      "cbz %[at], 2f\n\t"
      "mla %[v], %[at], %[c], %[r]\n\t"
      "and %[odd], %[high], %[odd], lsl #8\n\t"
      "smulbb %[t0], %[even], %[k]\n\t"
      "smulbb %[t1], %[odd], %[k]\n\t"
      "smultb %[even], %[even], %[k]\n\t"
      "smultb %[odd], %[odd], %[k]\n\t"
      "add %[t0], %[t0], %[v], lsr #16\n\t"
      "add %[v], %[v], %[c]\n\t"
      "add %[t1], %[t1], %[v], lsr #8\n\t"
      "add %[v], %[v], %[c]\n\t"
      "add %[even], %[even], %[v], lsr #16\n\t"
      "add %[v], %[v], %[c]\n\t"
      "add %[odd], %[odd], %[v], lsr #8\n\t"
      "ldr %[v], [%[w], %[at]]\n\t"
      "pkhtb %[even], %[even], %[t0], asr #16\n\t"
      "pkhtb %[odd], %[odd], %[t1], asr #16\n\t"
      "sel %[even], %[even], %[odd]\n\t"
      "qsub8 %[v], %[v], %[even]\n\t"
      "qsub8 %[v], %[v], %[ones]\n\t"
      "qadd8 %[v], %[v], %[ones]\n\t"
      "str %[v], [%[w], %[at]]\n\t"
      "b 1b\n"
      "2:"
      : [f] "+r"(f), [even] "=&r"(even), [odd] "=&r"(odd), [at] "=&r"(at), [t0] "=&r"(t0), [t1] "=&r"(t1), [v] "=&r"(v)
      : [w] "r"(w), [r] "r"(r), [k] "r"(k), [c] "r"(c), [ones] "r"(ones), [high] "r"(high)
      : "cc", "memory");
}

enum { EL_SMALL_K = 65535 / 127 }; /* so that k x has 16 bits */

/* A small k, and inputs that are not negative: a weight loses `unit` or nothing. It does where |k| x + r carries out of 16 bits, so two
 * products and two sums are made at once. For a k below zero, r is the complement of the dither. */
EL_ALONE static void el_update_fours_small(int8_t *w, const el_four *f, int32_t k, uint32_t r) {
  uint32_t v, t, u, zero = 0, c = EL_RNG_COLUMN, unit = 0x00010001u; /* 1 in bytes 0 and 2 */
  register uint32_t even __asm__("r4"), odd __asm__("r5"), at __asm__("r6"); /* in this order for ldm */
  if (k < 0) k = -k, r = ~r, c = 0u - c, unit = 0x00FF00FFu; /* and -1 */
  w -= 4;
  r -= 4 * c;
  __asm__ volatile(
      "1:\n\t"
      "ldmia %[f]!, {%[even], %[odd], %[at]}\n\t"
      "cbz %[at], 2f\n\t"
      "mla %[v], %[at], %[c], %[r]\n\t"
      "mul %[even], %[even], %[k]\n\t"
      "mul %[odd], %[odd], %[k]\n\t"
      "add %[t], %[v], %[c]\n\t"
      "add %[u], %[t], %[c]\n\t"
      "pkhtb %[v], %[u], %[v], asr #16\n\t"
      "add %[u], %[u], %[c]\n\t"
      "pkhtb %[u], %[u], %[t], asr #16\n\t"
      "uadd16 %[even], %[even], %[v]\n\t"
      "sel %[even], %[unit], %[zero]\n\t"
      "uadd16 %[odd], %[odd], %[u]\n\t"
      "sel %[odd], %[unit], %[zero]\n\t"
      "orrs %[even], %[even], %[odd], lsl #8\n\t"
      "beq 1b\n\t"
      "ldr %[v], [%[w], %[at]]\n\t"
      "mov %[t], #0x01010101\n\t" /* as in the loop above, against -128 */
      "qsub8 %[v], %[v], %[even]\n\t"
      "qsub8 %[v], %[v], %[t]\n\t"
      "qadd8 %[v], %[v], %[t]\n\t"
      "str %[v], [%[w], %[at]]\n\t"
      "b 1b\n"
      "2:"
      : [f] "+r"(f), [even] "=&r"(even), [odd] "=&r"(odd), [at] "=&r"(at), [v] "=&r"(v), [t] "=&r"(t), [u] "=&r"(u)
      : [w] "r"(w), [r] "r"(r), [k] "r"(k), [c] "r"(c), [unit] "r"(unit), [zero] "r"(zero)
      : "cc", "memory");
}

/* A row of weights, by the inputs of the list. */
static inline void el_update_part(int8_t *w, const el_inputs *in, int32_t k, uint32_t r) {
  if (in->positive && k <= EL_SMALL_K && k >= -EL_SMALL_K) el_update_fours_small(w, in->fours, k, r);
  else if (k < 32768 && k > -32768 && in->n >= 4) el_update_fours(w, in->fours, k, r);
  else el_update_any(w, in, k, r);
}
#endif

#ifndef EL_HAS_COLUMNS4
#define EL_HAS_COLUMNS4_I8
/* z[j] += sum_i w[i * step + j] d[i] for four neighbours. */
EL_ALONE static void el_columns4_i8(const int8_t *w, uint32_t step, const int16_t *d, uint32_t n, int32_t z[4]) {
  int32_t z0 = z[0], z1 = z[1], z2 = z[2], z3 = z[3];
  for (const int16_t *end = d + n; d < end; w += step) {
    uint32_t v = el_word(w), even = (uint32_t)el_even(v), odd = (uint32_t)el_odd(v);
    int32_t u = *d++;
    z0 = __smlabb((int32_t)even, u, z0);
    z1 = __smlabb((int32_t)odd, u, z1);
    z2 = __smlatb((int32_t)even, u, z2);
    z3 = __smlatb((int32_t)odd, u, z3);
  }
  z[0] = z0;
  z[1] = z1;
  z[2] = z2;
  z[3] = z3;
}
#endif

#ifndef EL_HAS_VIEW4
#define EL_HAS_VIEW4
#include "el_view_dsp.h"
#endif

#endif
