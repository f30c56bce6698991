/* Learns from the board's own sensor, with no computer attached: a sample whose class somebody says is first a test, then a lesson.
 * sensor.c has a made-up one: put yours there. */
#include <@STEM@_net.h>

#include "sensor.h"

alignas(8) static uint8_t pool[EL_APP_POOL_BYTES];
static el_app_value sample[EL_APP_INPUTS];
static el_t net;
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
  if (el_infer(&net, sample, &guess) || el_learn(&net, sample, label, nullptr)) return;
  right += guess == label;
  if (++lessons == REPORT_EVERY) report();
}

static void tell() {
  uint16_t guess;
  if (el_infer(&net, sample, &guess)) return;
  Serial.print(F("class "));
  Serial.println(guess);
}

void setup() {
  Serial.begin(115200);
  int code = el_app_open(&net, nullptr, pool, sizeof pool);
  if (code == EL_OK) return;
  Serial.print(F("stopped: error "));
  Serial.println(code);
  for (;;) delay(1000);
}

void loop() {
  if (sensor_read(sample) != 1) return;
  int label = sensor_label();
  if (label < 0) tell();
  else teach(static_cast<uint16_t>(label));
}
