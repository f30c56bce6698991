/* edgelearn: a network that learns on the device, one sample at a time, without backpropagation.
 *
 * Six calls. Nothing is allocated: the caller hands over a plan (bytes made by `edgelearn export`, in flash or RAM) and
 * one block of memory for state and arena, whose size `edgelearn show` prints. No call keeps a pointer to a sample.
 * That block needs no alignment: el_open starts at its first multiple of 8, so it may lose up to 7 bytes. With
 * `_Alignas(8) static uint8_t pool[EL_APP_POOL_BYTES]` it loses none (the header that `--format plan-c` writes has the
 * size).
 *
 *     static uint8_t pool[4096];
 *     el_t el;
 *     uint16_t guess;
 *     el_open(&el, &hal, plan, sizeof plan, pool, sizeof pool, seed);
 *     el_learn(&el, sample, label, &guess);     // one training step
 *     el_infer(&el, sample, &guess);            // what is this?
 *
 * Samples are int8_t[n] in int8 plans (real value times 2^-input_exp, both printed by `edgelearn show`) and float[n] in
 * f32 plans. Every call returns EL_OK or a negative EL_ERR_*. Not reentrant: one context, one thread.
 */
#ifndef EDGELEARN_H
#define EDGELEARN_H

#include <stddef.h>
#include <stdint.h>

#ifdef ARDUINO
#include "el_arduino.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct el_hal; /* hal/el_hal.h: only el_save, el_load and the link need one */

/* Where constants lie, and where plans do: the same, but for an image that takes plans over the link. On AVR flash is an address space of
 * its own, which C reads by the pointer's type; C++ has no such types, and only hands pointers on. */
#if defined(__AVR__) && !defined(__cplusplus)
#define EL_ROM const __flash
#else
#define EL_ROM const
#endif
#if defined(__AVR__) && !defined(EL_PLAN_IN_RAM)
#define EL_PLAN_IN_ROM
#define EL_PLAN EL_ROM
#else
#define EL_PLAN const
#endif

enum {
  EL_OK = 0,
  EL_ERR_ARG = -1,      /* a null pointer or an impossible value */
  EL_ERR_MAGIC = -2,    /* not a plan */
  EL_ERR_VERSION = -3,  /* plan or message of another version */
  EL_ERR_CRC = -4,      /* damaged */
  EL_ERR_SIZE = -5,     /* a length or an offset that does not fit */
  EL_ERR_BOARD = -6,    /* plan made for another board */
  EL_ERR_MEMORY = -7,   /* the pool is too small for state and arena */
  EL_ERR_KERNEL = -8,   /* a kernel that this image does not have */
  EL_ERR_OPERAND = -9,  /* a tensor of the wrong type, shape or region */
  EL_ERR_SLOT = -10,    /* an exponent slot out of range or of the wrong kind */
  EL_ERR_LABEL = -11,   /* label >= classes */
  EL_ERR_PHASE = -12,   /* no plan, or no state yet */
  EL_ERR_STEP = -13,    /* a sample for another step */
  EL_ERR_NO_NV = -14,   /* this board has no non-volatile memory */
  EL_ERR_NV = -15,      /* it failed, or holds no state for this plan */
  EL_ERR_UNKNOWN = -16, /* a message that this firmware does not know */
  EL_ERR_PLAN_FIXED = -17, /* the plan is compiled in: another is refused */
  EL_ERR_TOKEN = -18,   /* of an agent under Linux, never of this runtime: the client has not shown the right token */
  EL_ERR_BUSY = -19,    /* likewise: it is in use by another client */
  EL_ERR_LOCKED = -20,  /* of a paired board alone: the sender has not shown that it has the key, or its session is over */
  EL_ERR_SIGNATURE = -21, /* likewise: the plan is not signed, or not with its key */
  EL_ERR_ROLLBACK = -22 /* likewise: the plan's counter is lower than one that it has taken */
};

#define EL_NO_LABEL 0xFFFFu

/* Public so that it can be static; its fields are the runtime's own. */
typedef struct el {
  const struct el_hal *hal;
  EL_PLAN uint8_t *plan;
  uint8_t *state;
  uint8_t *arena;
  uint32_t state_bytes;
  uint32_t arena_bytes;
  uint32_t plan_hash;
  uint32_t samples;   /* learnt since el_open, for el_stats */
  uint32_t busy_us;   /* time spent in el_learn, where the HAL has a clock */
  uint32_t pool_bytes;
  uint8_t *pool;
  uint32_t state_seen; /* high-water marks found by scanning so far */
  uint32_t arena_seen;
} el_t;

/* Bytes; all found by scanning painted memory, none taken from the plan. */
typedef struct el_stats {
  uint32_t state;
  uint32_t arena;
  uint32_t stack;      /* 0 where the HAL cannot tell */
  uint32_t stack_size;
  uint32_t step;       /* samples learnt by this state, ever */
  uint32_t samples;    /* since el_open */
  uint32_t busy_us;
} el_stats_t;

/* Verifies the plan, lays out state and arena in `pool` and makes the initial state from `seed`. */
int el_open(el_t *el, const struct el_hal *hal, EL_PLAN void *plan, size_t plan_bytes, void *pool, size_t pool_bytes,
            uint32_t seed);

/* Classifies one sample. */
int el_infer(el_t *el, const void *sample, uint16_t *out_label);

/* Learns one sample. `out_guess` (may be NULL) is what the network said before it learnt it, or EL_NO_LABEL. */
int el_learn(el_t *el, const void *sample, uint16_t label, uint16_t *out_guess);

/* Writes the state to non-volatile memory, so that a power cut leaves the old or the new one, whole. EL_ERR_NV: the memory did not keep
 * it, and the old one is still there. */
int el_save(el_t *el);

/* Reads the newest whole state of this plan back. EL_ERR_NV: there is none, and nothing was changed. EL_ERR_CRC: the memory changed while it
 * was read, and the state is the first one again. */
int el_load(el_t *el);

/* What it cost so far. */
int el_stats(el_t *el, el_stats_t *out);

#ifdef __cplusplus
}
#endif
#endif
