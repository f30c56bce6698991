/* Windows of a map, and what an update adds up of them, with the Arm DSP extension: four inputs a turn, times four output channels. A
 * word of inputs that is zero costs 6 instructions, another one 26 with weights of 8 bits and 24 with those of 16. */
#ifndef EL_VIEW_DSP_H
#define EL_VIEW_DSP_H

/* Channels 0 and 1 lie at w, 2 and 3 at w2; both move on by a word. Of four inputs, `even` has the word, `odd` and `t` are free. */
#define EL_VIEW_WORD(load, z)                                                                                         \
  load "\n\t"                                                                                                         \
  "sxtb16 %[t], %[v], ror #8\n\t"                                                                                     \
  "smlad " z ", %[t], %[odd], " z "\n\t"                                                                              \
  "sxtb16 %[v], %[v]\n\t"                                                                                             \
  "smlad " z ", %[v], %[even], " z "\n\t"

#define EL_VIEW_I8                                                                                                    \
  "sxtb16 %[odd], %[even], ror #8\n\t"                                                                                \
  "sxtb16 %[even], %[even]\n\t"                                                                                       \
  EL_VIEW_WORD("ldr %[v], [%[w], %[next]]", "%[z1]")                                                                  \
  EL_VIEW_WORD("ldr %[v], [%[w]], #4", "%[z0]")                                                                       \
  EL_VIEW_WORD("ldr %[v], [%[w2], %[next]]", "%[z3]")                                                                 \
  EL_VIEW_WORD("ldr %[v], [%[w2]], #4", "%[z2]")

/* Two inputs, times two weights of each channel. */
#define EL_VIEW_PAIR(pair)                                                                                            \
  "ldr %[v], [%[w], %[next]]\n\tsmlad %[z1], %[v], " pair ", %[z1]\n\t"                                               \
  "ldr %[v], [%[w]], #4\n\tsmlad %[z0], %[v], " pair ", %[z0]\n\t"                                                    \
  "ldr %[v], [%[w2], %[next]]\n\tsmlad %[z3], %[v], " pair ", %[z3]\n\t"                                              \
  "ldr %[v], [%[w2]], #4\n\tsmlad %[z2], %[v], " pair ", %[z2]\n\t"

#define EL_VIEW_I16                                                                                                   \
  "sxtb16 %[odd], %[even], ror #8\n\t"                                                                                \
  "sxtb16 %[even], %[even]\n\t"                                                                                       \
  "pkhbt %[t], %[even], %[odd], lsl #16\n\t"                                                                          \
  "pkhtb %[odd], %[odd], %[even], asr #16\n\t" EL_VIEW_PAIR("%[t]") EL_VIEW_PAIR("%[odd]")

#define EL_VIEW4(name, weight, four_inputs, bytes_of_four)                                                            \
  EL_ALONE static void name(const weight *w, const int8_t *x, const el_view *view, int32_t out[4]) {                  \
    uint32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0, c = view->w_next, odd, v, t;                                             \
    register uint32_t even __asm__("r4"); /* low, for cbz: the compiler does not find it among so many */             \
    for (uint32_t rows = view->rows; rows--; w += view->w_row, x += view->x_row) {                                    \
      const weight *w0 = w, *w2 = w + 2 * c;                                                                          \
      const int8_t *p = x, *words = p + (view->run & ~(uint32_t)3), *end = x + view->run;                             \
      if (p < words)                                                                                                  \
        __asm__ volatile("1:\tldr %[even], [%[x]], #4\n\tcbz %[even], 2f\n\t" four_inputs                             \
                         "cmp %[x], %[words]\n\tbne 1b\n\tb 3f\n"                                                     \
                         "2:\tadds %[w], %[w], #" bytes_of_four "\n\tadds %[w2], %[w2], #" bytes_of_four "\n\t"       \
                         "cmp %[x], %[words]\n\tbne 1b\n3:"                                                           \
                         : [w] "+r"(w0), [w2] "+r"(w2), [x] "+r"(p), [z0] "+r"(z0), [z1] "+r"(z1), [z2] "+r"(z2),     \
                           [z3] "+r"(z3), [even] "=&r"(even), [odd] "=&r"(odd), [v] "=&r"(v), [t] "=&r"(t)            \
                         : [next] "r"(c * sizeof(weight)), [words] "r"(words)                                         \
                         : "cc", "memory");                                                                           \
      for (; p < end; p++, w0++, w2++) {                                                                              \
        int32_t u = *p;                                                                                               \
        z0 += (uint32_t)(w0[0] * u);                                                                                  \
        z1 += (uint32_t)(w0[c] * u);                                                                                  \
        z2 += (uint32_t)(w2[0] * u);                                                                                  \
        z3 += (uint32_t)(w2[c] * u);                                                                                  \
      }                                                                                                               \
    }                                                                                                                 \
    out[0] = (int32_t)z0;                                                                                             \
    out[1] = (int32_t)z1;                                                                                             \
    out[2] = (int32_t)z2;                                                                                             \
    out[3] = (int32_t)z3;                                                                                             \
  }
EL_VIEW4(el_view4_i8, int8_t, EL_VIEW_I8, "4")
EL_VIEW4(el_view4_i16, int16_t, EL_VIEW_I16, "8")

/* sum[i] += k x[i], four at a time: 12 instructions, or 6 where all four inputs are zero. For a k of more than 16 bits, one by one. */
#define EL_HAS_ADD_RUN
static inline void el_add_run(int32_t *sum, const int8_t *x, uint32_t n, int32_t k) {
  const int8_t *words = x + (n & ~(uint32_t)3), *end = x + n;
  register uint32_t even __asm__("r4"); /* low, for cbz */
  register int32_t s0 __asm__("r5"), s1 __asm__("r6"), s2 __asm__("r8"), s3 __asm__("r9"); /* in this order for ldm */
  uint32_t odd;
  if (x < words && k < 32768 && k > -32768)
    __asm__ volatile(
        "1:\tldr %[even], [%[x]], #4\n\t"
        "cbz %[even], 2f\n\t"
        "sxtb16 %[odd], %[even], ror #8\n\t"
        "sxtb16 %[even], %[even]\n\t"
        "ldmia %[sum], {%[s0], %[s1], %[s2], %[s3]}\n\t"
        "smlabb %[s0], %[even], %[k], %[s0]\n\t"
        "smlabb %[s1], %[odd], %[k], %[s1]\n\t"
        "smlatb %[s2], %[even], %[k], %[s2]\n\t"
        "smlatb %[s3], %[odd], %[k], %[s3]\n\t"
        "stmia %[sum]!, {%[s0], %[s1], %[s2], %[s3]}\n\t"
        "cmp %[x], %[words]\n\tbne 1b\n\tb 3f\n"
        "2:\tadds %[sum], %[sum], #16\n\tcmp %[x], %[words]\n\tbne 1b\n"
        "3:"
        : [sum] "+r"(sum), [x] "+r"(x), [even] "=&r"(even), [odd] "=&r"(odd), [s0] "=&r"(s0), [s1] "=&r"(s1), [s2] "=&r"(s2),
          [s3] "=&r"(s3)
        : [k] "r"(k), [words] "r"(words)
        : "cc", "memory");
  for (; x < end; x++, sum++) *sum = (int32_t)((uint32_t)*sum + (uint32_t)(k * *x));
}

#endif
