/* Little-endian numbers at any address, on machines of any byte order and alignment. */
#ifndef EL_BYTES_H
#define EL_BYTES_H

#include <stdint.h>

static inline uint16_t el_get16(const uint8_t *p) { return (uint16_t)(p[0] | (uint16_t)p[1] << 8); }

static inline uint32_t el_get32(const uint8_t *p) { return el_get16(p) | (uint32_t)el_get16(p + 2) << 16; }

static inline void el_put16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}

static inline void el_put32(uint8_t *p, uint32_t v) {
  el_put16(p, (uint16_t)v);
  el_put16(p + 2, (uint16_t)(v >> 16));
}

#endif
