/* Binding a plan to memory, making its first state, and running its two entries. */
#include <stddef.h>
#include <string.h>

#include "el_kernel.h"

#define PAINT 0xA5
#define WINDOW_BYTES 4 /* u16 saturated, u16 maximum */

static uint32_t header32(const el_t *el, uint32_t field) { return el_plan32(el->plan + field); }
static uint16_t header16(const el_t *el, uint32_t field) { return el_plan16(el->plan + field); }
static uint8_t *meta(const el_t *el) { return el->state + header32(el, EL_HEADER_META); }
static int is_int(const el_t *el) { return el->plan[EL_HEADER_DTYPE] == EL_PLAN_INT8; }

static EL_PLAN uint8_t *slots(const el_t *el) { return el->plan + EL_HEADER_BYTES + (uint32_t)el->plan[EL_HEADER_N_DROPS] * 4; }
static EL_PLAN uint8_t *tensors(const el_t *el) { return slots(el) + (uint32_t)el->plan[EL_HEADER_N_SLOTS] * EL_SLOT_BYTES; }
static EL_PLAN uint8_t *inits(const el_t *el) { return tensors(el) + (uint32_t)el->plan[EL_HEADER_N_TENSORS] * EL_TENSOR_BYTES; }
static EL_PLAN uint8_t *ops(const el_t *el) { return inits(el) + (uint32_t)el->plan[EL_HEADER_N_INITS] * EL_INIT_BYTES; }
static uint8_t *stats(const el_t *el) { return meta(el) + 8; }
static int8_t *exps(const el_t *el) { return (int8_t *)stats(el) + (uint32_t)el->plan[EL_HEADER_N_SLOTS] * WINDOW_BYTES; }

uint32_t el_step(const el_t *el) { return el_get32(meta(el)); }
uint32_t el_seed(const el_t *el) { return el_get32(meta(el) + 4); }
uint16_t el_classes(const el_t *el) { return header16(el, EL_HEADER_CLASSES); }
uint8_t *el_input(el_t *el) { return el->arena; }

/* --- operands --- */

#if defined(__ARM_FEATURE_UNALIGNED) && defined(__ARMEL__) && !defined(EL_PLAN_IN_ROM)
/* Two words at once, as they lie. */
static inline void read_shape(EL_PLAN uint8_t *t, el_arg *out) {
  _Static_assert(EL_TENSOR_SLOT0 == EL_TENSOR_ROWS + 7 && offsetof(el_arg, slot) == offsetof(el_arg, rows) + 7, "as in the record");
  memcpy(&out->rows, t + EL_TENSOR_ROWS, 8);
}
#else
static inline void read_shape(EL_PLAN uint8_t *t, el_arg *out) {
  out->rows = el_plan16(t + EL_TENSOR_ROWS);
  out->cols = el_plan16(t + EL_TENSOR_COLS);
  out->region = t[EL_TENSOR_REGION];
  out->dtype = t[EL_TENSOR_DTYPE];
  out->exp = (int8_t)t[EL_TENSOR_EXP];
  out->slot = t[EL_TENSOR_SLOT0];
}
#endif

/* `regions` are where arena and state begin. */
static inline void read_tensor(uint8_t *const *regions, EL_PLAN uint8_t *t, const int8_t *exponents, el_arg *out) {
  read_shape(t, out);
  out->p = regions[t[EL_TENSOR_REGION]] + el_plan32(t + EL_TENSOR_OFF);
  out->record = t;
  out->e = (int16_t)(out->exp + exponents[out->slot] + exponents[t[EL_TENSOR_SLOT1]]);
}

/* A plan in floats has none in its state: its only slot is the constant 0. */
static const int8_t *exponents_of(const el_t *el) {
  static const int8_t none[1];
  return is_int(el) ? exps(el) : none;
}

static void resolve(const el_t *el, uint8_t index, el_arg *out) {
  uint8_t *const regions[] = {el->arena, el->state};
  read_tensor(regions, tensors(el) + (uint32_t)index * EL_TENSOR_BYTES, exponents_of(el), out);
}

uint32_t el_input_bytes(const el_t *el) {
  el_arg x;
  resolve(el, el->plan[EL_HEADER_INPUT], &x);
  return el_elements(&x) * (x.dtype == EL_DTYPE_I8 ? 1 : 4);
}

static int32_t *word(const el_t *el, uint32_t field) {
  el_arg a;
  resolve(el, el->plan[field], &a);
  return a.p;
}

/* --- memory --- */

/* [state][gap][arena][gap]: painted gaps show who wrote beyond its end. */
static int lay_out(el_t *el, uint8_t *pool, uint32_t pool_bytes) {
  uint32_t skip = (uint32_t)((8 - ((uintptr_t)pool & 7)) & 7);
  uint32_t state = (el_plan_state_bytes(el->plan) + 7) & ~(uint32_t)7, arena = el_plan_arena_bytes(el->plan);
  if (pool_bytes < skip || pool_bytes - skip < state || pool_bytes - skip - state < arena) return EL_ERR_MEMORY;
  uint32_t gap = ((pool_bytes - skip - state - arena) / 2) & ~(uint32_t)7;
  if (gap > 256) gap = 256;
  el->pool = pool + skip;
  el->pool_bytes = pool_bytes - skip;
  el->state = el->pool;
  el->arena = el->state + state + gap;
  el->state_bytes = el_plan_state_bytes(el->plan);
  el->arena_bytes = arena;
  return EL_OK;
}

/* Painted bytes beyond the arena: enough to see an overrun, not all of a large pool. */
static uint32_t painted(const el_t *el) {
  uint32_t end = (uint32_t)(el->arena - el->pool) + el->arena_bytes, room = el->pool_bytes - end;
  return end + (room > 256 ? 256 : room);
}

int el_bind(el_t *el, const el_hal *hal, EL_PLAN uint8_t *plan, uint32_t n, uint8_t *pool, uint32_t pool_bytes) {
  int code = el_verify(plan, n, hal ? hal->board : NULL);
  if (code) return code;
  memset(el, 0, sizeof *el);
  el->hal = hal;
  el->plan = plan;
  el->plan_hash = el_plan_hash(plan);
  code = lay_out(el, pool, pool_bytes);
  if (!code) memset(el->pool, PAINT, (size_t)painted(el));
  return code;
}

/* Highest byte of [from, to) that is no longer paint, counted from `from`. */
static uint32_t touched(const uint8_t *from, const uint8_t *to) {
  while (to > from && to[-1] == PAINT) to--;
  return (uint32_t)(to - from);
}

int el_stats(el_t *el, el_stats_t *out) {
  if (!el || !out || !el->plan) return EL_ERR_ARG;
  uint32_t state = touched(el->state, el->arena), arena = touched(el->arena, el->pool + painted(el));
  if (state > el->state_seen) el->state_seen = state; /* a byte may hold the paint's value by chance: keep the highest ever seen */
  if (arena > el->arena_seen) el->arena_seen = arena;
  memset(out, 0, sizeof *out);
  out->state = el->state_seen;
  out->arena = el->arena_seen;
  out->step = el_step(el);
  out->samples = el->samples;
  out->busy_us = el->busy_us;
  if (el->hal && el->hal->stack_used) out->stack = el->hal->stack_used(el->hal->ctx, &out->stack_size);
  return EL_OK;
}

/* --- first state --- */

EL_RARE static void init_tensor(el_t *el, EL_PLAN uint8_t *init, uint32_t seed) {
  el_arg t;
  resolve(el, init[EL_INIT_TENSOR], &t);
  uint32_t start = el_stream(seed, init[EL_INIT_STREAM]), scale = el_plan32(init + EL_INIT_SCALE);
  int32_t limit = el_weight_limit(slots(el), &t);
  for (uint32_t i = 0, n = el_elements(&t); i < n; i++) {
    int32_t unit = init[EL_INIT_KIND] == EL_INIT_IS_NORMAL ? el_normal_unit(start, i) : 0;
    if (t.dtype == EL_DTYPE_F32) {
#ifndef EL_NO_F32
      float factor;
      memcpy(&factor, &scale, 4);
      ((float *)t.p)[i] = (float)unit * factor;
#endif
    } else {
      int32_t q = el_shift(unit * (int32_t)scale, init[EL_INIT_SHIFT]);
      el_store(t.p, t.dtype, i, q > limit ? limit : q < -limit ? -limit : q);
    }
  }
}

void el_init_state(el_t *el, uint32_t seed) {
  memset(el->state, 0, (size_t)el->state_bytes);
  el->samples = el->busy_us = 0;
  el_put32(meta(el) + 4, seed);
  for (uint8_t i = 0; is_int(el) && i < el->plan[EL_HEADER_N_SLOTS]; i++) exps(el)[i] = (int8_t)slots(el)[(uint32_t)i * EL_SLOT_BYTES + EL_SLOT_START];
  for (uint8_t i = 0; i < el->plan[EL_HEADER_N_INITS]; i++) init_tensor(el, inits(el) + (uint32_t)i * EL_INIT_BYTES, seed);
}

/* At most 2^31 - 1; in three shifts, because a size_t may have 16 bits. */
static uint32_t capped(size_t n) { return n >> 15 >> 15 >> 1 ? 0x7FFFFFFF : (uint32_t)n; }

int el_open(el_t *el, const el_hal *hal, EL_PLAN void *plan, size_t plan_bytes, void *pool, size_t pool_bytes, uint32_t seed) {
  if (!el || !plan || !pool) return EL_ERR_ARG;
  int code = el_bind(el, hal, plan, capped(plan_bytes), pool, capped(pool_bytes));
  if (code) {
    el->plan = 0;
    return code;
  }
  el_init_state(el, seed);
  return EL_OK;
}

/* --- moving exponents: edgelearn/ir/interp.py, rescale --- */

EL_RARE static void move_exponent(el_t *el, uint8_t i) {
  EL_PLAN uint8_t *slot = slots(el) + (uint32_t)i * EL_SLOT_BYTES;
  uint8_t *window = stats(el) + (uint32_t)i * WINDOW_BYTES;
  int8_t *e = exps(el) + i;
  if (slot[EL_SLOT_KIND] != EL_SLOT_IS_MOVING) return;
  uint16_t saturated = el_get16(window), maximum = el_get16(window + 2);
  if (saturated > el_plan16(slot + EL_SLOT_ELEMS)) *e = (int8_t)(*e < EL_EXP_LIMIT ? *e + 1 : *e);
  else if (maximum > 0 && maximum < ((uint32_t)1 << slot[EL_SLOT_BITS]) >> 2) *e = (int8_t)(*e > -EL_EXP_LIMIT ? *e - 1 : *e);
  memset(window, 0, WINDOW_BYTES);
}

/* How many of a tensor's weights sit at the limit? Of int8 four are looked at together, except by cores whose nets are small. */
EL_ALONE static uint32_t full_weights(const el_arg *t, int32_t limit) {
  uint32_t j = 0, n = el_elements(t), full = 0;
#if !defined(EL_SMALL) && !defined(__ARM_ARCH_6M__)
  const uint32_t ones = 0x01010101u, tops = ones << 7;
  const uint8_t *p = el_aligned(t->p); /* el_verify has seen to it */
  for (; limit == 127 && n - j >= 4; j += 4) {
    uint32_t v, sign;
    memcpy(&v, p + j, 4);
    sign = v >> 7 & ones;
    v = ((v ^ ((sign << 8) - sign)) + sign + ones) & tops; /* |q| + 1: its top bit says 127 */
    if (v) full += (v >> 7) * ones >> 24;
  }
#endif
  for (; j < n; j++) {
    int32_t q = el_load_q(t, j);
    full += q == limit || q == -limit;
  }
  return full;
}

/* Halves a weight tensor, stochastically, if more than 1 % of it sits at the limit. */
EL_RARE static void halve(el_t *el, uint8_t i, uint32_t step) {
  EL_PLAN uint8_t *slot = slots(el) + (uint32_t)i * EL_SLOT_BYTES;
  el_arg t;
  if (slot[EL_SLOT_KIND] != EL_SLOT_IS_WEIGHT) return;
  resolve(el, slot[EL_SLOT_TENSOR], &t);
  uint32_t n = el_elements(&t);
  if (full_weights(&t, el_weight_limit(slots(el), &t)) * 100 <= n || exps(el)[i] >= EL_EXP_LIMIT) return;
  uint32_t r = el_mix(el_seed(el)) + step * EL_RNG_STEP + ((uint32_t)slot[EL_SLOT_TENSOR] + EL_RNG_HALVE) * EL_RNG_OP;
  for (uint32_t j = 0; j < n; j++, r += EL_RNG_COLUMN) el_store(t.p, t.dtype, j, (el_load_q(&t, j) + (int32_t)(r >> 31)) >> 1);
  exps(el)[i]++;
}

EL_ALONE static void rescale(el_t *el, uint32_t step) {
  uint16_t moves = header16(el, EL_HEADER_RESCALE_EVERY), halves = header16(el, EL_HEADER_HALVE_EVERY);
  uint8_t n = el->plan[EL_HEADER_N_SLOTS];
  if (moves && step % moves == 0)
    for (uint8_t i = 1; i < n; i++) move_exponent(el, i);
  if (halves && step % halves == 0)
    for (uint8_t i = 1; i < n; i++) halve(el, i, step);
}

/* --- entries --- */

/* How often the rate has been halved before this step. */
static uint8_t drops_before(const el_t *el, uint32_t step) {
  uint8_t drops = 0;
  for (EL_PLAN uint8_t *drop = el->plan + EL_HEADER_BYTES, *end = slots(el); drop < end; drop += 4) drops = (uint8_t)(drops + (step >= el_plan32(drop)));
  return drops;
}

static void run_ops(el_t *el, EL_PLAN uint8_t *op, uint16_t count, uint8_t counting) {
  EL_PLAN uint8_t *const end = op + (uint32_t)count * EL_OP_BYTES;
  uint32_t step = el_step(el);
  el_run run = {el, op, exps(el), stats(el), slots(el), el_mix(el_seed(el)) + step * EL_RNG_STEP, drops_before(el, step), counting, 0};
  EL_PLAN uint8_t *table = tensors(el);
  const int8_t *exponents = exponents_of(el);
  uint8_t *const regions[] = {el->arena, el->state};
  for (; run.op < end; run.op += EL_OP_BYTES) {
    el_arg a[4];
    EL_PLAN uint8_t *index = run.op + EL_OP_A0, *last = index + (run.op[EL_OP_FLAGS] >> EL_OP_ARGS_SHIFT);
    for (el_arg *arg = a; index < last; arg++) read_tensor(regions, table + (uint32_t)*index++ * EL_TENSOR_BYTES, exponents, arg);
    el_kernel_table[run.op[EL_OP_KERNEL]](&run, a);
    if (run.idle) {
      run.op += (uint32_t)run.idle * EL_OP_BYTES;
      run.idle = 0;
    }
  }
}

int el_infer_staged(el_t *el, uint16_t *out_label) {
  run_ops(el, ops(el), header16(el, EL_HEADER_N_INFER), 0);
  *out_label = (uint16_t)*word(el, EL_HEADER_OUTPUT);
  return EL_OK;
}

int el_learn_staged(el_t *el, uint16_t label, uint16_t *out_guess) {
  if (label >= el_classes(el)) return EL_ERR_LABEL;
  uint32_t start = el->hal && el->hal->now_us ? el->hal->now_us(el->hal->ctx) : 0;
  uint16_t n_infer = header16(el, EL_HEADER_N_INFER);
  *word(el, EL_HEADER_LABEL) = label;
  run_ops(el, ops(el) + (uint32_t)n_infer * EL_OP_BYTES, header16(el, EL_HEADER_N_LEARN), 1);
  if (out_guess) *out_guess = el->plan[EL_HEADER_FLAGS] & EL_FLAG_GUESS ? (uint16_t)*word(el, EL_HEADER_GUESS) : EL_NO_LABEL;
  uint32_t step = el_step(el) + 1;
  el_put32(meta(el), step);
  if (is_int(el)) rescale(el, step);
  el->samples++;
  if (el->hal && el->hal->now_us) {
    uint32_t took = el->hal->now_us(el->hal->ctx) - start;
    if (took <= EL_I32_MAX) el->busy_us += took; /* an emulated clock may step back */
  }
  return EL_OK;
}

/* By itself, so that what it needs of the stack is given back before a sample is learnt. */
EL_RARE static void take(el_t *el, const void *sample) { memcpy(el_input(el), sample, (size_t)el_input_bytes(el)); }

int el_infer(el_t *el, const void *sample, uint16_t *out_label) {
  if (!el || !sample || !out_label || !el->plan) return EL_ERR_ARG;
  take(el, sample);
  return el_infer_staged(el, out_label);
}

int el_learn(el_t *el, const void *sample, uint16_t label, uint16_t *out_guess) {
  if (!el || !sample || !el->plan) return EL_ERR_ARG;
  take(el, sample);
  return el_learn_staged(el, label, out_guess);
}
