/* Float kernels for boards with an FPU. Their meaning is the `f32` column of edgelearn/ir/ops, to rounding. */
#ifndef EL_NO_F32
#include "el_math.h"

static void dot4(const float *w, const float *x, uint16_t n, float out[4]) {
  const float *w1 = w + n, *w2 = w1 + n, *w3 = w2 + n;
  float z0 = 0, z1 = 0, z2 = 0, z3 = 0;
  for (uint16_t i = 0; i < n; i++) {
    float v = x[i];
    z0 += w[i] * v;
    z1 += w1[i] * v;
    z2 += w2[i] * v;
    z3 += w3[i] * v;
  }
  out[0] = z0;
  out[1] = z1;
  out[2] = z2;
  out[3] = z3;
}

static float dot1(const float *w, const float *x, uint16_t n) {
  float z = 0;
  while (n--) z += *w++ * *x++;
  return z;
}

static void product(el_run *run, const el_arg *W, const float *x, const float *b, float *y) {
  const float *w = W->p;
  uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU;
  for (uint16_t row = 0; row < W->rows; row = (uint16_t)(row + 4)) {
    float z[4];
    uint8_t n = (uint8_t)(W->rows - row < 4 ? W->rows - row : 4);
    if (n == 4) dot4(w, x, W->cols, z);
    for (uint8_t j = 0; j < n; j++, w += W->cols) {
      float v = (n == 4 ? z[j] : dot1(w, x, W->cols)) + (b ? b[row + j] : 0.0f);
      y[row + j] = relu && v < 0.0f ? 0.0f : v;
    }
  }
}

void el_k_affine_f32(el_run *run, const el_arg *a) { product(run, &a[0], a[1].p, a[2].p, a[3].p); }
void el_k_matvec_f32(el_run *run, const el_arg *a) { product(run, &a[0], a[1].p, NULL, a[2].p); }

/* Row by row into y; rows whose d is 0 (a gated sample has only those) cost a comparison. */
static void transposed(const el_arg *W, const float *d, const float *mask, float *y) {
  const float *w = W->p;
  uint16_t n = W->cols;
  memset(y, 0, (size_t)n * sizeof *y);
  for (uint16_t row = 0; row < W->rows; row++, w += n) {
    float v = d[row];
    if (v == 0.0f) continue;
    for (uint16_t i = 0; i < n; i++) y[i] += v * w[i];
  }
  for (uint16_t i = 0; mask && i < n; i++)
    if (!(mask[i] > 0.0f)) y[i] = 0.0f;
}

void el_k_matvec_t_f32(el_run *run, const el_arg *a) { (void)run, transposed(&a[0], a[1].p, NULL, a[2].p); }
void el_k_matvec_t_mask_f32(el_run *run, const el_arg *a) { (void)run, transposed(&a[0], a[1].p, a[2].p, a[3].p); }

void el_k_outer_update_f32(el_run *run, const el_arg *a) {
  const float *d = a[1].p, *x = a[2].p;
  float *w = a[0].p, step = el_rate_f32(run);
  for (uint16_t row = 0; row < a[0].rows; row++, w += a[0].cols) {
    float k = step * d[row];
    if (k == 0.0f) continue;
    for (uint16_t i = 0; i < a[0].cols; i++) w[i] -= k * x[i];
  }
}

void el_k_vec_update_f32(el_run *run, const el_arg *a) {
  const float *d = a[1].p;
  float *b = a[0].p, step = el_rate_f32(run);
  uint32_t n = el_elements(&a[0]), all = el_elements(&a[1]);
  for (uint32_t i = 0; i < n; i++) {
    float sum = d[i];
    for (uint32_t j = i + n; j < all; j += n) sum += d[j]; /* the other positions of a map */
    b[i] -= step * sum;
  }
}

void el_k_softmax_f32(el_run *run, const el_arg *a) {
  const float *g = a[0].p;
  float *p = a[1].p, top = g[0], total = 0;
  uint32_t n = el_elements(&a[0]);
  (void)run;
  for (uint32_t i = 1; i < n; i++)
    if (g[i] > top) top = g[i];
  for (uint32_t i = 0; i < n; i++) total += p[i] = el_exp(g[i] - top);
  for (uint32_t i = 0; i < n; i++) p[i] /= total;
}

void el_k_one_hot_f32(el_run *run, const el_arg *a) {
  float *y = a[1].p;
  uint32_t label = *(const uint32_t *)a[0].p;
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++) y[i] = i == label ? 1.0f : 0.0f;
}

void el_k_sub_one_hot_f32(el_run *run, const el_arg *a) {
  const float *p = a[0].p;
  float *e = a[2].p;
  uint32_t label = *(const uint32_t *)a[1].p;
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[2]); i < n; i++) e[i] = p[i] - (i == label ? 1.0f : 0.0f);
}

void el_k_gate_f32(el_run *run, const el_arg *a) {
  const float *v = a[0].p;
  float *y = a[1].p, threshold = el_imm(run);
  uint32_t n = el_elements(&a[0]);
  uint8_t open = 0;
  for (uint32_t i = 0; i < n; i++) open |= v[i] >= threshold || -v[i] >= threshold;
  for (uint32_t i = 0; i < n; i++) y[i] = open ? v[i] : 0.0f;
}

void el_k_argmax_f32(el_run *run, const el_arg *a) {
  const float *v = a[0].p;
  uint32_t best = 0;
  (void)run;
  for (uint32_t i = 1, n = el_elements(&a[0]); i < n; i++)
    if (v[i] > v[best]) best = i;
  *(int32_t *)a[1].p = (int32_t)best;
}

/* --- element by element; an operand of one element goes with every element of the other --- */

static float at(const el_arg *a, uint32_t i) { return ((const float *)a->p)[el_elements(a) == 1 ? 0 : i]; }

#define EL_MAP(name, expression)                           \
  void el_k_##name##_f32(el_run *run, const el_arg *a) {   \
    const el_arg *y = &a[EL_OUT_OF_##name];                \
    (void)run;                                             \
    for (uint32_t i = 0, n = el_elements(y); i < n; i++) { \
      float u = at(&a[0], i);                              \
      ((float *)y->p)[i] = (expression);                   \
    }                                                      \
  }
#define EL_OUT_OF_add 2
#define EL_OUT_OF_sub 2
#define EL_OUT_OF_mul 2
#define EL_OUT_OF_mask 2
#define EL_OUT_OF_scale 1
#define EL_OUT_OF_relu 1
#define EL_OUT_OF_abs 1
#define EL_OUT_OF_sign 1
#define EL_OUT_OF_gt0 1
EL_MAP(add, u + at(&a[1], i))
EL_MAP(sub, u - at(&a[1], i))
EL_MAP(mul, u * at(&a[1], i))
EL_MAP(mask, at(&a[1], i) > 0.0f ? u : 0.0f)
EL_MAP(scale, u * el_imm(run))
EL_MAP(relu, u > 0.0f ? u : 0.0f)
EL_MAP(abs, u < 0.0f ? -u : u)
EL_MAP(sign, u > el_imm(run) ? 1.0f : u < -el_imm(run) ? -1.0f : 0.0f)
EL_MAP(gt0, u > 0.0f ? 1.0f : 0.0f)
#endif
