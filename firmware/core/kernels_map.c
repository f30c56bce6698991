/* Integer kernels that work element by element: for rules whose ops were not fused. Clear before fast. */
#include <string.h>

#include "el_values.h"

typedef int32_t (*el_map)(int32_t u, int32_t v);

static void map1(el_run *run, const el_arg *v, const el_arg *y, int16_t e, el_map f) {
  el_narrow out = el_narrow_begin(y, e);
  for (uint32_t i = 0, n = el_elements(y); i < n; i++) el_narrow_put(&out, i, f(el_load_q(v, i), 0));
  (void)run;
}

static int32_t relu(int32_t u, int32_t v) { return (void)v, u > 0 ? u : 0; }
static int32_t magnitude(int32_t u, int32_t v) { return (void)v, u < -EL_I32_MAX ? EL_I32_MAX : u < 0 ? -u : u; }
static int32_t positive(int32_t u, int32_t v) { return (void)v, u > 0 ? 128 : 0; }

void el_k_relu(el_run *run, const el_arg *a) { map1(run, &a[0], &a[1], a[0].e, relu); }
void el_k_abs(el_run *run, const el_arg *a) { map1(run, &a[0], &a[1], a[0].e, magnitude); }
void el_k_gt0(el_run *run, const el_arg *a) { map1(run, &a[0], &a[1], -7, positive); }

/* 0 within the dead zone, ends included. */
void el_k_sign(el_run *run, const el_arg *a) {
  int16_t *y = a[1].p;
  int32_t dead = el_shift((int32_t)el_plan32(run->op + EL_OP_IMM), (int16_t)(a[0].e + 15));
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++) {
    int32_t q = el_load_q(&a[0], i);
    y[i] = q > dead ? 128 : q < -dead ? -128 : 0;
  }
}

void el_k_mask(el_run *run, const el_arg *a) {
  const el_arg *v = &a[0], *y = &a[2];
  const int8_t *mask = a[1].p;
  uint32_t n = el_elements(y);
  (void)run;
  if (v->dtype != y->dtype || el_elements(v) != n || el_elements(&a[1]) != n) { /* one of them goes with every element */
    for (uint32_t i = 0; i < n; i++) el_store(y->p, y->dtype, i, el_at(&a[1], i) > 0 ? el_at(v, i) : 0);
    return;
  }
  if (v->p != y->p) memmove(y->p, v->p, (size_t)n << (y->dtype == EL_DTYPE_I8 ? 0 : y->dtype == EL_DTYPE_I16 ? 1 : 2));
  for (uint32_t i = 0; i < n; i++)
    if (mask[i] <= 0) el_store(y->p, y->dtype, i, 0);
}

void el_k_quant(el_run *run, const el_arg *a) {
  el_narrow out = el_narrow_begin(&a[1], a[0].e);
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++) el_narrow_put(&out, i, el_load_q(&a[0], i));
  el_narrow_end(run, &a[1], out.saturated, out.maximum);
}

void el_k_mul(el_run *run, const el_arg *a) {
  el_narrow out = el_narrow_begin(&a[2], (int16_t)(a[0].e + a[1].e));
  for (uint32_t i = 0, n = el_elements(&a[2]); i < n; i++) el_narrow_put(&out, i, el_at(&a[0], i) * el_at(&a[1], i));
  el_narrow_end(run, &a[2], out.saturated, out.maximum);
}

void el_k_scale(el_run *run, const el_arg *a) {
  uint32_t mantissa = el_plan32(run->op + EL_OP_IMM); /* of 8 bits; a damaged plan's may wrap */
  el_narrow out = el_narrow_begin(&a[1], (int16_t)(a[0].e + (int8_t)run->op[EL_OP_K]));
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++) el_narrow_put(&out, i, (int32_t)((uint32_t)el_load_q(&a[0], i) * mantissa));
  el_narrow_end(run, &a[1], out.saturated, out.maximum);
}

/* Both at the coarser of their exponents; the result says in its slot which that was. */
static void aligned(el_run *run, const el_arg *a, int8_t factor) {
  int16_t e = a[0].e > a[1].e ? a[0].e : a[1].e;
  el_set_exponent(run, &a[2], e);
  for (uint32_t i = 0, n = el_elements(&a[2]); i < n; i++) {
    int32_t u = el_shift(el_at(&a[0], i), (int16_t)(e - a[0].e)), v = factor * el_shift(el_at(&a[1], i), (int16_t)(e - a[1].e));
    int32_t sum = v > 0 ? (u > EL_I32_MAX - v ? EL_I32_MAX : u + v) : (u < -EL_I32_MAX - v ? -EL_I32_MAX : u + v);
    el_store(a[2].p, a[2].dtype, i, sum);
  }
}

void el_k_add(el_run *run, const el_arg *a) { aligned(run, a, 1); }
void el_k_sub(el_run *run, const el_arg *a) { aligned(run, a, -1); }
