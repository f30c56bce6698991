/* How kernels are called: with the operands of one op, resolved, and what they may need of the step that is running. */
#ifndef EL_KERNEL_H
#define EL_KERNEL_H

#include "../gen/el_plan.h"
#include "el_bytes.h"
#include "el_core.h"

/* Not inlined: a loop with a function to itself keeps all it needs in registers. Not every file uses all that it includes. */
#if defined(__GNUC__)
#define EL_ALONE __attribute__((noinline, unused))
#define EL_RARE __attribute__((noinline, unused, cold)) /* small rather than fast */
#define EL_LIKELY(x) __builtin_expect(!!(x), 1)
#define el_aligned(p) __builtin_assume_aligned(p, 4)
#else
#define EL_LIKELY(x) (x)
#define el_aligned(p) (p)
#define EL_ALONE
#define EL_RARE
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define EL_PRAGMA(text) _Pragma(#text)
#define EL_UNROLLED(n) EL_PRAGMA(GCC unroll n)
#else
#define EL_UNROLLED(n)
#endif

typedef struct el_arg {
  void *p;
  uint16_t rows, cols; /* of a map: positions and channels; of a vector only their product counts */
  uint8_t region, dtype;
  int8_t exp;   /* the constant part of e; all from rows on lies as in the plan's record */
  uint8_t slot; /* its first exponent slot: where a moving exponent counts, where a computed one is set */
  int16_t e;    /* an integer q in it means q * 2^e */
  EL_PLAN uint8_t *record; /* in the plan */
} el_arg;

typedef struct el_run {
  el_t *el;
  EL_PLAN uint8_t *op; /* the record in the plan */
  int8_t *exps;      /* exponent slots, in state */
  uint8_t *stats;    /* window statistics per slot, in state */
  EL_PLAN uint8_t *slots;
  uint32_t dither; /* mix(seed) + step * EL_RNG_STEP */
  uint8_t drops;   /* how often the rate has been halved */
  uint8_t counting; /* learn counts saturation, infer does not */
  uint8_t idle;     /* operations from here on that a closed gate makes do nothing: they are passed over */
} el_run;

/* The kernels of this image by code; those that it has are the ones with a signature. */
typedef void (*el_kernel)(el_run *run, const el_arg *a);
extern EL_ROM el_kernel el_kernel_table[];

/* What a kernel's operands may be: dtype bits | shape | access, see edgelearn_export/plan/format.py. */
typedef struct el_signature {
  uint8_t code, args;
  uint16_t arg[4];
} el_signature;

extern EL_ROM el_signature el_signatures[];
extern const uint16_t el_signature_count;

/* Do the shapes of an op's operands, records t, fit a signature with kernels or maps in it? NULL in an image that has no such kernel. */
typedef int (*el_shape_check)(EL_ROM el_signature *sig, EL_PLAN uint8_t *const *t, uint8_t id);
extern const el_shape_check el_map_shapes;
int el_check_map_shapes(EL_ROM el_signature *sig, EL_PLAN uint8_t *const *t, uint8_t id);

#include "../gen/el_kernels.h"

static inline uint32_t el_elements(const el_arg *a) { return (uint32_t)a->rows * a->cols; }

/* Of a map or a kernel: positions, or places, beside each other. */
static inline uint32_t el_width(const el_arg *a) { return el_plan16(a->record + EL_TENSOR_WIDTH); }

/* Of a kernel. */
static inline uint8_t el_stride(const el_arg *w) { return w->record[EL_TENSOR_GEO] & ((1u << EL_GEO_PAD_SHIFT) - 1); }
static inline uint8_t el_pad(const el_arg *w) { return (uint8_t)(w->record[EL_TENSOR_GEO] >> EL_GEO_PAD_SHIFT); }

/* The largest magnitude of an integer weight: its slot says how many bits it has. */
static inline int32_t el_weight_limit(EL_PLAN uint8_t *slots, const el_arg *w) {
  return ((int32_t)1 << slots[(uint32_t)w->slot * EL_SLOT_BYTES + EL_SLOT_BITS]) - 1;
}

/* --- random numbers: see edgelearn/ir/rng.py --- */

/* The same of a record; rows and cols are of 16 bits: their product does not overflow. */
static inline uint32_t el_tensor_elements(EL_PLAN uint8_t *t) {
  return (uint32_t)el_plan16(t + EL_TENSOR_ROWS) * el_plan16(t + EL_TENSOR_COLS);
}

uint32_t el_mix(uint32_t v);
int32_t el_normal_unit(uint32_t start, uint32_t i); /* number i: the sum of four uniforms less its mean */

/* Where a stream that only depends on the seed starts: first weights, fixed matrices. */
static inline uint32_t el_stream(uint32_t seed, uint32_t stream) { return el_mix(el_mix(seed) + stream * EL_RNG_OP + EL_RNG_COLUMN); }

/* And one that is drawn anew at every step. */
static inline uint32_t el_draw(const el_run *run) { return el_mix(run->dither + run->op[EL_OP_ID] * EL_RNG_OP); }

/* --- integers: rounding and narrowing, as edgelearn/ir/types.py defines them --- */

#define EL_I32_MAX 2147483647

/* q * 2^-shift to nearest, half away from zero; a negative shift multiplies and saturates. */
static inline int32_t el_shift(int32_t q, int16_t shift) {
  if (shift > 0) {
    if (shift > 31) return 0;
    uint32_t m = q < 0 ? 0u - (uint32_t)q : (uint32_t)q;
    m = (m + ((uint32_t)1 << (shift - 1))) >> shift;
    return q < 0 ? -(int32_t)m : (int32_t)m;
  }
  uint8_t left = (uint8_t)(shift < -31 ? 31 : -shift);
  if (q > EL_I32_MAX >> left) return EL_I32_MAX;
  if (q < -(EL_I32_MAX >> left)) return -EL_I32_MAX;
  return (int32_t)((uint32_t)q << left);
}

static inline void el_store(void *p, uint8_t dtype, uint32_t i, int32_t q) {
  if (dtype == EL_DTYPE_I8) ((int8_t *)p)[i] = (int8_t)q;
  else if (dtype == EL_DTYPE_I16) ((int16_t *)p)[i] = (int16_t)q;
  else ((int32_t *)p)[i] = q;
}

static inline int32_t el_load_q(const el_arg *a, uint32_t i) {
  if (a->dtype == EL_DTYPE_I32) return ((const int32_t *)a->p)[i];
  if (a->dtype == EL_DTYPE_I16) return ((const int16_t *)a->p)[i];
  return ((const int8_t *)a->p)[i];
}

/* Narrows a run of exact results of exponent `e` into `out`, counting for its moving exponent. Never leave its address with a function
 * that is not inlined: its fields must stay in registers. */
typedef struct el_narrow {
  int32_t limit;
  int32_t maximum;
  uint32_t saturated;
  int16_t shift;
  uint8_t dtype;
  void *p;
} el_narrow;

static inline el_narrow el_narrow_begin(const el_arg *out, int16_t e) {
  int32_t limit = out->dtype == EL_DTYPE_I8 ? 127 : out->dtype == EL_DTYPE_I16 ? 32767 : EL_I32_MAX;
  return (el_narrow){limit, 0, 0, (int16_t)(out->e - e), out->dtype, out->p};
}

/* Adds what was counted to the window of the exponent of `out`. */
void el_narrow_end(el_run *run, const el_arg *out, uint32_t saturated, int32_t maximum);

static inline int32_t el_narrowed(el_narrow *n, int32_t exact) {
  int32_t q = 0;
  if (exact) {
    q = el_shift(exact, n->shift);
    int32_t m = q < 0 ? -q : q;
    if (m > n->maximum) { /* rare after the first few: the limit needs a look only here */
      if (m > n->limit) {
        n->saturated++;
        m = n->limit;
        q = q < 0 ? -m : m;
      }
      n->maximum = m;
    }
  }
  return q;
}

static inline void el_narrow_put(el_narrow *n, uint32_t i, int32_t exact) { el_store(n->p, n->dtype, i, el_narrowed(n, exact)); }

#endif
