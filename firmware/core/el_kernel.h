/* How kernels are called: with the operands of one op, resolved, and what they may need of the step that is running. */
#ifndef EL_KERNEL_H
#define EL_KERNEL_H

#include "../gen/el_plan.h"
#include "el_bytes.h"
#include "el_core.h"

typedef struct el_arg {
  void *p;
  uint16_t rows, cols;
  uint8_t dtype;
  uint8_t slot; /* its first exponent slot: where a moving exponent counts, where a computed one is set */
  int16_t e;    /* an integer q in it means q * 2^e */
} el_arg;

typedef struct el_run {
  el_t *el;
  const uint8_t *op; /* the record in the plan */
  int8_t *exps;      /* exponent slots, in state */
  uint8_t *stats;    /* window statistics per slot, in state */
  const uint8_t *slots;
  uint32_t dither; /* mix(seed) + step * EL_RNG_STEP */
  uint8_t drops;   /* how often the rate has been halved */
  uint8_t counting; /* learn counts saturation, infer does not */
} el_run;

typedef void (*el_kernel)(el_run *run, const el_arg *a);
extern EL_ROM el_kernel el_kernel_table[EL_KERNEL_CODES];

#include "../gen/el_kernels.h"

static inline uint32_t el_elements(const el_arg *a) { return (uint32_t)a->rows * a->cols; }

uint32_t el_mix(uint32_t v);

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
  if (a->dtype == EL_DTYPE_I8) return ((const int8_t *)a->p)[i];
  if (a->dtype == EL_DTYPE_I16) return ((const int16_t *)a->p)[i];
  return ((const int32_t *)a->p)[i];
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

static inline void el_narrow_put(el_narrow *n, uint32_t i, int32_t exact) {
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
  el_store(n->p, n->dtype, i, q);
}

#endif
