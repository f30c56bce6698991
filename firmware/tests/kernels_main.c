/* Runs every primitive of el_dot.h on numbers that only depend on this file, and prints a hash of all that came out and how long the
 * clock ran. Built twice, once with EL_PORTABLE, it must print the same hashes: tests/firmware/test_kernels.py. */
#include <string.h>

#include "bench_board.h"
#include "el_dot.h"

/* A dense layer small enough for 16 KB of RAM; -D makes it larger. Repeated, because the clock ticks every few dozen instructions. */
#ifndef ROWS
#define ROWS 16
#define COLS 192
#endif
enum { REPEAT = 8, LENGTHS = 70, PATTERNS = 3, CHANNELS = 16, OUT = 8, KERNEL = 3, SIDE = 5, ERRORS = 32 };

static int8_t weights[ROWS * COLS + 64], fresh[ROWS * COLS + 64], inputs[COLS + 64 + SIDE * KERNEL * CHANNELS];
static int16_t wide[OUT * KERNEL * KERNEL * CHANNELS + 64], errors[ERRORS];
static int32_t sums[COLS + 8];
static uint32_t random_state = 1, hash;

static uint32_t draw(void) {
  random_state = random_state * 1664525u + 1013904223u;
  return random_state >> 8;
}

static int32_t within(int32_t limit) { return (int32_t)(draw() % (2 * (uint32_t)limit + 1)) - limit; }

static void mix(const void *p, uint32_t n) {
  for (const uint8_t *b = p; n--; b++) hash = (hash ^ *b) * 16777619u;
}

/* Out of 8 inputs, how many are not zero: all, as in a picture, as after relu. */
static const uint8_t density[PATTERNS] = {8, 4, 2};
static const char *const pattern_name[PATTERNS] = {"full", "half", "quarter"};

/* Zeros come in runs of four, as borders of pictures do, or alone. */
static void fill_inputs(int pattern) {
  for (int i = 0; i < (int)sizeof inputs; i++) {
    uint32_t keep = i % 32 < 16 ? draw() % 8 : 8 * (uint32_t)(i / 4 % 8 >= density[pattern]);
    inputs[i] = keep < density[pattern] ? (int8_t)within(127) : 0;
  }
}

static void fill(void) {
  for (int i = 0; i < (int)sizeof fresh; i++) fresh[i] = (int8_t)within(127);
  for (int i = 0; i < (int)(sizeof wide / sizeof *wide); i++) wide[i] = (int16_t)within(8191);
  for (int i = 0; i < ERRORS; i++) errors[i] = (int16_t)(i % 3 ? within(32767) : 0);
}

static void print_number(uint32_t value) {
  char digits[12];
  char *p = digits + sizeof digits - 1;
  *p = 0;
  do *--p = (char)('0' + value % 10);
  while (value /= 10);
  board_print(p);
}

static uint32_t clock_start;

static void begin(void) {
  hash = 2166136261u;
  clock_start = board_ticks();
}

/* A line of result: name, what of, hash, ticks, and what they are for. */
static void end(const char *name, const char *of, uint32_t ticks, uint32_t work) {
  board_print(name);
  board_print(" ");
  board_print(of);
  board_print(" ");
  print_number(hash);
  board_print(" ");
  print_number(ticks);
  board_print(" ");
  print_number(work);
  board_print("\n");
}

static uint32_t ticks_now(void) { return board_ticks() - clock_start; }

static void time_rows(int pattern) {
  int32_t out[ROWS];
  el_inputs in;
  begin();
  for (int i = 0; i < REPEAT; i++) {
    el_begin_rows(&in, inputs, COLS, ROWS);
    el_dot_inputs(weights, &in, ROWS, out);
  }
  uint32_t ticks = ticks_now();
  mix(out, sizeof out);
  end("dot", pattern_name[pattern], ticks, REPEAT * ROWS * COLS);
}

/* As el_k_outer_update does it. */
static void update(int8_t *w, const int8_t *x, uint32_t n, uint32_t rows, int32_t k, uint32_t r) {
  el_inputs in;
  el_begin(&in, x, n);
  do
    for (uint32_t row = 0; row < rows; row++) el_update_part(w + row * n, &in, k, r + row * EL_RNG_ROW);
  while (el_more(&in));
}

static void time_update(const char *name, int pattern, int32_t k) {
  memcpy(weights, fresh, sizeof weights);
  begin();
  for (uint32_t i = 0; i < REPEAT; i++) update(weights, inputs, COLS, ROWS, k, i * EL_RNG_STEP);
  uint32_t ticks = ticks_now();
  mix(weights, sizeof weights);
  end(name, pattern_name[pattern], ticks, REPEAT * ROWS * COLS);
}

/* Every length up to LENGTHS, from every alignment, with k from tiny to its bound. */
static void try_lengths(int pattern) {
  static const int32_t k[] = {1, -3, 100, -700, 5000, -32767, 32768, -40000, 300000, -4194304, 4194304};
  const int kinds = sizeof k / sizeof *k;
  begin();
  memcpy(weights, fresh, sizeof weights);
  for (uint32_t n = 1; n < LENGTHS; n++)
    for (uint32_t at = 0; at < 4; at++) {
      const int8_t *x = inputs + n % 7;
      el_inputs in;
      int32_t out[9];
      el_begin_rows(&in, x, n, 7);
      el_dot_inputs(fresh + at, &in, 7, out);
      out[7] = el_dot1(fresh + at, x, n);
      out[8] = el_dot1_wide(wide + at, x, n);
      mix(out, sizeof out);
      update(weights + at, x, n, 2, k[(n + at) % kinds], draw() << 8);
      el_update_row_wide(wide + at, x, n, k[(n + 2 * at) % kinds] / 2, draw() << 8, 8191);
    }
  mix(weights, sizeof weights);
  mix(wide, sizeof wide);
  end("lengths", pattern_name[pattern], 0, 1);
}

/* As after relu: no input is negative, and most k are so small that k x has 16 bits. */
static void try_positive(int pattern) {
  static const int32_t k[] = {1, -1, 77, -300, 515, -515, 516, -516, 517, -517, 20000, -20000};
  const int kinds = sizeof k / sizeof *k;
  begin();
  memcpy(weights, fresh, sizeof weights);
  for (int i = 0; i < (int)sizeof inputs; i++) inputs[i] = (int8_t)(inputs[i] < 0 ? -inputs[i] : inputs[i]);
  for (uint32_t turn = 0; turn < 3; turn++)
    for (uint32_t n = 1; n < LENGTHS; n++) update(weights + n % 4, inputs + n % 7, n, 2, k[(n + turn) % (uint32_t)kinds], draw() << 8);
  for (int i = 0; i < kinds; i++) update(weights, inputs, COLS, ROWS, k[i], draw() << 8);
  mix(weights, sizeof weights);
  end("update_positive", pattern_name[pattern], 0, 1);
}

/* Windows of every width, as at the edges of maps, and what an update makes of them. */
static void try_windows(int pattern) {
  begin();
  memcpy(weights, fresh, sizeof weights);
  for (uint32_t run = 1; run < 40; run++) {
    el_view v = {1 + run % 3, run, run + run % 5, run + 1, 3 * (run + 5)};
    int32_t out[4] = {1, -2, 3, -4};
    el_view4_i8(fresh + run % 4, inputs + run % 3, &v, out);
    mix(out, sizeof out);
    el_columns4_i8(fresh + run % 4, run, errors, run % ERRORS, out);
    mix(out, sizeof out);
    el_view4_i16(wide + run % 4, inputs + run % 3, &v, out);
    mix(out, sizeof out);
    el_columns4_i16(wide + run % 4, run, errors, run % ERRORS, out);
    mix(out, sizeof out);
    for (uint32_t i = 0; i < run; i++) sums[i] = within(1 << 22);
    el_add_run(sums, inputs + run % 3, run, within(run % 2 ? 1 << 15 : 1 << 18));
    el_settle_i8(weights + run % 4, sums, run, draw() << 8, 127);
    el_settle_i16(wide + run % 4, sums, run, draw() << 8, 8191);
  }
  mix(sums, sizeof sums);
  mix(weights, sizeof weights);
  mix(wide, sizeof wide);
  end("windows", pattern_name[pattern], 0, 1);
}

static void time_view(int pattern) {
  int32_t out[4];
  el_view v = {KERNEL, KERNEL * CHANNELS, KERNEL * CHANNELS, SIDE * CHANNELS, KERNEL * KERNEL * CHANNELS};
  begin();
  for (int i = 0; i < REPEAT; i++)
    for (uint32_t channel = 0; channel < OUT; channel += 4) el_view4_i8(fresh + channel * v.w_next, inputs, &v, out);
  uint32_t ticks = ticks_now();
  mix(out, sizeof out);
  end("view4_i8", pattern_name[pattern], ticks, REPEAT * OUT * v.w_next);
  begin();
  for (int i = 0; i < REPEAT; i++)
    for (uint32_t channel = 0; channel < OUT; channel += 4) el_view4_i16(wide + channel * v.w_next, inputs, &v, out);
  ticks = ticks_now();
  mix(out, sizeof out);
  end("view4_i16", pattern_name[pattern], ticks, REPEAT * OUT * v.w_next);
}

static void time_columns(void) {
  int32_t out[4] = {0};
  begin();
  for (uint32_t c = 0; c + 4 <= 64; c += 4) el_columns4_i8(fresh + c, 64, errors, ERRORS, out);
  uint32_t ticks = ticks_now();
  mix(out, sizeof out);
  end("columns4_i8", "two_thirds", ticks, 64 * ERRORS);
}

static void time_settle(void) {
  for (int i = 0; i < COLS; i++) inputs[i] = (int8_t)within(127);
  begin();
  for (int i = 0; i < REPEAT; i++) el_add_run(sums, inputs, COLS, i - 3);
  uint32_t ticks = ticks_now();
  mix(sums, sizeof sums);
  end("add_run", "full", ticks, REPEAT * COLS);
  for (int i = 0; i < COLS; i++) sums[i] = i % 4 ? within(1 << 20) : 0;
  memcpy(weights, fresh, COLS);
  begin();
  for (uint32_t i = 0; i < REPEAT; i++) el_settle_i8(weights, sums, COLS, i * 12345, 127);
  ticks = ticks_now();
  mix(weights, COLS);
  end("settle_i8", "three_quarters", ticks, REPEAT * COLS);
}

int main(void) {
  board_clock_start();
  begin();
  board_loop();
  end("loop", "all", ticks_now(), BOARD_LOOP_INSTRUCTIONS);
  fill();
  for (int pattern = 0; pattern < PATTERNS; pattern++) {
    fill_inputs(pattern);
    time_rows(pattern);
    time_update("update_small", pattern, 60);
    time_update("update_large", pattern, -9000);
    time_view(pattern);
    try_lengths(pattern);
    try_windows(pattern);
    try_positive(pattern);
  }
  time_columns();
  time_settle();
  return 0;
}
