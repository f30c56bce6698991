/* Integer kernels of convolutions. A map is height x width x channels, so that a row of a kernel lies on a run of the map: no window is
 * ever copied. Their meaning, bit for bit, is the `i32` column of edgelearn/ir/ops/conv.py. */
#include "el_dot.h"
#include "el_int.h"

/* Weights from element `i` of a kernel on. */
static inline const void *weights(const el_arg *W, uint32_t i) { return (const uint8_t *)W->p + (i << el_is_wide(W)); }

/* n <= 4 output channels of one position, whose weights begin at element `w` of the kernel. */
static void see(const el_view *v, const el_arg *W, const int8_t *x, uint32_t w, uint32_t n, int32_t z[4]) {
  if (n == 4 && el_is_wide(W)) el_view4_i16(weights(W, w), x, v, z);
  else if (n == 4) el_view4_i8(weights(W, w), x, v, z);
  else
    for (uint32_t j = 0; j < n; j++, w += v->w_next)
      z[j] = el_is_wide(W) ? el_view1_i16(weights(W, w), x, v) : el_view1_i8(weights(W, w), x, v);
}

/* y = W * x (+ b), position by position; negative results are cut to 0 if `relu`. */
static void conv(el_run *run, const el_arg *W, const el_arg *x, const el_arg *b, const el_arg *y) {
  el_window v;
  int16_t e = (int16_t)(W->e + x->e);
  uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU;
  el_narrow out = el_narrow_begin(y, e);
  uint32_t at = 0;
  const int32_t unit = el_inner_unit(&out, b, e, relu);
  el_window_of(&v, W, x, y);
  for (uint32_t oy = 0; oy < v.out_height; oy++) {
    for (uint32_t ox = 0; ox < v.out_width; ox++) {
      el_see(&v, oy, ox);
      for (uint32_t row = 0, n; row < W->rows; row += n, at += n, v.w += n * v.view.w_next) {
        int32_t z[4];
        n = W->rows - row < 4 ? W->rows - row : 4;
        see(&v.view, W, (const int8_t *)x->p + v.x, v.w, n, z);
        if (unit) {
          el_inner_rows(&out, unit, z, (const int16_t *)b->p + row, n, (uint8_t *)y->p + at);
          continue;
        }
        if (b) el_add_bias(z, (const int16_t *)b->p + row, n, (int16_t)(e - b->e));
        el_narrow_rows(&out, z, at, n, relu);
      }
    }
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_conv(el_run *run, const el_arg *a) { conv(run, &a[0], &a[1], NULL, &a[2]); }
void el_k_conv_affine(el_run *run, const el_arg *a) { conv(run, &a[0], &a[1], &a[2], &a[3]); }

/* --- the adjoint: what a position of the input gets back from all that saw it --- */

/* z[j] += what n <= 4 channels get from one place of the kernel, whose weights begin at element `w`, with the errors d. */
static void spread(const el_arg *W, uint32_t w, const int16_t *d, uint32_t n, int32_t z[4]) {
  if (n == 4 && el_is_wide(W)) el_columns4_i16(weights(W, w), W->cols, d, W->rows, z);
  else if (n == 4) el_columns4_i8(weights(W, w), W->cols, d, W->rows, z);
  else
    for (uint32_t j = 0; j < n; j++, w++) {
      int32_t sum = el_is_wide(W) ? el_column_i16(weights(W, w), W->cols, d, W->rows) : el_column_i8(weights(W, w), W->cols, d, W->rows);
      z[j] = (int32_t)((uint32_t)z[j] + (uint32_t)sum);
    }
}

/* n <= 4 channels of one position, from `channel` on. */
static void gather(const el_window *v, const el_arg *W, const int16_t *d, uint32_t channel, uint32_t n, int32_t z[4]) {
  for (uint32_t i = 0; i < v->view.rows; i++)
    for (uint32_t j = 0; j < v->cols; j++) {
      uint32_t place = v->w + (i * v->k + j) * v->stride, from = v->x - i * v->out_width - j;
      spread(W, place * v->channels + channel, d + from * W->rows, n, z);
    }
}

static uint8_t any_open(const int8_t *mask, uint32_t n) {
  while (n--)
    if (*mask++ > 0) return 1;
  return 0;
}

static void adjoint(el_run *run, const el_arg *W, const el_arg *d, const int8_t *mask, const el_arg *y) {
  el_window v;
  el_narrow out = el_narrow_begin(y, (int16_t)(W->e + d->e));
  uint32_t at = 0;
  el_window_of(&v, W, y, d);
  if (el_all_zero(d->p, el_elements(d))) { /* a gated sample */
    el_clear(y);
    return;
  }
  for (uint32_t iy = 0; iy < v.height; iy++) {
    for (uint32_t ix = 0; ix < v.width; ix++) {
      el_see_back(&v, iy, ix);
      for (uint32_t c = 0, n; c < v.channels; c += n, at += n) {
        int32_t z[4] = {0, 0, 0, 0};
        n = v.channels - c < 4 ? v.channels - c : 4;
        if (!mask || any_open(mask + at, n)) gather(&v, W, d->p, c, n, z);
        for (uint32_t j = 0; j < n; j++) el_narrow_put(&out, at + j, !mask || mask[at + j] > 0 ? z[j] : 0);
      }
    }
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_conv_t(el_run *run, const el_arg *a) { adjoint(run, &a[0], &a[1], NULL, &a[2]); }
void el_k_conv_t_mask(el_run *run, const el_arg *a) { adjoint(run, &a[0], &a[1], a[2].p, &a[3]); }

/* --- the update: k x summed over positions, then one rounding --- */

/* Adds k times what the kernel sees. */
EL_ALONE static void add_view(const el_view *v, int32_t *sums, const int8_t *x, int32_t k) {
  for (uint32_t rows = v->rows; rows--; sums += v->w_row, x += v->x_row) el_add_run(sums, x, v->run, k);
}

/* The sums of one output channel, with the errors d and every `channels`-th after it; 0 if they change nothing. */
static uint8_t add_channel(el_window *v, const el_arg *a, const int16_t *d, const el_rate *rate) {
  int32_t *sums = a[3].p;
  uint8_t any = 0;
  for (uint32_t oy = 0; oy < v->out_height; oy++)
    for (uint32_t ox = 0; ox < v->out_width; ox++, d += a[1].cols) {
      int32_t k = *d ? el_k_of(rate, *d) : 0;
      if (!k) continue;
      if (!any) memset(sums, 0, (size_t)a[0].cols * sizeof *sums);
      any = 1;
      el_see(v, oy, ox);
      add_view(&v->view, sums + v->w, (const int8_t *)a[2].p + v->x, k);
    }
  return any;
}

void el_k_conv_update(el_run *run, const el_arg *a) {
  const el_arg *W = &a[0];
  el_window v;
  el_rate rate = el_summed_rate(run, W, &a[1], a[2].e, a[1].rows);
  int32_t limit = el_weight_limit(run->slots, W);
  uint32_t r = el_update_dither(run), n = W->cols;
  el_window_of(&v, W, &a[2], &a[1]);
  for (uint32_t row = 0; row < W->rows; row++, r += EL_RNG_ROW) {
    if (!add_channel(&v, a, (const int16_t *)a[1].p + row, &rate)) continue;
    if (el_is_wide(W)) el_settle_i16((int16_t *)W->p + row * n, a[3].p, n, r, limit);
    else el_settle_i8((int8_t *)W->p + row * n, a[3].p, n, r, limit);
  }
}
