/* Starting from what was learnt elsewhere: `edgelearn export RUN --format plan-c` writes a run's state beside its plan.
 *
 *     el_open(&el, &hal, el_app_plan, el_app_plan_bytes, pool, sizeof pool, 1);
 *     if (el_load(&el)) el_start(&el, el_app_state, el_app_state_bytes);  // nothing newer of its own
 *
 * The state holds step and seed too: the board goes on learning as the run would have. */
#ifndef EL_START_H
#define EL_START_H

#include "edgelearn.h"
#include "el_hal.h"
#include "el_order.h"

/* After el_open. EL_ERR_SIZE, and nothing is changed, if it is no state of this plan's size. */
static inline int el_start(el_t *el, EL_ROM uint8_t *state, uint32_t bytes) {
  if (!el || !state || !el->plan) return EL_ERR_ARG;
  if (bytes != el->state_bytes) return EL_ERR_SIZE;
  for (uint32_t i = 0; i < bytes; i++) el->state[i] = el_rom_u8(state + i);
  el_turn_state(el);
  return EL_OK;
}

#endif
