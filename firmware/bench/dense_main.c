/* What a dense int8 layer costs by itself: the products of 128 rows of 784 weights with inputs none of which is zero, exact, as
 * kernels_int.c has them made. Prints instructions for one layer, and a hash of its results. With BENCH_CMSIS it is CMSIS-NN's layer
 * that is counted, results of 8 bits; the sums that are hashed are then made once more, as above, and hold its results to account. */
#include "bench_board.h"
#include "el_dot.h"

enum { ROWS = 128, COLS = 784, TIMES = 4 };

static uint32_t state = 1;

static int8_t draw(void) { /* -127..127 but 0 */
  state = state * 1664525u + 1013904223u;
  int32_t v = (int32_t)(state >> 24) - 128;
  return (int8_t)(v == 0 || v == -128 ? 1 : v);
}

static void print_field(const char *separator, const char *name, uint32_t value) {
  char text[12];
  char *p = text + sizeof text - 1;
  *p = 0;
  do *--p = (char)('0' + value % 10);
  while (value /= 10);
  board_print(separator);
  board_print(name);
  board_print("\":");
  board_print(p);
}

static int8_t x[COLS] __attribute__((aligned(4)));

static void exact(const int8_t *w, int32_t *z) {
  el_inputs in;
  el_begin_rows(&in, x, COLS, ROWS);
  el_dot_inputs(w, &in, ROWS, z);
}

#ifdef BENCH_CMSIS
#include "arm_nnfunctions.h"

enum { SHIFT = 11, HALF = 1 << (SHIFT - 1) }; /* a few of the results are cut */
static int8_t y[ROWS];

static void layer(const int8_t *w, int32_t *z) {
  static int32_t no_bias[ROWS]; /* with inputs around zero, these are the sums that it wants on Helium, too */
  const cmsis_nn_context sums = {.buf = no_bias, .size = sizeof no_bias};
  const cmsis_nn_fc_params params = {.activation = {.min = -127, .max = 127}};
  const cmsis_nn_per_tensor_quant_params narrow = {.multiplier = INT32_MAX, .shift = -SHIFT}; /* el_product_cmsis.h */
  const cmsis_nn_dims in = {1, 1, 1, COLS}, out = {1, 1, 1, ROWS}, filter = {COLS, 1, 1, ROWS};
  (void)z;
  (void)arm_fully_connected_s8(&sums, &params, &narrow, &in, x, &filter, w, &out, NULL, &out, y);
}

/* Are its results those of the exact sums? */
static int is_right(const int8_t *w, int32_t *z) {
  exact(w, z);
  for (int i = 0; i < ROWS; i++) {
    int32_t m = (z[i] < 0 ? -z[i] : z[i]) + HALF;
    m = m >> SHIFT > 127 ? 127 : m >> SHIFT;
    if (y[i] != (z[i] < 0 ? -m : m)) return 0;
  }
  return 1;
}
#else
#define layer exact
#define is_right(w, z) 1
#endif

static uint32_t ticks_of(const int8_t *w, int32_t *z) {
  const uint32_t start = board_ticks();
  for (int i = 0; i < TIMES; i++) layer(w, z);
  return board_ticks() - start;
}

int main(void) {
  uint32_t room, hash = 2166136261u;
  uint8_t *pool = board_pool(&room);
  if (room < ROWS * COLS + ROWS * 4) return 7; /* EL_ERR_MEMORY */
  int32_t *z = (int32_t *)(void *)pool;
  int8_t *w = (int8_t *)(z + ROWS);
  for (int i = 0; i < ROWS * COLS; i++) w[i] = draw();
  for (int i = 0; i < COLS; i++) x[i] = draw();
  board_clock_start();
  uint32_t start = board_ticks();
  board_loop();
  const uint32_t loop = board_ticks() - start, ticks = ticks_of(w, z);
  if (!is_right(w, z)) return 1;
  for (int i = 0; i < ROWS; i++) hash = (hash ^ (uint32_t)z[i]) * 16777619u;
  print_field("{\"", "instructions", (uint32_t)((uint64_t)ticks * BOARD_LOOP_INSTRUCTIONS / loop / TIMES));
  print_field(",\"", "products", ROWS * COLS);
  print_field(",\"", "hash", hash);
  board_print("}\n");
  return 0;
}
