/* Chance, in integers: edgelearn/ir/ops/draws.py. All of it follows from the seed; nothing is kept. */
#include "el_values.h"

void el_k_noise(el_run *run, const el_arg *a) {
  int16_t *y = a[0].p;
  uint32_t start = el_draw(run);
  uint8_t uniform = run->op[EL_OP_K];
  for (uint32_t i = 0, n = el_elements(&a[0]); i < n; i++) {
    if (uniform) y[i] = (int16_t)(el_mix(start + i * EL_RNG_COLUMN) >> 17);
    else y[i] = (int16_t)el_shift(el_normal_unit(start, i) * (int32_t)EL_NORMAL_SCALE, EL_NORMAL_SHIFT);
  }
}

/* The upper 32 bits of u * v. */
static uint32_t high_product(uint32_t u, uint32_t v) {
  uint32_t ul = u & 0xFFFF, uh = u >> 16, vl = v & 0xFFFF, vh = v >> 16;
  uint32_t middle = uh * vl + (ul * vl >> 16), other = ul * vh + (middle & 0xFFFF);
  return uh * vh + (middle >> 16) + (other >> 16);
}

static uint32_t weight(const el_arg *p, uint32_t i) {
  int32_t q = el_load_q(p, i);
  return q > 0 ? (uint32_t)q : 0;
}

/* The class in whose part of the total a uniform number falls; 0 if there is no weight at all. */
void el_k_sample(el_run *run, const el_arg *a) {
  uint32_t n = el_elements(&a[0]), total = 0, end = 0, chosen = 0;
  for (uint32_t i = 0; i < n; i++) total += weight(&a[0], i);
  uint32_t at = high_product(el_mix(el_draw(run)), total);
  for (uint32_t i = 0; i < n; i++) {
    end += weight(&a[0], i);
    if (end > at) {
      chosen = i;
      break;
    }
  }
  *(int32_t *)a[1].p = (int32_t)chosen;
}

/* y = S v, S being made of random bits as it is needed: a word for up to 32 signs of a row. */
void el_k_signs(el_run *run, const el_arg *a) {
  const el_arg *v = &a[0];
  uint32_t start = el_stream(el_seed(run->el), el_plan32(run->op + EL_OP_IMM)), cols = el_elements(v);
  el_narrow out = el_narrow_begin(&a[1], v->e);
  for (uint32_t row = 0, rows = el_elements(&a[1]); row < rows; row++) {
    uint32_t sum = 0, word = 0;
    for (uint32_t i = 0; i < cols; i++, word >>= 1) {
      if (i % 32 == 0) {
        word = el_mix(start);
        start += EL_RNG_COLUMN;
      }
      uint32_t q = (uint32_t)el_load_q(v, i);
      sum += word & 1 ? q : 0u - q;
    }
    el_narrow_put(&out, row, (int32_t)sum);
  }
  el_narrow_end(run, &a[1], out.saturated, out.maximum);
}
