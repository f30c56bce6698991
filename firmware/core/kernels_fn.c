/* Functions of a vector, in integers: their meaning, bit for bit, is edgelearn/ir/ops/functions.py. */
#include "el_values.h"

/* --- bounded: tanh, sigmoid, log --- */

/* tanh of q * 2^-shift, Q15, between table entries by a straight line. */
static int32_t tanh_q15(int32_t q, int16_t shift) {
  static EL_ROM uint16_t table[257] = {EL_TANH_TABLE};
  const uint32_t end = ((uint32_t)EL_TANH_END << 15) - 1;
  int32_t x = el_shift(q, shift);
  uint32_t t = x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
  if (t > end) t = end;
  uint32_t low = el_rom_u16(&table[t >> 10]), high = el_rom_u16(&table[(t >> 10) + 1]);
  int32_t y = (int32_t)(low + (((high - low) * (t & 1023) + 512) >> 10));
  return q < 0 ? -y : y;
}

void el_k_tanh(el_run *run, const el_arg *a) {
  int16_t *y = a[1].p;
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++)
    y[i] = (int16_t)el_saturated(tanh_q15(el_load_q(&a[0], i), (int16_t) - (a[0].e + 15)), 32767);
}

void el_k_sigmoid(el_run *run, const el_arg *a) {
  int16_t *y = a[1].p;
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++)
    y[i] = (int16_t)el_saturated((32769 + tanh_q15(el_load_q(&a[0], i), (int16_t) - (a[0].e + 14))) >> 1, 32767);
}

static uint8_t bits(uint32_t q) {
  uint8_t n = 0;
  for (; q; q >>= 1) n++;
  return n;
}

/* q * 2^left; what falls off at the right is lost. */
static uint32_t shifted(uint32_t q, int8_t left) { return left < 0 ? q >> -left : q << left; }

static int32_t log_q11(int32_t q, int16_t e) {
  static EL_ROM uint16_t table[65] = {EL_LOG2_TABLE};
  if (q <= 0) return -32767;
  uint8_t n = bits((uint32_t)q);
  uint32_t m = shifted((uint32_t)q, (int8_t)(16 - n)), i = m >> 9 & 63;
  uint32_t low = el_rom_u16(&table[i]), log2 = low + (((el_rom_u16(&table[i + 1]) - low) * (m & 511)) >> 9);
  int32_t t = (int32_t)(e + n - 1) * 4096 + (int32_t)((log2 + 4) >> 3);
  return el_saturated(el_shift(el_saturated(t, EL_LOG2_MAX) * (int32_t)EL_LN2_Q15, 16), 32767);
}

void el_k_log(el_run *run, const el_arg *a) {
  int16_t *y = a[1].p;
  (void)run;
  for (uint32_t i = 0, n = el_elements(&a[1]); i < n; i++) y[i] = (int16_t)log_q11(el_load_q(&a[0], i), a[0].e);
}

/* --- blocks: 15 bits each, and one exponent for all: that of the largest --- */

typedef struct el_parts {
  int32_t m; /* of a result m * 2^e; 0 for a result that is 0 */
  int16_t e;
} el_parts;

static el_parts exp_parts(int32_t q, int16_t e) {
  static EL_ROM uint16_t pow2[65] = {EL_POW2_TABLE, 16384};
  int32_t x = el_saturated(el_shift(q, (int16_t) - (e + 12)), (int32_t)EL_EXP_MAX << 12);
  int32_t t = x + ((x * EL_LOG2E_FRACTION + 8192) >> 14);
  uint32_t down = 4095 - ((uint32_t)t & 4095), i = down >> 6;
  uint32_t high = el_rom_u16(&pow2[i]), low = el_rom_u16(&pow2[i + 1]);
  return (el_parts){(int32_t)(high - (((high - low) * ((down & 63) + 1) + 32) >> 6)), (int16_t)((t >> 12) - 14)};
}

/* The root of m < 2^30, rounded down. */
static uint32_t root(uint32_t m) {
  uint32_t r = 0;
  for (uint32_t bit = (uint32_t)1 << 28; bit; bit >>= 2) {
    uint32_t next = r + bit;
    r >>= 1;
    if (m >= next) {
      m -= next;
      r += bit;
    }
  }
  return r;
}

/* The root of q * 2^e, q > 0: 15 bits, rounded down. */
static el_parts root_parts(uint32_t q, int16_t e) {
  int8_t left = (int8_t)(30 - bits(q));
  left = (int8_t)(left - ((e - left) & 1)); /* what is left as exponent must be even */
  return (el_parts){(int32_t)root(shifted(q, left)), (int16_t)((e - left) / 2)};
}

static el_parts sqrt_parts(int32_t q, int16_t e) {
  if (q <= 0) return (el_parts){0, EL_EMPTY_EXP};
  return root_parts((uint32_t)q, e);
}

/* 2^log2 / m, which has 15 bits or is 2^15: that becomes 2^14, so that powers of two stay exact. */
static el_parts inverse(uint32_t m, uint8_t log2, int16_t e) {
  uint32_t y = (((uint32_t)1 << log2) + (m >> 1)) / m;
  return y >> 15 ? (el_parts){(int32_t)1 << 14, (int16_t)(e + 1)} : (el_parts){(int32_t)y, e};
}

static el_parts rsqrt_parts(int32_t q, int16_t e) {
  el_parts r = root_parts(q > 0 ? (uint32_t)q : 1, e);
  if (q <= 0 || r.e < EL_RSQRT_MIN / 2 - 14) r = (el_parts){(int32_t)1 << 14, EL_RSQRT_MIN / 2 - 14};
  return inverse((uint32_t)r.m, 29, (int16_t)(-29 - r.e));
}

static uint32_t size_of(int32_t q) { return q < 0 ? 0u - (uint32_t)q : (uint32_t)q; }

static el_parts recip_parts(int32_t q, int16_t e) {
  if (!q) return (el_parts){0, EL_EMPTY_EXP};
  int8_t left = (int8_t)(16 - bits(size_of(q)));
  el_parts v = inverse(shifted(size_of(q), left), 30, (int16_t)(left - e - 30));
  if (q < 0) v.m = -v.m;
  return v;
}

/* Which of two operands gives the larger result? */
static uint8_t larger(int32_t q, int32_t than) { return q > than; }
static uint8_t smaller(int32_t q, int32_t than) { return q < than; }
static uint8_t nearer(int32_t q, int32_t than) { return size_of(q) - 1 < size_of(than) - 1; } /* to 0, which is the farthest */

static int16_t block_begin(const el_run *run, const el_arg *y, el_parts largest) {
  int16_t e = largest.e > EL_BLOCK_EXP ? EL_BLOCK_EXP : largest.e < -EL_BLOCK_EXP ? -EL_BLOCK_EXP : largest.e;
  el_set_exponent(run, y, e);
  return e;
}

#define EL_BLOCK(name, first)                                                                                         \
  void el_k_##name(el_run *run, const el_arg *a) {                                                                    \
    int16_t *y = a[1].p;                                                                                              \
    uint32_t n = el_elements(&a[1]);                                                                                  \
    int32_t extreme = el_load_q(&a[0], 0);                                                                            \
    for (uint32_t i = 1; i < n; i++) {                                                                                \
      int32_t q = el_load_q(&a[0], i);                                                                                \
      if (first(q, extreme)) extreme = q;                                                                             \
    }                                                                                                                 \
    int16_t e = block_begin(run, &a[1], name##_parts(extreme, a[0].e));                                               \
    for (uint32_t i = 0; i < n; i++) {                                                                                \
      el_parts v = name##_parts(el_load_q(&a[0], i), a[0].e);                                                         \
      y[i] = (int16_t)el_saturated(el_shift(v.m, (int16_t)(e - v.e)), 32767);                                         \
    }                                                                                                                 \
  }
EL_BLOCK(exp, larger)
EL_BLOCK(sqrt, larger)
EL_BLOCK(rsqrt, smaller)
EL_BLOCK(recip, nearer)

/* --- rms_norm --- */

/* As n grows, the largest result does: sqrt(n) = 2^k at most. */
static int16_t rms_exponent(uint32_t n) {
  int16_t k = 0;
  while (k < 16 && (uint32_t)1 << 2 * k < n) k++;
  return (int16_t)(k - 15);
}

void el_k_rms_norm(el_run *run, const el_arg *a) {
  const int8_t *v = a[0].p;
  int16_t *y = a[1].p;
  uint32_t n = el_elements(&a[1]), squares = 0;
  (void)run;
  for (uint32_t i = 0; i < n; i++) squares += (uint32_t)((int32_t)v[i] * v[i]);
  int16_t eps = (int16_t)(bits(n) + EL_RMS_EPS - 2 * a[0].e), used = bits(squares), left = (int16_t)(30 - (used > eps ? used : eps));
  uint32_t sum = (uint32_t)el_shift((int32_t)squares, (int16_t)-left) + (uint32_t)el_shift((int32_t)n, (int16_t)(2 * a[0].e - EL_RMS_EPS - left));
  if (!squares || sum > EL_I32_MAX) sum = EL_I32_MAX; /* of zeros any sum will do */
  el_parts top = root_parts(n, 0), bottom = root_parts(sum ? sum : 1, (int16_t)-left);
  int32_t factor = (int32_t)((((uint32_t)top.m << 16) + ((uint32_t)bottom.m >> 1)) / (uint32_t)bottom.m);
  int16_t shift = (int16_t)(rms_exponent(n) - (top.e - bottom.e - 16));
  for (uint32_t i = 0; i < n; i++) y[i] = (int16_t)el_saturated(el_shift(v[i] * factor, shift), 32767);
}
