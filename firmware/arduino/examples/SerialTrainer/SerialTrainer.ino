/* Lets a computer train this board: edgelearn train RECIPE --board BOARD --port /dev/ttyACM0 */
#include <EdgelearnLink.h>

#ifdef __AVR__
/* Too little RAM for a plan that comes over the line: it is compiled in, from the two files that are made by
 *     edgelearn export app.toml --board arduino-uno --format plan-c -o (this folder) */
#include "app_plan.h"
alignas(8) static uint8_t pool[EL_APP_POOL_BYTES];
static EdgelearnLink trainer(Serial, "arduino-uno", pool, sizeof pool, el_app_plan, el_app_plan_bytes);
#else
/* The id of your board is what `edgelearn boards` calls it. */
alignas(8) static uint8_t pool[32768];
static EdgelearnLink trainer(Serial, "nano33ble", pool, sizeof pool);
#endif

void setup() {
  Serial.begin(115200);
  trainer.begin();
}

void loop() { trainer.poll(); }
