/* Integer kernels of pooling: windows that do not overlap, as wide as the op's id says. */
#include "el_int.h"

static uint32_t window(const el_run *run) { return run->op[EL_OP_ID]; }

/* Of 1 / window^2, in 8 bits; its exponent is the op's k. */
static int32_t mantissa(const el_run *run) { return (int32_t)(el_get32(run->op + EL_OP_IMM) & 0xFF); }

/* Of one channel over the window at p of the map x. */
static int32_t sum_of(const el_arg *x, const int8_t *p, uint32_t size) {
  int32_t sum = 0;
  for (uint32_t i = 0; i < size; i++, p += el_width(x) * x->cols)
    for (uint32_t j = 0; j < size; j++) sum += p[j * x->cols];
  return sum;
}

void el_k_pool(el_run *run, const el_arg *a) {
  const el_arg *x = &a[0], *y = &a[1];
  uint32_t size = window(run), at = 0;
  int32_t factor = mantissa(run);
  el_narrow out = el_narrow_begin(y, (int16_t)(x->e + (int8_t)run->op[EL_OP_K]));
  for (uint32_t row = 0; row < x->rows; row += size * el_width(x))
    for (uint32_t col = 0; col < el_width(x); col += size)
      for (uint32_t c = 0; c < x->cols; c++)
        el_narrow_put(&out, at++, sum_of(x, (const int8_t *)x->p + (row + col) * x->cols + c, size) * factor);
  el_narrow_end(run, y, out.saturated, out.maximum);
}

static int8_t top_of(const el_arg *x, const int8_t *p, uint32_t size) {
  int8_t top = *p;
  for (uint32_t i = 0; i < size; i++, p += el_width(x) * x->cols)
    for (uint32_t j = 0; j < size; j++)
      if (p[j * x->cols] > top) top = p[j * x->cols];
  return top;
}

void el_k_maxpool(el_run *run, const el_arg *a) {
  const el_arg *x = &a[0];
  uint32_t size = window(run);
  int8_t *y = a[1].p;
  for (uint32_t row = 0; row < x->rows; row += size * el_width(x))
    for (uint32_t col = 0; col < el_width(x); col += size)
      for (uint32_t c = 0; c < x->cols; c++) *y++ = top_of(x, (const int8_t *)x->p + (row + col) * x->cols + c, size);
}

/* Puts q at the `size` x `size` positions from element `at` on. */
static void fill(const el_arg *y, uint32_t at, uint32_t size, int32_t q) {
  for (uint32_t i = 0, row = el_width(y) * y->cols; i < size; i++, at += row)
    for (uint32_t j = 0; j < size; j++) el_store(y->p, y->dtype, at + j * y->cols, q);
}

/* Each position takes the share of the window that it lies in. */
void el_k_unpool(el_run *run, const el_arg *a) {
  const el_arg *d = &a[0], *y = &a[1];
  uint32_t size = window(run), width = el_width(y), from = 0;
  int32_t factor = mantissa(run);
  el_narrow out = el_narrow_begin(y, (int16_t)(d->e + (int8_t)run->op[EL_OP_K]));
  for (uint32_t row = 0; row < y->rows; row += size * width)
    for (uint32_t col = 0; col < width; col += size)
      for (uint32_t c = 0; c < y->cols; c++) {
        uint32_t saturated = out.saturated;
        fill(y, (row + col) * y->cols + c, size, el_narrowed(&out, el_load_q(d, from++) * factor));
        if (out.saturated != saturated) out.saturated += size * size - 1; /* all of them did */
      }
  el_narrow_end(run, y, out.saturated, out.maximum);
}
