/* Integer kernels, portable C. Their meaning, bit for bit, is the `i32` column of edgelearn/ir/ops. Products and updates are here for
 * int8 weights; kernels_wide.c has them for all. */
#include "el_dot.h"
#include "el_int.h"

void el_narrow_end(el_run *run, const el_arg *out, uint32_t saturated, int32_t maximum) {
  if (!run->counting || out->dtype == EL_DTYPE_I32) return;
  if (run->slots[(uint32_t)out->slot * EL_SLOT_BYTES + EL_SLOT_KIND] != EL_SLOT_IS_MOVING) return;
  uint8_t *window = run->stats + (uint32_t)out->slot * 4;
  saturated += el_get16(window);
  el_put16(window, (uint16_t)(saturated > 65535 ? 65535 : saturated));
  if ((uint32_t)maximum > el_get16(window + 2)) el_put16(window + 2, (uint16_t)maximum);
}

/* --- products --- */

/* y = W x (+ b), four rows at a time; negative results are cut to 0 if `relu`. */
static void product(el_run *run, const el_arg *W, const el_arg *x, const el_arg *b, const el_arg *y) {
  const int8_t *w = W->p;
  uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU, exact = y->dtype == EL_DTYPE_I32 && !relu;
  int16_t e = (int16_t)(W->e + x->e);
  uint32_t cols = W->cols;
  el_narrow out = el_narrow_begin(y, e);
  uint8_t inner = relu && el_is_inner(&out);
  for (uint32_t row = 0; row < W->rows; row += 4) {
    int32_t sums[4], *z = exact ? (int32_t *)y->p + row : sums;
    uint32_t n = W->rows - row < 4 ? W->rows - row : 4;
    if (n == 4) el_dot4(w, x->p, cols, z);
    else
      for (uint32_t j = 0; j < n; j++) z[j] = el_dot1(w + j * cols, x->p, cols);
    w += n * cols;
    if (b) el_add_bias(z, (const int16_t *)b->p + row, n, (int16_t)(e - b->e));
    if (inner) el_narrow_relu(&out, z, row, n);
    else if (!exact) el_narrow_rows(&out, z, row, n, relu);
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_affine(el_run *run, const el_arg *a) { product(run, &a[0], &a[1], &a[2], &a[3]); }
void el_k_matvec(el_run *run, const el_arg *a) { product(run, &a[0], &a[1], NULL, &a[2]); }

/* y = W^T d, only where mask > 0: column by column, so that no row of accumulators is needed. */
static void transposed(el_run *run, const el_arg *W, const el_arg *d, const int8_t *mask, const el_arg *y) {
  const int16_t *dp = d->p;
  el_narrow out = el_narrow_begin(y, (int16_t)(W->e + d->e));
  if (el_all_zero(dp, W->rows)) { /* a gated sample */
    el_clear(y);
    return;
  }
  for (uint16_t col = 0; col < W->cols; col++) {
    uint32_t z = 0; /* wraps where 517 rows or more, all at their limits, would not fit */
    if (!mask || mask[col] > 0) {
      const int8_t *w = (const int8_t *)W->p + col;
      for (uint16_t row = 0; row < W->rows; row++, w += W->cols) z += (uint32_t)((int32_t)*w * dp[row]);
    }
    el_narrow_put(&out, col, (int32_t)z);
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_matvec_t(el_run *run, const el_arg *a) { transposed(run, &a[0], &a[1], NULL, &a[2]); }
void el_k_matvec_t_mask(el_run *run, const el_arg *a) { transposed(run, &a[0], &a[1], a[2].p, &a[3]); }

/* --- updates --- */

/* k for an error d of at most 16 bits. */
static inline int32_t multiplier(int32_t d, int16_t shift, uint8_t negative) {
  const int32_t bound = (int32_t)1 << 22;
  int32_t k;
  if (shift > 0 && shift < 31) { /* as el_shift; |d| < 2^15, so that it cannot exceed the bound */
    int32_t half = (int32_t)1 << (shift - 1);
    k = d < 0 ? -((half - d) >> shift) : (half + d) >> shift;
  } else {
    k = el_shift(d, shift);
    k = k > bound ? bound : k < -bound ? -bound : k;
  }
  return negative ? -k : k;
}

void el_k_outer_update(el_run *run, const el_arg *a) {
  const el_arg *W = &a[0], *x = &a[2];
  const int16_t *d = a[1].p, *end = d + W->rows;
  int16_t shift = el_update_shift(run, W, a[1].e, x->e);
  uint8_t negative = el_is_negative(run);
  uint32_t r = el_update_dither(run), cols = W->cols;
  for (int8_t *w = W->p; d < end; d++, w += cols, r += EL_RNG_ROW) {
    int32_t k = *d ? multiplier(*d, shift, negative) : 0;
    if (k) el_update_row(w, x->p, cols, k, r);
  }
}

void el_k_vec_update(el_run *run, const el_arg *a) {
  const el_arg *b = &a[0], *d = &a[1];
  int16_t shift = el_update_shift(run, b, d->e, 0), *wide = b->p;
  uint8_t negative = el_is_negative(run), common = b->dtype == EL_DTYPE_I16 && d->dtype == EL_DTYPE_I16;
  uint32_t r = el_update_dither(run), n = el_elements(b);
  int32_t limit = el_weight_limit(run->slots, b);
  for (uint32_t i = 0; i < n; i++, r += EL_RNG_ROW) {
    int32_t k = common ? ((const int16_t *)d->p)[i] : el_load_q(d, i);
    if (!k || !(k = multiplier(k, shift, negative))) continue;
    int32_t change = (k + (int32_t)(r >> 16)) >> 16;
    if (common) wide[i] = (int16_t)el_clamp(wide[i] - change, limit);
    else el_store(b->p, b->dtype, i, el_clamp(el_load_q(b, i) - change, limit));
  }
}

/* --- classes --- */

/* 2^-(top - g) in Q15, from a table; `shift` brings the distance to Q10. */
static uint16_t power_below(int32_t top, int32_t g, int16_t shift) {
  static EL_ROM uint16_t pow2[64] = {EL_POW2_TABLE};
  uint32_t distance = (uint32_t)top - (uint32_t)g;
  int32_t q10 = el_shift((int32_t)(distance > EL_I32_MAX ? EL_I32_MAX : distance), shift);
  uint32_t t = ((uint32_t)(q10 > 16384 ? 16384 : q10) * EL_LOG2E_Q10) >> 10;
  return t >> 10 > 15 ? 0 : (uint16_t)(el_rom_u16(&pow2[t >> 4 & 63]) >> (t >> 10));
}

void el_k_softmax(el_run *run, const el_arg *a) {
  const el_arg *g = &a[0];
  uint16_t *p = a[1].p;
  int16_t shift = (int16_t) - (g->e + 10);
  int32_t top = el_load_q(g, 0);
  uint32_t total = 0, n = el_elements(g);
  (void)run;
  for (uint32_t i = 1; i < n; i++) {
    int32_t q = el_load_q(g, i);
    if (q > top) top = q;
  }
  for (uint32_t i = 0; i < n; i++) total += p[i] = power_below(top, el_load_q(g, i), shift);
  if (!total) total = 1; /* it wrapped: no net has so many classes */
  for (uint32_t i = 0; i < n; i++) {
    uint32_t q = p[i] ? (((uint32_t)p[i] << 15) + (total >> 1)) / total : 0;
    p[i] = (uint16_t)(q > 32767 ? 32767 : q);
  }
}

void el_k_one_hot(el_run *run, const el_arg *a) {
  int32_t *y = a[1].p;
  uint32_t label = *(const uint32_t *)a[0].p;
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++) y[i] = i == label ? 32768 : 0;
}

void el_k_sub_one_hot(el_run *run, const el_arg *a) {
  const int16_t *p = a[0].p;
  int16_t *e = a[2].p;
  uint32_t label = *(const uint32_t *)a[1].p;
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[2]); i < n; i++) {
    int32_t q = i == label ? (int32_t)p[i] - 32768 : p[i];
    e[i] = (int16_t)(q < -32767 ? -32767 : q);
  }
}

void el_k_gate(el_run *run, const el_arg *a) {
  const el_arg *v = &a[0];
  int32_t threshold = el_shift((int32_t)el_get32(run->op + EL_OP_IMM), (int16_t)(v->e + 15));
  uint32_t n = el_elements(v);
  uint8_t open = 0;
  for (uint32_t i = 0; i < n && !open; i++) {
    int32_t q = el_load_q(v, i);
    open = q >= threshold || q <= -threshold;
  }
  if (!open) el_clear(&a[1]);
  else if (v->p != a[1].p)
    for (uint32_t i = 0; i < n; i++) el_store(a[1].p, a[1].dtype, i, el_load_q(v, i));
}

void el_k_argmax(el_run *run, const el_arg *a) {
  const el_arg *v = &a[0];
  uint32_t best = 0;
  (void)run;
  for (uint32_t i = 1, n = el_elements(v); i < n; i++)
    if (el_load_q(v, i) > el_load_q(v, best)) best = i;
  *(int32_t *)a[1].p = (int32_t)best;
}
