/* Primitives of el_dot.h for ARMv6-M (Cortex-M0, M0+): one load, one product and one sum a weight, in the eight registers that most
 * instructions can use; sums stay in the others. */
#ifndef EL_DOT_THUMB_H
#define EL_DOT_THUMB_H

/* What a loop takes and gives, in the order of its registers: there are more than the compiler would hand out. */
typedef struct el_thumb_rows {
  const void *w[4]; /* the ends; then the place of r8 to r11 */
  const int8_t *x;  /* its end, where weights are of 8 bits */
  uint32_t first;   /* byte of a row, counted from its end */
  int32_t z[4];
} el_thumb_rows;

/* The input in r7 times one weight of the row that ends at `end`. */
#define EL_THUMB_ROW(load, end, z) load " r0, [" end ", r6]\n\tmuls r0, r7, r0\n\tadd " z ", " z ", r0\n\t"

#define EL_THUMB_PUT(high, at) "mov r7, " high "\n\tstr r7, [r0, #" at "]\n\t"
#define EL_THUMB_GET(high, at) "ldr r7, [r0, #" at "]\n\tmov " high ", r7\n\t"
#define EL_THUMB_ALL(move, a, b, c, d) move("r8", a) move("r9", b) move("r10", c) move("r11", d)

/* z[j] += sum_i w_j[i] x[i] for four rows; `next_input` leaves one in r7, with flags, `to_next` takes r6 on. */
#define EL_THUMB_SUMS(name, next_input, load, to_next)                                                                \
  static inline void name(el_thumb_rows *rows) {                                                                      \
    register el_thumb_rows *r0 __asm__("r0") = rows;                                                                  \
    __asm__ volatile(                                                                                                 \
        ".syntax unified\n\t"                                                                                         \
        "ldmia r0!, {r1-r6}\n\tsubs r0, #24\n\tmov ip, r0\n\t"                                                        \
        EL_THUMB_ALL(EL_THUMB_PUT, "0", "4", "8", "12") EL_THUMB_ALL(EL_THUMB_GET, "24", "28", "32", "36")            \
        "1:\t" next_input "\n\tbeq 2f\n\t"                                                                            \
        EL_THUMB_ROW(load, "r1", "r8") EL_THUMB_ROW(load, "r2", "r9")                                                 \
        EL_THUMB_ROW(load, "r3", "r10") EL_THUMB_ROW(load, "r4", "r11")                                               \
        "2:\t" to_next "\n\tbne 1b\n\t"                                                                               \
        "mov r0, ip\n\t"                                                                                              \
        EL_THUMB_ALL(EL_THUMB_PUT, "24", "28", "32", "36") EL_THUMB_ALL(EL_THUMB_GET, "0", "4", "8", "12")            \
        : "+l"(r0)                                                                                                    \
        :                                                                                                             \
        : "r1", "r2", "r3", "r4", "r5", "r6", "r7", "ip", "cc", "memory");                                            \
  }
EL_THUMB_SUMS(el_thumb_sums_i8, "ldrsb r7, [r5, r6]\n\tcmp r7, #0", "ldrsb", "adds r6, #1")
EL_THUMB_SUMS(el_thumb_sums_i16, "ldrb r7, [r5]\n\tsxtb r7, r7\n\tadds r5, #1\n\tcmp r7, #0", "ldrsh", "adds r6, #2")

#define EL_HAS_DOT4
EL_ALONE static void el_dot4(const int8_t *w, const int8_t *x, uint32_t n, int32_t out[4]) {
  el_thumb_rows four = {{w + n, w + 2 * n, w + 3 * n, w + 4 * n}, x + n, 0u - n, {0, 0, 0, 0}};
  if (n) el_thumb_sums_i8(&four);
  out[0] = four.z[0];
  out[1] = four.z[1];
  out[2] = four.z[2];
  out[3] = four.z[3];
}

/* A view's runs are rows of four channels; x is where the loop for these weights has them begin. */
#define EL_THUMB_VIEW4(name, weight, sums, first_x)                                                                   \
  EL_ALONE static void name(const weight *w, const int8_t *x, const el_view *v, int32_t out[4]) {                     \
    el_thumb_rows four = {{0, 0, 0, 0}, 0, 0, {0, 0, 0, 0}};                                                          \
    uint32_t n = v->run;                                                                                              \
    for (uint32_t left = n ? v->rows : 0; left--; w += v->w_row, x += v->x_row) {                                     \
      for (uint32_t j = 0; j < 4; j++) four.w[j] = w + j * v->w_next + n;                                             \
      four.x = x + first_x;                                                                                           \
      four.first = 0u - n * sizeof(weight);                                                                           \
      sums(&four);                                                                                                    \
    }                                                                                                                 \
    for (int j = 0; j < 4; j++) out[j] = four.z[j];                                                                   \
  }
#define EL_HAS_VIEW4
EL_THUMB_VIEW4(el_view4_i8, int8_t, el_thumb_sums_i8, n)
EL_THUMB_VIEW4(el_view4_i16, int16_t, el_thumb_sums_i16, 0)

/* --- updates --- */

#define EL_HAS_UPDATE_WORDS

static inline uint8_t el_can_update_words(const int8_t *x, int32_t k) {
  (void)k;
  return ((uintptr_t)x & 3) == 0; /* this core loads aligned words only */
}

/* One input, the lowest byte of v. Most often nothing changes: an update is a fraction of a unit, and rounds to one now and then. */
#define EL_THUMB_UPDATE(number)                                                                                       \
  "sxtb %[t], %[v]\n\t"                                                                                               \
  "muls %[t], %[k], %[t]\n\t"                                                                                         \
  "lsrs %[s], %[r], #16\n\t"                                                                                          \
  "adds %[t], %[t], %[s]\n\t"                                                                                         \
  "asrs %[t], %[t], #16\n\t"                                                                                          \
  "beq 1f\n\t"                                                                                                        \
  "movs %[s], #" number "\n\t"                                                                                        \
  "bl 4f\n"                                                                                                           \
  "1:\tadds %[r], %[r], %[c]\n\t"

/* n > 0 inputs, whole words. At 4, weight number s after x loses t, by way of lr. */
EL_ALONE static void el_update_words(int8_t *w, const int8_t *x, uint32_t n, int32_t k, uint32_t r) {
  const int8_t *end = x + n;
  uintptr_t to_w = (uintptr_t)w - (uintptr_t)x - 4;
  uint32_t v, t, s, q;
  __asm__ volatile(
      ".syntax unified\n\t"
      "ldr %[v], %[end]\n\t"
      "mov ip, %[v]\n"
      "2:\tldmia %[x]!, {%[v]}\n\t"
      "cmp %[v], #0\n\t"
      "beq 3f\n\t" /* clang-format off */
      EL_THUMB_UPDATE("0") "lsrs %[v], %[v], #8\n\t"
      EL_THUMB_UPDATE("1") "lsrs %[v], %[v], #8\n\t"
      EL_THUMB_UPDATE("2") "lsrs %[v], %[v], #8\n\t"
      EL_THUMB_UPDATE("3") /* clang-format on */
      "cmp %[x], ip\n\t"
      "bne 2b\n\t"
      "b 7f\n"
      "3:\tlsls %[v], %[c], #2\n\t"
      "adds %[r], %[r], %[v]\n\t"
      "cmp %[x], ip\n\t"
      "bne 2b\n\t"
      "b 7f\n"
      "4:\tldr %[q], %[to_w]\n\t"
      "adds %[s], %[s], %[x]\n\t"
      "adds %[s], %[s], %[q]\n\t"
      "ldrb %[q], [%[s]]\n\t"
      "sxtb %[q], %[q]\n\t"
      "subs %[q], %[q], %[t]\n\t"
      "movs %[t], #127\n\t"
      "cmp %[q], %[t]\n\t"
      "bgt 5f\n\t"
      "negs %[t], %[t]\n\t"
      "cmp %[q], %[t]\n\t"
      "bge 6f\n"
      "5:\tmovs %[q], %[t]\n"
      "6:\tstrb %[q], [%[s]]\n\t"
      "bx lr\n"
      "7:"
      : [x] "+l"(x), [r] "+l"(r), [v] "=&l"(v), [t] "=&l"(t), [s] "=&l"(s), [q] "=&l"(q)
      : [k] "l"(k), [c] "l"(EL_RNG_COLUMN), [end] "m"(end), [to_w] "m"(to_w)
      : "ip", "lr", "cc", "memory");
}

#endif
