/* Integer kernels of pooling: windows that do not overlap, as wide as the op's id says; 0: the map is one window. */
#include "el_int.h"
#include "el_window.h"

/* Of 1 / positions of the window, in 8 bits; its exponent is the op's k. */
static int32_t mantissa(const el_run *run) { return (int32_t)(el_plan32(run->op + EL_OP_IMM) & 0xFF); }

/* Of one channel over the window at p of the map x. */
static int32_t sum_of(const el_arg *x, const int8_t *p, el_pool window) {
  int32_t sum = 0;
  for (uint32_t i = 0; i < window.rows; i++, p += el_width(x) * x->cols)
    for (uint32_t j = 0; j < window.cols; j++) sum += p[j * x->cols];
  return sum;
}

void el_k_pool(el_run *run, const el_arg *a) {
  const el_arg *x = &a[0], *y = &a[1];
  el_pool window = el_pool_of(run, x);
  uint32_t at = 0;
  int32_t factor = mantissa(run);
  el_narrow out = el_narrow_begin(y, (int16_t)(x->e + (int8_t)run->op[EL_OP_K]));
  for (uint32_t row = 0; row < x->rows; row += window.rows * el_width(x))
    for (uint32_t col = 0; col < el_width(x); col += window.cols)
      for (uint32_t c = 0; c < x->cols; c++)
        el_narrow_put(&out, at++, sum_of(x, (const int8_t *)x->p + (row + col) * x->cols + c, window) * factor);
  el_narrow_end(run, y, out.saturated, out.maximum);
}

static int8_t top_of(const el_arg *x, const int8_t *p, el_pool window) {
  int8_t top = *p;
  for (uint32_t i = 0; i < window.rows; i++, p += el_width(x) * x->cols)
    for (uint32_t j = 0; j < window.cols; j++)
      if (p[j * x->cols] > top) top = p[j * x->cols];
  return top;
}

void el_k_maxpool(el_run *run, const el_arg *a) {
  const el_arg *x = &a[0];
  el_pool window = el_pool_of(run, x);
  int8_t *y = a[1].p;
  for (uint32_t row = 0; row < x->rows; row += window.rows * el_width(x))
    for (uint32_t col = 0; col < el_width(x); col += window.cols)
      for (uint32_t c = 0; c < x->cols; c++) *y++ = top_of(x, (const int8_t *)x->p + (row + col) * x->cols + c, window);
}

/* Puts q at the positions of the window from element `at` on. */
static void fill(const el_arg *y, uint32_t at, el_pool window, int32_t q) {
  for (uint32_t i = 0, row = el_width(y) * y->cols; i < window.rows; i++, at += row)
    for (uint32_t j = 0; j < window.cols; j++) el_store(y->p, y->dtype, at + j * y->cols, q);
}

/* Each position takes the share of the window that it lies in. */
void el_k_unpool(el_run *run, const el_arg *a) {
  const el_arg *d = &a[0], *y = &a[1];
  el_pool window = el_pool_of(run, y);
  uint32_t width = el_width(y), from = 0;
  int32_t factor = mantissa(run);
  el_narrow out = el_narrow_begin(y, (int16_t)(d->e + (int8_t)run->op[EL_OP_K]));
  for (uint32_t row = 0; row < y->rows; row += window.rows * width)
    for (uint32_t col = 0; col < width; col += window.cols)
      for (uint32_t c = 0; c < y->cols; c++) {
        uint32_t saturated = out.saturated;
        fill(y, (row + col) * y->cols + c, window, el_narrowed(&out, el_load_q(d, from++) * factor));
        if (out.saturated != saturated) out.saturated += window.rows * window.cols - 1; /* all of them did */
      }
  el_narrow_end(run, y, out.saturated, out.maximum);
}
