/* Little-endian numbers at any address, on machines of any byte order and alignment. */
#ifndef EL_BYTES_H
#define EL_BYTES_H

#include <stdint.h>

#include "edgelearn.h"

static inline uint16_t el_get16(const uint8_t *p) { return (uint16_t)(p[0] | (uint16_t)p[1] << 8); }

static inline uint32_t el_get32(const uint8_t *p) { return el_get16(p) | (uint32_t)el_get16(p + 2) << 16; }

/* The same of a plan, which may lie in a memory of its own. */
#ifdef EL_PLAN_IN_ROM
static inline uint16_t el_plan16(EL_PLAN uint8_t *p) { return (uint16_t)(p[0] | (uint16_t)p[1] << 8); }

static inline uint32_t el_plan32(EL_PLAN uint8_t *p) { return el_plan16(p) | (uint32_t)el_plan16(p + 2) << 16; }
#else /* not functions of their own: gcc would fold them into those above, and the call graph would lose them */
#define el_plan16 el_get16
#define el_plan32 el_get32
#endif

static inline void el_put16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}

static inline void el_put32(uint8_t *p, uint32_t v) {
  el_put16(p, (uint16_t)v);
  el_put16(p + 2, (uint16_t)(v >> 16));
}

#endif
