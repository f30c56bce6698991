/* What a dense int8 layer costs by itself: the products of 128 rows of 784 weights with inputs none of which is zero, exact, as
 * kernels_int.c has them made. Prints instructions for one layer, and a hash of its results. */
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

static uint32_t ticks_of(const int8_t *w, int32_t *z) {
  const uint32_t start = board_ticks();
  for (int i = 0; i < TIMES; i++) {
    el_inputs in;
    el_begin_rows(&in, x, COLS, ROWS);
    el_dot_inputs(w, &in, ROWS, z);
  }
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
  for (int i = 0; i < ROWS; i++) hash = (hash ^ (uint32_t)z[i]) * 16777619u;
  print_field("{\"", "instructions", (uint32_t)((uint64_t)ticks * BOARD_LOOP_INSTRUCTIONS / loop / TIMES));
  print_field(",\"", "products", ROWS * COLS);
  print_field(",\"", "hash", hash);
  board_print("}\n");
  return 0;
}
