/* Learns gestures from the board's own sensor, with no computer attached: while the user holds a button, each window of readings is first a
 * test, then a lesson. sensor.c has a made-up wrist: put your accelerometer and your button there. gestures_plan.c is the network. */
#include <EdgelearnLink.h>

#include "gestures_plan.h"
extern "C" {
#include "sensor.h"
}

static_assert(EL_APP_INPUTS == SENSOR_VALUES, "the plan takes another number of readings than sensor.h gives");
static_assert(EL_APP_CLASSES == SENSOR_CLASSES, "the plan knows another number of classes than sensor.h");

alignas(8) static uint8_t pool[EL_APP_POOL_BYTES];
static el_t net;
static int8_t window[SENSOR_VALUES];
static uint32_t lessons, right; /* since the last report */
static const uint32_t REPORT_EVERY = 100;

static void report() {
  el_stats_t cost;
  el_stats(&net, &cost);
  Serial.print(F("step "));
  Serial.print(cost.step);
  Serial.print(F("  right "));
  Serial.print(100 * right / lessons);
  Serial.print(F(" %  ram "));
  Serial.println(cost.state + cost.arena);
  lessons = right = 0;
}

static void teach(uint16_t label) {
  uint16_t guess;
  if (el_infer(&net, window, &guess) || el_learn(&net, window, label, nullptr)) return;
  right += guess == label;
  if (++lessons == REPORT_EVERY) report();
}

static void tell() {
  static uint16_t said = EL_NO_LABEL;
  uint16_t guess;
  if (el_infer(&net, window, &guess) || guess == said) return;
  said = guess;
  Serial.print(F("gesture "));
  Serial.println(guess);
}

void setup() {
  Serial.begin(115200);
  int code = el_open(&net, nullptr, el_app_plan, el_app_plan_bytes, pool, sizeof pool, 1);
  if (code == EL_OK) return;
  Serial.print(F("stopped: error "));
  Serial.println(code);
  for (;;) delay(1000);
}

void loop() {
  if (!sensor_read(window)) return;
  int label = button_label();
  if (label < 0) tell();
  else teach(static_cast<uint16_t>(label));
}
