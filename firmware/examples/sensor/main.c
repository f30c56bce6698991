/* Learns gestures from the board's own sensor, with no host attached.
 *
 * While the user holds a button, each window of readings is first a test, then a lesson; without it, the board says what
 * it sees. What it learnt outlives the power where there is memory for it. */
#include "edgelearn.h"
#include "gestures_plan.h" /* gestures.toml, compiled */
#include "port.h"
#include "sensor.h"

#define REPORT_EVERY 100u /* lessons between two reports */
#define SAVE_EVERY 1000u  /* lessons between two writes: flash wears out */
#define NOTHING 0xFFFFu

_Static_assert(EL_APP_INPUTS == SENSOR_VALUES, "the plan takes another number of readings than sensor.h gives");
_Static_assert(EL_APP_INPUT_EXP == SENSOR_EXP, "the plan takes readings in another unit than sensor.h gives");
_Static_assert(EL_APP_CLASSES == SENSOR_CLASSES, "the plan knows another number of classes than sensor.h");

static _Alignas(8) uint8_t pool[EL_APP_POOL_BYTES];
static el_t el;
static const el_hal *hal;
static uint32_t lessons, right; /* since the last report */
static uint16_t said = NOTHING;

static void say(const char *text) {
  size_t n = 0;
  while (text[n]) n++;
  hal->tx(hal->ctx, (const uint8_t *)text, n);
}

static void say_number(uint32_t value) {
  char digits[11];
  char *first = digits + sizeof digits - 1;
  *first = 0;
  do *--first = (char)('0' + value % 10u);
  while (value /= 10u);
  say(first);
}

static void say_labelled(const char *label, uint32_t value) {
  say(label);
  say_number(value);
}

/* Nothing works without a plan: says why, for ever asleep. */
static void halt(int code) {
  say_labelled("stopped: error -", (uint32_t)-code);
  say("\r\n");
  for (;;) el_port_idle();
}

static void report(void) {
  el_stats_t cost;
  el_stats(&el, &cost);
  say_labelled("step ", cost.step);
  say_labelled("  right ", 100u * right / lessons);
  say_labelled(" %  ram ", cost.state + cost.arena);
  say_labelled("  stack ", cost.stack);
  say("\r\n");
  /* A board without such memory just forgets; a write that failed is tried again at the next report that is due. */
  if (cost.step % SAVE_EVERY == 0 && el_save(&el) == EL_OK) say("saved\r\n");
  lessons = right = 0;
}

static void teach(const int8_t *window, uint16_t label) {
  uint16_t guess;
  if (el_infer(&el, window, &guess) || el_learn(&el, window, label, NULL)) return;
  right += guess == label;
  if (++lessons == REPORT_EVERY) report();
}

/* Speaks only when its mind has changed. */
static void tell(const int8_t *window) {
  static const char *const names[SENSOR_CLASSES] = {"a shake\r\n", "a circle\r\n", "a lift\r\n"};
  uint16_t guess;
  if (el_infer(&el, window, &guess) || guess >= SENSOR_CLASSES || guess == said) return;
  said = guess;
  say(names[guess]);
}

static void live(const int8_t *window) {
  int label = button_label();
  if (label < 0) tell(window);
  else teach(window, (uint16_t)label);
}

int main(void) {
  static int8_t window[SENSOR_VALUES];
  hal = el_port_open();
  int code = el_open(&el, hal, el_app_plan, el_app_plan_bytes, pool, sizeof pool, 1);
  if (code) halt(code);
  say(el_load(&el) == EL_OK ? "I remember\r\n" : "I know nothing yet\r\n");
  for (;;)
    if (sensor_read(window)) live(window);
    else el_port_idle();
}
