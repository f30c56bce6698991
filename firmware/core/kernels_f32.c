/* Float kernels for boards with an FPU. Their meaning is the `f32` column of edgelearn/ir/ops.py, to rounding. */
#ifndef EL_NO_F32
#include <string.h>

#include "el_kernel.h"

static float imm(const el_run *run) {
  uint32_t bits = el_get32(run->op + EL_OP_IMM);
  float v;
  memcpy(&v, &bits, 4);
  return v;
}

/* The rate of an update: its immediate, halved once per drop. */
static float rate(const el_run *run) {
  float v = imm(run);
  for (uint8_t i = 0; i < run->drops; i++) v *= 0.5f;
  return v;
}

/* e^x for x <= 0, and 0 for what is not: 2^n times a polynomial for 2^f, relative error below 3e-7. */
static float exp_below(float x) {
  if (!(x >= -87.0f && x <= 0.0f)) return 0.0f; /* NaN too: it must not reach a cast */
  float t = x * 1.44269504f;
  int16_t n = (int16_t)t;
  if ((float)n > t) n--;
  float f = (t - (float)n) * 0.69314718f;
  float p = 1.0f + f * (1.0f + f * (0.5f + f * (0.16666667f + f * (0.041666668f + f * (0.0083333333f + f * (0.0013888889f + f * 0.00019841270f))))));
  uint32_t bits = (uint32_t)(n + 127) << 23;
  float scale;
  memcpy(&scale, &bits, 4);
  return p * scale;
}

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
  float *w = a[0].p, step = rate(run);
  for (uint16_t row = 0; row < a[0].rows; row++, w += a[0].cols) {
    float k = step * d[row];
    if (k == 0.0f) continue;
    for (uint16_t i = 0; i < a[0].cols; i++) w[i] -= k * x[i];
  }
}

void el_k_vec_update_f32(el_run *run, const el_arg *a) {
  const float *d = a[1].p;
  float *b = a[0].p, step = rate(run);
  for (uint16_t i = 0; i < a[0].cols; i++) b[i] -= step * d[i];
}

void el_k_softmax_f32(el_run *run, const el_arg *a) {
  const float *g = a[0].p;
  float *p = a[1].p, top = g[0], total = 0;
  uint16_t n = a[0].cols;
  (void)run;
  for (uint16_t i = 1; i < n; i++)
    if (g[i] > top) top = g[i];
  for (uint16_t i = 0; i < n; i++) total += p[i] = exp_below(g[i] - top);
  for (uint16_t i = 0; i < n; i++) p[i] /= total;
}

void el_k_one_hot_f32(el_run *run, const el_arg *a) {
  float *y = a[1].p;
  (void)run;
  for (uint16_t i = 0; i < a[1].cols; i++) y[i] = i == *(const int32_t *)a[0].p ? 1.0f : 0.0f;
}

void el_k_sub_one_hot_f32(el_run *run, const el_arg *a) {
  const float *p = a[0].p;
  float *e = a[2].p;
  (void)run;
  for (uint16_t i = 0; i < a[2].cols; i++) e[i] = p[i] - (i == *(const int32_t *)a[1].p ? 1.0f : 0.0f);
}

void el_k_gate_f32(el_run *run, const el_arg *a) {
  const float *v = a[0].p;
  float *y = a[1].p, threshold = imm(run);
  uint8_t open = 0;
  for (uint16_t i = 0; i < a[0].cols; i++) open |= v[i] >= threshold || -v[i] >= threshold;
  for (uint16_t i = 0; i < a[0].cols; i++) y[i] = open ? v[i] : 0.0f;
}

void el_k_argmax_f32(el_run *run, const el_arg *a) {
  const float *v = a[0].p;
  uint16_t best = 0;
  (void)run;
  for (uint16_t i = 1; i < a[0].cols; i++)
    if (v[i] > v[best]) best = i;
  *(int32_t *)a[1].p = best;
}

/* --- element by element; an operand of one element goes with every element of the other --- */

static float at(const el_arg *a, uint16_t i) { return ((const float *)a->p)[a->cols == 1 ? 0 : i]; }

#define EL_MAP(name, expression)                         \
  void el_k_##name##_f32(el_run *run, const el_arg *a) { \
    const el_arg *y = &a[EL_OUT_OF_##name];              \
    (void)run;                                           \
    for (uint16_t i = 0; i < y->cols; i++) {             \
      float u = at(&a[0], i);                            \
      ((float *)y->p)[i] = (expression);                 \
    }                                                    \
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
EL_MAP(scale, u * imm(run))
EL_MAP(relu, u > 0.0f ? u : 0.0f)
EL_MAP(abs, u < 0.0f ? -u : u)
EL_MAP(sign, (float)((u > 0.0f) - (u < 0.0f)))
EL_MAP(gt0, u > 0.0f ? 1.0f : 0.0f)
#endif
