/* Float kernels of depthwise convolutions, pooling and decay. Their meaning is the `f32` column of edgelearn/ir/ops, to rounding. */
#ifndef EL_NO_F32
#include "el_float.h"
#include "el_window.h"

/* --- depthwise: one weight per place and channel, and channel c sees channel c alone --- */

static float see(const el_view *v, const float *w, const float *x, uint32_t channels) {
  float z = 0;
  for (uint32_t rows = v->rows; rows--; w += v->w_row, x += v->x_row)
    for (uint32_t i = 0; i < v->run; i += channels) z += w[i] * x[i];
  return z;
}

static void depthwise(el_run *run, const el_arg *W, const el_arg *x, const float *b, const el_arg *y) {
  el_window v;
  uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU;
  float *to = y->p;
  el_window_of(&v, W, x, y);
  for (uint32_t oy = 0; oy < v.out_height; oy++) {
    for (uint32_t ox = 0; ox < v.out_width; ox++) {
      el_see(&v, oy, ox);
      for (uint32_t c = 0; c < v.channels; c++) {
        float z = see(&v.view, (const float *)W->p + v.w + c, (const float *)x->p + v.x + c, v.channels) + (b ? b[c] : 0.0f);
        *to++ = relu && z < 0.0f ? 0.0f : z;
      }
    }
  }
}

void el_k_depthwise_f32(el_run *run, const el_arg *a) { depthwise(run, &a[0], &a[1], NULL, &a[2]); }
void el_k_depthwise_affine_f32(el_run *run, const el_arg *a) { depthwise(run, &a[0], &a[1], a[2].p, &a[3]); }

/* What one channel of a position gets back from all that saw it. */
static float gather(const el_window *v, const float *w, const float *d) {
  float z = 0;
  for (uint32_t i = 0; i < v->view.rows; i++) {
    uint32_t place = v->w + i * v->k * v->stride, from = v->x - i * v->out_width;
    for (uint32_t j = 0; j < v->cols; j++, place += v->stride, from--) z += w[place * v->channels] * d[from * v->channels];
  }
  return z;
}

static void adjoint(const el_arg *W, const el_arg *d, const float *mask, const el_arg *y) {
  el_window v;
  float *to = y->p;
  el_window_of(&v, W, y, d);
  for (uint32_t iy = 0; iy < v.height; iy++)
    for (uint32_t ix = 0; ix < v.width; ix++) {
      el_see_back(&v, iy, ix);
      for (uint32_t c = 0; c < v.channels; c++)
        *to++ = !mask || *mask++ > 0.0f ? gather(&v, (const float *)W->p + c, (const float *)d->p + c) : 0.0f;
    }
}

void el_k_depthwise_t_f32(el_run *run, const el_arg *a) { (void)run, adjoint(&a[0], &a[1], NULL, &a[2]); }
void el_k_depthwise_t_mask_f32(el_run *run, const el_arg *a) { (void)run, adjoint(&a[0], &a[1], a[2].p, &a[3]); }

/* The sum over positions of d and what a place of the kernel sees from there. */
static float correlate(const el_window *v, const float *d, const float *x) {
  uint32_t c = v->channels, across = v->stride * c;
  float z = 0;
  for (uint32_t i = 0; i < v->view.rows; i++, d += v->out_width * c, x += v->width * across)
    for (uint32_t j = 0; j < v->cols; j++) z += d[j * c] * x[j * across];
  return z;
}

void el_k_depthwise_update_f32(el_run *run, const el_arg *a) {
  el_window v;
  float step = el_rate_f32(run), *w = a[0].p;
  el_window_of(&v, &a[0], &a[2], &a[1]);
  if (el_all_zero_f32(a[1].p, el_elements(&a[1]))) return;
  for (uint32_t place = 0; place < (uint32_t)v.k * v.k; place++) {
    el_see_from(&v, place / v.k, place % v.k);
    const float *d = (const float *)a[1].p + v.w * v.channels, *x = (const float *)a[2].p + v.x * v.channels;
    for (uint32_t c = 0; c < v.channels; c++) *w++ -= step * correlate(&v, d + c, x + c);
  }
}

/* --- pooling: windows that do not overlap, as wide as the op's id says; 0: the map is one window --- */

static float sum_of(const el_arg *x, const float *p, el_pool window) {
  float sum = 0;
  for (uint32_t i = 0; i < window.rows; i++, p += el_width(x) * x->cols)
    for (uint32_t j = 0; j < window.cols; j++) sum += p[j * x->cols];
  return sum;
}

static float top_of(const el_arg *x, const float *p, el_pool window) {
  float top = *p;
  for (uint32_t i = 0; i < window.rows; i++, p += el_width(x) * x->cols)
    for (uint32_t j = 0; j < window.cols; j++)
      if (p[j * x->cols] > top) top = p[j * x->cols];
  return top;
}

static void pool(el_run *run, const el_arg *x, float *y, uint8_t most) {
  el_pool window = el_pool_of(run, x);
  float share = el_imm(run);
  for (uint32_t row = 0; row < x->rows; row += window.rows * el_width(x))
    for (uint32_t col = 0; col < el_width(x); col += window.cols)
      for (uint32_t c = 0; c < x->cols; c++) {
        const float *p = (const float *)x->p + (row + col) * x->cols + c;
        *y++ = most ? top_of(x, p, window) : sum_of(x, p, window) * share;
      }
}

void el_k_pool_f32(el_run *run, const el_arg *a) { pool(run, &a[0], a[1].p, 0); }
void el_k_maxpool_f32(el_run *run, const el_arg *a) { pool(run, &a[0], a[1].p, 1); }

/* Each position takes its share of the window that it lies in. */
void el_k_unpool_f32(el_run *run, const el_arg *a) {
  const el_arg *y = &a[1];
  el_pool window = el_pool_of(run, y);
  uint32_t width = el_width(y), across = width / window.cols, height = y->rows / width;
  float share = el_imm(run), *to = y->p;
  for (uint32_t row = 0; row < height; row++)
    for (uint32_t col = 0; col < width; col++) {
      const float *d = (const float *)a[0].p + (row / window.rows * across + col / window.cols) * y->cols;
      for (uint32_t c = 0; c < y->cols; c++) *to++ = d[c] * share;
    }
}

void el_k_decay_update_f32(el_run *run, const el_arg *a) {
  float *w = a[0].p, step = el_rate_f32(run);
  for (uint32_t i = 0, n = el_elements(&a[0]); i < n; i++) w[i] -= step * w[i];
}
#endif
