/* Float kernels of convolutions, as kernels_conv.c. Their meaning is the `f32` column of edgelearn/ir/ops/conv.py, to rounding. */
#ifndef EL_NO_F32
#include "el_float.h"
#include "el_window.h"

/* --- forward --- */

/* out[j] = sum of w_j x over a view, for four channels. */
static void view4(const float *w, const float *x, const el_view *v, float out[4]) {
  float z0 = 0, z1 = 0, z2 = 0, z3 = 0;
  uint32_t c = v->w_next;
  for (uint32_t rows = v->rows; rows--; w += v->w_row, x += v->x_row) {
    for (uint32_t i = 0; i < v->run; i++) {
      float u = x[i];
      z0 += w[i] * u;
      z1 += w[c + i] * u;
      z2 += w[2 * c + i] * u;
      z3 += w[3 * c + i] * u;
    }
  }
  out[0] = z0;
  out[1] = z1;
  out[2] = z2;
  out[3] = z3;
}

static float view1(const float *w, const float *x, const el_view *v) {
  float z = 0;
  for (uint32_t rows = v->rows; rows--; w += v->w_row, x += v->x_row)
    for (uint32_t i = 0; i < v->run; i++) z += w[i] * x[i];
  return z;
}

static void conv(el_run *run, const el_arg *W, const el_arg *x, const float *b, const el_arg *y) {
  el_window v;
  uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU;
  float *to = y->p;
  el_window_of(&v, W, x, y);
  for (uint32_t oy = 0; oy < v.out_height; oy++) {
    for (uint32_t ox = 0; ox < v.out_width; ox++) {
      el_see(&v, oy, ox);
      const float *w = (const float *)W->p + v.w, *p = (const float *)x->p + v.x;
      for (uint32_t row = 0, n; row < W->rows; row += n, w += n * v.view.w_next) {
        float z[4];
        n = W->rows - row < 4 ? 1 : 4;
        if (n == 4) view4(w, p, &v.view, z);
        else z[0] = view1(w, p, &v.view);
        for (uint32_t j = 0; j < n; j++) {
          float q = z[j] + (b ? b[row + j] : 0.0f);
          *to++ = relu && q < 0.0f ? 0.0f : q;
        }
      }
    }
  }
}

void el_k_conv_f32(el_run *run, const el_arg *a) { conv(run, &a[0], &a[1], NULL, &a[2]); }
void el_k_conv_affine_f32(el_run *run, const el_arg *a) { conv(run, &a[0], &a[1], a[2].p, &a[3]); }

/* --- adjoint --- */

/* z[j] += sum_i w[i * step + j] d[i] for n <= 4 neighbours. */
static void columns(const float *w, uint32_t step, const float *d, uint32_t count, uint32_t n, float z[4]) {
  for (; count--; d++, w += step) {
    float u = *d;
    if (u == 0.0f) continue;
    if (n == 4) {
      z[0] += w[0] * u;
      z[1] += w[1] * u;
      z[2] += w[2] * u;
      z[3] += w[3] * u;
    } else
      for (uint32_t j = 0; j < n; j++) z[j] += w[j] * u;
  }
}

/* n <= 4 channels of one position, from `channel` on. */
static void gather(const el_window *v, const el_arg *W, const float *d, uint32_t channel, uint32_t n, float z[4]) {
  const float *w = (const float *)W->p + channel;
  for (uint32_t i = 0; i < v->view.rows; i++)
    for (uint32_t j = 0; j < v->cols; j++) {
      uint32_t place = v->w + (i * v->k + j) * v->stride, from = v->x - i * v->out_width - j;
      columns(w + place * v->channels, W->cols, d + from * W->rows, W->rows, n, z);
    }
}

static void adjoint(const el_arg *W, const el_arg *d, const float *mask, const el_arg *y) {
  el_window v;
  float *to = y->p;
  el_window_of(&v, W, y, d);
  if (el_all_zero_f32(d->p, el_elements(d))) {
    memset(to, 0, (size_t)el_elements(y) * sizeof *to);
    return;
  }
  for (uint32_t iy = 0; iy < v.height; iy++) {
    for (uint32_t ix = 0; ix < v.width; ix++) {
      el_see_back(&v, iy, ix);
      for (uint32_t c = 0, n; c < v.channels; c += n, to += n) {
        float z[4] = {0, 0, 0, 0};
        n = v.channels - c < 4u ? v.channels - c : 4u;
        gather(&v, W, d->p, c, n, z);
        for (uint32_t j = 0; j < n; j++) to[j] = !mask || *mask++ > 0.0f ? z[j] : 0.0f;
      }
    }
  }
}

void el_k_conv_t_f32(el_run *run, const el_arg *a) { (void)run, adjoint(&a[0], &a[1], NULL, &a[2]); }
void el_k_conv_t_mask_f32(el_run *run, const el_arg *a) { (void)run, adjoint(&a[0], &a[1], a[2].p, &a[3]); }

/* --- update --- */

/* z[j] = sum over positions of d, every `out`-th, and what n <= 4 neighbours of a place of the kernel see from there. */
static void correlate(const el_window *v, const float *d, uint32_t out, const float *x, uint32_t n, float z[4]) {
  uint32_t across = (uint32_t)v->stride * v->channels;
  for (uint32_t i = 0; i < v->view.rows; i++, d += v->out_width * out, x += v->width * across)
    for (uint32_t j = 0; j < v->cols; j++)
      for (uint32_t c = 0; c < n && d[j * out] != 0.0f; c++) z[c] += d[j * out] * x[j * across + c];
}

void el_k_conv_update_f32(el_run *run, const el_arg *a) {
  el_window v;
  float step = el_rate_f32(run), *w = a[0].p;
  el_window_of(&v, &a[0], &a[2], &a[1]);
  if (el_all_zero_f32(a[1].p, el_elements(&a[1]))) return;
  for (uint32_t row = 0; row < a[0].rows; row++)
    for (uint32_t place = 0; place < (uint32_t)v.k * v.k; place++) {
      el_see_from(&v, place / v.k, place % v.k);
      const float *d = (const float *)a[1].p + v.w * a[0].rows + row, *x = (const float *)a[2].p + v.x * v.channels;
      for (uint32_t c = 0, n; c < v.channels; c += n, w += n) {
        float z[4] = {0, 0, 0, 0};
        n = v.channels - c < 4u ? v.channels - c : 4u;
        correlate(&v, d, a[0].rows, x + c, n, z);
        for (uint32_t j = 0; j < n; j++) w[j] -= step * z[j];
      }
    }
}
#endif
