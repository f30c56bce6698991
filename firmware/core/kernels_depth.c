/* Integer kernels of depthwise convolutions: each channel has a kernel of its own. */
#include "el_dot.h"
#include "el_int.h"

static void depthwise(el_run *run, const el_arg *W, const el_arg *x, const el_arg *b, const el_arg *y) {
  el_window v;
  int16_t e = (int16_t)(W->e + x->e);
  uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU;
  el_narrow out = el_narrow_begin(y, e);
  uint32_t at = 0;
  el_window_of(&v, W, x, y);
  for (uint32_t oy = 0; oy < v.out_height; oy++) {
    for (uint32_t ox = 0; ox < v.out_width; ox++) {
      el_see(&v, oy, ox);
      for (uint32_t c = 0, n; c < v.channels; c += n, at += n) {
        const int8_t *p = (const int8_t *)x->p + v.x + c;
        int32_t z[4];
        n = v.channels - c < 4 ? v.channels - c : 4;
        if (el_is_wide(W)) el_depth_i16((const int16_t *)W->p + v.w + c, p, &v, n, z);
        else el_depth_i8((const int8_t *)W->p + v.w + c, p, &v, n, z);
        if (b) el_add_bias(z, (const int16_t *)b->p + c, n, (int16_t)(e - b->e));
        el_narrow_rows(&out, z, at, n, relu);
      }
    }
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_depthwise(el_run *run, const el_arg *a) { depthwise(run, &a[0], &a[1], NULL, &a[2]); }
void el_k_depthwise_affine(el_run *run, const el_arg *a) { depthwise(run, &a[0], &a[1], &a[2], &a[3]); }

/* What one channel of a position gets back from all that saw it. */
static int32_t gather(const el_window *v, const el_arg *W, const int16_t *d, uint32_t channel) {
  uint32_t z = 0;
  for (uint32_t i = 0; i < v->view.rows; i++) {
    uint32_t place = v->w + i * v->k * v->stride, from = v->x - i * v->out_width;
    for (uint32_t j = 0; j < v->cols; j++, place += v->stride, from--)
      z += (uint32_t)(el_load_q(W, place * v->channels + channel) * d[from * v->channels + channel]);
  }
  return (int32_t)z;
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
      for (uint32_t c = 0; c < v.channels; c++, at++) el_narrow_put(&out, at, !mask || mask[at] > 0 ? gather(&v, W, d->p, c) : 0);
    }
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
}

void el_k_depthwise_t(el_run *run, const el_arg *a) { adjoint(run, &a[0], &a[1], NULL, &a[2]); }
void el_k_depthwise_t_mask(el_run *run, const el_arg *a) { adjoint(run, &a[0], &a[1], a[2].p, &a[3]); }

/* Adds k times what one channel sees. */
static void add_view(const el_window *v, int32_t *sums, const int8_t *x, int32_t k) {
  for (uint32_t rows = v->view.rows; rows--; sums += v->view.w_row, x += v->view.x_row)
    for (uint32_t i = 0; i < v->view.run; i += v->channels) sums[i] = (int32_t)((uint32_t)sums[i] + (uint32_t)(k * x[i]));
}

void el_k_depthwise_update(el_run *run, const el_arg *a) {
  const el_arg *W = &a[0];
  const int16_t *d = a[1].p;
  el_window v;
  el_rate rate = el_summed_rate(run, W, &a[1], a[2].e, a[1].rows);
  uint32_t n = el_elements(W);
  int32_t *sums = a[3].p, limit = el_weight_limit(run->slots, W);
  el_window_of(&v, W, &a[2], &a[1]);
  if (el_all_zero(d, el_elements(&a[1]))) return; /* a gated sample */
  memset(sums, 0, (size_t)n * sizeof *sums);
  for (uint32_t oy = 0; oy < v.out_height; oy++)
    for (uint32_t ox = 0; ox < v.out_width; ox++) {
      el_see(&v, oy, ox);
      for (uint32_t c = 0; c < v.channels; c++, d++) {
        int32_t k = *d ? el_k_of(&rate, *d) : 0;
        if (k) add_view(&v, sums + v.w + c, (const int8_t *)a[2].p + v.x + c, k);
      }
    }
  if (el_is_wide(W)) el_settle_i16(W->p, sums, n, el_update_dither(run), limit);
  else el_settle_i8(W->p, sums, n, el_update_dither(run), limit);
}
