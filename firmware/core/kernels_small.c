/* Kernels of the smallest boards, in place of those in kernels_int.c: a row, a column, a weight at a time, so that hardly anything of them
 * stands on the stack. Their results are the same. */
#include "el_dot.h"
#include "el_int.h"

#ifdef EL_SMALL
static int32_t biased(int32_t z, int16_t b, int16_t shift) {
  const int32_t bound = (int32_t)1 << 30;
  int32_t q = el_shift(b, shift);
  return (int32_t)((uint32_t)z + (uint32_t)(q > bound ? bound : q < -bound ? -bound : q));
}

/* y = W x (+ b); negative results are cut to 0 if `relu`. */
static void product(el_run *run, const el_arg *W, const el_arg *x, const el_arg *b, const el_arg *y) {
  const int8_t *w = W->p;
  uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU, exact = y->dtype == EL_DTYPE_I32 && !relu;
  int16_t e = (int16_t)(W->e + x->e);
  el_narrow out = el_narrow_begin(y, e);
  for (uint16_t i = 0; i < W->rows; i++, w += W->cols) {
    int32_t z = el_dot1(w, x->p, W->cols);
    if (b) z = biased(z, ((const int16_t *)b->p)[i], (int16_t)(e - b->e));
    if (exact) ((int32_t *)y->p)[i] = z;
    else el_narrow_put(&out, i, relu && z < 0 ? 0 : z);
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_affine(el_run *run, const el_arg *a) { product(run, &a[0], &a[1], &a[2], &a[3]); }
void el_k_matvec(el_run *run, const el_arg *a) { product(run, &a[0], &a[1], NULL, &a[2]); }

/* sum_i w[i * step] d[i]; it wraps as everywhere. */
static int32_t column(const int8_t *w, uint16_t step, const int16_t *d, uint16_t n) {
  uint32_t z = 0;
  for (; n--; w += step, d++)
    if (*d) z += (uint32_t)((int32_t)*w * *d);
  return (int32_t)z;
}

/* y = W^T d, only where mask > 0. */
static void transposed(el_run *run, const el_arg *W, const el_arg *d, const int8_t *mask, const el_arg *y) {
  el_narrow out = el_narrow_begin(y, (int16_t)(W->e + d->e));
  if (el_all_zero(d->p, W->rows)) { /* a gated sample */
    el_clear(y);
    return;
  }
  for (uint16_t i = 0; i < W->cols; i++)
    el_narrow_put(&out, i, mask && mask[i] <= 0 ? 0 : column((const int8_t *)W->p + i, W->cols, d->p, W->rows));
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_matvec_t(el_run *run, const el_arg *a) { transposed(run, &a[0], &a[1], NULL, &a[2]); }
void el_k_matvec_t_mask(el_run *run, const el_arg *a) { transposed(run, &a[0], &a[1], a[2].p, &a[3]); }

static int32_t multiplier(int32_t d, int16_t shift, uint8_t negative) {
  const int32_t bound = (int32_t)1 << 22;
  int32_t k = el_shift(d, shift);
  k = k > bound ? bound : k < -bound ? -bound : k;
  return negative ? -k : k;
}

EL_ALONE static void update_row(int8_t *w, const int8_t *x, uint16_t n, int32_t k, uint32_t r) {
  for (const int8_t *end = x + n; x < end; x++, w++, r += EL_RNG_COLUMN) {
    int32_t q = *w - ((k * *x + (int32_t)(r >> 16)) >> 16);
    if (*x) *w = (int8_t)el_clamp(q, 127);
  }
}

void el_k_outer_update(el_run *run, const el_arg *a) {
  const el_arg *W = &a[0];
  const int16_t *d = a[1].p;
  int16_t shift = el_update_shift(run, W, a[1].e, a[2].e);
  uint32_t r = el_update_dither(run);
  int8_t *w = W->p;
  for (uint16_t rows = W->rows; rows--; d++, w += W->cols, r += EL_RNG_ROW) {
    int32_t k = *d ? multiplier(*d, shift, el_is_negative(run)) : 0;
    if (k) update_row(w, a[2].p, W->cols, k, r);
  }
}

void el_k_vec_update(el_run *run, const el_arg *a) {
  const el_arg *b = &a[0], *d = &a[1];
  int16_t shift = el_update_shift(run, b, d->e, 0);
  uint32_t r = el_update_dither(run);
  int32_t limit = el_weight_limit(run->slots, b);
  for (uint32_t i = 0, n = el_elements(b); i < n; i++, r += EL_RNG_ROW) {
    int32_t k = multiplier(el_load_q(d, i), shift, el_is_negative(run)), change = (k + (int32_t)(r >> 16)) >> 16;
    if (k) el_store(b->p, b->dtype, i, el_clamp(el_load_q(b, i) - change, limit));
  }
}

/* 2^-(top - q) in Q15, from a table; `shift` brings the distance to Q10. */
static uint16_t power_below(int32_t top, int32_t q, int16_t shift) {
  static EL_ROM uint16_t pow2[64] = {EL_POW2_TABLE};
  uint32_t distance = (uint32_t)top - (uint32_t)q;
  int32_t q10 = el_shift((int32_t)(distance > EL_I32_MAX ? EL_I32_MAX : distance), shift);
  uint32_t t = ((uint32_t)(q10 > 16384 ? 16384 : q10) * EL_LOG2E_Q10) >> 10;
  return t >> 10 > 15 ? 0 : (uint16_t)(el_rom_u16(&pow2[t >> 4 & 63]) >> (t >> 10));
}

void el_k_softmax(el_run *run, const el_arg *a) {
  const el_arg *g = &a[0];
  uint16_t *p = a[1].p, n = (uint16_t)el_elements(g);
  int32_t top = el_load_q(g, 0);
  uint32_t total = 0;
  (void)run;
  for (uint16_t i = 1; i < n; i++) {
    int32_t q = el_load_q(g, i);
    if (q > top) top = q;
  }
  for (uint16_t i = 0; i < n; i++) total += p[i] = power_below(top, el_load_q(g, i), (int16_t) - (g->e + 10));
  if (!total) total = 1; /* it wrapped: no net has so many classes */
  for (uint16_t i = 0; i < n; i++) {
    uint32_t q = p[i] ? (((uint32_t)p[i] << 15) + (total >> 1)) / total : 0;
    p[i] = (uint16_t)(q > 32767 ? 32767 : q);
  }
}
#endif
