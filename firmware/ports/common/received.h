/* The receive ring of a port whose interrupt fills it, as the HAL wants it. For cores that read 32 bits at once. */
#ifndef EL_RECEIVED_H
#define EL_RECEIVED_H

#include "ring.h"

static el_ring ring;

static size_t hal_rx(void *ctx, uint8_t *out, size_t n) {
  (void)ctx;
  return ring_take(&ring, out, n);
}

static uint32_t hal_overruns(void *ctx) {
  (void)ctx;
  return ring.overruns;
}

#endif
