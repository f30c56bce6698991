/* Learns from its own sensor, with no computer attached.
 *
 * A sample whose class somebody says is first a test, then a lesson; of any other the board says what it takes it for. What it learnt
 * outlives the power where board_open has memory for it. board.h and sensor.h are what to fill in for a board of your own. */
#include "board.h"
#include "sensor.h"

#define REPORT_EVERY 100u /* lessons between two reports */
#define SAVE_EVERY 1000u  /* lessons between two writes: flash wears out */

static _Alignas(8) uint8_t pool[EL_APP_POOL_BYTES];
static el_app_value sample[EL_APP_INPUTS];
static el_t el;
static uint32_t lessons, right; /* since the last report */

static void say_number(uint32_t value) {
  char digits[11];
  char *first = digits + sizeof digits - 1;
  *first = 0;
  do *--first = (char)('0' + value % 10u);
  while (value /= 10u);
  board_say(first);
}

static void say_labelled(const char *label, uint32_t value) {
  board_say(label);
  say_number(value);
}

static uint32_t step(void) {
  el_stats_t cost;
  return el_stats(&el, &cost) ? 0 : cost.step;
}

static void report(void) {
  if (!lessons) return;
  say_labelled("step ", step());
  say_labelled("  right ", 100u * right / lessons);
  board_say(" %\n");
  lessons = right = 0;
}

/* A board without such memory just forgets. */
static void save(void) {
  if (el_save(&el) == EL_OK) board_say("saved\n");
}

static int teach(uint16_t label) {
  uint16_t guess;
  int code = el_infer(&el, sample, &guess);
  if (!code) code = el_learn(&el, sample, label, NULL);
  if (code) return code;
  right += guess == label;
  if (++lessons == REPORT_EVERY) report();
  if (step() % SAVE_EVERY == 0) save();
  return EL_OK;
}

static int tell(void) {
  uint16_t guess;
  int code = el_infer(&el, sample, &guess);
  if (code) return code;
  say_labelled("class ", guess);
  board_say("\n");
  return EL_OK;
}

static int live(void) {
  int label = sensor_label();
  return label < 0 ? tell() : label < EL_APP_CLASSES ? teach((uint16_t)label) : EL_ERR_LABEL;
}

/* Until the sensor ends, which that of a board never does. */
static int run(void) {
  int code = EL_OK, got = 0;
  while (code == EL_OK && (got = sensor_read(sample)) >= 0) {
    if (got) code = live();
    else board_idle();
  }
  return code ? code : got == SENSOR_ENDED ? EL_OK : EL_ERR_ARG;
}

int main(void) {
  int code = el_app_open(&el, board_open(), pool, sizeof pool);
  if (code == EL_OK) {
    if (el_load(&el) == EL_OK) say_labelled("I remember step ", step()), board_say("\n");
    code = run();
    report();
    save();
  }
  if (code) say_labelled("stopped: error -", (uint32_t)-code), board_say("\n");
  return code ? 1 : 0;
}
