/* Receive ring: the interrupt puts, the main loop takes. One writer for each index, so nothing needs to be locked. */
#ifndef EL_RING_H
#define EL_RING_H

#include <stddef.h>
#include <stdint.h>

/* The port says its size, a power of two: EL_RING_BYTES. All of it can be filled. */
_Static_assert((EL_RING_BYTES & (EL_RING_BYTES - 1)) == 0 && EL_RING_BYTES <= 32768, "ring size");

typedef struct {
  volatile uint16_t head; /* bytes put so far, modulo 2^16 */
  volatile uint16_t tail; /* bytes taken so far */
  volatile uint32_t overruns;
  volatile uint8_t bytes[EL_RING_BYTES];
} el_ring;

static inline uint16_t ring_waiting(const el_ring *ring) { return (uint16_t)(ring->head - ring->tail); }

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
