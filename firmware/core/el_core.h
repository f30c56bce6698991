/* What the parts of the core (and the link) share; not for applications. */
#ifndef EL_CORE_H
#define EL_CORE_H

#include "edgelearn.h"
#include "el_hal.h"
#include "el_order.h"

/* Not inlined on the smallest boards: what a function needs of the stack would stand there while a sample is learnt. */
#if defined(EL_SMALL) && defined(__GNUC__)
#define EL_APART __attribute__((noinline))
#else
#define EL_APART
#endif

/* plan.c: is this a whole, sane plan for this board? Nothing of it is used before. `board` NULL: for any. */
int el_verify(EL_PLAN uint8_t *plan, uint32_t n, const char *board);
uint32_t el_plan_state_bytes(EL_PLAN uint8_t *plan);
uint32_t el_plan_arena_bytes(EL_PLAN uint8_t *plan);
uint32_t el_plan_hash(EL_PLAN uint8_t *plan); /* its trailing CRC-32 */

static inline int el_has_nv(const el_hal *hal) {
#ifdef EL_SMALL
  (void)hal;
  return 0;
#else
  return hal->nv_bytes != 0;
#endif
}

/* step.c */
int el_bind(el_t *el, const el_hal *hal, EL_PLAN uint8_t *plan, uint32_t n, uint8_t *pool, uint32_t pool_bytes);
void el_init_state(el_t *el, uint32_t seed);
uint8_t *el_input(el_t *el); /* where a sample is staged: the start of the arena */
uint32_t el_input_bytes(const el_t *el);
uint16_t el_classes(const el_t *el);
int el_learn_staged(el_t *el, uint16_t label, uint16_t *out_guess);
int el_infer_staged(el_t *el, uint16_t *out_label);
uint32_t el_step(const el_t *el); /* samples learnt by this state */
uint32_t el_seed(const el_t *el);

#endif
