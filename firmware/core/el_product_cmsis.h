/* int8 results of dense layers by Arm's CMSIS-NN, for who has a copy and asks for it: EL_CMSIS_NN, docs/cmsis-nn.md. Bit by bit ours.
 * Its multiplier is 1 - 2^-31, which rounds every |z| < 2^30 to itself, and the shift that follows rounds half away from zero. It does
 * not tell whether a result at the limit was cut: those that learning counts are made again. */
#ifndef EL_PRODUCT_CMSIS_H
#define EL_PRODUCT_CMSIS_H

#include <arm_nnfunctions.h>

#ifdef CMSIS_NN_USE_SINGLE_ROUNDING
#error "CMSIS_NN_USE_SINGLE_ROUNDING rounds half up: results would differ from those of other boards"
#endif

enum { EL_CMSIS_ROWS = 32, EL_CMSIS_COLS = 32768, EL_CMSIS_UP = 14 }; /* rows whose biases lie on the stack; |z| < 2^30 */

/* Some rows of y = W x + bias, narrowed. */
static void el_cmsis_rows(const int8_t *w, const el_arg *x, int32_t *bias, uint32_t rows, uint8_t shift, uint8_t relu, int8_t *y) {
  const int32_t cols = (int32_t)el_elements(x);
  const cmsis_nn_context sums = {.buf = bias, .size = (int32_t)(rows * sizeof *bias)}; /* where Helium looks for a bias */
  const cmsis_nn_fc_params params = {.activation = {.min = relu ? 0 : -127, .max = 127}};
  const cmsis_nn_per_tensor_quant_params narrow = {.multiplier = INT32_MAX, .shift = -(int32_t)shift};
  const cmsis_nn_dims in = {1, 1, 1, cols}, out = {1, 1, 1, (int32_t)rows}, filter = {cols, 1, 1, (int32_t)rows};
  (void)arm_fully_connected_s8(&sums, &params, &narrow, &in, x->p, &filter, w, &out, bias, &out, y); /* refuses only a lack of sums */
}

/* What el_narrow counts of results that are there; at the limit it takes the exact sum to know. */
static void el_cmsis_count(el_narrow *out, const int8_t *w, const el_arg *x, const int32_t *bias, uint32_t at, uint32_t rows, uint8_t relu) {
  const int8_t *y = (const int8_t *)out->p + at;
  const uint32_t cols = el_elements(x);
  for (uint32_t j = 0; j < rows; j++, w += cols) {
    const int32_t m = y[j] < 0 ? -y[j] : y[j];
    if (m == 127) {
      const int32_t z = el_dot1(w, x->p, cols) + bias[j];
      el_narrow_put(out, at + j, relu && z < 0 ? 0 : z);
    } else if (m > out->maximum) out->maximum = m;
  }
}

static inline uint8_t el_cmsis_can(const el_narrow *out, const el_arg *W, const el_arg *b, int16_t e) {
  return out->dtype == EL_DTYPE_I8 && out->shift > 0 && out->shift < 31 && W->cols <= EL_CMSIS_COLS && (!b || b->e - e <= EL_CMSIS_UP);
}

/* y = W x (+ b), narrowed; 0: not these, nothing was done. `e` is the exponent of the exact sums. */
static uint8_t el_cmsis_product(el_run *run, const el_arg *W, const el_arg *x, int16_t e, const el_arg *b, const el_arg *y) {
  const uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU;
  const int8_t *w = W->p;
  el_narrow out = el_narrow_begin(y, e);
  if (!el_cmsis_can(&out, W, b, e)) return 0;
  for (uint32_t row = 0, n, rows = W->rows; row < rows; row += n, w += n * W->cols) {
    int32_t bias[EL_CMSIS_ROWS] = {0};
    n = rows - row < EL_CMSIS_ROWS ? rows - row : EL_CMSIS_ROWS;
    if (b) el_add_bias(bias, (const int16_t *)b->p + row, n, (int16_t)(e - b->e));
    el_cmsis_rows(w, x, bias, n, (uint8_t)out.shift, relu, (int8_t *)y->p + row);
    if (run->counting) el_cmsis_count(&out, w, x, bias, row, n, relu);
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
  return 1;
}

#endif
