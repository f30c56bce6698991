/* Integer kernels with weights of 8 or 16 bits, and updates of vectors by maps: all that kernels_int.c does, and more. */
#include "el_dot.h"
#include "el_int.h"

/* --- products --- */

static void product(el_run *run, const el_arg *W, const el_arg *x, const el_arg *b, const el_arg *y) {
  const int16_t *w = W->p;
  el_view row = {1, W->cols, 0, 0, W->cols};
  int16_t e = (int16_t)(W->e + x->e);
  uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU;
  el_narrow out = el_narrow_begin(y, e);
  for (uint32_t i = 0, n; i < W->rows; i += n, w += n * row.run) {
    int32_t z[4];
    n = W->rows - i < 4 ? 1 : 4;
    if (n == 4) el_view4_i16(w, x->p, &row, z);
    else z[0] = el_dot1_wide(w, x->p, row.run);
    if (b) el_add_bias(z, (const int16_t *)b->p + i, n, (int16_t)(e - b->e));
    el_narrow_rows(&out, z, i, n, relu);
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_affine_any(el_run *run, const el_arg *a) {
  if (el_is_wide(&a[0])) product(run, &a[0], &a[1], &a[2], &a[3]);
  else el_k_affine(run, a);
}

void el_k_matvec_any(el_run *run, const el_arg *a) {
  if (el_is_wide(&a[0])) product(run, &a[0], &a[1], NULL, &a[2]);
  else el_k_matvec(run, a);
}

static void transposed(el_run *run, const el_arg *W, const el_arg *d, const int8_t *mask, const el_arg *y) {
  el_narrow out = el_narrow_begin(y, (int16_t)(W->e + d->e));
  if (el_all_zero(d->p, W->rows)) { /* a gated sample */
    el_clear(y);
    return;
  }
  for (uint32_t i = 0, n = W->cols; i < n; i++)
    el_narrow_put(&out, i, !mask || mask[i] > 0 ? el_column_i16((const int16_t *)W->p + i, n, d->p, W->rows) : 0);
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_matvec_t_any(el_run *run, const el_arg *a) {
  if (el_is_wide(&a[0])) transposed(run, &a[0], &a[1], NULL, &a[2]);
  else el_k_matvec_t(run, a);
}

void el_k_matvec_t_mask_any(el_run *run, const el_arg *a) {
  if (el_is_wide(&a[0])) transposed(run, &a[0], &a[1], a[2].p, &a[3]);
  else el_k_matvec_t_mask(run, a);
}

/* --- updates --- */

static void outer_update(el_run *run, const el_arg *a) {
  const el_arg *W = &a[0];
  const int16_t *d = a[1].p;
  el_rate rate = el_summed_rate(run, W, &a[1], a[2].e, 1);
  uint32_t r = el_update_dither(run), cols = W->cols;
  int32_t limit = el_weight_limit(run->slots, W);
  int16_t *w = W->p;
  for (const int16_t *end = d + W->rows; d < end; d++, w += cols, r += EL_RNG_ROW) {
    int32_t k = *d ? el_k_of(&rate, *d) : 0;
    if (k) el_update_row_wide(w, a[2].p, cols, k, r, limit);
  }
}

void el_k_outer_update_any(el_run *run, const el_arg *a) {
  if (el_is_wide(&a[0])) outer_update(run, a);
  else el_k_outer_update(run, a);
}

/* A vector, by a map of as many channels: k is a sum over all positions. */
static void map_update(el_run *run, const el_arg *b, const el_arg *d) {
  uint32_t r = el_update_dither(run), n = el_elements(b), all = el_elements(d);
  el_rate rate = el_summed_rate(run, b, d, 0, all / n);
  int32_t limit = el_weight_limit(run->slots, b);
  for (uint32_t i = 0; i < n; i++, r += EL_RNG_ROW) {
    int32_t k = 0;
    for (uint32_t j = i; j < all; j += n) k += el_k_of(&rate, el_load_q(d, j));
    if (k) el_store(b->p, b->dtype, i, el_clamp(el_load_q(b, i) - ((k + (int32_t)(r >> 16)) >> 16), limit));
  }
}

void el_k_vec_update_any(el_run *run, const el_arg *a) {
  if (el_elements(&a[1]) != el_elements(&a[0])) map_update(run, &a[0], &a[1]);
  else el_k_vec_update(run, a);
}

/* w -= floor((k w + r) / 2^16) with k = 2^shift. From 2^16 on r does not matter, and the product might not fit. */
void el_k_decay_update(el_run *run, const el_arg *a) {
  const el_arg *W = &a[0];
  int16_t shift = (int16_t)(16 + (int8_t)run->op[EL_OP_K] - run->drops);
  if (shift < 0) return;
  uint8_t whole = shift >= 16, left = (uint8_t)(shift > 22 ? 6 : whole ? shift - 16 : shift);
  int32_t factor = el_is_negative(run) ? -((int32_t)1 << left) : (int32_t)1 << left, limit = el_weight_limit(run->slots, W);
  uint32_t r = el_update_dither(run);
  for (uint32_t i = 0, n = el_elements(W); i < n; i++, r += EL_RNG_COLUMN) {
    int32_t w = el_load_q(W, i), change = w * factor;
    if (!w) continue;
    if (!whole) change = (change + (int32_t)(r >> 16)) >> 16;
    el_store(W->p, W->dtype, i, el_clamp(w - change, limit));
  }
}
