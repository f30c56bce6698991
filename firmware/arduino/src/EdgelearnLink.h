/* edgelearn on any board with an Arduino core: networks that learn on the board.
 *
 * A sketch of its own calls el_open, el_infer and el_learn (edgelearn.h). To let a computer train the board over any Stream (a UART, the
 * USB's serial port), give it an EdgelearnLink:
 *
 *     static uint8_t pool[32768];
 *     static EdgelearnLink trainer(Serial, "nano33ble", pool, sizeof pool);
 *
 *     void setup() { Serial.begin(115200); trainer.begin(); }
 *     void loop() { trainer.poll(); }
 */
#ifndef EDGELEARN_LINK_H
#define EDGELEARN_LINK_H

#include <Arduino.h>

extern "C" {
#include "el_link.h"
#include "el_power.h"
#include "el_start.h"
}

class EdgelearnLink {
 public:
  /* `board`: its id, as `edgelearn boards` has it. `pool`: memory for plan, state and arena. `plan`: one that is compiled in, as it must be
   * on AVR; without one it comes over the line. `ahead`: bytes that the line keeps for us while we learn. */
  EdgelearnLink(Stream &line, const char *board, uint8_t *pool, uint32_t pool_bytes, const uint8_t *plan = nullptr, uint32_t plan_bytes = 0,
                uint16_t ahead = defaultAhead);

  /* Checks the plan that is compiled in, if there is one. False: it is not for this board or this pool. */
  bool begin();

  /* Answers what has arrived; false if nothing had. Call it in loop(). */
  bool poll();

  /* The network, for el_infer and el_learn between two calls of poll(). */
  el_t *net();

#ifndef EL_SMALL
  /* A meter in the board's supply: EdgelearnWire.h. Call it before begin(). */
  void meter(el_power &power) { hal.power = &power; }
#endif

#ifdef SERIAL_RX_BUFFER_SIZE
  static const uint16_t defaultAhead = SERIAL_RX_BUFFER_SIZE - 1;
#else
  static const uint16_t defaultAhead = 64;
#endif

 private:
  Stream &line;
  el_hal hal;
  el_t el;
  el_link link;
  uint8_t *pool;
  uint32_t poolBytes;
  const uint8_t *plan;
  uint32_t planBytes;
};

#endif
