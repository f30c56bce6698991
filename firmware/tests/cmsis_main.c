/* Dense layers of many shapes, shifts and biases, through the kernels of the core, and a hash of their results and of what was counted.
 * Built twice, once with EL_CMSIS_NN, it must print the same: tests/firmware/test_cmsis_nn.py. */
#include <string.h>

#include "bench_board.h"
#include "el_kernel.h"

enum { ROWS = 37, COLS = 70, KINDS = 4 };

static int8_t weights[ROWS * COLS], inputs[COLS], results[ROWS];
static int16_t biases[ROWS];
static uint8_t op[EL_OP_BYTES], slots[EL_SLOT_BYTES], stats[4];
static uint32_t random_state = 1, hash = 2166136261u, cut;

static int32_t within(int32_t limit) {
  random_state = random_state * 1664525u + 1013904223u;
  return (int32_t)((random_state >> 8) % (2 * (uint32_t)limit + 1)) - limit;
}

static void mix(const void *p, uint32_t n) {
  for (const uint8_t *b = p; n--; b++) hash = (hash ^ *b) * 16777619u;
}

/* Small weights make sums that lie between two results, large ones sums that are cut. */
static void fill(int32_t limit) {
  for (int i = 0; i < ROWS * COLS; i++) weights[i] = (int8_t)within(limit);
  for (int i = 0; i < COLS; i++) inputs[i] = (int8_t)within(limit);
  for (int i = 0; i < ROWS; i++) biases[i] = (int16_t)within(limit * 256);
}

static void layer(uint16_t rows, uint16_t cols, int16_t shift, int16_t up, uint8_t relu, uint8_t counting) {
  const el_arg W = {.p = weights, .rows = rows, .cols = cols, .dtype = EL_DTYPE_I8};
  const el_arg x = {.p = inputs, .rows = cols, .cols = 1, .dtype = EL_DTYPE_I8};
  const el_arg b = {.p = biases, .rows = rows, .cols = 1, .dtype = EL_DTYPE_I16, .e = up};
  const el_arg y = {.p = results, .rows = rows, .cols = 1, .dtype = EL_DTYPE_I8, .e = shift};
  el_run run = {.op = op, .slots = slots, .stats = stats, .counting = counting};
  op[EL_OP_FLAGS] = relu ? EL_OP_RELU : 0;
  memset(results, 85, sizeof results);
  memset(stats, 0, sizeof stats);
  if (up < 15) el_k_affine(&run, (const el_arg[]){W, x, b, y});
  else el_k_matvec(&run, (const el_arg[]){W, x, y});
  cut += el_get16(stats);
  mix(results, sizeof results);
  mix(stats, sizeof stats);
}

static void print_number(uint32_t value) {
  char digits[12];
  char *p = digits + sizeof digits - 1;
  *p = 0;
  do *--p = (char)('0' + value % 10);
  while (value /= 10);
  board_print(p);
}

int main(void) {
  static const int32_t limits[KINDS] = {1, 3, 20, 127};
  static const int16_t ups[] = {-3, 0, 1, 9, 14, 15}; /* 15: no bias */
  slots[EL_SLOT_KIND] = EL_SLOT_IS_MOVING;
  for (int kind = 0; kind < KINDS; kind++)
    for (uint16_t cols = 1; cols <= COLS; cols = (uint16_t)(cols + (cols < 20 ? 1 : 25)))
      for (int16_t shift = -1; shift < 18; shift++) {
        fill(limits[kind]);
        for (uint32_t u = 0; u < sizeof ups / sizeof *ups; u++)
          layer((uint16_t)(1 + (cols * 7u + (uint32_t)shift + u) % ROWS), cols, shift, ups[u], u & 1, cols % 3 != 0);
      }
  print_number(hash);
  board_print(" ");
  print_number(cut);
  board_print("\n");
  return 0;
}
