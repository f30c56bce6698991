/* Reductions, constants and choices, in integers: edgelearn/ir/ops/reductions.py and choices.py. Clear before fast. */
#include "el_values.h"

/* --- many numbers become one; sums wrap only where a damaged plan has more terms than the table allows --- */

static int32_t total(const el_arg *v) {
  uint32_t sum = 0;
  for (uint32_t i = 0, n = el_elements(v); i < n; i++) sum += (uint32_t)el_load_q(v, i);
  return (int32_t)sum;
}

void el_k_sum(el_run *run, const el_arg *a) { el_put_one(run, &a[1], total(&a[0]), a[0].e); }

void el_k_mean(el_run *run, const el_arg *a) {
  int32_t sum = total(&a[0]);
  uint32_t n = el_elements(&a[0]), size = sum < 0 ? 0u - (uint32_t)sum : (uint32_t)sum;
  int32_t mean = (int32_t)((size / n << EL_MEAN_BITS) + ((size % n << EL_MEAN_BITS) + (n >> 1)) / n);
  el_put_one(run, &a[1], sum < 0 ? -mean : mean, (int16_t)(a[0].e - EL_MEAN_BITS));
}

void el_k_max(el_run *run, const el_arg *a) {
  int32_t top = el_load_q(&a[0], 0);
  for (uint32_t i = 1, n = el_elements(&a[0]); i < n; i++) {
    int32_t q = el_load_q(&a[0], i);
    if (q > top) top = q;
  }
  el_put_one(run, &a[1], top, a[0].e);
}

void el_k_dot(el_run *run, const el_arg *a) {
  const int8_t *u = a[0].p, *v = a[1].p;
  uint32_t sum = 0;
  for (uint32_t i = 0, n = el_elements(&a[0]); i < n; i++) sum += (uint32_t)((int32_t)u[i] * v[i]);
  el_put_one(run, &a[2], (int32_t)sum, (int16_t)(a[0].e + a[1].e));
}

/* --- constants and choices --- */

void el_k_const(el_run *run, const el_arg *a) {
  int32_t *y = a[0].p, value = (int32_t)el_plan32(run->op + EL_OP_IMM);
  for (uint32_t i = 0, n = el_elements(&a[0]); i < n; i++) y[i] = value;
}

/* Two operands at the coarser of their exponents. */
typedef struct el_pair {
  const el_arg *u, *v;
  int16_t by_u, by_v; /* shifts */
} el_pair;

static el_pair pair_begin(const el_run *run, const el_arg *u, const el_arg *v, const el_arg *y) {
  int16_t e = u->e > v->e ? u->e : v->e;
  el_set_exponent(run, y, e);
  return (el_pair){u, v, (int16_t)(e - u->e), (int16_t)(e - v->e)};
}

static int32_t pair_u(const el_pair *p, uint32_t i) { return el_shift(el_at(p->u, i), p->by_u); }
static int32_t pair_v(const el_pair *p, uint32_t i) { return el_shift(el_at(p->v, i), p->by_v); }

static void extremum(el_run *run, const el_arg *a, uint8_t upper) {
  int32_t *y = a[2].p;
  el_pair p = pair_begin(run, &a[0], &a[1], &a[2]);
  for (uint32_t i = 0, n = el_elements(&a[2]); i < n; i++) {
    int32_t u = pair_u(&p, i), v = pair_v(&p, i);
    y[i] = (u > v) == upper ? u : v;
  }
}

void el_k_minimum(el_run *run, const el_arg *a) { extremum(run, a, 0); }
void el_k_maximum(el_run *run, const el_arg *a) { extremum(run, a, 1); }

void el_k_where(el_run *run, const el_arg *a) {
  int32_t *y = a[3].p;
  el_pair p = pair_begin(run, &a[1], &a[2], &a[3]);
  for (uint32_t i = 0, n = el_elements(&a[3]); i < n; i++) y[i] = el_at(&a[0], i) > 0 ? pair_u(&p, i) : pair_v(&p, i);
}

void el_k_clip(el_run *run, const el_arg *a) {
  el_narrow out = el_narrow_begin(&a[3], a[0].e);
  int16_t by_low = (int16_t)(a[0].e - a[1].e), by_high = (int16_t)(a[0].e - a[2].e);
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[3]); i < n; i++) {
    int32_t q = el_load_q(&a[0], i), low = el_shift(el_at(&a[1], i), by_low), high = el_shift(el_at(&a[2], i), by_high);
    if (q < low) q = low;
    el_narrow_put(&out, i, q > high ? high : q);
  }
}

void el_k_leaky_relu(el_run *run, const el_arg *a) {
  el_narrow out = el_narrow_begin(&a[1], a[0].e);
  int16_t by = (int16_t) - (int8_t)run->op[EL_OP_K];
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++) {
    int32_t q = el_load_q(&a[0], i);
    el_narrow_put(&out, i, q > 0 ? q : el_shift(q, by));
  }
}

/* --- parts --- */

void el_k_overlay(el_run *run, const el_arg *a) {
  el_narrow out = el_narrow_begin(&a[2], a[0].e);
  uint32_t n = el_elements(&a[2]), over = el_elements(&a[1]);
  int16_t by = (int16_t)(a[0].e - a[1].e);
  (void)run;
  for (uint32_t i = 0; i < n; i++) el_narrow_put(&out, i, i < over ? el_shift(el_load_q(&a[1], i), by) : el_load_q(&a[0], i));
}

void el_k_slice(el_run *run, const el_arg *a) {
  uint32_t start = el_plan32(run->op + EL_OP_IMM), have = el_elements(&a[0]);
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++)
    el_store(a[1].p, a[1].dtype, i, start < have && i < have - start ? el_load_q(&a[0], start + i) : 0);
}
