/* What integer kernels that go from value to value share. */
#ifndef EL_VALUES_H
#define EL_VALUES_H

#include "el_kernel.h"

/* Element i; of an operand of one element, that one. */
static inline int32_t el_at(const el_arg *a, uint32_t i) { return el_load_q(a, el_elements(a) == 1 ? 0 : i); }

static inline int32_t el_saturated(int32_t q, int32_t limit) { return q > limit ? limit : q < -limit ? -limit : q; }

/* Says in the slot of `y` what exponent its numbers came to have. Nothing is said where it is the sum of others': that one is right. */
static inline void el_set_exponent(const el_run *run, const el_arg *y, int16_t e) {
  if (y->e != e && run->slots[(uint32_t)y->slot * EL_SLOT_BYTES + EL_SLOT_KIND] == EL_SLOT_IS_COMPUTED) run->exps[y->slot] = (int8_t)e;
}

/* Narrows one exact result of exponent `e` into `y`. */
static inline void el_put_one(el_run *run, const el_arg *y, int32_t exact, int16_t e) {
  el_narrow out = el_narrow_begin(y, e);
  el_narrow_put(&out, 0, exact);
  el_narrow_end(run, y, out.saturated, out.maximum);
}

#endif
