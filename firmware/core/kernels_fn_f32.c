/* Functions, reductions, choices and draws in floats. Their meaning is the `f32` column of edgelearn/ir/ops, to rounding. */
#ifndef EL_NO_F32
#include "el_math.h"

/* Element i; of an operand of one element, that one. */
static inline float at(const el_arg *a, uint32_t i) { return ((const float *)a->p)[el_elements(a) == 1 ? 0 : i]; }

/* A kernel whose element i is `expression`; u is the one of its first operand. */
#define EL_EACH(name, result, expression)                           \
  void el_k_##name##_f32(el_run *run, const el_arg *a) {            \
    float *y = a[result].p;                                         \
    (void)run;                                                      \
    for (uint32_t i = 0, n = el_elements(&a[result]); i < n; i++) { \
      float u = at(&a[0], i);                                       \
      y[i] = (expression);                                          \
    }                                                               \
  }

static inline float smaller(float u, float v) { return u < v ? u : v; }
static inline float larger(float u, float v) { return u > v ? u : v; }

static float logarithm(float u) { return smaller(larger(el_log(larger(u, 1e-30f)), -EL_LOG_MAX), EL_LOG_MAX); }

EL_EACH(tanh, 1, el_tanh(u))
EL_EACH(sigmoid, 1, 0.5f + 0.5f * el_tanh(0.5f * u))
EL_EACH(exp, 1, el_exp(u))
EL_EACH(log, 1, logarithm(u))
EL_EACH(sqrt, 1, el_root(u))
EL_EACH(rsqrt, 1, 1.0f / el_root(larger(u, EL_RSQRT_MIN_F32)))
EL_EACH(recip, 1, u >= EL_RECIP_MIN || -u >= EL_RECIP_MIN ? 1.0f / u : 0.0f)
EL_EACH(minimum, 2, smaller(u, at(&a[1], i)))
EL_EACH(maximum, 2, larger(u, at(&a[1], i)))
EL_EACH(where, 3, u > 0.0f ? at(&a[1], i) : at(&a[2], i))
EL_EACH(clip, 3, smaller(larger(u, at(&a[1], i)), at(&a[2], i)))
EL_EACH(leaky_relu, 1, u > 0.0f ? u : u * el_imm(run))

void el_k_rms_norm_f32(el_run *run, const el_arg *a) {
  const float *v = a[0].p;
  float *y = a[1].p, squares = 0.0f;
  uint32_t n = el_elements(&a[1]);
  (void)run;
  for (uint32_t i = 0; i < n; i++) squares += v[i] * v[i];
  float root = el_root(squares / (float)n + EL_RMS_EPS_F32);
  for (uint32_t i = 0; i < n; i++) y[i] = v[i] / root;
}

/* --- reductions --- */

static float total(const el_arg *v) {
  float sum = 0.0f;
  for (uint32_t i = 0, n = el_elements(v); i < n; i++) sum += ((const float *)v->p)[i];
  return sum;
}

void el_k_sum_f32(el_run *run, const el_arg *a) { (void)run, *(float *)a[1].p = total(&a[0]); }
void el_k_mean_f32(el_run *run, const el_arg *a) { (void)run, *(float *)a[1].p = total(&a[0]) / (float)el_elements(&a[0]); }

void el_k_max_f32(el_run *run, const el_arg *a) {
  const float *v = a[0].p;
  float top = v[0];
  (void)run;
  for (uint32_t i = 1, n = el_elements(&a[0]); i < n; i++) top = larger(v[i], top);
  *(float *)a[1].p = top;
}

void el_k_dot_f32(el_run *run, const el_arg *a) {
  const float *u = a[0].p, *v = a[1].p;
  float sum = 0.0f;
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[0]); i < n; i++) sum += u[i] * v[i];
  *(float *)a[2].p = sum;
}

/* --- constants and parts --- */

void el_k_const_f32(el_run *run, const el_arg *a) {
  float *y = a[0].p, value = el_imm(run);
  for (uint32_t i = 0, n = el_elements(&a[0]); i < n; i++) y[i] = value;
}

void el_k_overlay_f32(el_run *run, const el_arg *a) {
  const float *x = a[0].p, *v = a[1].p;
  float *y = a[2].p;
  uint32_t over = el_elements(&a[1]);
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[2]); i < n; i++) y[i] = i < over ? v[i] : x[i];
}

void el_k_slice_f32(el_run *run, const el_arg *a) {
  const float *v = a[0].p;
  float *y = a[1].p;
  uint32_t start = el_plan32(run->op + EL_OP_IMM), have = el_elements(&a[0]);
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++) y[i] = start < have && i < have - start ? v[start + i] : 0.0f;
}

/* --- draws --- */

void el_k_noise_f32(el_run *run, const el_arg *a) {
  float *y = a[0].p;
  uint32_t start = el_draw(run);
  uint8_t uniform = run->op[EL_OP_K];
  for (uint32_t i = 0, n = el_elements(&a[0]); i < n; i++)
    y[i] = uniform ? (float)(el_mix(start + i * EL_RNG_COLUMN) >> 8) * 0x1p-24f : (float)el_normal_unit(start, i) * EL_NORMAL_UNIT;
}

/* As the integer one. A product rounded up to the total falls to the last class that has a weight. */
void el_k_sample_f32(el_run *run, const el_arg *a) {
  const float *p = a[0].p;
  float sum = 0.0f, end = 0.0f;
  uint32_t n = el_elements(&a[0]), chosen = 0;
  for (uint32_t i = 0; i < n; i++) sum += larger(p[i], 0.0f);
  float here = (float)(el_mix(el_draw(run)) >> 8) * 0x1p-24f * sum;
  for (uint32_t i = 0; i < n; i++) {
    if (p[i] > 0.0f) chosen = i;
    end += larger(p[i], 0.0f);
    if (end > here) break;
  }
  *(int32_t *)a[1].p = (int32_t)chosen;
}

void el_k_signs_f32(el_run *run, const el_arg *a) {
  const float *v = a[0].p;
  float *y = a[1].p;
  uint32_t start = el_stream(el_seed(run->el), el_plan32(run->op + EL_OP_IMM)), cols = el_elements(&a[0]);
  for (uint32_t row = 0, rows = el_elements(&a[1]); row < rows; row++) {
    float sum = 0.0f;
    uint32_t word = 0;
    for (uint32_t i = 0; i < cols; i++, word >>= 1) {
      if (i % 32 == 0) {
        word = el_mix(start);
        start += EL_RNG_COLUMN;
      }
      sum += word & 1 ? v[i] : -v[i];
    }
    y[row] = sum;
  }
}
#endif
