/* Integer kernels, portable C. Their meaning, bit for bit, is the `i32` column of edgelearn/ir/ops. Products and updates are here for
 * int8 weights; kernels_wide.c has them for all. */
#include "el_dot.h"
#include "el_int.h"

void el_narrow_end(el_run *run, const el_arg *out, uint32_t saturated, int32_t maximum) {
  if (!run->counting || out->dtype == EL_DTYPE_I32) return;
  if (run->slots[(uint32_t)out->slot * EL_SLOT_BYTES + EL_SLOT_KIND] != EL_SLOT_IS_MOVING) return;
  uint8_t *window = run->stats + (uint32_t)out->slot * 4;
  saturated += el_get16(window);
  el_put16(window, (uint16_t)(saturated > 65535 ? 65535 : saturated));
  if ((uint32_t)maximum > el_get16(window + 2)) el_put16(window + 2, (uint16_t)maximum);
}

EL_RARE void el_add_bias(int32_t *z, const int16_t *b, uint32_t n, int16_t shift) {
  const int32_t bound = (int32_t)1 << 30;
  for (; n--; z++, b++) {
    int32_t q = el_shift(*b, shift);
    *z = (int32_t)((uint32_t)*z + (uint32_t)(q > bound ? bound : q < -bound ? -bound : q));
  }
}

EL_RARE void el_narrow_rows(el_narrow *out, const int32_t *z, uint32_t at, uint32_t n, uint8_t relu) {
  for (uint32_t j = 0; j < n; j++) el_narrow_put(out, at + j, relu && z[j] < 0 ? 0 : z[j]);
}

#ifndef EL_SMALL /* kernels_small.c has these */
/* --- products --- */

/* y = W x (+ b), narrowed; negative results are cut to 0 if `relu`. Some rows at a time, so that no vector of sums is needed. */
static void narrow_product(el_run *run, el_inputs *in, const el_arg *W, int16_t e, const el_arg *b, const el_arg *y) {
  const int8_t *w = W->p;
  uint8_t relu = run->op[EL_OP_FLAGS] & EL_OP_RELU;
  el_narrow out = el_narrow_begin(y, e);
  const int32_t unit = el_inner_unit(&out, b, e, relu);
  for (uint32_t row = 0, n, rows = W->rows; row < rows; row += n, w += n * W->cols) {
    int32_t z[EL_TILE];
    n = rows - row < EL_TILE ? rows - row : EL_TILE;
    el_dot_inputs(w, in, n, z);
    if (unit) {
      el_inner_rows(&out, unit, z, (const int16_t *)b->p + row, n, (uint8_t *)y->p + row);
      continue;
    }
    if (b) el_add_bias(z, (const int16_t *)b->p + row, n, (int16_t)(e - b->e));
    el_narrow_rows(&out, z, row, n, relu);
  }
  el_narrow_end(run, y, out.saturated, out.maximum);
}

#ifdef EL_CMSIS_NN
#include "el_product_cmsis.h"
#endif

/* W and x are the first two operands: with four arguments none lies on the stack. */
static void product(el_run *run, const el_arg *W, const el_arg *b, const el_arg *y) {
  const el_arg *x = W + 1;
  int16_t e = (int16_t)(W->e + x->e);
  el_inputs in;
#ifdef EL_CMSIS_NN
  if (el_cmsis_product(run, W, x, e, b, y)) return;
#endif
  el_begin_rows(&in, x->p, W->cols, W->rows);
  if (y->dtype != EL_DTYPE_I32 || run->op[EL_OP_FLAGS] & EL_OP_RELU) {
    narrow_product(run, &in, W, e, b, y);
    return;
  }
  el_dot_inputs(W->p, &in, W->rows, y->p); /* exact results are made where they belong */
  if (b) el_add_bias(y->p, b->p, W->rows, (int16_t)(e - b->e));
}

void el_k_affine(el_run *run, const el_arg *a) { product(run, a, &a[2], &a[3]); }
void el_k_matvec(el_run *run, const el_arg *a) { product(run, a, NULL, &a[2]); }

/* What el_narrow_rows does for n errors of 16 bits that are shifted to the right, by less than 31. */
static inline void narrow_errors(el_narrow *out, const int32_t *z, uint32_t at, uint32_t n) {
  int16_t *y = (int16_t *)out->p + at;
  uint32_t half = (uint32_t)1 << (out->shift - 1);
  for (; n--; y++) {
    int32_t q = *z++, sign = q >> 31, m = (int32_t)(((uint32_t)((q ^ sign) - sign) + half) >> out->shift);
    if (m > out->maximum) {
      if (m > 32767) {
        out->saturated++;
        m = 32767;
      }
      out->maximum = m;
    }
    *y = (int16_t)((m ^ sign) - sign);
  }
}

/* y = W^T d, only where mask > 0: four columns at a time, so that no row of accumulators is needed. */
static void transposed(el_run *run, const el_arg *W, const el_arg *d, const int8_t *mask, const el_arg *y) {
  el_narrow out = el_narrow_begin(y, (int16_t)(W->e + d->e)), rest = out;
  uint8_t common = out.dtype == EL_DTYPE_I16 && out.shift > 0 && out.shift < 31;
  const int8_t *w = W->p;
  uint32_t cols = W->cols;
  if (el_all_zero(d->p, W->rows)) { /* a gated sample */
    el_clear(y);
    return;
  }
  for (uint32_t at = 0, n; at < cols; at += n, w += n) {
    int32_t z[4] = {0, 0, 0, 0};
    n = cols - at < 4 ? 1 : 4;
    if (n == 4) el_columns4_i8(w, cols, d->p, W->rows, z);
    else z[0] = el_column_i8(w, cols, d->p, W->rows);
    for (uint32_t j = 0; mask && j < n; j++)
      if (mask[at + j] <= 0) z[j] = 0;
    if (common) narrow_errors(&out, z, at, n);
    else el_narrow_rows(&rest, z, at, n, 0);
  }
  el_narrow_end(run, y, out.saturated + rest.saturated, out.maximum > rest.maximum ? out.maximum : rest.maximum);
}

void el_k_matvec_t(el_run *run, const el_arg *a) { transposed(run, &a[0], &a[1], NULL, &a[2]); }
void el_k_matvec_t_mask(el_run *run, const el_arg *a) { transposed(run, &a[0], &a[1], a[2].p, &a[3]); }

/* --- updates --- */

/* Any k. Most are of errors that are shifted to the right: see update_rows. */
EL_RARE static int32_t multiplier(const el_rate *rate, int32_t d) { return el_k_of(rate, d); }

/* Rows of weights whose k is not 0, by this part of the inputs. To round half away from zero is to round half up, less one unit of d below
 * zero; where d is not shifted to the right, that is at least not 0. */
static void update_rows(const el_rate *rate, const el_arg *W, const int16_t *errors, const el_inputs *in, uint32_t dither) {
  const uint8_t shift = (uint8_t)(rate->shift > 0 ? rate->shift : 0);
  const int32_t half = (int32_t)1 << shift >> 1;
  for (const int16_t *d = errors, *end = d + W->rows; d < end; d++) {
    int32_t k = (*d + half + (*d >> 15)) >> shift;
    if (EL_LIKELY(!k)) continue;
    uint32_t row = (uint32_t)(d - errors);
    k = !shift ? multiplier(rate, *d) : rate->negative ? -k : k;
    el_update_part((int8_t *)W->p + row * W->cols, in, k, dither + row * EL_RNG_ROW);
  }
}

void el_k_outer_update(el_run *run, const el_arg *a) {
  const el_arg *W = &a[0];
  const el_rate rate = el_summed_rate(run, W, &a[1], a[2].e, 1);
  const uint32_t dither = el_update_dither(run);
  el_inputs in;
  if (rate.shift > 16 || el_all_zero(a[1].p, W->rows)) return; /* every k is 0 */
  el_begin(&in, a[2].p, W->cols);
  do update_rows(&rate, W, a[1].p, &in, dither);
  while (el_more(&in));
}

EL_RARE static void update_elements(const el_arg *b, const el_arg *d, const el_rate *rate, uint32_t r, int32_t limit) {
  for (uint32_t i = 0, n = el_elements(b); i < n; i++, r += EL_RNG_ROW) {
    int32_t change = (multiplier(rate, el_load_q(d, i)) + (int32_t)(r >> 16)) >> 16;
    if (change) el_store(b->p, b->dtype, i, el_clamp(el_load_q(b, i) - change, limit));
  }
}

void el_k_vec_update(el_run *run, const el_arg *a) {
  const el_arg *b = &a[0], *d = &a[1];
  const el_rate rate = el_summed_rate(run, b, d, 0, 1);
  uint32_t r = el_update_dither(run);
  int32_t limit = el_weight_limit(run->slots, b);
  if (b->dtype != EL_DTYPE_I16 || d->dtype != EL_DTYPE_I16 || rate.shift > 0) {
    update_elements(b, d, &rate, r, limit);
    return;
  }
  const uint8_t left = (uint8_t)(rate.shift < -22 ? 22 : -rate.shift);
  const int32_t unit = (rate.negative ? -1 : 1) * ((int32_t)1 << left), most = rate.bound >> left;
  int16_t *w = b->p;
  for (const int16_t *error = d->p, *end = error + el_elements(b); error < end; error++, w++, r += EL_RNG_ROW)
    if (*error) *w = (int16_t)el_clamp(*w - ((el_clamp(*error, most) * unit + (int32_t)(r >> 16)) >> 16), limit);
}

#endif

/* --- classes --- */

EL_RARE static uint32_t largest_of_any(const el_arg *v) {
  uint32_t best = 0;
  for (uint32_t i = 1, n = el_elements(v); i < n; i++)
    if (el_load_q(v, i) > el_load_q(v, best)) best = i;
  return best;
}

static uint32_t largest(const el_arg *v) {
  if (v->dtype != EL_DTYPE_I32) return largest_of_any(v);
  const int32_t *q = v->p, *best = q, *end = q + el_elements(v);
  int32_t top = *q;
  for (q++; q < end; q++)
    if (*q > top) {
      top = *q;
      best = q;
    }
  return (uint32_t)(best - (const int32_t *)v->p);
}

#ifndef EL_SMALL
/* 2^-(distance) in Q15, from a table; the distance is in Q10. */
static inline uint32_t power_below(uint32_t q10) {
  static EL_ROM uint16_t pow2[64] = {EL_POW2_TABLE};
  uint32_t t = ((q10 > 16384 ? 16384 : q10) * EL_LOG2E_Q10) >> 10;
  return t >> 10 > 15 ? 0 : (uint32_t)el_rom_u16(&pow2[t >> 4 & 63]) >> (t >> 10);
}

/* Brings distances in units of 2^e to Q10, rounded to nearest. From 2^14 on, 16, all are alike. */
typedef struct to_q10 {
  uint32_t half, cap;
  uint8_t right, left;
} to_q10;

static inline to_q10 to_q10_begin(int16_t e) {
  int16_t right = (int16_t) - (e + 10);
  if (right > 31) return (to_q10){0, 0, 0, 0};
  if (right > 0) return (to_q10){(uint32_t)1 << (right - 1), EL_I32_MAX, (uint8_t)right, 0};
  return (to_q10){0, 16384, 0, (uint8_t)(right < -15 ? 15 : -right)};
}

static inline uint32_t q10_of(const to_q10 *to, uint32_t distance) {
  if (distance > to->cap) distance = to->cap;
  return ((distance + to->half) >> to->right) << to->left;
}

/* Powers of all scores, to p; their sum. */
EL_RARE static uint32_t powers_of_any(const el_arg *g, uint16_t *p) {
  const to_q10 to = to_q10_begin(g->e);
  uint32_t total = 0, n = el_elements(g), top = (uint32_t)el_load_q(g, largest(g));
  for (uint32_t i = 0; i < n; i++) total += p[i] = (uint16_t)power_below(q10_of(&to, top - (uint32_t)el_load_q(g, i)));
  return total;
}

static uint32_t powers(const el_arg *g, uint16_t *p) {
  if (g->dtype != EL_DTYPE_I32) return powers_of_any(g, p);
  const to_q10 to = to_q10_begin(g->e);
  const int32_t *q = g->p, *end = q + el_elements(g);
  uint32_t total = 0, top = (uint32_t)q[largest(g)];
  while (q < end) total += *p++ = (uint16_t)power_below(q10_of(&to, top - (uint32_t)*q++));
  return total;
}

void el_k_softmax(el_run *run, const el_arg *a) {
  uint16_t *p = a[1].p;
  uint32_t total = powers(&a[0], p), n = el_elements(&a[0]);
  (void)run;
  if (!total) total = 1; /* it wrapped: no net has so many classes */
  for (uint16_t *end = p + n; p < end; p++) {
    uint32_t q = (((uint32_t)*p << 15) + (total >> 1)) / total;
    *p = (uint16_t)(q > 32767 ? 32767 : q);
  }
}
#endif

void el_k_one_hot(el_run *run, const el_arg *a) {
  int32_t *y = a[1].p;
  uint32_t label = *(const uint32_t *)a[0].p;
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++) y[i] = i == label ? 32768 : 0;
}

void el_k_sub_one_hot(el_run *run, const el_arg *a) {
  int16_t *e = a[2].p;
  uint32_t label = *(const uint32_t *)a[1].p, n = el_elements(&a[2]);
  (void)run;
  for (uint32_t i = 0; e != a[0].p && i < n; i++) e[i] = ((const int16_t *)a[0].p)[i];
  if (label >= n) return;
  int32_t q = (int32_t)e[label] - 32768;
  e[label] = (int16_t)(q < -32767 ? -32767 : q);
}

/* Is a value at the threshold or beyond? */
EL_RARE static uint8_t any_beyond(const el_arg *v, int32_t threshold) {
  for (uint32_t i = 0, n = el_elements(v); i < n; i++) {
    int32_t q = el_load_q(v, i);
    if (q >= threshold || q <= -threshold) return 1;
  }
  return 0;
}

static inline uint8_t any_error_beyond(const int16_t *v, uint32_t n, int32_t threshold) {
  for (const int16_t *end = v + n; v < end; v++)
    if (*v >= threshold || *v <= -threshold) return 1;
  return 0;
}

EL_RARE static void copy(const el_arg *v, const el_arg *y) {
  for (uint32_t i = 0, n = el_elements(v); i < n; i++) el_store(y->p, y->dtype, i, el_load_q(v, i));
}

void el_k_gate(el_run *run, const el_arg *a) {
  const el_arg *v = &a[0];
  int32_t threshold = el_shift((int32_t)el_plan32(run->op + EL_OP_IMM), (int16_t)(v->e + 15));
  if (v->dtype == EL_DTYPE_I16 ? any_error_beyond(v->p, el_elements(v), threshold) : any_beyond(v, threshold)) {
    if (v->p != a[1].p) copy(v, &a[1]);
    return;
  }
  el_clear(&a[1]);
  run->idle = run->op[EL_OP_ID];
}

void el_k_argmax(el_run *run, const el_arg *a) {
  (void)run;
  *(int32_t *)a[1].p = (int32_t)largest(&a[0]);
}
