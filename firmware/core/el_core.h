/* What the parts of the core (and the link) share; not for applications. */
#ifndef EL_CORE_H
#define EL_CORE_H

#include "edgelearn.h"
#include "el_hal.h"

/* plan.c: is this a whole, sane plan for this board? Nothing of it is used before. `board` NULL: for any. */
int el_verify(const uint8_t *plan, uint32_t n, const char *board);
uint32_t el_plan_state_bytes(const uint8_t *plan);
uint32_t el_plan_arena_bytes(const uint8_t *plan);
uint32_t el_plan_hash(const uint8_t *plan); /* its trailing CRC-32 */

/* step.c */
int el_bind(el_t *el, const el_hal *hal, const uint8_t *plan, uint32_t n, uint8_t *pool, uint32_t pool_bytes);
void el_init_state(el_t *el, uint32_t seed);
uint8_t *el_input(el_t *el); /* where a sample is staged: the start of the arena */
uint32_t el_input_bytes(const el_t *el);
uint16_t el_classes(const el_t *el);
int el_learn_staged(el_t *el, uint16_t label, uint16_t *out_guess);
int el_infer_staged(el_t *el, uint16_t *out_label);
uint32_t el_step(const el_t *el); /* samples learnt by this state */
uint32_t el_seed(const el_t *el);

#endif
