/* Receive ring: the interrupt puts, the main loop takes. One writer for each index, so nothing needs to be locked. */
#ifndef EL_RING_H
#define EL_RING_H

#include <stddef.h>
#include <stdint.h>

#ifndef EL_RING_BYTES
#error "the size of its receive ring is missing, RING_BYTES=NUMBER"
#endif

/* A power of two. All of it can be filled. */
_Static_assert((EL_RING_BYTES & (EL_RING_BYTES - 1)) == 0 && EL_RING_BYTES <= 32768, "RING_BYTES is a power of two, up to 32768");

/* Of one byte where that is enough: a machine of 8 bits reads two in two steps, with the interrupt in between. */
#if EL_RING_BYTES <= 128
typedef uint8_t el_ring_count;
#else
typedef uint16_t el_ring_count;
#endif

typedef struct {
  volatile el_ring_count head; /* bytes put so far, wrapping */
  volatile el_ring_count tail; /* bytes taken so far */
  volatile uint32_t overruns;
  volatile uint8_t bytes[EL_RING_BYTES];
} el_ring;

static inline el_ring_count ring_waiting(const el_ring *ring) { return (el_ring_count)(ring->head - ring->tail); }

static inline void ring_put(el_ring *ring, uint8_t byte) {
  if (ring_waiting(ring) == EL_RING_BYTES) {
    ring->overruns++;
    return;
  }
  ring->bytes[ring->head % EL_RING_BYTES] = byte;
  ring->head++; /* only now: the byte is in place */
}

static inline size_t ring_take(el_ring *ring, uint8_t *out, size_t n) {
  size_t got = 0;
  while (got < n && ring_waiting(ring) != 0) {
    out[got++] = ring->bytes[ring->tail % EL_RING_BYTES];
    ring->tail++;
  }
  return got;
}

#endif
